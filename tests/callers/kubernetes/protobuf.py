"""Messages of protobuf (proto3) as dicts, by definitions in its own language: the subset that runtime.proto needs.

A field that is not set has its type's zero in what decode() gives, and None where it is a message. An enum's values are
their names. A generator of code and its runtime library would be two dependencies for these few kinds of fields.

Source: protobuf.dev, "Encoding" and "Language Guide (proto 3)".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
INTEGERS = {"int32": True, "int64": True, "uint32": False, "uint64": False}  # whether it has a sign
ZEROS: dict[str, Any] = {"string": "", "bytes": b"", "bool": False, **dict.fromkeys(INTEGERS, 0)}
BLOCK = re.compile(r"(message|enum) (\w+) \{([^}]*)\}")
FIELD = re.compile(r"(repeated )?(map<string, string>|\w+) (\w+) = (\d+);")
VALUE = re.compile(r"(\w+) = (\d+);")
ENTRY = "map<string, string>"


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message."""

    name: str
    number: int
    type: str
    repeated: bool


def varint(number: int) -> bytes:
    """A number in groups of seven bits, the lowest first; a negative one as 64 bits of two's complement."""
    number &= (1 << 64) - 1
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*groups, number])


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at an offset, and the offset behind it."""
    number = shift = 0
    while True:
        group = data[at]
        number |= (group & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not group & 0x80:
            return number, at


def read_fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The number and raw value of each field: an int for a varint, else bytes."""
    at = 0
    while at < len(data):
        key, at = read_varint(data, at)
        if key & 7 == VARINT:
            number, at = read_varint(data, at)
            yield key >> 3, number
            continue
        if key & 7 == LENGTH:
            length, at = read_varint(data, at)
        else:
            length = {FIXED64: 8, FIXED32: 4}[key & 7]
        assert at + length <= len(data), f"field {key >> 3} is cut off"
        yield key >> 3, data[at : at + length]
        at += length


class Schema:
    """The messages and enums of a .proto text."""

    def __init__(self, text: str) -> None:
        self.messages: dict[str, dict[str, Field]] = {}
        self.enums: dict[str, list[str]] = {}  # the names of 0, 1, 2...
        for kind, name, body in BLOCK.findall(re.sub(r"//.*", "", text)):
            if kind == "enum":
                self.enums[name] = [value for value, _ in sorted(VALUE.findall(body), key=lambda each: int(each[1]))]
            else:
                fields = (Field(each[2], int(each[3]), each[1], bool(each[0])) for each in FIELD.findall(body))
                self.messages[name] = {field.name: field for field in fields}
        entry = (Field("key", 1, "string", repeated=False), Field("value", 2, "string", repeated=False))
        self.messages[ENTRY] = {field.name: field for field in entry}

    def encode(self, message: str, values: Mapping[str, Any]) -> bytes:
        """A message's bytes. Raises: KeyError where it has no such field."""
        return b"".join(self._encode_field(self.messages[message][name], value) for name, value in values.items())

    def decode(self, message: str, data: bytes) -> dict[str, Any]:
        """A message's fields, those that the definitions have."""
        fields = {field.number: field for field in self.messages[message].values()}
        values = {field.name: self._zero(field) for field in fields.values()}
        for number, raw in read_fields(data):
            if not (field := fields.get(number)):
                continue
            if field.type == ENTRY:
                entry = self._decode_value(field, raw)
                values[field.name][entry["key"]] = entry["value"]
            elif field.repeated:
                values[field.name].append(self._decode_value(field, raw))
            else:
                values[field.name] = self._decode_value(field, raw)
        return values

    def _encode_field(self, field: Field, value: Any) -> bytes:
        if field.type == ENTRY:
            values = [{"key": key, "value": text} for key, text in value.items()]
        else:
            values = value if field.repeated else [value]
        return b"".join(self._encode_value(field, each) for each in values)

    def _encode_value(self, field: Field, value: Any) -> bytes:
        if field.type in self.enums:
            value = self.enums[field.type].index(value)
        elif field.type == "string":
            value = value.encode()
        elif field.type in self.messages:
            value = self.encode(field.type, value)
        if isinstance(value, bytes):
            return varint(field.number << 3 | LENGTH) + varint(len(value)) + value
        # Also of a repeated field, one by one: a reader has to take that form as well as the packed one.
        return varint(field.number << 3 | VARINT) + varint(int(value))

    def _zero(self, field: Field) -> Any:
        if field.type == ENTRY:
            return {}
        if field.repeated:
            return []
        return self.enums[field.type][0] if field.type in self.enums else ZEROS.get(field.type)

    def _decode_value(self, field: Field, raw: int | bytes) -> Any:
        if isinstance(raw, int):
            if field.type in self.enums:
                return self.enums[field.type][raw]
            if field.type == "bool":
                return bool(raw)
            return raw - (1 << 64) if INTEGERS[field.type] and raw >> 63 else raw
        if field.type in self.messages:
            return self.decode(field.type, raw)
        return raw.decode() if field.type == "string" else raw
