"""Random input for everything that reads what others wrote. FUZZ_SECONDS says how long each target runs."""

from __future__ import annotations

import os
import time

SECONDS = float(os.environ.get("FUZZ_SECONDS", "3"))
"""For each target. A plain run of the tests is a smoke test; `make fuzz` takes minutes."""

EXAMPLES = max(100, int(SECONDS * 100))
"""For targets that count examples."""

LONG = 200.0
"""Seconds: more than a slow machine takes until something comes of random input, or a planted fault is found."""


def going_on(begin: float, seconds: float, came: object) -> bool:
    """Whether a search that began then goes on: for so many seconds, and while nothing has come of it for more."""
    return time.monotonic() < begin + (seconds if came else max(seconds, LONG))
