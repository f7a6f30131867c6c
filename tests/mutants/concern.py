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
MOVED = f"{LIFE}::test_exec_and_ps_when_init_was_moved_to_another_cgroup"
MOUNTS = "tests/kernel/test_fields_mounts.py"
PROCESS = "tests/kernel/test_fields_process.py"
HOOKS = "tests/kernel/test_hooks.py"
FDS = " ".join(
    f"tests/kernel/test_init_fds.py::test_{name}"
    for name in (
        "run_and_exec",
        "create_and_start",
        "terminals",
        "start_container_hooks",
        "joined_namespaces",
        "an_image",
    )
)
"""Those that need no executable, which a mutant's copy does not have."""
WAITER = "tests/kernel/test_waiter.py tests/kernel/test_logs.py"
EROFS = "tests/kernel/test_run_image_erofs.py"
NUMBERS = "tests/unit/test_kernel_numbers.py"

KERNEL: tuple[tuple[str, str], ...] = (
    ("cshim/init/devices.c", f"tests/kernel/test_config_fields.py {MOUNTS}"),
    ("cshim/init/hide.c", f"tests/attacks/test_attacks.py::test_stele_holds[G2n] {MOUNTS}::test_no_pivot"),
    ("cshim/init/hook.c", f"{FDS} {HOOKS}"),
    ("cshim/init/layer.c", f"tests/kernel/test_trees.py tests/kernel/test_layers_below.py {FDS} {MOUNTS}"),
    ("cshim/init/overlay.c", f"tests/kernel/test_trees.py {FDS} {MOUNTS} tests/kernel/test_run_image.py"),
    *((f"cshim/init/{name}.c", f"{FDS} {MOUNTS}") for name in ("mounts", "trees")),
    (
        "cshim/init/paths.c",
        f"tests/attacks/test_attacks.py::test_stele_holds[G2pl] {MOUNTS} tests/kernel/test_config_fields.py",
    ),
    *((f"cshim/init/{name}.c", f"{LIVES} {PROCESS} tests/kernel/test_errors.py") for name in ("process", "settings")),
    ("cshim/init/", f"{FDS} {LIVES} {PROCESS} {MOUNTS}"),
    ("cshim/waiter/", WAITER),
    (
        "cshim/unpack.c",
        "tests/kernel/test_layers_below.py tests/kernel/test_trees.py tests/kernel/test_layers.py tests/kernel/test_unpack_confined.py",
    ),
    ("cshim/tar", "tests/unit/test_tar.py tests/kernel/test_layers.py"),
    ("cshim/stream.c", "tests/unit/test_tar.py tests/unit/test_image_forms.py tests/kernel/test_layers.py"),
    ("cshim/sha256.c", "tests/unit/test_sha256.py"),
    ("cshim/bpf.c", "tests/kernel/test_bpf.py"),
    ("cshim/confined.c", "tests/kernel/test_unpack_confined.py tests/kernel/test_layers.py"),
    ("cshim/launcher/", "tests/unit/test_launcher.py"),
    ("cshim/", f"{LIVES} tests/kernel/test_layers.py tests/kernel/test_trees.py {FDS}"),
    ("runtime/plan/", ""),
    (
        "runtime/images/registry/",
        "tests/unit/test_image_transport.py tests/images/test_policy.py tests/images/test_pull.py",
    ),
    (
        "runtime/images/store/",
        "tests/kernel/test_trees.py tests/kernel/test_layers_below.py tests/kernel/test_store.py",
    ),
    ("runtime/images/archive/", "tests/images/test_interop.py tests/kernel/test_store.py"),
    ("runtime/images/", "tests/kernel/test_store.py"),
    ("runtime/host/cgroups/", "tests/kernel/test_cgroups.py"),
    *((f"runtime/host/{name}.py", f"{NUMBERS} {EROFS}") for name in ("erofs", "verity")),
    ("runtime/host/network.py", f"{PROCESS} tests/kernel/test_run_image_network.py"),
    ("runtime/host/prepare.py", f"{FDS} {LIVES} {MOUNTS}"),
    ("runtime/host/files.py", f"{LIVES} tests/kernel/test_store.py"),
    ("runtime/container/copy.py", "tests/kernel/test_person.py"),
    ("runtime/container/failure.py", f"tests/unit/test_plan.py tests/kernel/test_errors.py {LIVES}"),
    ("runtime/container/hooks.py", HOOKS),
    *(
        (f"runtime/container/{name}.py", "tests/kernel/test_foreground.py tests/kernel/test_person.py")
        for name in ("foreground", "terminal", "console", "stopping", "summary")
    ),
    *(
        (f"runtime/container/{name}.py", f"{WAITER} tests/kernel/test_waits.py")
        for name in ("waiter", "waiting", "logs")
    ),
    *((f"runtime/container/{name}.py", "tests/kernel/test_readiness.py") for name in ("notify", "readiness")),
    ("runtime/container/limits.py", f"{PROCESS}"),
    (
        "runtime/container/lifecycle.py",
        f"{LIVES} {MOVED} tests/kernel/test_errors.py tests/faults/test_state.py::test_no_state_at_all",
    ),
    ("runtime/container/exec.py", f"{LIVES} {MOVED} {PROCESS} {FDS}"),
    ("runtime/", f"{NUMBERS} {LIVES}"),
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
