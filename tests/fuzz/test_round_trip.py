"""Python's encoder and C's decoder: what one writes the other reads, and a bent plan is refused or read alike."""

from __future__ import annotations

import ctypes
import random
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.plan import steps, wire
from tests.fuzz import EXAMPLES
from tests.harness.runtime import REPO
from tests.unit.test_wire import STEPS


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """cshim/init/decode.c as a library."""
    library = tmp_path_factory.mktemp("decoder") / "decode.so"
    subprocess.run(
        ["gcc", "-std=gnu11", "-O1", "-shared", "-fPIC", "-o", library, REPO / "cshim/init/decode.c"], check=True
    )
    c = ctypes.CDLL(str(library))
    for name in ("plan_first", "step_after", "step_string"):
        getattr(c, name).restype = ctypes.c_void_p
    c.plan_valid.argtypes = [ctypes.c_void_p, ctypes.c_uint64]
    c.plan_first.argtypes = c.step_after.argtypes = [ctypes.c_void_p]
    c.step_string.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p]
    return c


def by_c(c: ctypes.CDLL, data: bytes) -> list[tuple[int, int, list[int], list[bytes]]] | None:
    """What C reads: (kind, index, integers, strings) of each step; None if it refuses."""
    buffer = (ctypes.c_uint64 * (len(data) // 8 + 1))()  # aligned to 8
    ctypes.memmove(buffer, data, len(data))
    if not c.plan_valid(buffer, len(data)):
        return None
    count = wire.HEADER.unpack_from(data)[3]
    at, read = c.plan_first(buffer), []
    for _ in range(count):
        kind, n_ints, n_strs, index, _ = wire.STEP.unpack(ctypes.string_at(at, wire.STEP.size))
        ints = list(struct.unpack(f"<{n_ints}Q", ctypes.string_at(at + wire.STEP.size, 8 * n_ints)))
        strings = []
        for i in range(n_strs):
            length = ctypes.c_uint32()
            strings.append(ctypes.string_at(c.step_string(at, i, ctypes.byref(length)), length.value))
        read.append((kind, index, ints, strings))
        at = c.step_after(at)
    return read


def by_python(planned: tuple[steps.Step, ...]) -> list[tuple[int, int, list[int], list[bytes]]]:
    """The same of the planned themselves."""
    read = []
    for step in planned:
        shape = wire.SHAPES[type(step)]
        strings: list[object] = [getattr(step, name) for name, _ in shape.strings]
        if shape.rest:
            strings += getattr(step, shape.rest)
        read.append(
            (
                wire.NUMBERS[type(step)],
                step.index,
                [int(getattr(step, name)) for name, _ in shape.integers],
                [s if isinstance(s, bytes) else str(s).encode("utf-8", "surrogateescape") for s in strings],
            )
        )
    return read


@given(st.lists(STEPS, max_size=6).map(tuple))
@settings(max_examples=EXAMPLES)
def test_c_reads_what_python_wrote(decoder: ctypes.CDLL, planned: tuple[steps.Step, ...]) -> None:
    assert by_c(decoder, wire.encode(planned)) == by_python(planned)


def bend(decoder: ctypes.CDLL, planned: tuple[steps.Step, ...], seed: int) -> None:
    """Cut, or with one bit changed: C refuses it, or Python reads the same of it."""
    encoded = wire.encode(planned)
    rng = random.Random(seed)
    assert by_c(decoder, encoded[: rng.randrange(len(encoded))]) is None
    bent = bytearray(encoded)
    bent[rng.randrange(len(bent))] ^= 1 << rng.randrange(8)
    read = by_c(decoder, bytes(bent))
    if read is not None:
        booleans = [[is_bool for _, is_bool in wire.SHAPES[steps.KINDS[kind]].integers] for kind, *_ in read]
        plain = [
            (k, i, [int(bool(v)) if b else v for v, b in zip(ints, flags, strict=True)], s)
            for (k, i, ints, s), flags in zip(read, booleans, strict=True)
        ]
        assert by_python(wire.decode(bytes(bent))) == plain


@given(st.lists(STEPS, min_size=1, max_size=3).map(tuple), st.integers(0, 1 << 30))
@settings(max_examples=EXAMPLES)
def test_a_bent_plan(decoder: ctypes.CDLL, planned: tuple[steps.Step, ...], seed: int) -> None:
    bend(decoder, planned, seed)


def test_a_bent_decoder_is_seen(decoder: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's, blind to what has changed: the comparison must tell."""
    planned = (steps.Sysctl("net/a", "1"),)
    monkeypatch.setattr(wire, "decode", lambda data: planned)
    with pytest.raises(AssertionError):
        for seed in range(5000):
            bend(decoder, planned, seed)


def test_a_bent_encoder_is_seen(decoder: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoder whose padding is wrong by one: the comparison must tell."""
    monkeypatch.setattr(
        wire, "_string", lambda data: struct.pack("<I", len(data)) + data + b"\0" * (-(4 + len(data)) % 8)
    )
    planned = (steps.Hostname("abcd"), steps.Hostname("abc"))
    assert by_c(decoder, wire.encode(planned)) != by_python(planned)


def test_decoder_is_the_one_that_is_shipped() -> None:
    """The file under test is a part of init."""
    assert Path(REPO / "cshim/init/decode.c").read_text().count("int plan_valid(") == 1
