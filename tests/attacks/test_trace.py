"""What `run` asks of the kernel, by strace: no path leads into the root file system, nothing else is written."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.attacks.arena import programs
from tests.attacks.doubles import Patch, build
from tests.faults.world import full_bundle
from tests.harness.bundles import BundleFactory
from tests.harness.runtime import Runtime
from tests.vm.trace import STRACE, whole_lines, written

CALL = re.compile(r"(\d+) +(\w+)\((.*)\) += ")
STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
HERE = "cwd = os.open(self.bundle, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)"


def trace(argv: list[str], stele: Runtime, bundle: Path) -> tuple[str, str]:
    """The strace of a run, which is a create and more, and the id of its first process.

    Not of create alone: strace stays as long as the container's init waits.
    """
    stele.argv = argv
    log = bundle / "strace"
    name = stele.id()
    command = stele.command("run", "--bundle", bundle, name)
    with (bundle / "output").open("w") as output:
        done = subprocess.run(
            [*STRACE, str(log), *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, (bundle / "output").read_text()
    text = log.read_text(errors="replace")
    return text, text.split(None, 1)[0]


def paths_into(text: str, root: str) -> list[str]:
    """Calls with a path that leads below the root file system by its name. The root itself is opened by it, once."""
    found = []
    for line in whole_lines(text):
        call = CALL.match(line)
        if call and any(path.startswith(f"{root}/") for path in STRING.findall(call[3])):
            found.append(line)
    return found


def foreign_writes(text: str, first: str, allowed: tuple[str, ...]) -> list[tuple[str, str]]:
    """Writes of the stele process outside of what it may write."""
    own = "\n".join(line for line in whole_lines(text) if line.startswith(f"{first} "))
    # Hooks get their state as a memfd; /dev/null is opened for both ways.
    anonymous = ("/memfd:", "/dev/null", "socket:", "pipe:", "/proc/")
    return [(call, path) for call, path in written(own) if not path.startswith((*allowed, *anonymous))]


@pytest.fixture
def made(stele: Runtime, bundle: BundleFactory) -> Path:
    """A bundle that needs all that create can do."""
    return full_bundle(bundle, ["true"])


def allowed(stele: Runtime) -> tuple[str, ...]:
    return (f"{stele.root}/", "/sys/fs/cgroup/")


def test_no_path_leads_into_the_root(stele: Runtime, made: Path) -> None:
    """And init opens nothing of a /proc by its name."""
    text, first = trace(programs("stele"), stele, made)
    assert f'"{made}/rootfs"' in text, "the trace shows not even the root"
    assert paths_into(text, f"{made}/rootfs") == []
    children = [line for line in whole_lines(text) if not line.startswith(f"{first} ")]
    init = [line for line in children if re.search(r"\bopen\w*\(", line)]
    after_root = [line for line in init if re.search(r'AT_FDCWD[^,]*, "/proc/', line) and "true" not in line]
    assert after_root == []


def test_nothing_else_is_written(stele: Runtime, made: Path) -> None:
    """Only --root and the cgroup; no file of Python's, no cache, nothing in /tmp."""
    text, first = trace(programs("stele"), stele, made)
    own = "\n".join(line for line in whole_lines(text) if line.startswith(f"{first} "))
    assert any(path.startswith(str(stele.root)) for _, path in written(own)), "the trace shows no write at all"
    assert foreign_writes(text, first, allowed(stele)) == []


def test_a_path_is_seen(stele: Runtime, made: Path) -> None:
    """A double that looks at the root's /dev by its name is found out."""
    double = build([Patch("runtime/container/create.py", HERE, f'os.stat(self.record.rootfs + "/dev"); {HERE}')])
    text, _ = trace([str(double)], stele, made)
    assert paths_into(text, f"{made}/rootfs")


def test_a_write_is_seen(stele: Runtime, made: Path, tmp_path: Path) -> None:
    """A double that leaves a file elsewhere is found out."""
    where = tmp_path / "elsewhere"
    double = build([Patch("runtime/container/create.py", HERE, f'open({str(where)!r}, "w").close(); {HERE}')])
    text, first = trace([str(double)], stele, made)
    assert ("openat", str(where)) in foreign_writes(text, first, allowed(stele))
    assert os.path.exists(where)
