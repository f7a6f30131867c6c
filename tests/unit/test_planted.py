"""The faults of the doubles can still be planted: each quotes the source as it is."""

from __future__ import annotations

import pytest

from tests.attacks import images, load
from tests.attacks.arena import ATTACKS
from tests.attacks.doubles import Patch
from tests.harness.runtime import REPO

load()
PLANTED = {patch: name for name, attack in ATTACKS.items() for patch in attack.planted}
PLANTED |= dict.fromkeys(images.PLANTED, "images")


@pytest.mark.parametrize("file", sorted({patch.file for patch in PLANTED}))
def test_each_fault_fits_one_place(file: str) -> None:
    """Else the double is not made; `make attacks` would tell after minutes."""
    text = (REPO / file).read_text()
    patches: list[Patch] = [patch for patch in PLANTED if patch.file == file]
    assert patches
    assert {f"{PLANTED[patch]}: {patch.old}": 1 for patch in patches} == {
        f"{PLANTED[patch]}: {patch.old}": text.count(patch.old) for patch in patches
    }
