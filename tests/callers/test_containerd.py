"""containerd, by `ctr`, with its shim calling stele."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.callers.conftest import ARCHIVE, IMAGE, STELE, state
from tests.callers.daemons import daemon
from tests.vm.fixtures import BUSYBOX, GuestBundles
from tests.vm.guest import Done, Guest

LOOP = ("sh", "-c", "while :; do sleep 1; done")
ROOT = "/run/containerd/runc/default"


class Ctr:
    """`ctr("task", "ls")` runs it and insists on success."""

    def __init__(self, host: Guest) -> None:
        self.host = host

    def __call__(self, *args: str, code: int = 0) -> str:
        return self.done(*args, code=code).stdout.removesuffix("\n")

    def done(self, *args: str, code: int = 0) -> Done:
        """Insist on an exit code."""
        done = self.host.run("ctr", *args)
        assert done.code == code, str(done)
        return done

    def run(self, *args: str, code: int = 0) -> Done:
        """`ctr run` with stele: flags, then the container's name and command."""
        flags = [arg for arg in args if arg.startswith("--")]
        name, *command = args[len(flags) :]
        return self.done("run", f"--runc-binary={STELE}", *flags, IMAGE, name, *command, code=code)


@pytest.fixture(scope="module")
def ctr(host: Guest) -> Iterator[Ctr]:
    """containerd with the image."""
    with daemon(host, "containerd"):
        ctr = Ctr(host)
        ctr("images", "import", ARCHIVE)
        yield ctr
        assert host.ok(STELE, "--root", ROOT, "list", "--quiet") == "", "all containers are gone, in stele too"


def test_run(ctr: Ctr) -> None:
    """Output, environment, working directory and exit code."""
    done = ctr.run(
        "--rm", "--env=WORD=hi", "--cwd=/tmp", "run", "sh", "-c", "echo $WORD $PWD; echo bad >&2; exit 7", code=7
    )
    assert (done.stdout, done.stderr.splitlines()[0]) == ("hi /tmp\n", "bad")


def test_failures_are_told(ctr: Ctr) -> None:
    """stele's own words arrive through its log in JSON."""
    said = ctr.run("--rm", "failing", "nothere", code=1).stderr
    assert 'OCI runtime create failed: stele create failed: exec: "nothere": executable file not found in $PATH' in said


def test_terminal(ctr: Ctr, host: Guest) -> None:
    """run -t: a terminal, input and output, and the exit code."""
    command = (
        "ctr",
        "run",
        f"--runc-binary={STELE}",
        "--rm",
        "--tty",
        IMAGE,
        "tty",
        "sh",
        "-c",
        "read a; tty; exit $a",
    )
    with host.start(*command, tty=True) as job:
        job.type("9\n")
        done = job.wait()
    assert (done.code, "/dev/pts/" in done.stdout) == (9, True), str(done)


def test_life(ctr: Ctr, host: Guest) -> None:
    """Detached: exec, ps, pause, resume, metrics, signals and delete, with limits that act."""
    ctr.run("--detach", "--memory-limit=33554432", "life", *LOOP)
    mine = state(host, ROOT, "life")
    assert mine["status"] == "running" and mine["bundle"].endswith("/io.containerd.runtime.v2.task/default/life")
    where = ("task", "exec", "--exec-id=one", "life", "sh", "-c", "cat /proc/self/cgroup; exit 5")
    assert ctr(*where, code=5) == "0::/default/life"
    assert host.read("/sys/fs/cgroup/default/life/memory.max") == f"{32 << 20}\n"
    assert next(line.split()[0] for line in ctr("task", "ps", "life").splitlines()[1:]) == str(mine["pid"])
    ctr("task", "pause", "life")
    assert state(host, ROOT, "life")["status"] == "paused"
    assert "PAUSED" in ctr("task", "list")
    ctr("task", "resume", "life")
    assert state(host, ROOT, "life")["status"] == "running"
    metrics = json.loads(ctr("task", "metrics", "--format=json", "life"))
    assert int(metrics["memory"]["usage_limit"]) == 32 << 20
    ctr("task", "kill", "--signal=KILL", "life")
    host.eventually("the task has stopped", lambda: "STOPPED" in ctr("task", "list"))
    assert state(host, ROOT, "life")["status"] == "stopped"
    assert "non-zero exit code 137" in ctr.done("task", "delete", "life").stderr
    ctr("container", "delete", "life")
    assert not host.exists(f"{ROOT}/life")


def test_by_systemd(ctr: Ctr, host: Guest) -> None:
    """--runc-systemd-cgroup: a scope of systemd's, gone with the container."""
    ctr.run("--detach", "--runc-systemd-cgroup", "--cgroup=system.slice:ctr:scoped", "scoped", *LOOP)
    path = host.read(f"/proc/{state(host, ROOT, 'scoped')['pid']}/cgroup").strip()
    assert path == "0::/system.slice/ctr-scoped.scope"
    ctr("task", "delete", "--force", "scoped")
    ctr("container", "delete", "scoped")
    assert host.ok("systemctl", "list-units", "--all", "--no-legend", "ctr-scoped.scope") == ""


def test_a_dead_shim(ctr: Ctr, host: Guest) -> None:
    """A shim that was killed leaves a container; containerd has it removed with `delete --force`."""
    ctr.run("--detach", "orphan", *LOOP)
    pid = state(host, ROOT, "orphan")["pid"]
    parent = host.read(f"/proc/{pid}/stat").rpartition(")")[2].split()[1]
    assert "containerd-shim" in host.read(f"/proc/{parent}/comm")
    host.ok("kill", "-KILL", parent)
    host.eventually("the container is removed", lambda: not host.exists(f"{ROOT}/orphan"))
    host.eventually("its process has ended, and is reaped", lambda: not host.exists(f"/proc/{pid}"))
    host.eventually("its task is forgotten", lambda: host.run("ctr", "container", "delete", "orphan").code == 0)


def test_a_folder_as_root(ctr: Ctr, host: Guest, guest_bundle: GuestBundles) -> None:
    """--rootfs: a folder of the host's; a checkpoint is refused in stele's words, and the container runs on."""
    guest_bundle(["true"])  # makes the folder
    ctr.done("run", f"--runc-binary={STELE}", "--detach", "--rootfs", "--read-only", BUSYBOX, "folder", *LOOP)
    assert (
        ctr("task", "exec", "--exec-id=look", "folder", "sh", "-c", "cd /bin; ls busybox; touch new || echo $?")
        == "busybox\n1"
    )
    refused = ctr.done("task", "checkpoint", "--image-path=/var/lib/checkpoint", "folder", code=1)
    assert "checkpoint and restore are not offered by stele" in refused.stderr
    assert state(host, ROOT, "folder")["status"] == "running"
    ctr("task", "delete", "--force", "folder")
    ctr("container", "delete", "folder")
