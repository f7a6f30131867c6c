"""The waiter's table: the fds of the process that stays beside a container, and what it is to do (cshim/waiter/table.h).

Layout, little-endian, everything aligned to 8 bytes:

    header  u32 magic, u32 ABI, u32 total length, u32 number of entries
    entry   u16 kind, i16 fd or -1, u32 length of the entry, u64 number, text, one NUL, padding to 8
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from runtime.errors import SteleError

MAGIC = 0x49415753
ABI = 1
HEADER = struct.Struct("<IIII")
ENTRY = struct.Struct("<HhIQ")
TABLE_MAX = 65536
FD_FIRST = 3
"""The fd of the table itself; those of its entries follow, in the table's order."""

CHILD = 1
STARTER = 2
DIRECTORY = 3
NULL_DEVICE = 4
MEMORY = 5
OUTPUT = 6
LOG = 7
LOG_FILES = 8
JOURNAL = 9
FIELDS = 10
ABOVE = 11


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. fd: the stele process's, which the waiter gets under another number; -1 for none."""

    kind: int
    fd: int = -1
    number: int = 0
    text: str = ""


def fds(entries: Sequence[Entry]) -> list[int]:
    """The fds that the waiter gets behind its table, in the order of their numbers there."""
    return [entry.fd for entry in entries if entry.fd >= 0]


def encode(entries: Sequence[Entry]) -> bytes:
    """Encode the table, with the fds as the waiter will have them.

    Raises:
        SteleError: a text contains a NUL, or the table is larger than TABLE_MAX.
    """
    parts = [b""]
    fd = FD_FIRST
    for entry in entries:
        text = entry.text.encode("utf-8", "surrogateescape")
        if b"\0" in text:
            raise SteleError(f"{entry.text[:80]!a} holds a NUL character; remove it")
        body = text + b"\0" * (8 - len(text) % 8)
        fd += entry.fd >= 0
        own = fd if entry.fd >= 0 else -1
        parts.append(ENTRY.pack(entry.kind, own, ENTRY.size + len(body), entry.number) + body)
    total = HEADER.size + sum(map(len, parts))
    if total > TABLE_MAX:
        raise SteleError(f"the waiter's table would have {total} bytes, more than {TABLE_MAX}; shorten its texts")
    parts[0] = HEADER.pack(MAGIC, ABI, total, len(entries))
    return b"".join(parts)
