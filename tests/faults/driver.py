"""Run a command of the runtime and interfere at one of its system calls."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.harness.runtime import REPO

ALL = "all"
EVERYTHING = os.environ.get("FAULTS", "") == "all"
"""Whether every point is tried (`make faults`), or a sample."""

# x86-64 numbers of the calls by which state is written: write, fsync, rename, mkdir, openat, unlinkat, mkdirat, ...
WRITES = "1,18,74,75,77,82,83,84,85,87,257,258,263,264,316"
MEMORY_AND_FDS = "2,9,12,22,32,41,53,56,213,257,291,292,293,319,435,437"


@dataclass(frozen=True, slots=True)
class Done:
    """calls: how many were made, of those that count. hit: number of the call that was interfered with, or -1."""

    code: int
    calls: int
    hit: int
    out: str
    err: str


def compiled() -> Path:
    """The driver, compiled when its source is newer."""
    source, program = Path(__file__).with_name("driver.c"), REPO / "build/faults/driver"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        program.parent.mkdir(parents=True, exist_ok=True)
        new = program.with_name(f"driver.{os.getpid()}")
        subprocess.run(["gcc", "-std=gnu11", "-O1", "-Wall", "-o", new, source], check=True)
        new.rename(program)
    return program


def drive(
    mode: str, command: Sequence[str], folder: Path, *numbers: int, calls: str = ALL, timeout: float = 60
) -> Done:
    """Run `command` under the driver; see driver.c for the modes and their numbers.

    Its output goes to files, as a container's init holds what it gets as stdout.
    """
    log, out, err = folder / "driver.log", folder / "driver.out", folder / "driver.err"
    argv = [str(compiled()), mode, str(log), calls, *map(str, numbers), *command]
    with out.open("w") as stdout, err.open("w") as stderr:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, timeout=timeout, check=False, cwd=REPO
        )
    made, hit = map(int, log.read_text().split())
    return Done(done.returncode, made, hit, out.read_text(errors="replace"), err.read_text(errors="replace"))


def points(count: int, sample: int) -> list[int]:
    """1..count, or about `sample` of them, evenly spread."""
    if EVERYTHING or count <= sample:
        return list(range(1, count + 1))
    return sorted({1 + i * (count - 1) // (sample - 1) for i in range(sample)})
