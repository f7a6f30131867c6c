"""What a container writes, read as it comes."""

from __future__ import annotations

import os
import select
import time

from tests.harness.patience import seconds


class Output:
    """A pipe: give `write_fd` to a command as stdout or stderr, then call `until` or `rest`.

    The writing end is closed on our side at the first read, so that the end of the container ends the output.
    """

    def __init__(self) -> None:
        self._read_fd, self.write_fd = os.pipe()
        self.text = ""

    def until(self, word: str, timeout: float = 30) -> None:
        """Read until `word` was seen. Fails with all that was read if it never comes."""
        self._read(lambda: word in self.text, timeout)
        assert word in self.text, f"{word!r} was not written within {timeout} s, but:\n{self.text}"

    def rest(self, timeout: float = 30) -> str:
        """Read to the end; returns everything that was ever written."""
        ended = self._read(lambda: False, timeout)
        assert ended, f"the output did not end within {timeout} s:\n{self.text}"
        return self.text

    def _read(self, enough: object, timeout: float) -> bool:
        """Read until enough() or the end; returns whether the end came."""
        assert callable(enough)
        if self.write_fd >= 0:
            os.close(self.write_fd)
            self.write_fd = -1
        deadline = time.monotonic() + seconds(timeout)
        while not enough():
            ready, _, _ = select.select([self._read_fd], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                return False
            read = os.read(self._read_fd, 65536)
            if not read:
                return True
            self.text += read.decode(errors="replace")
        return False

    def close(self) -> None:
        """Close what is open."""
        for fd in (self._read_fd, self.write_fd):
            if fd >= 0:
                os.close(fd)
