"""What a person sees while blobs come in: bars on a terminal, a line for each finished blob elsewhere."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TextIO

from runtime.printable import visible

REDRAW_SECONDS = 0.1
BAR = 30


class Progress:
    """Told of blobs by any thread. stream: where to write; None to be silent."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._terminal = stream is not None and stream.isatty()
        self._lock = threading.Lock()
        self._rows: dict[str, list[int]] = {}  # name: bytes that are there, bytes in all
        self._drawn = 0
        self._next = 0.0

    def note(self, text: str) -> None:
        """A line of its own, above the bars."""
        with self._lock:
            self._print(text)

    def advance(self, name: str, there: int, size: int) -> None:
        """So much of a blob is there."""
        with self._lock:
            self._rows[name] = [there, size]
            now = time.monotonic()
            if self._terminal and now >= self._next:
                self._next = now + REDRAW_SECONDS
                self._draw()

    def done(self, name: str, size: int, how: str = "") -> None:
        """A blob is there, whole. how: in a word, if not by a transfer."""
        with self._lock:
            self._rows.pop(name, None)
            self._print(f"{name}  {human(size):>10}  {how or 'done'}")

    def close(self) -> None:
        """Take the bars away."""
        with self._lock:
            self._rows.clear()
            self._erase()

    def _print(self, text: str) -> None:
        if self._stream is None:
            return
        self._erase()
        self._stream.write(visible(text) + "\n")
        self._draw()

    def _erase(self) -> None:
        if self._stream is not None and self._drawn:
            self._stream.write(f"\x1b[{self._drawn}A\x1b[J")
            self._drawn = 0
            self._stream.flush()

    def _draw(self) -> None:
        if self._stream is None or not self._terminal:
            return
        try:
            columns, lines = os.get_terminal_size(self._stream.fileno())
        except OSError:
            columns, lines = 80, 24
        columns, lines = columns or 80, lines or 24  # a terminal that does not know its size says 0
        self._erase()
        shown = list(self._rows.items())[: max(1, lines - 2)]
        for name, (there, size) in shown:
            full = BAR * there // size if size else BAR
            row = f"{name}  {human(there):>10} / {human(size):<10}  [{'=' * full}{' ' * (BAR - full)}]"
            self._stream.write(row[: max(1, columns - 1)] + "\n")
        self._drawn = len(shown)
        self._stream.flush()


def to_stderr(*, quiet: bool = False) -> Progress:
    """Progress on stderr, so that stdout is the result's."""
    return Progress(None if quiet else sys.stderr)


@contextlib.contextmanager
def unpacking() -> Iterator[Callable[[int, int], None] | None]:
    """Show on a terminal how far the unpacking of an image is: what to call with the bytes done and of all.

    None where nobody looks: stderr belongs to the container's program, too.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        yield None
        return
    progress = to_stderr()
    try:
        yield lambda done, size: progress.advance("unpacking", done, size)
    finally:
        progress.close()


def short(digest: str) -> str:
    """Enough of a digest for a person's eye."""
    return digest.removeprefix("sha256:")[:12]


def human(size: int) -> str:
    """Bytes in the unit that fits: 512 B, 1.5 KiB, 12.0 MiB."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
