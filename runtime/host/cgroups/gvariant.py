"""Convert GVariant text, as used in systemd annotations, to D-Bus values (GLib, "GVariant Text Format").

Dictionaries, maybes and byte strings are not supported; no scope property needs them.
"""

from __future__ import annotations

import re
from typing import Any

TOKEN = re.compile(
    r"""\s*(?:
        (?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*") |
        (?P<number>[-+]?(?:0[xX][0-9a-fA-F]+|[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?)) |
        (?P<word>[a-z][a-z0-9]*) |
        (?P<type>@[a-z()]+) |
        (?P<mark>[\[\](),<>])
    )\s*""",
    re.VERBOSE,
)
KEYWORDS = {
    "boolean": "b", "byte": "y", "int16": "n", "uint16": "q", "int32": "i", "uint32": "u", "int64": "x",
    "uint64": "t", "double": "d", "string": "s", "objectpath": "o", "signature": "g",
}  # fmt: skip
RANGES = {
    "y": (0, 255), "n": (-(1 << 15), (1 << 15) - 1), "q": (0, (1 << 16) - 1), "i": (-(1 << 31), (1 << 31) - 1),
    "u": (0, (1 << 32) - 1), "x": (-(1 << 63), (1 << 63) - 1), "t": (0, (1 << 64) - 1),
}  # fmt: skip
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
LONGEST = 4096
DEEPEST = 8


def parse(text: str) -> tuple[str, Any]:
    """Parse one value into (D-Bus signature, value for jeepney).

    Raises:
        ValueError: the text is malformed; the message says how.
    """
    if len(text) > LONGEST:
        raise ValueError(f"it is longer than {LONGEST} characters")
    tokens: list[tuple[str, str]] = []
    at = 0
    while at < len(text):
        match = TOKEN.match(text, at)
        if not match:
            raise ValueError(f"syntax error at {text[at : at + 10]!r}")
        tokens.append((match.lastgroup or "", match[match.lastgroup or 0]))
        at = match.end()
    reader = _Reader(tokens)
    result = reader.value("", 0)
    if reader.at != len(tokens):
        raise ValueError(f"unexpected text after the value: {tokens[reader.at][1]!r}")
    return result


class _Reader:
    """Parses values from a list of (kind, text) tokens."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self.tokens, self.at = tokens, 0

    def next(self) -> tuple[str, str]:
        if self.at == len(self.tokens):
            raise ValueError("unexpected end of text")
        self.at += 1
        return self.tokens[self.at - 1]

    def value(self, wanted: str, depth: int) -> tuple[str, Any]:
        """Parse the next value; `wanted` is its signature if known, else ""."""
        if depth > DEEPEST:
            raise ValueError("it is nested too deeply")
        kind, text = self.next()
        if kind == "word" and text in KEYWORDS:
            return self.value(KEYWORDS[text], depth + 1)
        if kind == "type":
            return self.value(text[1:], depth + 1)
        if kind == "word" and text in ("true", "false"):
            return self._checked("b", text == "true", wanted)
        if kind == "string":
            body = re.sub(r"\\(.)", lambda m: ESCAPES.get(m[1], m[1]), text[1:-1], flags=re.DOTALL)
            return self._checked(wanted if wanted in ("o", "g") else "s", body, wanted)
        if kind == "number":
            return self._number(text, wanted)
        if text == "[":
            return self._array(wanted, depth)
        if text == "(":
            return self._tuple(wanted, depth)
        if text == "<":
            inner = self.value("", depth + 1)
            self._expect(">")
            return self._checked("v", inner, wanted)
        raise ValueError(f"{text!r} is not a value")

    def _number(self, text: str, wanted: str) -> tuple[str, Any]:
        whole = re.fullmatch(r"[-+]?(0[xX][0-9a-fA-F]+|[0-9]+)", text)
        if wanted == "d" or (not wanted and not whole):
            return "d", float(text)
        if not whole:
            raise ValueError(f"{text} is not an integer")
        number = int(text, 16 if "x" in text.lower() else 10)
        signature = wanted or "i"
        low, high = RANGES.get(signature, (1, 0))
        if not low <= number <= high:
            raise ValueError(f"{text} is out of range for type {signature!r}")
        return signature, number

    def _array(self, wanted: str, depth: int) -> tuple[str, Any]:
        if wanted and not wanted.startswith("a"):
            raise ValueError(f"an array is not of type {wanted!r}")
        item = wanted[1:]
        values: list[Any] = []
        while self.tokens[self.at : self.at + 1] != [("mark", "]")]:
            if values:
                self._expect(",")
            item, value = self.value(item, depth + 1)
            values.append(value)
        self.at += 1
        if not item:
            raise ValueError("an empty array needs its type, such as @as []")
        return f"a{item}", values

    def _tuple(self, wanted: str, depth: int) -> tuple[str, Any]:
        signatures: list[str] = []
        values: list[Any] = []
        items = list(wanted[1:-1]) if re.fullmatch(r"\([a-z]*\)", wanted) and "a" not in wanted else []
        while self.tokens[self.at : self.at + 1] != [("mark", ")")]:
            if values:
                self._expect(",")
            signature, value = self.value(items[len(values)] if len(values) < len(items) else "", depth + 1)
            signatures.append(signature)
            values.append(value)
        self.at += 1
        return self._checked(f"({''.join(signatures)})", tuple(values), wanted)

    def _expect(self, mark: str) -> None:
        if self.next() != ("mark", mark):
            raise ValueError(f"missing {mark!r}")

    @staticmethod
    def _checked(signature: str, value: Any, wanted: str) -> tuple[str, Any]:
        if wanted and wanted != signature:
            raise ValueError(f"expected type {wanted!r}, not {signature!r}")
        return signature, value
