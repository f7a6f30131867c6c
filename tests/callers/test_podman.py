"""Podman as root, with stele as its runtime."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.callers.conftest import ARCHIVE, scope, state
from tests.vm.guest import Done, Guest

LOOP = ("sh", "-c", "while :; do sleep 1; done")
SIZED = "until stty size | grep '33 99'; do sleep 0.1; done; read a; exit $a"  # conmon sets a size when it comes to it
ROOT = "/run/stele"


class Podman:
    """`podman("run", ...)` runs it and insists on success; containers have no network unless they ask for one."""

    def __init__(self, host: Guest) -> None:
        self.host = host

    def __call__(self, *args: str, code: int = 0) -> str:
        return self.done(*args, code=code).stdout.removesuffix("\n")

    def done(self, *args: str, code: int = 0) -> Done:
        """Insist on an exit code."""
        words = (args[0], "--network=none", *args[1:]) if args[0] == "run" and "--pod=pod" not in args else args
        done = self.host.run("podman", *words)
        assert done.code == code, str(done)
        return done

    def id(self, name: str) -> str:
        """The whole id of a container."""
        return self("inspect", "--format", "{{.Id}}", name)


@pytest.fixture(scope="module")
def podman(host: Guest) -> Iterator[Podman]:
    """Podman with the image loaded; at the end all containers are removed."""
    podman = Podman(host)
    podman("load", "--input", ARCHIVE)
    yield podman
    podman("pod", "rm", "--all", "--force", "--time=0")
    podman("rm", "--all", "--force", "--time=0")
    assert host.ok("stele", "--root", ROOT, "list", "--quiet") == "", "stele has none left either"


def test_run(podman: Podman) -> None:
    """Output, error, exit code, environment, user and working directory."""
    script = "echo $WORD $(id -u):$(id -g) $PWD; echo bad >&2; exit 7"
    done = podman.done("run", "--rm", "-e", "WORD=hi", "-u", "5:6", "-w", "/tmp", "shell", "sh", "-c", script, code=7)
    assert (done.stdout, done.stderr) == ("hi 5:6 /tmp\n", "bad\n")


def test_it_is_stele(podman: Podman, host: Guest) -> None:
    """Podman says that it uses stele, and stele has the container, in a scope that systemd made for it."""
    assert podman("info", "--format", "{{.Host.OCIRuntime.Name}} {{.Host.OCIRuntime.Path}}") == "stele /usr/bin/stele"
    podman("run", "--detach", "--name=who", "shell", *LOOP)
    who = podman.id("who")
    mine = state(host, ROOT, who)
    assert mine["status"] == "running"
    assert str(mine["pid"]) == podman("inspect", "--format", "{{.State.Pid}}", "who")
    unit = scope(host, mine["pid"])
    assert unit == f"libpod-{who}.scope"
    assert host.ok("systemctl", "show", "--property=Delegate,ActiveState", unit) == "Delegate=yes\nActiveState=active"
    podman("rm", "--force", "--time=0", "who")
    assert host.ok("systemctl", "list-units", "--all", "--no-legend", unit) == ""


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        pytest.param(("nothere",), 127, 'exec: "nothere": executable file not found in $PATH', id="no-program"),
        pytest.param(("/no/where",), 127, 'exec: "/no/where": no such file or directory', id="no-file"),
        pytest.param(("/tmp",), 126, 'exec: "/tmp": permission denied: it is a directory', id="a-directory"),
    ],
)
def test_failures_are_told(podman: Podman, command: tuple[str, ...], code: int, words: str) -> None:
    """stele's own words arrive, by its log in JSON, and become the exit codes that users know."""
    done = podman.done("run", "--rm", "shell", *command, code=code)
    assert words in done.stderr, done.stderr


def test_terminal(podman: Podman, host: Guest) -> None:
    """run -it: a terminal of the size of ours, input and output, and the exit code."""
    command = ("podman", "run", "--rm", "-it", "--network=none", "shell", "sh", "-c", SIZED)
    with host.start(*command, tty=True) as job:
        job.resize(33, 99)
        job.type("9\n")
        done = job.wait()
    assert (done.code, "33 99" in done.stdout) == (9, True), str(done)


