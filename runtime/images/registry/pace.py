"""Servers that answer, but so slowly that nobody should wait: a deadline for headers, a least rate for bodies.

The timeout of a socket counts from byte to byte, so one byte a minute would hold a pull for ever. Here a thread watches
the socket, and shuts it down.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

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


class _Deadline(HTTPConnection):
    def getresponse(self) -> Any:
        wire, late = self.sock, threading.Event()

        def give_up() -> None:
            late.set()
            _shut_down(wire)

        timer = threading.Timer(HEADER_SECONDS, give_up)
        timer.daemon = True
        timer.start()
        try:
            response = super().getresponse()
        except Exception:
            if not late.is_set():
                raise
        finally:
            timer.cancel()
        if late.is_set():  # headers that end with the connection look whole
            raise TooSlow(f"no whole answer in {HEADER_SECONDS:.0f} s")
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
