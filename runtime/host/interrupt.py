"""TERM, HUP and INT while something is made: noted at any moment, obeyed only where it can be taken back whole.

An exception out of a signal handler can come between two statements, such as the one that makes a thing and the one
that remembers to remove it, or in the middle of taking things back. So the handler raises only while we wait.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import NoReturn

from runtime.errors import SteleError

SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class _State:
    """noted: the signal that came, or 0. waiting: it may be obeyed at once. result: what is told of what was made."""

    noted = 0
    waiting = False
    result = ""


def _note(number: int, _: object) -> None:
    _State.noted = number
    if _State.waiting:
        _obey()


def _obey() -> NoReturn:
    name = signal.Signals(_State.noted).name
    _State.noted, _State.waiting = 0, False
    raise SteleError(f"interrupted by {name}{_State.result}")


@contextlib.contextmanager
def interruptible(result: str) -> Iterator[None]:
    """Note these signals, but for those that the caller has us ignore.

    Args:
        result: the end of the error's sentence.
    """
    _State.noted, _State.waiting, _State.result = 0, False, result
    before = {n: signal.signal(n, _note) for n in SIGNALS if signal.getsignal(n) is not signal.SIG_IGN}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def check() -> None:
    """Obey what was noted. Raises SteleError."""
    if _State.noted:
        _obey()


@contextlib.contextmanager
def waiting() -> Iterator[None]:
    """Around a call that may block, and holds nothing that could be lost: what is noted then ends it.

    Raises:
        SteleError: names the signal.
    """
    _State.waiting = True
    try:
        check()
        yield
    finally:
        _State.waiting = False
