"""What `kubectl exec` and `kubectl attach` see: containerd's streaming server, by a WebSocket.

Source: RFC 6455; kubernetes/kubelet, pkg/cri/streaming/remotecommand (the channels of v4.channel.k8s.io: the first byte of
a message says which of the process's streams it is).
"""

from __future__ import annotations

import base64
import json
import struct
from typing import Any
from urllib.parse import urlsplit

from tests.vm.guest import Guest, Job

STDIN, STDOUT, STDERR, STATUS, SIZE = range(5)
BINARY, CLOSE = 2, 8
MASK = b"mask"  # a client's messages are masked, with any four bytes


class Stream:
    """One command's streams. `seen` is what came on each so far."""

    def __init__(self, host: Guest, url: str) -> None:
        where = urlsplit(url)
        assert where.hostname and where.port
        self.seen = {STDOUT: b"", STDERR: b"", STATUS: b""}
        self._job: Job = host.start("busybox", "nc", where.hostname, str(where.port))
        self._data = b""
        wanted = [
            f"GET {where.path} HTTP/1.1",
            f"Host: {where.netloc}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}",
            "Sec-WebSocket-Protocol: v4.channel.k8s.io",
        ]
        self._job.type("\r\n".join([*wanted, "", ""]))
        while b"\r\n\r\n" not in self._data:
            self._more()
        answer, _, self._data = self._data.partition(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101 "), answer.decode()

    def type(self, text: str) -> None:
        """Give it input."""
        self._send(STDIN, text.encode())

    def resize(self, rows: int, columns: int) -> None:
        """Its terminal's size."""
        self._send(SIZE, json.dumps({"Height": rows, "Width": columns}).encode())

    def until(self, word: str, stream: int = STDOUT) -> str:
        """Wait for a word; all that came on the stream."""
        while word.encode() not in self.seen[stream]:
            assert self._receive(), f"the end came before {word!r}: {self.seen}"
        return self.seen[stream].decode()

    def code(self) -> int:
        """Wait for the end; the exit code."""
        while self._receive():
            pass
        status: dict[str, Any] = json.loads(self.seen[STATUS])
        if status["status"] == "Success":
            return 0
        (code,) = (each["message"] for each in status["details"]["causes"] if each["reason"] == "ExitCode")
        return int(code)

    def _send(self, channel: int, payload: bytes) -> None:
        message = bytes([channel]) + payload
        assert len(message) < 126, "longer messages have another header"
        masked = bytes(byte ^ MASK[at % 4] for at, byte in enumerate(message))
        self._job.type(bytes([0x80 | BINARY, 0x80 | len(message)]) + MASK + masked)

    def _receive(self) -> bool:
        """Take one message; False for the last."""
        kind, length = self._take(2)
        assert kind & 0x80, "a message in several frames"
        if length == 126:
            (length,) = struct.unpack(">H", self._take(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", self._take(8))
        message = self._take(length)
        if kind & 0x0F == BINARY:
            self.seen[message[0]] = self.seen.get(message[0], b"") + message[1:]
        return kind & 0x0F != CLOSE

    def _take(self, size: int) -> bytes:
        while len(self._data) < size:
            self._more()
        taken, self._data = self._data[:size], self._data[size:]
        return taken

    def _more(self) -> None:
        data = self._job.read()
        assert data, f"the server has closed the connection: {self.seen}"
        self._data += data
