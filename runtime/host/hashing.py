"""Hardware-accelerated SHA-256 (cshim/sha256.h): the executable has no OpenSSL, and Python's own code is slow."""

from __future__ import annotations

from typing import Any

from runtime.host.shim import ffi, lib


class Sha256:
    """Like hashlib.sha256."""

    __slots__ = ("_state",)

    def __init__(self, data: bytes = b"") -> None:
        self._state: Any = ffi.new("struct stele_sha256 *")
        lib.stele_sha256_init(self._state)
        self.update(data)

    def update(self, data: bytes | memoryview) -> None:
        """Hash more bytes; other threads can run meanwhile."""
        lib.stele_sha256_update(self._state, ffi.from_buffer(data), len(data))

    def hexdigest(self) -> str:
        """The digest of all bytes so far."""
        digest = ffi.new("uint8_t[32]")
        lib.stele_sha256_digest(self._state, digest)
        return bytes(digest).hex()
