"""TERM, INT and HUP during create: it is taken back, as after any error."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.faults.driver import drive, points
from tests.faults.world import World, full_bundle
from tests.harness.bundles import BundleFactory
from tests.harness.runtime import Runtime


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda n: n.name)
def test_interrupted_create_is_taken_back(
    stele: Runtime, bundle: BundleFactory, tmp_path: Path, number: signal.Signals
) -> None:
    """At any system call: either the container is there and whole, or nothing of it."""
    world = World(stele, full_bundle(bundle, ["sleep", "1000"]))
    name = stele.id()
    counted = drive("count", stele.command("create", "--bundle", world.bundle, name), tmp_path)
    stele.ok("delete", "--force", name)
    for n in points(counted.calls, 10):
        name = stele.id()
        pid_file = tmp_path / "pid"
        command = stele.command("create", "--bundle", world.bundle, "--pid-file", pid_file, name)
        done = drive("signal", command, tmp_path, n, number)
        where = f"call {n} of {counted.calls} (number {done.hit}): code {done.code}, {done.err}"
        assert done.code in (0, 1, 128 + number), where
        if done.code == 0 or pid_file.exists():  # the last act of create: then it may be killed, but is done
            assert done.code != 1 and stele.state(name)["status"] == "created", where
            stele.ok("delete", "--force", name)
        else:
            assert "Traceback" not in done.err, where
        pid_file.unlink(missing_ok=True)
        assert world.left() == [], where
