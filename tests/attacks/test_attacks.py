"""Every attack against stele, which must hold, and against its double, which must not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks import images, load
from tests.attacks.arena import ATTACKS, BROKEN, HELD, REFUSED, Arena, arena, programs
from tests.attacks.doubles import build

load()
pytestmark = pytest.mark.usefixtures("cgroup2_root")
ROUNDS = 15
"""Of each race; `python -m tests.attacks` runs as many as are written at it."""
CLASSES = {"A": 9, "B": 16, "C": 17, "D": 14, "G": 14}
"""How many classes of faults the sections of the catalogue have: the runtime, mounts, privileges, images, stele 0.1.0."""
UNTIL_LOST = 500
"""Rounds that a double has: a race ends with the first that is lost."""


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Arena]:
    """Where stele is attacked."""
    with arena(programs("stele"), tmp_path / "a", rounds=ROUNDS) as made:
        yield made


def test_every_class_is_attacked() -> None:
    """Further attacks of a class have letters behind its number."""
    attacked = {re.match(r"[A-G]\d+", name)[0] for name in (*ATTACKS, *(row.id for row in images.ROWS))}  # type: ignore[index]
    assert {f"{letter}{n}" for letter, last in CLASSES.items() for n in range(1, last + 1)} - attacked == set()


@pytest.mark.parametrize("name", ATTACKS)
def test_stele_holds(name: str, ground: Arena) -> None:
    """The attack was made, and got nothing."""
    outcome = ATTACKS[name].run(ground)
    assert outcome.verdict in (HELD, REFUSED), outcome


@pytest.mark.parametrize("name", ATTACKS)
def test_its_double_does_not(name: str, tmp_path: Path) -> None:
    """With the fault planted, the attack succeeds: so it can fail."""
    double = build(ATTACKS[name].planted)
    with arena([str(double)], tmp_path / "a", rounds=UNTIL_LOST) as ground:
        outcome = ATTACKS[name].run(ground)
    assert outcome.verdict == BROKEN, outcome


def test_the_double_that_reads_images_does_not_hold() -> None:
    """Each row's tests turn red by that row's fault. That stele holds is what these tests say by themselves."""
    held = [row.id for row, outcome in images.outcomes(build(images.PLANTED).parent) if outcome.verdict != BROKEN]
    assert held == []
