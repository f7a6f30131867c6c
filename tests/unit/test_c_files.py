"""The C files of each folder call downwards only: no circle of files."""

from __future__ import annotations

import subprocess
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.harness.runtime import REPO

INCLUDES = ["-D_GNU_SOURCE", '-DSTELE_INIT="build/lib/init"']


def _symbols(source: Path, folder: Path) -> tuple[set[str], set[str]]:
    """The names that a C file defines, and those that it uses of other files."""
    python = subprocess.run(["/usr/bin/python3.11-config", "--includes"], capture_output=True, text=True, check=True)
    flags = ["-ffreestanding"] if source.parent.name == "init" else [*INCLUDES, *python.stdout.split()]
    compiled = folder / f"{source.stem}.o"
    # Without optimisation, so that nothing is inlined or dropped.
    subprocess.run(["gcc", "-std=gnu11", "-O0", "-w", *flags, "-c", "-o", compiled, source], check=True, cwd=REPO)
    listed = subprocess.run(["nm", "-P", compiled], capture_output=True, text=True, check=True)
    rows = [line.split()[:2] for line in listed.stdout.splitlines()]
    return {name for name, kind in rows if kind.isupper() and kind != "U"}, {name for name, kind in rows if kind == "U"}


@pytest.mark.parametrize("folder", ["cshim", "cshim/init", "cshim/launcher"])
def test_no_circle(folder: str, tmp_path: Path) -> None:
    """A CycleError names the files of the circle."""
    files = {path.name: _symbols(path, tmp_path) for path in (REPO / folder).glob("*.c")}
    calls = {
        name: {other for other, (defined, _) in files.items() if used & defined} for name, (_, used) in files.items()
    }
    order = list(TopologicalSorter(calls).static_order())
    assert sorted(order) == sorted(files)
    assert any(calls.values())
