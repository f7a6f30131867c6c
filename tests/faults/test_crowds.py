"""Many callers at once, and many containers."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.attacks.arena import payload
from tests.faults.driver import EVERYTHING
from tests.faults.world import World, full_bundle
from tests.harness import cgroup2
from tests.harness.bundles import BundleFactory
from tests.harness.runtime import Runtime

ROUNDS = 1000 if EVERYTHING else 12
PAIRS = ("create create", "create delete", "kill delete", "delete delete")


@pytest.mark.parametrize("pair", PAIRS)
def test_two_at_once(stele: Runtime, bundle: BundleFactory, pair: str) -> None:
    """On one id: what must be one's alone is, the other says why it is not its; nothing is left."""
    world = World(stele, full_bundle(bundle, ["sleep", "1000"]))
    files = [world.bundle / f"said{i}" for i in range(2)]
    for number in range(ROUNDS):
        name = stele.id()
        if not pair.startswith("create"):
            name = stele.create(world.bundle)
        children = []
        for verb, file in zip(pair.split(), files, strict=True):
            args = {
                "create": ["--bundle", str(world.bundle), name],
                "kill": [name, "KILL"],
                "delete": ["--force", name],
            }
            with file.open("w") as out:
                command = stele.command(verb, *args[verb])
                children.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out))
        codes = [child.wait(60) for child in children]
        said = [file.read_text().strip() for file in files]
        where = f"round {number}: {pair}: {codes} {said}"
        for code, text in zip(codes, said, strict=True):
            assert code in (0, 1) and (code == 0 or text) and "Traceback" not in text and "a bug" not in text, where
        if pair == "create create":
            assert sorted(codes) == [0, 1], where
            assert "exists" in said[codes.index(1)], where
            assert stele.state(name)["status"] == "created", where
        elif pair == "create delete":
            assert codes[0] == 0 or "delete" in said[0] or "does not exist" in said[0], where
        elif pair == "kill delete":
            assert codes[1] == 0 and (codes[0] == 0 or "not running" in said[0] or "does not exist" in said[0]), where
        else:
            assert codes == [0, 0], where
        stele.ok("delete", "--force", name)
        if number % 10 == 0:
            assert world.left() == [], where
    assert world.left() == []


def test_deletes_without_force_have_one_winner(stele: Runtime, bundle: BundleFactory) -> None:
    """Two plain deletes of a stopped container: one removes it, the other finds nothing."""
    made = bundle(["true"])
    for _ in range(ROUNDS):
        name = stele.create(made)
        stele.ok("kill", name, "KILL")
        stele.wait_stopped(name)
        children = [
            subprocess.Popen(stele.command("delete", name), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        said = [child.communicate(timeout=60)[1] for child in children]
        codes = [child.returncode for child in children]
        assert sorted(codes) == [0, 1], (codes, said)
        assert "does not exist" in said[codes.index(1)]


def test_many_alive(stele: Runtime, bundle: BundleFactory) -> None:
    """`list` of all takes less than a second of the processor, also of a thousand."""
    count = 1000 if EVERYTHING else 40
    made = bundle(["sleep", "1000"], {"linux": {"seccomp": None}})
    names = {stele.create(made) for _ in range(count)}
    best = 1e9
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        listed = json.loads(stele.ok("list", "--format", "json"))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert {row["id"] for row in listed} == names and {row["status"] for row in listed} == {"created"}
    assert best < 1, f"{count} containers: list took {best:.2f} s"
    for name in names:
        stele.ok("delete", "--force", name)


@pytest.mark.parametrize("verb", ["kill", "delete"])
def test_fork_bomb(stele: Runtime, bundle: BundleFactory, verb: str) -> None:
    """Forking without end, up to a limit of tasks: all of it is gone when the command ends; soon, where all is tried."""
    user = {"uid": 54321, "gid": 54321}  # a uid of its own, so that the limit of tasks is its own, too
    rlimits = [{"type": "RLIMIT_NPROC", "soft": 300, "hard": 300}]
    changes = {"process": {"user": user, "rlimits": rlimits, "capabilities": {"bounding": []}}}
    made = bundle(["/bin/payload", "bomb"], changes)
    shutil.copy(payload(), made / "rootfs/bin/payload")
    times = []
    for _ in range(50 if EVERYTHING else 3):
        name = stele.detached(made)
        cgroup = cgroup2.named(name)[0]
        end = time.monotonic() + 20
        while len((cgroup / "cgroup.procs").read_text().split()) < 100 and time.monotonic() < end:
            time.sleep(0.01)  # a count that grows cannot be awaited
        begin = time.monotonic()
        stele.ok(*(["kill", "--all", name, "KILL"] if verb == "kill" else ["delete", "--force", name]))
        times.append(time.monotonic() - begin)
        assert not cgroup.exists() or "populated 0" in (cgroup / "cgroup.events").read_text()
        stele.ok("delete", "--force", name)
    # Of the whole machine's time: a machine that does other things, too, is not judged by it.
    assert not EVERYTHING or sorted(times)[len(times) // 2] < 2, times


def test_many_execs(stele: Runtime, bundle: BundleFactory, tmp_path: Path) -> None:
    """Execs leave no zombie, no pty, no fd in the container's init, and nothing in its cgroup."""
    name = stele.detached(bundle(["sleep", "1000"]))
    pid = stele.state(name)["pid"]
    cgroup = cgroup2.named(name)[0]

    def there() -> list[list[str]]:
        folders = (f"/proc/{pid}/root/dev/pts", f"/proc/{pid}/fd")
        return [*(sorted(os.listdir(folder)) for folder in folders), (cgroup / "cgroup.procs").read_text().split()]

    before = there()
    for number in range(1000 if EVERYTHING else 30):
        stele.ok("exec", name, "true")
        if number % 10 == 0:
            stele.ok("exec", "--detach", "--pid-file", tmp_path / "pid", name, "true")
            os.waitpid(int((tmp_path / "pid").read_text()), 0)  # it is ours, who reap orphans
    assert there() == before
    assert stele.ok("exec", name, "sh", "-c", "ls -d /proc/[0-9]* | wc -l").strip() in ("3", "4")
    stele.ok("delete", "--force", name)
