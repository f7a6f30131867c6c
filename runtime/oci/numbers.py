"""Strict parsing of numbers and names from untrusted text."""

from __future__ import annotations


def decimal(text: str, most: int) -> int | None:
    """Parse 0..most from ASCII digits only; None if malformed or out of range.

    int() would accept digits of all scripts, signs, spaces and underscores, and raises beyond 4300 digits.
    """
    if not (text.isascii() and text.isdecimal()) or len(text) > len(str(most)) + 8:
        return None
    number = int(text)
    return number if number <= most else None


def ascii_upper(text: str) -> str:
    """The letters of ASCII in upper case; Python's own upper() makes some of other scripts into those."""
    return text.upper() if text.isascii() else text
