"""Statistics in runc's shape, from files in the kernel's format (cgroup-v2.rst)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from runtime.host.stats import UNLIMITED, stats


class Folder:
    """A folder in the place of a cgroup."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self, below: str) -> int:
        return os.open(self.path / below, os.O_RDONLY | os.O_DIRECTORY)


def of(folder: Path, files: dict[str, str]) -> dict[str, Any]:
    for name, text in files.items():
        (folder / name).write_text(text)
    return stats(Folder(folder))


@pytest.mark.parametrize(
    ("limit", "swap", "told"),
    [
        ("1048576", "2097152", 3145728),
        ("1048576", "max", UNLIMITED),
        ("max", "2097152", UNLIMITED),
        ("1048576", "0", 1048576),
    ],
)
def test_the_swap_limit_counts_memory_and_swap_together(tmp_path: Path, limit: str, swap: str, told: int) -> None:
    files = {"memory.max": limit, "memory.swap.max": swap, "memory.current": "1000", "memory.swap.current": "30"}
    memory = of(tmp_path, {name: f"{value}\n" for name, value in files.items()})["memory"]
    assert (memory["swap"]["limit"], memory["swap"]["usage"]) == (told, 1030)
    assert memory["usage"]["usage"] == 1000


@pytest.mark.parametrize(
    ("text", "numbers"), [("0\n", [0]), ("0-3,7\n", [0, 1, 2, 3, 7]), ("1,4-5\n", [1, 4, 5]), ("\n", [])]
)
def test_lists_of_processors_and_nodes(tmp_path: Path, text: str, numbers: list[int]) -> None:
    found = of(tmp_path, {"cpuset.cpus.effective": text, "cpuset.mems.effective": text})["cpuset"]
    assert (found["cpus"] or [], found["mems"] or []) == (numbers, numbers)


def test_what_was_read_and_written(tmp_path: Path) -> None:
    told = "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n253:16 rbytes=7\n"
    found = of(tmp_path, {"io.stat": told})["blkio"]
    assert [[*row.values()] for row in found["ioServiceBytesRecursive"]] == [
        [8, 0, "Read", 1],
        [8, 0, "Write", 2],
        [253, 16, "Read", 7],
    ]
    assert [[*row.values()] for row in found["ioServicedRecursive"]] == [[8, 0, "Read", 3], [8, 0, "Write", 4]]
