"""Parse sizes in Docker's format."""

from __future__ import annotations

import re

from runtime.errors import UsageError

SIZE = re.compile(r"(-?[0-9]{1,19}(?:\.[0-9]{1,19})?) ?([kKmMgGtTpP]?)i?[bB]?", re.ASCII)
INT64_MAX = (1 << 63) - 1
UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}


def size(text: str, name: str) -> int:
    """Parse a size in Docker's format, such as "512m", "1g" or "-1"; units are powers of 1024."""
    match = SIZE.fullmatch(text)
    number = -2
    if match:
        whole, _, part = match[1].partition(".")
        unit = 1024 ** UNITS[match[2].lower()]
        number = int(whole) * unit + int(part or "0") * unit // 10 ** len(part)
    if not -1 <= number <= INT64_MAX:
        raise UsageError(
            f'invalid value "{text[:40]}" for --{name}; use bytes, a size such as 512m, or -1 for no limit'
        )
    return number
