"""Every test here runs as root, on the real kernel, with cgroup2 on a /sys/fs/cgroup of its own."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bundles import recipe
from tests.harness.image_runs import Images, Run
from tests.harness.output import Output
from tests.harness.runtime import REPO, Runtime

Built = Callable[[str], tuple[Path, Path]]
CLONE_NEWNET = 0x4000_0000


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
def own_network() -> Iterator[None]:
    """A network namespace of this process's own: the machine's devices, routes and firewall are neither met nor changed."""
    libc = ctypes.CDLL(None, use_errno=True)
    machines = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    assert libc.unshare(CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
    try:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        yield
    finally:
        assert libc.setns(machines, CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        os.close(machines)


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A small file system in memory, where a full disk is soon full and what is durable does not wait for a disk."""
    place = tmp_path / "memory"
    place.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mount(b"stele-test", os.fsencode(place), b"tmpfs", 0, b"size=64m") == 0
    yield place
    assert libc.umount2(os.fsencode(place), 0) == 0, os.strerror(ctypes.get_errno())


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory, built: Built) -> Iterator[Images]:
    made = Images(tmp_path_factory.mktemp("images"), built)
    yield made
    shutil.rmtree(made.folder)


@pytest.fixture
def run(stele: Runtime, images: Images) -> Iterator[Run]:
    """`run(image, *flags, args=[...])` runs a container to its end; no image is in use then."""

    def call(
        image: str, *flags: str | Path, args: list[str] | None = None, sh: str = ""
    ) -> subprocess.CompletedProcess[str]:
        words = ["/bin/sh", "-c", sh] if sh else args or []
        return stele("--store", images.path, "run", "--image", image, *flags, stele.id(), *words)

    yield call
    assert images.uses() == []


@pytest.fixture
def output() -> Iterator[Output]:
    """A container's stdout and stderr."""
    pipe = Output()
    yield pipe
    pipe.close()
