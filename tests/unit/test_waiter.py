"""The waiter's table: what Python writes is what the C code reads."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

from runtime.errors import SteleError
from runtime.plan import waiter
from runtime.plan.waiter import Entry, encode, fds

HEADER = Path(__file__).parents[2] / "cshim/waiter/table.h"


def test_the_two_languages_agree() -> None:
    """cshim/waiter/table.h has the same numbers."""
    text = HEADER.read_text()
    kinds = {name: int(number) for name, number in re.findall(r"\bX\((\w+), (\d+), [01], [01]\)", text)}
    assert kinds and kinds == {name: getattr(waiter, name) for name in kinds}
    for name, here in (("TABLE_MAGIC", waiter.MAGIC), ("TABLE_ABI", waiter.ABI), ("TABLE_MAX", waiter.TABLE_MAX)):
        found = re.search(rf"#define {name} (\w+?)u?\s", text)
        assert found and int(found[1], 0) == here
    found = re.search(r"#define FD_FIRST (\d+)", text)
    assert found and int(found[1]) == waiter.FD_FIRST


def test_fds_are_numbered_in_order() -> None:
    entries = [Entry(waiter.CHILD, number=7), Entry(waiter.STARTER, 40), Entry(waiter.DIRECTORY, 9)]
    assert fds(entries) == [40, 9]
    table = encode(entries)
    assert waiter.HEADER.unpack_from(table) == (waiter.MAGIC, waiter.ABI, len(table), 3)
    size = waiter.ENTRY.size + 8
    found = [waiter.ENTRY.unpack_from(table, waiter.HEADER.size + i * size) for i in range(3)]
    assert found == [(1, -1, size, 7), (2, 4, size, 0), (3, 5, size, 0)]


@pytest.mark.parametrize("text", ["", "a", "1234567", "12345678", "é" * 10])
def test_a_text_ends_with_a_nul_and_at_a_multiple_of_8(text: str) -> None:
    table = encode([Entry(waiter.CHILD, number=1, text=text)])
    body = table[waiter.HEADER.size + waiter.ENTRY.size :]
    assert body.rstrip(b"\0") == text.encode() and len(body) % 8 == 0 and 1 <= len(body) - len(text.encode()) <= 8
    assert struct.unpack_from("<I", table, 8) == (len(table),)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(SteleError, match="NUL"):
        encode([Entry(waiter.CHILD, text="a\0b")])
    with pytest.raises(SteleError, match="more than 65536"):
        encode([Entry(waiter.CHILD, text="a" * 65536)])
