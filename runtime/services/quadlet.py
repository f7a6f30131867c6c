"""Read Quadlet files: the syntax of systemd.syntax(7), with every assignment's file and line kept for errors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from runtime.errors import SteleError

SIZE_MAX = 1 << 20
"""Bytes of one file; systemd refuses larger ones as well."""
ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "s": " "}


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong in a file of the services. line: 0 for the whole file; key: "" if it concerns none."""

    file: str
    line: int
    key: str
    problem: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.key}= {self.problem}" if self.key else f"{where}: {self.problem}"


class ServiceFaults(SteleError):
    """All faults of all files, one a line."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Entry:
    """One assignment KEY=VALUE."""

    key: str
    value: str
    file: str
    line: int

    def fault(self, problem: str) -> Fault:
        return Fault(self.file, self.line, self.key, problem)


@dataclass(slots=True)
class Sections:
    """The assignments of a file and its drop-ins, by section, in the order in which systemd reads them."""

    entries: dict[str, list[Entry]] = field(default_factory=dict)

    def of(self, section: str) -> list[Entry]:
        return self.entries.get(section, [])

    def all(self, section: str, key: str) -> list[Entry]:
        """Return the values of a repeatable key; an empty assignment drops those before it."""
        found: list[Entry] = []
        for entry in self.of(section):
            if entry.key == key and entry.value:
                found.append(entry)
            elif entry.key == key:
                found.clear()
        return found

    def last(self, section: str, key: str) -> Entry | None:
        """Return the assignment that counts for a key with one value; None if it is unset or set to nothing."""
        found = self.all(section, key)
        return found[-1] if found else None


def parse(text: str, file: str, into: Sections, faults: list[Fault]) -> None:
    """Add a file's assignments; what cannot be parsed is added to `faults`."""
    section = ""
    for number, line in _logical_lines(text):
        if line.startswith("["):
            if not line.endswith("]") or len(line) < 3:
                faults.append(Fault(file, number, "", f'"{line}" is not a section header; write [Container]'))
            section = line[1:-1]
            into.entries.setdefault(section, [])
            continue
        key, equals, value = line.partition("=")
        key = key.strip()
        if not equals or not key:
            faults.append(Fault(file, number, "", f'"{line}" is not an assignment; write KEY=VALUE'))
        elif not section:
            faults.append(Fault(file, number, key, "is before the first section; write [Container] above it"))
        else:
            into.entries[section].append(Entry(key, value.strip(), file, number))


def decode(data: bytes, file: str, faults: list[Fault]) -> str:
    """Return a file's text; "" with a fault if it is too large, not UTF-8, or two readers could see different lines."""
    problem = ""
    if len(data) > SIZE_MAX:
        problem = f"is larger than {SIZE_MAX >> 20} MiB; split it"
    elif b"\0" in data:
        problem = "contains a NUL byte; remove it"
    elif b"\r" in data.replace(b"\r\n", b"\n"):
        problem = "contains a carriage return inside a line, which ends the line for systemd; remove it"
    else:
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as e:
            problem = f"is not UTF-8 at byte {e.start}; correct its encoding"
    faults.append(Fault(file, 0, "", problem))
    return ""


def words(entry: Entry) -> list[str]:
    """Split a value into words as systemd does: quotes group, and C escapes stand for characters.

    Raises:
        ValueError: a quote is not closed, or an escape is unknown; the text says which.
    """
    found: list[str] = []
    current: str | None = None
    quote = ""
    letters = iter(entry.value)
    for letter in letters:
        if letter == "\\":
            current = (current or "") + _escaped(letters)
        elif quote:
            if letter == quote:
                quote = ""
            else:
                current = (current or "") + letter
        elif letter in "\"'":
            quote, current = letter, current or ""
        elif letter.isspace():
            if current is not None:
                found.append(current)
            current = None
        else:
            current = (current or "") + letter
    if quote:
        raise ValueError(f"has a quote {quote} that is not closed; close it")
    return [*found, current] if current is not None else found


def _escaped(letters: Iterator[str]) -> str:
    letter = next(letters, "")
    digits, base = {"x": (2, 16), "u": (4, 16), "U": (8, 16)}.get(letter, (0, 0))
    try:
        if digits:
            return chr(int("".join(next(letters, "") for _ in range(digits)), base))
        if letter in "01234567" and letter:
            return chr(int(letter + next(letters, "") + next(letters, ""), 8))
    except (ValueError, OverflowError):
        raise ValueError(f'has a malformed escape "\\{letter}"; write \\xHH with two hexadecimal digits') from None
    if letter in ESCAPES:
        return ESCAPES[letter]
    if letter in ("\\", '"', "'"):
        return letter
    return "\\" + letter  # systemd keeps an unknown escape as it is


def quoted(word: str) -> str:
    """Return a word as it has to stand in a unit file to be read back as the same word."""
    if word and all(c.isalnum() or c in "-_./:=,@%+$" for c in word):
        return word
    return '"' + "".join(_escape(c) for c in word) + '"'


def _escape(letter: str) -> str:
    if letter in '"\\':
        return "\\" + letter
    if letter < " ":
        return f"\\x{ord(letter):02x}"
    return letter


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield each line with its number: comments and blank lines left out, continued lines joined by a space."""
    joined, start = "", 0
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip()
        if line.startswith(("#", ";")) or (not line and not joined):
            continue
        start = start or number
        if line.endswith("\\"):
            joined += line[:-1] + " "
            continue
        if whole := (joined + line).strip():
            yield start, whole
        joined, start = "", 0
    if joined.strip():
        yield start, joined.strip()
