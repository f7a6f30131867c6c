"""Faults in C source, found by regular expressions in lines of code."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.mutants.mutant import Mutant, make

SKIPPED = re.compile(
    rb'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|^[ \t]*#(?:\\\n|[^\n])*', re.S | re.M
)
"""Comments, strings, characters and the preprocessor's lines."""

RULES: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"(?<= )<(?= )"), "<="),
    (re.compile(rb"(?<= )<=(?= )"), "<"),
    (re.compile(rb"(?<= )>(?= )"), ">="),
    (re.compile(rb"(?<= )(?<!fd )>=(?= )"), ">"),
    (re.compile(rb"(?<= )==(?= )"), "!="),
    (re.compile(rb"(?<= )!=(?= )"), "=="),
    (re.compile(rb"(?<= )&&(?= )"), "||"),
    (re.compile(rb"(?<= )\|\|(?= )"), "&&"),
    (re.compile(rb"!(?=[\w(*])"), ""),
    (re.compile(rb" \| \(?[A-Z][A-Z0-9]*_\w+\)?(?![\w(])"), ""),
    (re.compile(rb"(?<=[ (])(?!O_RDONLY)[A-Z][A-Z0-9]*_\w+ \| "), ""),
    (re.compile(rb"(?<=^)(\t+)must\([^;]*\);", re.M), ";"),
    (re.compile(rb"(?<=^)(\t+)(?!return|must|if|for|while|else|static)\w+\([^;{}]*\);", re.M), ";"),
)


def mutants(file: str, source: bytes) -> Iterator[Mutant]:
    """All mutants of a file; some may not compile."""
    code = SKIPPED.sub(lambda found: re.sub(rb"[^\n]", b"\0", found[0]), source)
    for pattern, new in RULES:
        for found in pattern.finditer(code):
            start = found.end(1) if pattern.groups else found.start()
            yield make(file, source, start, found.end(), new)
