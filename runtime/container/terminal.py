"""Relay between the caller's terminal and a container's: raw mode, both directions, window size changes."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import termios
import tty
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

CHUNK = 65536
END_OF_FILE = b"\x04"
"""Ctrl-D, the terminal's end-of-file character."""


class Signals(Protocol):
    """Signals for the process. When `fd` is readable, call `pass_on`, which calls `resized` for SIGWINCH."""

    fd: int
    resized: Callable[[], None] | None

    def pass_on(self) -> None: ...


class Relay:
    """Copies stdin to a pty's master and the master to stdout until the process ends.

    Args:
        master: the pty's master; closed at exit. pidfd: of the process. signals: those to forward to it.
    """

    def __init__(self, master: int, pidfd: int, signals: Signals) -> None:
        self.master, self.pidfd, self.signals = master, pidfd, signals
        self.saved: list[object] | None = None
        self.typed = self.shown = b""  # bytes not yet written to the program, and from it
        self.input_ended = False

    def __enter__(self) -> Relay:
        if os.isatty(0):
            self.saved = termios.tcgetattr(0)
            tty.setraw(0, termios.TCSANOW)  # TCSANOW: keep what was typed ahead, for the program
            self.signals.resized = self._resize
            self._resize()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.saved is not None:
            self.signals.resized = None
            termios.tcsetattr(0, termios.TCSADRAIN, self.saved)  # type: ignore[arg-type]
        os.close(self.master)

    def _resize(self) -> None:
        size = fcntl.ioctl(0, termios.TIOCGWINSZ, b"\0" * 8)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, size)

    def run(self) -> None:
        """Copy until the other end of the terminal is closed, or the process has ended and its output is read.

        Never block on one side alone: a program may write before it reads pasted input, and both would wait forever.
        """
        os.set_blocking(self.master, False)
        ended = False
        while True:
            looked = not self.shown  # otherwise the master is not polled for more output
            ready = self._ready(ended=ended)
            if self.signals.fd in ready:
                self.signals.pass_on()
            if 1 in ready:
                self.shown = _put(1, self.shown)
            if self.master in ready:
                if not self._exchange():
                    return
            elif ended and looked:
                return
            if 0 in ready:
                self._read_input()
            ended = ended or self.pidfd in ready

    def _ready(self, *, ended: bool) -> set[int]:
        """Wait for events; returns the fds that are ready or have an error."""
        poller = select.poll()
        poller.register(self.signals.fd, select.POLLIN)
        if not ended:
            poller.register(self.pidfd, select.POLLIN)
        wanted = (0 if self.shown else select.POLLIN) | (select.POLLOUT if self.typed else 0)
        if wanted:
            poller.register(self.master, wanted)
        if self.shown:
            poller.register(1, select.POLLOUT)
        if not self.typed and not self.input_ended:
            poller.register(0, select.POLLIN)
        return {fd for fd, _ in poller.poll(0 if ended and not self.shown else None)}

    def _exchange(self) -> bool:
        """Write to and read from the non-blocking master; False if its last slave is closed and its output read."""
        if self.typed:
            self.typed = _put(self.master, self.typed)
        if self.shown:
            return True
        try:
            self.shown = os.read(self.master, CHUNK)
        except BlockingIOError:
            return True
        except OSError as e:
            if e.errno != errno.EIO:
                raise
        return bool(self.shown)

    def _read_input(self) -> None:
        try:
            self.typed = os.read(0, CHUNK)
        except BlockingIOError:
            return  # another reader of the same file was quicker
        except OSError as e:
            if e.errno != errno.EIO:  # EIO: the terminal was hung up
                raise
        if not self.typed:
            self.input_ended = True
            self.typed = END_OF_FILE


def _put(fd: int, data: bytes) -> bytes:
    """Write what fd accepts now; returns the rest. Up to PIPE_BUF bytes do not block after poll(2) reports ready."""
    try:
        return data[os.write(fd, data[: select.PIPE_BUF]) :]
    except BlockingIOError:  # our caller may have set O_NONBLOCK
        return data
    except OSError:  # other end closed, disk full: no reason to end the program
        return b""
