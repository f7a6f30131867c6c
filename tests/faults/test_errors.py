"""A system call that fails: one sentence, nothing left, and the container as it was."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest

from tests.faults.driver import MEMORY_AND_FDS, WRITES, drive, points
from tests.faults.test_kill import prepare
from tests.faults.world import World, full_bundle
from tests.harness.bundles import BundleFactory
from tests.harness.runtime import Runtime

CASES = [
    (verb, error, calls)
    for verb in ("create", "start", "exec", "delete")
    for error, calls in (
        (errno.ENOSPC, WRITES),
        (errno.EIO, WRITES),
        (errno.EMFILE, MEMORY_AND_FDS),
        (errno.ENOMEM, MEMORY_AND_FDS),
    )
]


@pytest.mark.parametrize(
    ("verb", "error", "calls"),
    CASES,
    ids=lambda v: errno.errorcode.get(v) if v != WRITES and v != MEMORY_AND_FDS else "",
)
def test_a_failing_call(
    stele: Runtime, bundle: BundleFactory, tmp_path: Path, verb: str, error: int, calls: str
) -> None:
    """Each in turn fails once: the command succeeds all the same, or says why not and has left nothing."""
    world = World(stele, full_bundle(bundle, ["sleep", "1000"]))
    name, args = prepare(world, verb)
    counted = drive("count", stele.command(*args), tmp_path, calls=calls)
    assert counted.code == 0, counted.err
    stele.ok("delete", "--force", name)
    for n in points(counted.calls, 8):
        name, args = prepare(world, verb)
        done = drive("fail", stele.command(*args), tmp_path, n, error, calls=calls)
        where = f"call {n} of {counted.calls} (number {done.hit}): code {done.code}, {done.err!r}"
        assert "Traceback" not in done.err and "bug" not in done.err, where
        # Before the interpreter runs, the loader itself speaks, or the kernel kills.
        assert done.code == 0 or done.err.strip() or done.hit in (2, 9, 12), where
        if verb == "create" and done.code:
            assert world.left() == [], where
        again = stele("delete", "--force", name)
        assert again.returncode == 0, f"{where}; then delete: {again.stderr}"
        assert world.left() == [], where


@pytest.mark.parametrize("what", ["blocks", "inodes"])
def test_full_file_system(stele: Runtime, bundle: BundleFactory, tmp_path: Path, what: str) -> None:
    """--root on a tmpfs without space: create fails and leaves nothing; delete works with nothing free."""
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=64", "tmpfs", small], check=True)
    world = World(stele, full_bundle(bundle, ["sleep", "1000"]))
    old, stele.root = stele.root, small
    try:
        name = stele.create(world.bundle)
        filler = small / "filler"
        filler.mkdir()
        try:
            if what == "inodes":
                for i in range(100):
                    (filler / str(i)).touch()
            else:
                with (filler / "big").open("wb", buffering=0) as f:
                    while f.write(b"x" * 4096) == 4096:
                        pass
        except OSError as e:
            assert e.errno == errno.ENOSPC
        before = sorted(p.name for p in small.iterdir())
        done = stele("create", "--bundle", world.bundle, f"{stele.token}-full", stderr=subprocess.PIPE)
        assert done.returncode == 1
        assert "No space left on device" in done.stderr, done.stderr
        assert sorted(p.name for p in small.iterdir()) == before
        stele.ok("list")
        stele.ok("delete", "--force", name)
        assert world.left() == []
    finally:
        stele.root = old
        subprocess.run(["umount", "-l", small], check=True)


@pytest.mark.parametrize("limit", [3, 6, 9, 12, 16, 24])
def test_few_fds(stele: Runtime, bundle: BundleFactory, limit: int) -> None:
    """RLIMIT_NOFILE at each height: a clean error, or a container."""
    world = World(stele, full_bundle(bundle, ["sleep", "1000"]))
    name = stele.id()
    with (world.bundle / "output").open("w") as output:
        done = stele(
            "create", "--bundle", world.bundle, name, stdout=output, stderr=output, preexec_fn=lambda: _limit(limit)
        )
    said = (world.bundle / "output").read_text()
    assert "Traceback" not in said and (done.returncode == 0 or said), said
    stele.ok("delete", "--force", name)
    assert world.left() == []


def _limit(number: int) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (number, number))
    assert os.getpid()
