"""The tables of docs/spec-*.md name only tests that are there, and say of each sentence how it is held."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from tests.harness.runtime import REPO

FILES = ("spec-images.md", "spec-tar.md", "spec-distribution.md")
DONE = {"yes", "more", "refused", "ignored", "other"}
HEAD = ["sentence", "done", "how", "test"]
ROWS = [
    (name, [cell.strip() for cell in line.strip().removeprefix("|").removesuffix("|").split("|")])
    for name in FILES
    for line in (REPO / "docs" / name).read_text().splitlines()
    if line.startswith("| ") and not line.startswith("| sentence |")
]


@cache
def functions_in(file: str) -> set[str]:
    tree = ast.parse((REPO / "tests" / file).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(("name", "row"), ROWS, ids=[f"{name}-{row[0][:50]}" for name, row in ROWS])
def test_each_row_says_how_and_names_tests_that_are_there(name: str, row: list[str]) -> None:
    """A sentence, one of five words, how, and the tests; who does otherwise says why."""
    assert len(row) == len(HEAD), name
    assert row[1] in DONE
    assert row[2] or row[1] in ("yes", "refused")
    named = re.findall(r"`([^`]+)`", row[3])
    assert named
    for test in named:
        file, _, function = test.partition("::")
        assert function in functions_in(file), test


def test_the_tables_are_there() -> None:
    assert {name for name, _ in ROWS} == set(FILES)
    assert len(ROWS) > 80
