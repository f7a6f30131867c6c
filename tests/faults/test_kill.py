"""kill -9 at any system call or moment of create, start, exec and delete: `delete --force` leaves nothing.

And kill -9 of init, and of what else they start, at any of its system calls: then the command says so.
"""

from __future__ import annotations

import random
import subprocess
import time
from pathlib import Path

import pytest

from tests.faults.driver import EVERYTHING, drive, points
from tests.faults.world import World, full_bundle
from tests.harness.bundles import BundleFactory
from tests.harness.runtime import Runtime

VERBS = ("create", "start", "exec", "delete")


@pytest.fixture
def world(stele: Runtime, bundle: BundleFactory) -> World:
    """A container of the shell's `sleep`."""
    return World(stele, full_bundle(bundle, ["sleep", "1000"]))


def prepare(world: World, verb: str) -> tuple[str, list[str]]:
    """An id, in the state in which `verb` is called, and the verb's arguments."""
    runtime, bundle = world.runtime, world.bundle
    if verb in ("create", "run"):
        name = runtime.id()
        return name, [verb, "--bundle", str(bundle), name]
    name = runtime.create(bundle)
    if verb == "start":
        return name, ["start", name]
    runtime.ok("start", name)
    if verb.startswith("exec"):
        return name, [*verb.split(), name, "true"]
    return name, ["delete", "--force", name]


def finish(world: World, name: str) -> None:
    """list works, and `delete --force` leaves nothing."""
    world.runtime.ok("list")
    done = world.runtime("delete", "--force", name)
    assert done.returncode == 0, done.stderr
    assert world.left() == []


@pytest.mark.parametrize("verb", VERBS)
def test_killed_at_each_system_call(world: World, verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The count of calls is the verb's own in a run without interference."""
    if verb == "create":
        monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere")  # it is to do all that it can
    name, args = prepare(world, verb)
    counted = drive("count", world.runtime.command(*args), tmp_path)
    assert counted.code == 0, counted.err
    finish(world, name)
    for n in points(counted.calls, 12):
        name, args = prepare(world, verb)
        done = drive("kill", world.runtime.command(*args), tmp_path, n)
        assert done.code == 128 + 9 or done.calls < n, f"call {n}: not killed: {done}"
        try:
            finish(world, name)
        except AssertionError as e:
            raise AssertionError(f"{verb} killed at call {n} of {counted.calls} (number {done.hit}): {e}") from e


@pytest.mark.parametrize("verb", VERBS)
def test_killed_at_any_time(world: World, verb: str) -> None:
    """At random moments of its usual duration: init and its children are then at any point, too."""
    name, args = prepare(world, verb)
    begin = time.monotonic()
    with (world.bundle / "output").open("w") as output:  # no pipes: a container's init would hold them
        world.runtime.ok(*args, stdout=output, stderr=output)
    duration = time.monotonic() - begin
    finish(world, name)
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    for n in range(200 if EVERYTHING else 8):
        name, args = prepare(world, verb)
        with (world.bundle / "output").open("w") as output:
            child = subprocess.Popen(
                world.runtime.command(*args), stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
            time.sleep(rng.uniform(0, duration))
            child.kill()
            child.wait()
        try:
            finish(world, name)
        except AssertionError as e:
            raise AssertionError(f"{verb} killed, round {n} of seed {seed}, duration {duration:.3f} s: {e}") from e


EXIT_GROUP, ACCEPT = 231, 288
"""x86-64 numbers of the calls at which a process of ours has done what it was for."""


@pytest.mark.parametrize("verb", ["create", "start", "run", "exec", "exec --detach"])
def test_init_killed_at_each_system_call(stele: Runtime, bundle: BundleFactory, verb: str, tmp_path: Path) -> None:
    """The command ends, by one sentence if the program did not begin, and `delete --force` leaves nothing."""
    world = World(stele, full_bundle(bundle, ["true"] if verb == "run" else ["sleep", "1000"]))

    def init_of(name: str) -> int:
        return int(stele.state(name)["pid"]) if verb == "start" else 0

    name, args = prepare(world, verb)
    counted = drive("count-init", stele.command(*args), tmp_path, init_of(name))
    assert counted.code == 0, counted.err
    assert counted.calls > 20
    finish(world, name)
    for n in points(counted.calls, 6):
        name, args = prepare(world, verb)
        done = drive("kill-init", stele.command(*args), tmp_path, n, init_of(name))
        try:
            past = done.hit in (EXIT_GROUP, ACCEPT) or "hooks.poststop" in done.err
            if done.hit >= 0 and not (done.code == 0 and past):
                assert done.code in (1, 255), done
                assert done.err.count("\n") == 1 and any(word in done.err for word in ("init", "hook", "stopped")), done
                assert not any(word in done.err for word in ("Traceback", "a bug", "Errno")), done
            finish(world, name)
        except AssertionError as e:
            raise AssertionError(f"{verb}: killed at call {n} of {counted.calls} (number {done.hit}): {e}") from e
