"""Registries that answer so slowly that a pull would never end."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from runtime.images.registry import pace
from runtime.images.registry.http import Transport, Unreachable, read

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
MOST = 500
"""Bytes, over about five seconds: a reader that waits for all of them sees the connection end."""
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Slow:
    """A server that sends `at_once`, and then a byte whenever the client has waited a little for it."""

    def __init__(self, at_once: bytes, byte: bytes) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v2/"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(at_once, byte))
        self._thread.start()

    def _serve(self, at_once: bytes, byte: bytes) -> None:
        connection, _ = self._listener.accept()
        with connection:
            connection.recv(65536)
            try:
                connection.sendall(at_once)
                for _ in range(MOST):
                    if self._stop.wait(0.01):
                        break
                    connection.sendall(byte)
            except OSError:
                pass  # the client has gone

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._listener.close()


@pytest.fixture(params=["headers", "body", "chunk"])
def slow(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    monkeypatch.setattr(pace, "HEADER_SECONDS", 0.3)
    monkeypatch.setattr(pace, "RATE_SECONDS", 0.3)
    parts = {"headers": (b"HTTP/1.1 200 OK\r\nX: ", b"x"), "body": (HEAD, b"x"), "chunk": (CHUNKED, b"0")}
    server = Slow(*parts[request.param])
    yield server
    server.close()


def test_a_server_that_sends_a_byte_now_and_then(slow: Slow) -> None:
    """In its headers, in its body, in the length of a part of its body."""
    transport = Transport("127.0.0.1")
    try:
        with pytest.raises(Unreachable, match=r"no whole answer in|less than 1024 bytes a second"):
            read(transport.request("GET", slow.url, {}), 1 << 20, "its answer")
    finally:
        transport.close()


def test_a_server_that_is_fast_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most ten thousand bytes a second, for longer than the watch waits before it looks."""
    monkeypatch.setattr(pace, "RATE_SECONDS", 0.3)
    server = Slow(b"HTTP/1.1 200 OK\r\nContent-Length: 6000\r\n\r\n", b"x" * 100)
    transport = Transport("127.0.0.1")
    try:
        assert read(transport.request("GET", server.url, {}), 1 << 20, "its answer") == b"x" * 6000
    finally:
        server.close()
        transport.close()


SERVER_HELLO = b"\x16\x03\x03\x3f\xff"
"""Of TLS: a record of a handshake, 16 KiB long."""


@pytest.mark.parametrize("at_once", [SERVER_HELLO, b"HTTP/1.1 200 OK\r\nX: "], ids=["tls", "connect"])
def test_a_connection_that_is_made_a_byte_at_a_time(at_once: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server in its TLS handshake, a proxy in its answer to CONNECT. Each byte comes in time, all of them never."""
    monkeypatch.setattr(pace, "CONNECT_SECONDS", 0.2)
    monkeypatch.setattr(pace, "HELLO_SECONDS", 0.2)
    server = Slow(at_once, b"x")
    url = server.url.replace("http:", "https:")
    if at_once != SERVER_HELLO:
        monkeypatch.setenv("https_proxy", server.url)
        url = "https://registry.example/v2/"
    transport = Transport("127.0.0.1")
    try:
        with pytest.raises(Unreachable, match="no connection in"):
            transport.request("GET", url, {})
    finally:
        server.close()
        transport.close()


def test_a_name_with_many_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever answers for a name chooses how many; together they take as long as one. A full backlog answers nobody."""
    monkeypatch.setattr(pace, "CONNECT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        tried: list[Any] = []

        def addresses(*_: Any, **__: Any) -> Iterator[Any]:
            for _ in range(50):
                tried.append(address)
                yield socket.AF_INET, socket.SOCK_STREAM, 0, "", address

        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(address)
        monkeypatch.setattr(socket, "getaddrinfo", addresses)
        transport = Transport("127.0.0.1")
        try:
            with pytest.raises(Unreachable, match="no connection in time"):
                transport.request("GET", f"http://many.example:{address[1]}/v2/", {})
        finally:
            transport.close()
            for one in waiting:
                one.close()
    assert 0 < len(tried) < 50
