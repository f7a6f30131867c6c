"""The plan's bytes: decode(encode(p)) == p, and both ends agree on every step."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import SteleError
from runtime.plan import model, wire

HEADER = Path(__file__).parents[2] / "cshim" / "plan.h"
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)


def step_strategy(kind: type[model.Step]) -> st.SearchStrategy[model.Step]:
    shape = wire.SHAPES[kind]
    fields: dict[str, st.SearchStrategy[object]] = {
        name: st.booleans() if is_bool else st.integers(0, 2**64 - 1) for name, is_bool in shape.integers
    }
    fields |= {name: st.binary(max_size=40) if is_bytes else TEXT for name, is_bytes in shape.strings}
    if shape.rest:
        fields[shape.rest] = st.lists(TEXT, max_size=5).map(tuple)
    return st.builds(kind, index=st.integers(0, 2**32 - 1), **fields)


STEPS = st.one_of([step_strategy(kind) for kind in wire.NUMBERS])


@given(st.lists(STEPS, max_size=8).map(tuple))
@settings(max_examples=300)
def test_decoding_gives_back_what_was_encoded(steps: tuple[model.Step, ...]) -> None:
    assert wire.decode(wire.encode(steps)) == steps


@given(st.lists(STEPS, min_size=1, max_size=3).map(tuple), st.data())
@settings(max_examples=200)
def test_a_truncated_plan_is_refused(steps: tuple[model.Step, ...], data: st.DataObject) -> None:
    encoded = wire.encode(steps)
    cut = data.draw(st.integers(wire.HEADER.size, len(encoded) - 1))
    with pytest.raises((ValueError, KeyError)):
        wire.decode(encoded[:cut])


def test_c_and_python_agree_on_every_step() -> None:
    """cshim/plan.h lists the same numbers, names and shapes as wire.py."""
    text = HEADER.read_text()
    rows = re.findall(r"X\((\w+), (\d+), (\d+), (\d+), ([01]), (\d+)\)", text)
    in_c = {int(n): (name, int(i), int(s), bool(int(rest)), int(b)) for name, n, i, s, rest, b in rows}
    in_python = {}
    for number, kind in wire.KINDS.items():
        shape = wire.SHAPES[kind]
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).upper()
        binary = sum(1 << i for i, (_, is_bytes) in enumerate(shape.strings) if is_bytes)
        in_python[number] = (name, len(shape.integers), len(shape.strings), bool(shape.rest), binary)
    assert in_c == in_python
    assert int(re.search(r"PLAN_ABI (\d+)u", text)[1]) == wire.ABI  # type: ignore[index]
    assert eval(re.search(r"PLAN_MAX \((.+)\)", text)[1].replace("u", "")) == wire.MAX_PLAN  # type: ignore[index] # noqa: S307


def test_a_nul_in_a_string_is_refused_with_its_text() -> None:
    with pytest.raises(SteleError, match=r"'/da\\x00ta' holds a NUL"):
        wire.encode((model.MaskPath("/da\0ta", ()),))


def test_a_plan_that_is_too_large_says_what_to_shorten() -> None:
    with pytest.raises(SteleError, match="shorten args, env or mounts"):
        wire.encode((model.Execute(1, 0, "", ("x" * wire.MAX_PLAN,)),))
