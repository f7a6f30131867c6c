"""The harness finds what is left behind, with runc in stele's place where a runtime is needed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import cgroup2, leaks
from tests.harness.bundles import BundleFactory
from tests.harness.runtime import REPO, TOKEN, Runtime


def test_the_namespace_is_private(cgroup2_root: Path) -> None:
    """/sys/fs/cgroup is cgroup2 here, and the machine's own mounts are another namespace's."""
    kind = subprocess.run(["stat", "-fc", "%T", cgroup2_root], capture_output=True, text=True, check=True)
    assert kind.stdout == "cgroup2fs\n"
    assert Path("/proc/self/ns/mnt").readlink() != Path(f"/proc/{os.getppid()}/ns/mnt").readlink()


def test_leaks_of_each_kind_are_found(cgroup2_root: Path, tmp_path: Path) -> None:
    """An orphan, a mount, a cgroup and a state folder are each named; after clean() nothing is."""
    runtime = Runtime(tmp_path / "state", f"leak{os.getpid()}")
    watch = leaks.Watch(runtime)
    assert watch.left() == []

    orphan = subprocess.run(
        ["sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!"], capture_output=True, text=True, check=True
    )
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", mounted], check=True)
    cgroup = cgroup2_root / runtime.id()
    cgroup.mkdir()
    (runtime.root / runtime.id()).mkdir(parents=True)

    process, *others = watch.left()
    assert (
        process.startswith(f"process {orphan.stdout.strip()}: ") and "sleep 1000" in process
    )  # perhaps of the shell yet
    assert others == [
        f"mount: / {mounted}",
        f"cgroup: {cgroup}",
        f"state: {runtime.root / runtime.token}-c2",
    ]
    # No runtime deletes this state folder, which was made only to be found.
    (runtime.root / f"{runtime.token}-c2").rmdir()
    watch.clean()
    assert watch.left() == []
    assert cgroup2.named(runtime.token) == []


def test_a_bundle_runs_under_a_peer(cgroup2_root: Path, bundle: BundleFactory, tmp_path: Path) -> None:
    """The docker-like bundle is a right one: runc runs it, tells its exit code, and leaves nothing."""
    (tmp_path / "state").mkdir()
    runc = Runtime(tmp_path / "state", f"runc{os.getpid()}", ["runc"])
    watch = leaks.Watch(runc)
    done = runc("run", "--bundle", bundle(["/bin/sh", "-c", "echo out; exit 7"], seccomp=True), runc.id())
    assert (done.stdout, done.returncode) == ("out\n", 7), done.stderr

    name = runc.detached(bundle(["/bin/sleep", "1000"]))
    assert runc.state(name)["status"] == "running"
    found = watch.left()
    assert any(line.startswith("process ") for line in found)
    assert any(line.startswith("cgroup: ") for line in found)
    assert any(line.startswith("state: ") for line in found)
    os.kill(runc.state(name)["pid"], signal.SIGKILL)
    runc.wait_stopped(name)
    runc.ok("delete", name)
    assert watch.left() == []


def test_what_killed_tests_leave_is_ended_by_their_token(
    stele: Runtime, bundle: BundleFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`make mutants` kills tests that hang, and they cannot clean up after themselves."""
    monkeypatch.setenv(TOKEN, stele.token)
    with subprocess.Popen(["sleep", "1000"]) as helper:
        name = stele.detached(bundle(["sleep", "1000"]))
        subprocess.run([sys.executable, "-m", "tests.mutants.clean", stele.token], cwd=REPO, check=True)
        try:
            assert helper.wait(30) == -signal.SIGKILL
        finally:
            helper.kill()
    assert cgroup2.named(stele.token) == []
    stele.ok("delete", "--force", name)
