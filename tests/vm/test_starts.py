"""The snapshot on another kernel and another processor than it was made on."""

from __future__ import annotations

import os

from tests.vm.guest import Guest

# Four commands a round; 2500 of them are the storm of ten thousand.
ROUNDS = int(os.environ.get("STELE_START_ROUNDS", "60"))


def test_many_starts_end_as_the_first_did(guest: Guest) -> None:
    """Four commands in turn, four rounds at a time: each says what it said first, and none ends by a signal."""
    script = """
        round() { stele --version; echo $?; stele list; echo $?; stele state none 2>&1; echo $?; stele --help >/dev/null; }
        first=$(round)
        for i in $(seq "$1"); do
            for j in 1 2 3 4; do { [ "$(round)" = "$first" ] && echo same; } & done
            wait
        done
    """
    said = guest.ok("sh", "-c", script, "sh", str(ROUNDS // 4), timeout=300 + ROUNDS)
    assert said.split() == ["same"] * ROUNDS
