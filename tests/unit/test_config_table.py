"""docs/config-fields.md has every field of the schema, and only tests that are there."""

from __future__ import annotations

import ast
import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness.runtime import REPO

SCHEMAS = REPO / "runtime/oci/schema"
DONE = {"yes", "host", "refused", "ignored"}
ROWS = [
    [cell.strip() for cell in line.strip("| ").split(" | ")]
    for line in (REPO / "docs/config-fields.md").read_text().splitlines()
    if line.startswith("| `")
]


def load(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((SCHEMAS / name).read_text())
    return schema


def resolved(node: dict[str, Any], document: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a $ref means, and the document it is in."""
    while "$ref" in node:
        file, _, path = node["$ref"].partition("#")
        document = load(file.rpartition("/")[2]) if file else document
        node = document
        for part in filter(None, path.split("/")):
            node = node[part]
    return node, document


def fields(node: dict[str, Any], path: str, document: dict[str, Any]) -> Iterator[str]:
    """The paths of all fields that hold no others; an object without a schema of its own is one."""
    node, document = resolved(node, document)
    for name, child in (node.get("properties") or {}).items():
        yield from fields(child, f"{path}.{name}" if path else name, document)
    if node.get("properties"):
        return
    for key, mark in (("items", "[]"), ("additionalProperties", ".*")):
        child = node.get(key)
        if isinstance(child, dict) and resolved(child, document)[0].get("properties"):
            yield from fields(child, path + mark, document)
            return
    yield path


def written(cell: str) -> list[str]:
    """The fields of a row: names in backquotes, {a,b} meaning either."""
    found = []
    for name in re.findall(r"`([^`]+)`", cell):
        parts = [part.strip("{}").split(",") for part in re.split(r"(\{[^}]*\})", name)]
        found += ["".join(choice) for choice in itertools.product(*parts)]
    return found


def test_every_field_is_in_the_table() -> None:
    config = load("config.json")
    table = [field for row in ROWS for field in written(row[0])]
    wanted = list(fields(config, "", config))
    assert len(wanted) > 150
    assert sorted(set(wanted) - set(table)) == []
    assert sorted(set(table) - set(wanted)) == []
    timed = [field for field in table if table.count(field) > 1]
    assert timed == []


@pytest.mark.parametrize("row", ROWS, ids=[row[0].replace("`", "")[:60] for row in ROWS])
def test_each_row_says_how_and_names_tests_that_are_there(row: list[str]) -> None:
    assert len(row) == 4
    assert row[1] in DONE
    tests = written(row[3])
    assert tests
    for test in tests:
        file, _, name = test.partition("::")
        tree = ast.parse((REPO / "tests" / file).read_text())
        assert name in {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}, test
