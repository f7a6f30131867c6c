"""Deadlines for slow servers: one to connect, one for TLS and CONNECT, one for headers, and a least rate for bodies.

The timeout of a socket counts from byte to byte, so one byte a minute would hold a pull for ever. Here a thread watches
the socket, and shuts it down.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NameResolutionError, NewConnectionError
from urllib3.util.connection import allowed_gai_family

CONNECT_SECONDS = 15.0
"""To connect to any address of a server; their number is chosen by whoever answers for its name."""
HELLO_SECONDS = 30.0
"""For a proxy's answer to CONNECT and for TLS, together."""
HEADER_SECONDS = 60.0
RATE_SECONDS, LEAST_RATE = 60.0, 1024
"""A body must bring LEAST_RATE bytes a second, on average over each RATE_SECONDS of waiting for it."""
TICKS = 60
"""How often in that time the watch looks."""


class TooSlow(HTTPError):
    """The server was given up."""


def _shut_down(wire: socket.socket) -> None:
    """End what reads the socket in another thread. Not SSLSocket's own shutdown, which changes the object."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(wire, socket.SHUT_RDWR)


@contextlib.contextmanager
def _deadline(seconds: float, give_up: Callable[[], None], what: str) -> Iterator[None]:
    """Call `give_up` in a thread when the block takes longer. Raises: TooSlow: it did, whatever else came of it."""
    late = threading.Event()

    def end() -> None:
        late.set()
        give_up()

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception:
        if not late.is_set():
            raise
    finally:
        timer.cancel()
    if late.is_set():  # headers that end with the connection look whole
        raise TooSlow(f"{what} in {seconds:.0f} s")


class _Deadline(HTTPConnection):
    _raw: socket.socket | None = None
    """A duplicate of the socket while connect() works on it: TLS takes the socket's own descriptor away."""
    _late = False

    def _new_conn(self) -> socket.socket:
        """Connect to the first address that answers. urllib3 gives each address the whole time."""
        try:
            found = socket.getaddrinfo(self._dns_host.strip("[]"), self.port, allowed_gai_family(), socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError) as e:
            raise NameResolutionError(self.host, self, socket.gaierror(str(e))) from e
        problem, end = OSError("the name has no address"), time.monotonic() + CONNECT_SECONDS
        for family, kind, protocol, _, address in found:
            left = end - time.monotonic()
            if left <= 0:
                break
            wire = socket.socket(family, kind, protocol)
            try:
                for option in self.socket_options or ():
                    wire.setsockopt(*option)
                wire.settimeout(left)
                wire.connect(address)
                wire.settimeout(CONNECT_SECONDS + HELLO_SECONDS)  # connect() watches over all of it
                self._raw = wire.dup()
                if self._late:  # the name servers took all the time
                    _shut_down(self._raw)
                return wire
            except OSError as e:
                wire.close()
                problem = e
        if isinstance(problem, TimeoutError):
            raise ConnectTimeoutError(self, str(problem)) from problem
        raise NewConnectionError(self, str(problem)) from problem

    def connect(self) -> None:
        self._late = False
        try:
            with _deadline(CONNECT_SECONDS + HELLO_SECONDS, self._give_up, "no connection"):
                super().connect()
        finally:
            raw, self._raw = self._raw, None
            if raw:
                raw.close()

    def _give_up(self) -> None:
        self._late = True
        raw = self._raw
        if raw:
            _shut_down(raw)

    def getresponse(self) -> Any:
        wire = self.sock
        wire = getattr(wire, "socket", wire)  # of an SSLTransport: TLS in TLS, through a proxy
        with _deadline(HEADER_SECONDS, lambda: _shut_down(wire), "no whole answer"):
            response = super().getresponse()
        response.wire = wire  # type: ignore[attr-defined]
        return response


class _SecureDeadline(_Deadline, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Deadline


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureDeadline


def keep_pace(manager: urllib3.PoolManager) -> None:
    """Have the headers of all answers come in time."""
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}


def pieces(response: Any, most: int) -> Iterator[bytes]:
    """A body as it comes, in pieces of at most `most` bytes. Raises: TooSlow; HTTPError: it is cut short."""
    came, waiting, done, slow = 0, False, threading.Event(), threading.Event()

    def watch() -> None:
        seen, ticks = 0, 0
        while not done.wait(RATE_SECONDS / TICKS):
            ticks += waiting  # what the reader does with a piece takes its own time
            if ticks < TICKS:
                continue
            if came - seen < LEAST_RATE * RATE_SECONDS:
                slow.set()
                _shut_down(response.wire)
                return
            seen, ticks = came, 0

    threading.Thread(target=watch, daemon=True).start()
    try:
        while True:
            waiting = True
            piece = response.read1(most, decode_content=False)
            waiting = False
            if not piece:
                break
            came += len(piece)
            yield piece
    except HTTPError:
        if not slow.is_set():
            raise
    finally:
        done.set()
    if slow.is_set():
        raise TooSlow(f"its answer comes with less than {LEAST_RATE} bytes a second")
