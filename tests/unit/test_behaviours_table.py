"""docs/behaviours.md: each row says whether the behaviour holds, why not if it does not, and names tests that are there."""

from __future__ import annotations

import ast
import re

import pytest

from tests.harness.runtime import REPO

ROWS = [
    [cell.strip() for cell in line[1:-1].split("|")]
    for line in (REPO / "docs/behaviours.md").read_text().splitlines()
    if line.startswith("| ") and not line.startswith(("| behaviour", "|---"))
]


def test_there_are_many() -> None:
    assert len(ROWS) > 100


@pytest.mark.parametrize("row", ROWS, ids=[row[0].replace("`", "")[:60] for row in ROWS])
def test_each_row(row: list[str]) -> None:
    behaviour, source, holds, how, tests = row
    assert behaviour and source
    assert holds in ("yes", "no", "differs")
    assert holds == "yes" or how, "the reason is missing"
    named = re.findall(r"`([^`]+)`", tests)
    assert named or (holds != "yes" and tests == "-")
    for name in named:
        path, _, function = name.partition("::")
        tree = ast.parse((REPO / "tests" / path).read_text())
        assert not function or function in {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}, name
