"""How much work something is, whatever the machine."""

from __future__ import annotations

import sys
from collections.abc import Callable


def calls(function: Callable[..., object], *arguments: object) -> int:
    """How many functions are called meanwhile."""
    count = 0

    def called(frame: object, event: str, value: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(called)
    try:
        function(*arguments)
    finally:
        sys.setprofile(None)
    return count
