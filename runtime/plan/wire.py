"""Encode plans as bytes for init, and decode them for `stele plan`.

Layout, little-endian, everything aligned to 8 bytes (cshim/init/decode.c is the other end):

    header  u32 magic "STEL", u32 ABI, u32 total length, u32 number of steps
    step    u16 kind, u16 number of integers, u32 number of strings, u32 index, u32 length of the step
            u64 integers..., then for each string u32 length, its bytes, one NUL, padding to 8

Law: `decode(encode(steps)) == steps`.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Sequence
from typing import Any

from runtime.errors import SteleError
from runtime.plan import steps

MAGIC = 0x4C455453
ABI = 1
HEADER = struct.Struct("<IIII")
STEP = struct.Struct("<HHIII")
REPORT = struct.Struct("<IIi244s")
TIMING = struct.Struct("<QQQ")
"""The detail of a Trace report: start and end in ns of CLOCK_REALTIME (end is 0 for Execute), and the step's kind. The
report's index is the step's position in the plan, from 0."""
MAX_PLAN = 8 << 20
"""Bytes; init refuses larger plans."""

NUMBERS = {kind: number for number, kind in steps.KINDS.items()}


@dataclasses.dataclass(frozen=True, slots=True)
class Shape:
    """How a step's fields are encoded: its integers, its strings, and the trailing list if it has one."""

    integers: tuple[tuple[str, bool], ...]  # (name, is a bool)
    strings: tuple[tuple[str, bool], ...]  # (name, is bytes)
    rest: str | None


def _shape(kind: type[steps.Step]) -> Shape:
    integers: list[tuple[str, bool]] = []
    strings: list[tuple[str, bool]] = []
    rest = None
    for f in dataclasses.fields(kind):
        if f.name == "index":
            continue
        if f.type in ("int", "bool"):
            integers.append((f.name, f.type == "bool"))
        elif f.type in ("str", "bytes"):
            strings.append((f.name, f.type == "bytes"))
        else:
            rest = f.name
    return Shape(tuple(integers), tuple(strings), rest)


SHAPES = {kind: _shape(kind) for kind in NUMBERS}


def _string(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data + b"\0" * (8 - (4 + len(data)) % 8)


def _text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogateescape")
    if b"\0" in data:
        raise SteleError(f"{value[:80]!a} holds a NUL character; no path or string of the kernel can: remove it")
    return data


def encode(planned: Sequence[steps.Step]) -> bytes:
    """Encode the steps of a plan.

    Raises:
        SteleError: a string contains a NUL, or the plan is larger than MAX_PLAN.
    """
    parts = [b""]
    for step in planned:
        kind = type(step)
        shape = SHAPES[kind]
        body = b"".join(
            [struct.pack(f"<{len(shape.integers)}Q", *(int(getattr(step, name)) for name, _ in shape.integers))]
            + [
                _string(getattr(step, name) if is_bytes else _text(getattr(step, name)))
                for name, is_bytes in shape.strings
            ]
            + ([_string(_text(item)) for item in getattr(step, shape.rest)] if shape.rest else [])
        )
        n_strings = len(shape.strings) + (len(getattr(step, shape.rest)) if shape.rest else 0)
        index: int = step.index
        parts.append(STEP.pack(NUMBERS[kind], len(shape.integers), n_strings, index, STEP.size + len(body)) + body)
    total = HEADER.size + sum(map(len, parts))
    if total > MAX_PLAN:
        raise SteleError(f"the plan is {total} bytes, more than {MAX_PLAN}; shorten args, env or mounts")
    parts[0] = HEADER.pack(MAGIC, ABI, total, len(planned))
    return b"".join(parts)


def decode(data: bytes) -> tuple[steps.Step, ...]:
    """Decode the result of `encode`.

    Raises:
        ValueError: the bytes are not a plan of this ABI.
    """
    magic, abi, total, count = HEADER.unpack_from(data)
    if (magic, abi, total) != (MAGIC, ABI, len(data)):
        raise ValueError("not a plan of this version")
    decoded = []
    offset = HEADER.size
    for _ in range(count):
        step, offset = _decode_step(data, offset)
        decoded.append(step)
    if offset != total:
        raise ValueError("bytes behind the last step")
    return tuple(decoded)


def _decode_step(data: bytes, offset: int) -> tuple[steps.Step, int]:
    number, n_integers, n_strings, index, length = STEP.unpack_from(data, offset)
    kind = steps.KINDS[number]
    shape = SHAPES[kind]
    end = offset + length
    at = offset + STEP.size
    integers = struct.unpack_from(f"<{n_integers}Q", data, at)
    at += 8 * n_integers
    raw = []
    for _ in range(n_strings):
        (size,) = struct.unpack_from("<I", data, at)
        raw.append(data[at + 4 : at + 4 + size])
        at += 4 + size + (8 - (4 + size) % 8)
    if at != end or n_integers != len(shape.integers) or n_strings < len(shape.strings):
        raise ValueError(f"step {kind.__name__} is malformed")
    values: dict[str, Any] = {
        name: bool(value) if is_bool else value for (name, is_bool), value in zip(shape.integers, integers, strict=True)
    }
    for (name, is_bytes), value in zip(shape.strings, raw, strict=False):
        values[name] = value if is_bytes else value.decode("utf-8", "surrogateescape")
    if shape.rest:
        values[shape.rest] = tuple(v.decode("utf-8", "surrogateescape") for v in raw[len(shape.strings) :])
    values["index"] = index
    return kind(**values), end
