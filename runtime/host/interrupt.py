"""Defer TERM, HUP and INT during creation: record them at any time, act on them only where rollback is complete.

An exception from a signal handler can strike between creating an object and registering its cleanup, or in the middle
of a rollback. So the handler raises only while we wait.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import NoReturn

from runtime.errors import SteleError

SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class _State:
    """noted: the pending signal, or 0. waiting: the handler may raise. result: the end of the error message."""

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
    """Defer these signals, except those that are ignored on entry.

    Args:
        result: the end of the error message.
    """
    _State.noted, _State.waiting, _State.result = 0, False, result
    before = {n: signal.signal(n, _note) for n in SIGNALS if signal.getsignal(n) is not signal.SIG_IGN}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def check() -> None:
    """Raise SteleError if a signal is pending."""
    if _State.noted:
        _obey()


@contextlib.contextmanager
def waiting() -> Iterator[None]:
    """Let signals interrupt a call that may block and holds nothing that could leak.

    Raises:
        SteleError: names the signal.
    """
    _State.waiting = True
    try:
        check()
        yield
    finally:
        _State.waiting = False
