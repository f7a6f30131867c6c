"""The check of the rooms (build-aux/rooms.py) finds each kind of fault, and passes this source."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.runtime import REPO

CHECK = REPO / "build-aux/rooms.py"


def check(repository: Path) -> tuple[int, list[str]]:
    done = subprocess.run([sys.executable, CHECK, repository], capture_output=True, text=True)
    assert not done.stderr
    return done.returncode, done.stdout.splitlines()


def test_this_source_passes() -> None:
    status, lines = check(REPO)
    assert status == 0, "\n".join(lines)
    assert lines[0].startswith("rooms: ") and "files in cshim/init" in lines[0]


@pytest.mark.parametrize(
    ("file", "line", "problem"),
    [
        pytest.param(
            "runtime/plan/resources.py",
            "def planted() -> None:\n    from runtime.host import files\n",
            "runtime.plan.resources imports runtime.host.files: plan may not import host",
            id="upward-in-a-function",
        ),
        pytest.param(
            "runtime/container/state.py",
            "from runtime.images.store.store import ImageStore\n",
            "runtime.container.state imports runtime.images.store.store: container may not import images/store",
            id="forbidden",
        ),
        pytest.param(
            "runtime/images/policy/policy.py",
            "import runtime.images.registry.pull\n",
            "runtime.images.policy.policy imports runtime.images.registry.pull: images/policy may not import images/registry",
            id="between-packages-of-images",
        ),
        pytest.param(
            "runtime/images/store/store.py",
            "if False:\n    from runtime.images.store import gc\n",
            "runtime: a circle: ",
            id="circle-of-python",
        ),
        pytest.param(
            "cshim/init/text.c",
            "void init_main(const long *stack);\nvoid planted(void) { init_main(0); }\n",
            "cshim/init: a circle: ",
            id="circle-of-c",
        ),
        pytest.param("runtime/attic/x.py", "import runtime.errors\n", "the room attic is unknown", id="unknown-room"),
    ],
)
def test_what_it_finds(tmp_path: Path, file: str, line: str, problem: str) -> None:
    """A fault is planted in a copy of runtime or cshim, whichever has the file."""
    folder = Path(file).parts[0]
    shutil.copytree(REPO / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "build/lib").mkdir(parents=True)
    shutil.copy(REPO / "build/lib/init", tmp_path / "build/lib/init")
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as target:
        target.write(f"\n{line}")
    status, lines = check(tmp_path)
    assert status == 1 and any(problem in line for line in lines), "\n".join(lines)
