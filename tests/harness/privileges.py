"""Rights that a test takes from the processes it starts."""

from __future__ import annotations

from collections.abc import Callable

import prctl


def without(*capabilities: str) -> Callable[[], None]:
    """A preexec_fn: the program that follows cannot have these capabilities ("SYS_RESOURCE"), though it is root's."""
    numbers = [getattr(prctl, f"CAP_{name}") for name in capabilities]

    def drop() -> None:
        prctl.capbset.drop(*numbers)
        prctl.cap_inheritable.drop(*numbers)

    return drop
