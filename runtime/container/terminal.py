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

from runtime.host.files import write_all

CHUNK = 65536


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
        """Copy until the terminal has no other end, or the process is over and its output read."""
        poller = select.poll()
        poller.register(self.master, select.POLLIN)
        poller.register(self.pidfd, select.POLLIN)
        poller.register(0, select.POLLIN)
        poller.register(self.signals.fd, select.POLLIN)
        ended = False
        while True:
            ready = dict(poller.poll(0 if ended else None))
            if self.master in ready:
                if not self._copy(self.master, 1):
                    return
            elif ended:
                return
            if 0 in ready and not self._copy(0, self.master):
                poller.unregister(0)
                os.write(self.master, b"\x04")  # end of file, as a terminal says it
            if self.signals.fd in ready:
                self.signals.pass_on()
            if self.pidfd in ready:
                ended = True

    @staticmethod
    def _copy(source: int, target: int) -> bool:
        try:
            data = os.read(source, CHUNK)
        except OSError as e:
            if e.errno == errno.EIO:  # the last slave of a pty was closed
                return False
            raise
        write_all(target, data)
        return bool(data)