def test_read_only(podman: Podman) -> None:
    """--read-only: only what is mounted writable can be written."""
    script = "touch /x; touch /tmp/x && echo tmp; grep ' / ' /proc/self/mounts"
    done = podman.done("run", "--rm", "--read-only", "shell", "sh", "-c", script)
    assert "touch: /x: Read-only file system" in done.stderr
    assert done.stdout.startswith("tmp\n") and " ro," in done.stdout


def test_limits_stats_update_and_kill(podman: Podman, host: Guest) -> None:
    """--memory, --cpus and --pids-limit act in the container; update changes them; stats reads them; kill ends it."""
    limits = ("--memory=48m", "--cpus=0.5", "--pids-limit=20")
    podman("run", "--detach", "--name=limited", *limits, "shell", *LOOP)
    read = ("exec", "limited", "sh", "-c", "cd /sys/fs/cgroup; cat memory.max cpu.max pids.max")
    assert podman(*read).split("\n") == [str(48 << 20), "50000 100000", "20"]
    unit = f"libpod-{podman.id('limited')}.scope"
    shown = host.ok("systemctl", "show", "--property=MemoryMax,TasksMax,CPUQuotaPerSecUSec", unit).splitlines()
    assert sorted(shown) == ["CPUQuotaPerSecUSec=500ms", f"MemoryMax={48 << 20}", "TasksMax=20"]
    (stats,) = json.loads(podman("stats", "--no-stream", "--format=json", "limited"))
    assert stats["mem_usage"].endswith(" / 50.33MB") and int(stats["pids"]) >= 1
    podman("update", "--memory=64m", "--cpus=0.25", "limited")
    assert podman(*read).split("\n") == [str(64 << 20), "25000 100000", "20"]
    podman("kill", "limited")
    assert podman("wait", "limited") == "137"


def test_exec(podman: Podman, host: Guest) -> None:
    """exec: its own user, environment, exit codes and terminal, in the container's namespaces."""
    podman("run", "--detach", "--name=exec", "--hostname=inner", "shell", *LOOP)
    assert podman("exec", "-u", "7", "-e", "A=b", "-w", "/proc", "exec", "sh", "-c", "echo $A $(id -u) $PWD; hostname").split() == [
        "b", "7", "/proc", "inner",
    ]  # fmt: skip
    podman("exec", "exec", "sh", "-c", "exit 5", code=5)
    assert "executable file not found in $PATH" in podman.done("exec", "exec", "nothere", code=127).stderr
    with host.start("podman", "exec", "-it", "exec", "sh", tty=True) as job:
        job.type("tty; exit 6\n")
        done = job.wait()
    assert (done.code, "/dev/pts/" in done.stdout) == (6, True), str(done)


def test_pause_and_signals(podman: Podman, host: Guest) -> None:
    """pause stops it, unpause lets it go on, kill -s reaches it, logs has what it said, and its exit code arrives."""
    script = "trap 'echo got it; exit 3' USR1; echo begun; while :; do sleep 0.2; done"
    podman("run", "--detach", "--name=signals", "shell", "sh", "-c", script)
    host.eventually("the container has begun", lambda: "begun" in podman("logs", "signals"))
    name = podman.id("signals")
    podman("pause", "signals")
    assert state(host, ROOT, name)["status"] == "paused"
    podman("unpause", "signals")
    assert state(host, ROOT, name)["status"] == "running"
    podman("kill", "--signal=USR1", "signals")
    assert podman("wait", "signals") == "3"
    # By the journal, which has it some time later.
    host.eventually("all is in the logs", lambda: podman("logs", "signals").split("\n") == ["begun", "got it"])


def test_pod(podman: Podman, host: Guest) -> None:
    """The containers of a pod share namespaces; the pod ends with all of them."""
    podman("pod", "create", "--name=pod", "--network=none", "--hostname=together")
    podman("run", "--detach", "--pod=pod", "--name=one", "shell", *LOOP)
    look = "hostname; for n in ipc net uts pid mnt; do readlink /proc/self/ns/$n; done"
    two = podman("run", "--rm", "--pod=pod", "shell", "sh", "-c", look).split()
    one = podman("exec", "one", "sh", "-c", look).split()
    assert one[0] == two[0] == "together"
    assert one[1:4] == two[1:4], "ipc, net and uts are shared"
    assert one[4] != two[4] and one[5] != two[5], "pid and mnt are not"
    podman("pod", "kill", "pod")
    host.eventually("all have ended", lambda: podman("ps", "--quiet", "--filter=pod=pod") == "")
    podman("pod", "rm", "--force", "--time=0", "pod")


