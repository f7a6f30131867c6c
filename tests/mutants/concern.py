"""Which tests concern a file: unit tests by what they import, and for the rest a table of quick tests on the kernel."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

KERNEL: tuple[tuple[str, str], ...] = (
    (
        "cshim/init/",
        "tests/kernel/test_fields_process.py tests/kernel/test_fields_mounts.py tests/kernel/test_hooks.py",
    ),
    ("cshim/unpack.c", "tests/kernel/test_layers.py tests/kernel/test_unpack_confined.py"),
    ("cshim/tar", "tests/unit/test_tar.py tests/kernel/test_layers.py"),
    ("cshim/stream.c", "tests/unit/test_tar.py tests/kernel/test_layers.py"),
    ("cshim/sha256.c", "tests/unit/test_sha256.py"),
    ("cshim/bpf.c", "tests/kernel/test_bpf.py"),
    ("cshim/", "tests/kernel/test_lifecycle.py tests/kernel/test_layers.py tests/kernel/test_trees.py"),
    ("runtime/plan/", ""),
    ("runtime/images/", "tests/kernel/test_store.py"),
    ("runtime/host/cgroups/", "tests/kernel/test_cgroups.py"),
    ("runtime/", "tests/kernel/test_lifecycle.py tests/kernel/test_fields_process.py"),
)
"""The first prefix that a file begins with; its tests run after the unit tests that concern it."""


@cache
def _imports(path: Path) -> frozenset[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(found)


def module_of(file: str) -> str:
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def tests_of(file: str, tree: Path) -> list[str]:
    """The tests for a file, the quickest first: those that import it, then its row of the table."""
    found: list[str] = []
    if file.endswith(".py"):
        for folder in ("tests/unit", "tests/kernel"):
            for test in sorted((tree / folder).glob("test_*.py")):
                if module_of(file) in _imports(test):
                    found.append(f"{folder}/{test.name}")
    table = next(tests for prefix, tests in KERNEL if file.startswith(prefix))
    found += (test for test in table.split() if test not in found)
    if not found:  # nobody imports a part of the planner by itself: the whole is tested
        found = ["tests/unit/test_plan.py", "tests/unit/test_resources.py"]
    return found
