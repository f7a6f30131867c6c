"""Relay between the caller's terminal and a container's: raw mode, both directions, window size."""

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
"""As a terminal says it."""


class Signals(Protocol):
    """Signals for the process: an fd to poll, what to do when it is readable, and what is done by that for SIGWINCH."""

    fd: int
    resized: Callable[[], None] | None

    def pass_on(self) -> None: ...


class Relay:
    """Copies stdin to a pty's master and the master to stdout until the process ends.

    Args:
        master: the pty's master; closed at exit. pidfd: of the process. signals: what its caller gets for it.
    """

    def __init__(self, master: int, pidfd: int, signals: Signals) -> None:
        self.master, self.pidfd, self.signals = master, pidfd, signals
        self.saved: list[object] | None = None
        self.typed = self.shown = b""  # on its way to the program, and from it
        self.input_ended = False

    def __enter__(self) -> Relay:
        if os.isatty(0):
            self.saved = termios.tcgetattr(0)
            tty.setraw(0, termios.TCSANOW)  # at once: what was typed ahead is for the program
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
        """Copy until the terminal has no other end, or the process is over and its output read.

        Nothing here waits for one side alone: a program that writes before it reads what was pasted would wait for us.
        """
        os.set_blocking(self.master, False)
        ended = False
        while True:
            looked = not self.shown  # else the master is not asked whether it has more
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
        """Wait; which of our fds can do what is wanted of them, or have an error to tell."""
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
        """With the master, which does not block; False when the last slave of it was closed and its output read."""
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
            return  # another who has it, too, was quicker
        except OSError as e:
            if e.errno != errno.EIO:  # of a terminal that was hung up
                raise
        if not self.typed:
            self.input_ended = True
            self.typed = END_OF_FILE


def _put(fd: int, data: bytes) -> bytes:
    """Write what fd takes now; what is left. PIPE_BUF bytes do not block what poll(2) called ready."""
    try:
        return data[os.write(fd, data[: select.PIPE_BUF]) :]
    except BlockingIOError:  # our caller may have made it so
        return data
    except OSError:  # a pipe or terminal whose other end was closed, a full disk: no reason to end the program
        return b""