def test_health_check(podman: Podman, host: Guest) -> None:
    """systemd's timer runs the check in the container, until it is healthy."""
    podman(
        "run", "--detach", "--name=health", "--health-cmd=cat /tmp/ok", "--health-interval=1s", "--health-retries=1",
        "shell", *LOOP,
    )  # fmt: skip
    health = ("inspect", "--format", "{{.State.Health.Status}}", "health")
    host.eventually("it is found unhealthy", lambda: podman(*health) == "unhealthy")
    podman("exec", "health", "sh", "-c", "touch /tmp/ok")
    host.eventually("it is found healthy", lambda: podman(*health) == "healthy")
    podman("rm", "--force", "--time=0", "health")


def test_systemd_in_a_container(podman: Podman, host: Guest) -> None:
    """systemd as the container's init, in cgroups that it shares out itself: it starts, exec finds a place, it stops.

    The root is the host's own, below an overlay.
    """
    started = ("/lib/systemd/systemd", "systemd.unit=basic.target")
    podman("run", "--detach", "--name=systemd", "--systemd=always", "--rootfs", "/:O", *started)
    # A process in the container's own cgroup would keep systemd from sharing that out, so there is no exec before it has.
    shared = f"/sys/fs/cgroup{podman('inspect', '--format', '{{.State.CgroupPath}}', 'systemd')}/cgroup.subtree_control"
    host.eventually("it shares its cgroup out", lambda: host.run("cat", shared).stdout.strip())
    running = ("podman", "exec", "systemd", "systemctl", "is-system-running", "--wait")
    host.eventually("it has started", lambda: host.run(*running).stdout == "degraded\n")
    failed = podman("exec", "systemd", "systemctl", "list-units", "--failed", "--plain", "--no-legend")
    assert {line.split()[0] for line in failed.splitlines()} <= {"var.mount", "cgroup-controllers.service"}, failed
    assert podman("exec", "systemd", "cat", "/proc/1/comm") == "systemd"
    assert podman("exec", "systemd", "cat", "/proc/self/cgroup") == "0::/init.scope"
    podman("stop", "--time=120", "systemd")
    assert podman("inspect", "--format", "{{.State.ExitCode}}", "systemd") == "0"


def test_by_cgroupfs(podman: Podman, host: Guest) -> None:
    """--cgroup-manager=cgroupfs: the cgroup is stele's own to make and to remove."""
    host.ok(
        "podman",
        "--cgroup-manager=cgroupfs",
        "run",
        "--detach",
        "--network=none",
        "--memory=32m",
        "--name=fs",
        "shell",
        *LOOP,
    )
    path = (
        host.read(f"/proc/{podman('inspect', '--format', '{{.State.Pid}}', 'fs')}/cgroup").strip().removeprefix("0::")
    )
    assert path == f"/libpod_parent/libpod-{podman.id('fs')}"
    assert host.read(f"/sys/fs/cgroup{path}/memory.max") == f"{32 << 20}\n"
    host.ok("podman", "--cgroup-manager=cgroupfs", "rm", "--force", "--time=0", "fs")
    assert not host.exists(f"/sys/fs/cgroup{path}")


def test_no_cgroup(podman: Podman, host: Guest) -> None:
    """--cgroups=disabled, which Podman asks only of runtimes that containers.conf names: no cgroup of its own."""
    podman("run", "--detach", "--cgroups=disabled", "--name=none", "shell", *LOOP)
    pid = podman("inspect", "--format", "{{.State.Pid}}", "none")
    assert podman.id("none") not in host.read(f"/proc/{pid}/cgroup")
    podman("rm", "--force", "--time=0", "none")
    assert not host.exists(f"/proc/{pid}")


def test_in_a_unit(podman: Podman, host: Guest) -> None:
    """--cgroups=split in a unit, as Quadlet has it: the container is in the unit's own cgroup, beside conmon."""
    unit = ("systemd-run", "--quiet", "--wait", "--pipe", "--unit=split", "--property=Delegate=yes")
    script = "cat /sys/fs/cgroup/memory.max; cat /proc/self/cgroup"
    run = ("podman", "run", "--rm", "--network=none", "--cgroups=split", "--cgroupns=host", "--memory=32m")
    said = host.ok(*unit, *run, "shell", "sh", "-c", script)
    assert "0::/system.slice/split.service/libpod-payload-" in said
