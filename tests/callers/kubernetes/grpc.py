"""Calls of gRPC, one request and one answer each, over HTTP/2 as the package h2 speaks it.

Source: grpc/grpc, doc/PROTOCOL-HTTP2.md.
"""

from __future__ import annotations

import struct
import time
from typing import Protocol
from urllib.parse import unquote

import h2.connection
import h2.events

PREFIX = struct.Struct(">BI")  # whether it is compressed, its length
DEADLINE_EXCEEDED, UNKNOWN, NOT_FOUND = 4, 2, 5


class Failed(Exception):
    """The server answered with an error: `status` is gRPC's code."""

    def __init__(self, method: str, status: int, message: str) -> None:
        super().__init__(f"{method}: status {status}: {message}")
        self.status = status
        self.message = message


class Channel(Protocol):
    """A connection to the server."""

    def type(self, text: bytes, /) -> object: ...
    def read(self, timeout: float = ..., /) -> bytes: ...


class Client:
    """Calls one after the other over one connection."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._http = h2.connection.H2Connection()
        self._http.initiate_connection()

    def call(self, method: str, message: bytes, timeout: float) -> bytes:
        """The answer to a message. Raises: Failed; AssertionError where none comes in time."""
        stream = self._http.get_next_available_stream_id()
        headers = {
            ":method": "POST",
            ":scheme": "http",
            ":path": f"/{method}",
            ":authority": "localhost",
            "te": "trailers",
            "content-type": "application/grpc",
        }
        self._http.send_headers(stream, list(headers.items()))
        self._http.send_data(stream, PREFIX.pack(0, len(message)) + message, end_stream=True)
        told, answer = self._answer(stream, time.monotonic() + timeout)
        status = int(told["grpc-status"])
        if status:
            raise Failed(method, status, unquote(told.get("grpc-message", "")))
        compressed, length = PREFIX.unpack(answer[: PREFIX.size])
        assert (compressed, length) == (0, len(answer) - PREFIX.size), f"{method}: not one whole message: {answer!r}"
        return answer[PREFIX.size :]

    def _answer(self, stream: int, deadline: float) -> tuple[dict[str, str], bytes]:
        """The headers and trailers, and the body."""
        told: dict[str, str] = {}
        body = b""
        while True:
            self._channel.type(self._http.data_to_send())
            data = self._channel.read(deadline - time.monotonic())
            assert data, "the server has closed the connection"
            for event in self._http.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
                    told |= {name.decode(): value.decode() for name, value in event.headers}
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data
                    self._http.acknowledge_received_data(event.flow_controlled_length, stream)
                elif isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
                    raise AssertionError(f"the server broke off: {event}")
                elif isinstance(event, h2.events.StreamEnded):
                    self._channel.type(self._http.data_to_send())
                    return told, body
