"""The plan's bytes: decode(encode(p)) == p, and both ends agree on every step."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import SteleError
from runtime.plan import steps, wire
from tests.harness.runtime import REPO

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)


def step_strategy(kind: type[steps.Step]) -> st.SearchStrategy[steps.Step]:
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
def test_decoding_gives_back_what_was_encoded(planned: tuple[steps.Step, ...]) -> None:
    assert wire.decode(wire.encode(planned)) == planned


@given(st.lists(STEPS, min_size=1, max_size=3).map(tuple), st.data())
@settings(max_examples=200)
def test_a_truncated_plan_is_refused(planned: tuple[steps.Step, ...], data: st.DataObject) -> None:
    encoded = wire.encode(planned)
    cut = data.draw(st.integers(wire.HEADER.size, len(encoded) - 1))
    with pytest.raises((ValueError, KeyError)):
        wire.decode(encoded[:cut])


def test_c_has_the_steps_of_python() -> None:
    """cshim/steps.h is what its generator makes of the steps now."""
    done = subprocess.run(
        [sys.executable, REPO / "build-aux/generate_steps.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("kind", wire.NUMBERS, ids=lambda kind: kind.__name__)
@given(st.data())
@settings(max_examples=3)
def test_templates_name_fields_of_their_step(kind: type[steps.Step], data: st.DataObject) -> None:
    """`says` needs the step's fields only, `fails` also what init reported; a failure without its reason helps nobody."""
    step = data.draw(step_strategy(kind))
    step.says.format_map(steps.fields_of(step))
    step.fails.format_map({**steps.fields_of(step), "detail": "", "why": ""})
    assert not step.fails or "{why}" in step.fails


def test_a_number_serves_one_step() -> None:
    """The error names both steps."""

    class Other(steps.Step):
        pass

    with pytest.raises(ValueError, match=r"step 1 is Sync; give Other another number"):
        steps.step(1)(Other)


def test_a_nul_in_a_string_is_refused_with_its_text() -> None:
    with pytest.raises(SteleError, match=r"'/da\\x00ta' holds a NUL"):
        wire.encode((steps.MaskPath("/da\0ta", ()),))


def test_a_plan_that_is_too_large_says_what_to_shorten() -> None:
    with pytest.raises(SteleError, match="shorten args, env or mounts"):
        wire.encode((steps.Execute(1, 0, "", ("x" * wire.MAX_PLAN,)),))
