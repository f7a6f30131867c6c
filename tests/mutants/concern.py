"""Which tests concern a file: unit tests by what they import, and for the rest a table of quick tests on the kernel."""

from __future__ import annotations

import ast
from functools import cache
from itertools import groupby
from pathlib import Path

LIFE = "tests/kernel/test_lifecycle.py"
LIVES = (
    f"{LIFE}::test_states_from_created_to_stopped {LIFE}::test_run_returns_the_exit_status_and_leaves_nothing "
    f"{LIFE}::test_exec_has_the_confinement_of_init_and_its_own_exit_status "
    f"{LIFE}::test_a_start_that_was_killed_does_not_hide_that_the_program_runs "
    f"{LIFE}::test_a_stopped_container_refuses_kill_in_the_words_that_callers_look_for "
    f"{LIFE}::test_delete_force_kills_everything_in_the_cgroup "
    f"{LIFE}::test_one_of_many_creators_of_an_id_wins"
)
"""A few lives, from create to delete: about 10 s on an idle machine, where the whole file takes minutes."""
MOUNTS = "tests/kernel/test_fields_mounts.py"
PROCESS = "tests/kernel/test_fields_process.py"
HOOKS = "tests/kernel/test_hooks.py"

KERNEL: tuple[tuple[str, str], ...] = (
    ("cshim/init/devices.c", f"tests/kernel/test_config_fields.py {MOUNTS}"),
    ("cshim/init/hide.c", f"tests/attacks/test_attacks.py::test_stele_holds[G2n] {MOUNTS}::test_no_pivot"),
    ("cshim/init/hook.c", HOOKS),
    *((f"cshim/init/{name}.c", MOUNTS) for name in ("layer", "mounts", "overlay", "trees")),
    ("cshim/init/paths.c", f"{MOUNTS} tests/kernel/test_config_fields.py"),
    *((f"cshim/init/{name}.c", f"{LIVES} {PROCESS}") for name in ("process", "settings")),
    ("cshim/init/", f"{LIVES} {PROCESS} {MOUNTS}"),
    ("cshim/unpack.c", "tests/kernel/test_layers.py tests/kernel/test_unpack_confined.py"),
    ("cshim/tar", "tests/unit/test_tar.py tests/kernel/test_layers.py"),
    ("cshim/stream.c", "tests/unit/test_tar.py tests/kernel/test_layers.py"),
    ("cshim/sha256.c", "tests/unit/test_sha256.py"),
    ("cshim/bpf.c", "tests/kernel/test_bpf.py"),
    ("cshim/confined.c", "tests/kernel/test_unpack_confined.py tests/kernel/test_layers.py"),
    ("cshim/", f"{LIVES} tests/kernel/test_layers.py tests/kernel/test_trees.py"),
    ("runtime/plan/", ""),
    ("runtime/images/", "tests/kernel/test_store.py"),
    ("runtime/host/cgroups/", "tests/kernel/test_cgroups.py"),
    ("runtime/", LIVES),
)
"""The first prefix that a file begins with; its tests run after the unit tests that concern it."""

SLOW = ("tests/kernel/test_run_image.py", "tests/kernel/test_run_image_root.py")
"""Minutes each: they run only for what the table names them for."""


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
                name = f"{folder}/{test.name}"
                if name not in SLOW and module_of(file) in _imports(test):
                    found.append(name)
    table = next(tests for prefix, tests in KERNEL if file.startswith(prefix))
    found += (test for test in table.split() if test not in found)
    if not found:  # nobody imports a part of the planner by itself: the whole is tested
        found = ["tests/unit/test_plan.py", "tests/unit/test_resources.py"]
    return found


def parts_of(file: str, tree: Path) -> list[tuple[str, ...]]:
    """The same, with what is of one test file together."""
    return [tuple(part) for _, part in groupby(tests_of(file, tree), lambda test: test.partition("::")[0])]
