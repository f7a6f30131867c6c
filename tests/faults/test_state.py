"""State that is damaged: `list` shows the rest, `delete --force` ends the right processes or refuses and says so."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.host.cgroups.cgroupfs import MARK
from tests.faults.driver import EVERYTHING
from tests.faults.world import World, full_bundle
from tests.harness import cgroup2
from tests.harness.bundles import BundleFactory
from tests.harness.runtime import Runtime


def replaced(path: Path) -> Path:
    """The path, with nothing at it any more."""
    path.unlink()
    return path


WRECKS: dict[str, Callable[[Path], object]] = {
    "empty": lambda p: p.write_bytes(b""),
    "half": lambda p: p.write_bytes(p.read_bytes()[: p.stat().st_size // 2]),
    "garbage": lambda p: p.write_bytes(os.urandom(4096)),
    "NULs": lambda p: p.write_bytes(bytes(p.stat().st_size)),
    "missing": lambda p: p.unlink(),
    "another document": lambda p: p.write_text('{"id": 7}'),
    "a folder": lambda p: replaced(p).mkdir(),
    "a link to itself": lambda p: replaced(p).symlink_to(p.name),
    "a fifo": lambda p: os.mkfifo(replaced(p)),
}


def ended(pid: int) -> bool:
    """Whether the process has ended; it is our child if its creator is gone, so a zombie counts as ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize("phase", ["created", "running", "stopped"])
@pytest.mark.parametrize("wreck", WRECKS)
def test_wrecked_state(stele: Runtime, bundle: BundleFactory, wreck: str, phase: str) -> None:
    """state.json is wrecked; the second record of the cgroup is whole."""
    world = World(stele, full_bundle(bundle, ["sleep", "1000"]))
    other = stele.create(world.bundle)
    name = stele.create(world.bundle)
    pid = stele.state(name)["pid"]
    if phase != "created":
        stele.ok("start", name)
    if phase == "stopped":
        stele.ok("kill", name, "KILL")
        stele.wait_stopped(name)
    WRECKS[wreck](stele.root / name / "state.json")
    listed = {row["id"]: row["status"] for row in json.loads(stele.ok("list", "--format", "json"))}
    assert listed[other] == "created" and name in listed
    state = stele("state", name)
    assert state.returncode == 1 and "delete --force" in state.stderr, state.stderr
    plain = stele("delete", name)
    assert plain.returncode == 1 and "--force" in plain.stderr, plain.stderr
    stele.ok("delete", "--force", name)
    assert ended(pid)
    assert stele.state(other)["status"] == "created"
    stele.ok("delete", "--force", other)
    assert world.left() == []


def test_both_records_wrecked(stele: Runtime, bundle: BundleFactory) -> None:
    """The mark of its cgroup still says what runs. Without that too, nothing is removed, and the error says how to go on."""
    name = stele.detached(bundle(["sleep", "1000"]))
    pid = stele.state(name)["pid"]
    for n in ("state.json", "cgroup"):
        (stele.root / name / n).write_bytes(b"{")
    (cgroup,) = cgroup2.named(name)
    mark = os.getxattr(cgroup, MARK)
    os.removexattr(cgroup, MARK)
    done = stele("delete", "--force", name)
    assert done.returncode == 1 and "cgroup is unknown" in done.stderr, done.stderr
    assert not ended(pid)
    os.setxattr(cgroup, MARK, mark)
    assert "had lost its state" in stele("delete", "--force", name).stderr
    assert ended(pid)
    assert not cgroup.exists()


def test_no_state_at_all(stele: Runtime, bundle: BundleFactory) -> None:
    """Without --force, `delete` says that there is a cgroup; of what never was, that it does not exist."""
    name = stele.detached(bundle(["sleep", "1000"]))
    pid = stele.state(name)["pid"]
    shutil.rmtree(stele.root / name)
    done = stele("delete", name)
    assert (done.returncode, f"lost its state, but not its cgroup {cgroup2.named(name)[0]}" in done.stderr) == (1, True)
    assert not ended(pid)
    stele.ok("delete", "--force", name)
    assert ended(pid)
    assert stele("delete", "--force", name).stderr == ""
    assert "does not exist" in stele("delete", name).stderr


def test_flipped_bits(stele: Runtime, bundle: BundleFactory) -> None:
    """One bit of a record is flipped: state.json is reported as damaged, and nothing in it is believed; never a crash, nor
    anything done to the other container or to this test."""
    world = World(stele, full_bundle(bundle, ["sleep", "1000"]))
    other = stele.create(world.bundle)
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    for _ in range(2000 if EVERYTHING else 25):
        name = stele.create(world.bundle)
        pid = stele.state(name)["pid"]
        path = stele.root / name / rng.choice(("state.json", "state.json", "cgroup"))
        content = bytearray(path.read_bytes())
        bit = rng.randrange(len(content) * 8)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        where = f"{path.name}, bit {bit}, seed {seed}"
        for verb in (["list"], ["state", name], ["delete", "--force", name]):
            done = stele(*verb)
            said = f"{where}: {verb[0]}: {done.stderr}"
            assert done.returncode in (0, 1), said
            assert "Traceback" not in done.stderr and "a bug" not in done.stderr, said
            assert done.returncode == 1 or verb[0] != "state" or path.name == "cgroup", said
        if done.returncode:
            assert not ended(pid), where
            path.write_bytes(
                bytes(content[: bit // 8]) + bytes([content[bit // 8] ^ 1 << bit % 8]) + content[bit // 8 + 1 :]
            )
            stele.ok("delete", "--force", name)
        assert ended(pid), where
        assert stele.state(other)["status"] == "created", where
    stele.ok("delete", "--force", other)
    assert world.left() == []
