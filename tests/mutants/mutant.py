"""What a mutant is, how one is chosen, and which survivors are explained."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault: the bytes from start to end of a file become `new`. line: the text of the line, without its indent."""

    file: str
    number: int
    line: str
    start: int
    end: int
    old: str
    new: str

    @property
    def key(self) -> str:
        """Names the mutant by content, so that it outlives edits elsewhere in the file."""
        return f"{self.file}: {self.line} [{self.old} -> {self.new}]"

    def apply(self, source: bytes) -> bytes:
        return source[: self.start] + self.new.encode() + source[self.end :]


def make(file: str, source: bytes, start: int, end: int, new: str) -> Mutant:
    begin = source.rfind(b"\n", 0, start) + 1
    stop = source.find(b"\n", start)
    line = source[begin : stop if stop >= 0 else len(source)].decode().strip()
    old = " ".join(source[start:end].decode().split())
    return Mutant(file, source.count(b"\n", 0, start) + 1, line, start, end, old, new)


def choose(mutants: Iterable[Mutant], count: int, seed: str) -> list[Mutant]:
    """The `count` mutants that a hash of seed and key puts first: an edit of one line does not change the others' luck."""

    def rank(mutant: Mutant) -> bytes:
        return hashlib.sha256(f"{seed}\n{mutant.key}".encode()).digest()

    unique = {mutant.key: mutant for mutant in mutants}
    return sorted(sorted(unique.values(), key=rank)[:count], key=lambda m: (m.file, m.start))


def explained(path: Path) -> dict[str, str]:
    """Key to reason: a line with the key, then an indented line with the reason; # begins a comment.

    Raises:
        ValueError: a key without a reason, or a reason without a key.
    """
    found: dict[str, str] = {}
    key = ""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith(" ") == (not key):
            raise ValueError(f"{path}:{number}: each key is followed by one indented line with the reason")
        if key:
            found[key] = line.strip()
            key = ""
        else:
            key = line.strip()
    if key:
        raise ValueError(f"{path}: {key} has no reason")
    return found
