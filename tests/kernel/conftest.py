"""Every test here runs as root, on the real kernel, with cgroup2 on a /sys/fs/cgroup of its own."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bundles import recipe
from tests.harness.runtime import REPO

Built = Callable[[str], tuple[Path, Path]]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Build a recipe once; returns its bundle and its image layout."""
    out = tmp_path_factory.mktemp("bundles")
    made: dict[str, tuple[Path, Path]] = {}

    def build(name: str) -> tuple[Path, Path]:
        if name not in made:
            made[name] = recipe.build(name, out, REPO / "build/cache")
        return made[name]

    return build


@pytest.fixture(autouse=True)
def _private_cgroup2(cgroup2_root: Path) -> None:
    """Enter the private mount namespace before anything of a test runs."""


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A small file system in memory, where a full disk is soon full and what is durable does not wait for a disk."""
    place = tmp_path / "memory"
    place.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mount(b"stele-test", os.fsencode(place), b"tmpfs", 0, b"size=64m") == 0
    yield place
    assert libc.umount2(os.fsencode(place), 0) == 0, os.strerror(ctypes.get_errno())
