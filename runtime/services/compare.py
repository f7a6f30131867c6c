"""Compare generations, one line for each thing that differs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runtime.services.switch import Content, change


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs. what: "added", "removed", "image", "digest", "options", "unit"."""

    service: str
    what: str
    old: str
    new: str

    def __str__(self) -> str:
        if self.what in ("added", "removed"):
            return f"{self.service}: {self.what} ({self.new or self.old})"
        return f"{self.service}: {self.what}: {self.old or 'none'} -> {self.new or 'none'}"


def compare(old: Content | None, new: Content) -> list[Difference]:
    """Return the differences, in order of the services' names."""
    found = change(old, new)
    before: Mapping[str, Mapping[str, Any]] = old.services if old else {}
    lines = [Difference(name, "added", "", new.services[name]["image"]) for name in found.added]
    lines += [Difference(name, "removed", before[name]["image"], "") for name in found.removed]
    for name in found.changed:
        lines += _changed(name, before[name], new.services[name])
    return sorted(lines, key=lambda line: line.service)


def _changed(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
    lines = [Difference(name, key, old[key], new[key]) for key in ("image", "digest") if old[key] != new[key]]
    before, after = (_options(entry) for entry in (old, new))
    gone, more = _without(before, after), _without(after, before)
    if gone or more:
        lines.append(Difference(name, "options", " ".join(gone), " ".join(more)))
    return lines or [Difference(name, "unit", old["unit"][:12], new["unit"][:12])]


def _options(entry: Mapping[str, Any]) -> list[str]:
    return [word for word in entry["command"] if word != entry["digest"]]


def _without(words: list[str], others: list[str]) -> list[str]:
    """Return the words that are not among the others, counting repetitions."""
    left = Counter(others)
    found = []
    for word in words:
        left[word] -= 1
        if left[word] < 0:
            found.append(word)
    return found
