"""Numbers that strangers write as text."""

from __future__ import annotations


def decimal(text: str, most: int) -> int | None:
    """0..most from ASCII digits and nothing else; None if it is none, or beyond.

    Python's own int() takes the digits of all scripts, signs, spaces and underscores, and fails at 4300 digits.
    """
    if not (text.isascii() and text.isdecimal()) or len(text) > len(str(most)) + 8:
        return None
    number = int(text)
    return number if number <= most else None
