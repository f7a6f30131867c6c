"""Podman for an ordinary user, with stele as its runtime: no root anywhere, limits by the user's own systemd."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.callers.conftest import ARCHIVE, STELE, state
from tests.vm.guest import Done, Guest, User

USER = User("vagrant", 1000, "/var/home/vagrant")
ROOT = "/run/user/1000/stele"
LOOP = ("sh", "-c", "while :; do sleep 1; done")


class Podman:
    """`podman("run", ...)` as the user; containers have no network unless they ask for one."""

    def __init__(self, host: Guest) -> None:
        self.host = host

    def __call__(self, *args: str, code: int = 0) -> str:
        return self.done(*args, code=code).stdout.removesuffix("\n")

    def done(self, *args: str, code: int = 0) -> Done:
        """Insist on an exit code."""
        words = (args[0], "--network=none", *args[1:]) if args[0] == "run" else args
        done = self.host.run("podman", *words, user=USER)
        assert done.code == code, str(done)
        return done


@pytest.fixture(scope="module")
def podman(host: Guest) -> Iterator[Podman]:
    """Podman with the image loaded; at the end all containers are removed."""
    podman = Podman(host)
    podman("load", "--input", ARCHIVE)
    yield podman
    podman("rm", "--all", "--force", "--time=0")
    assert host.ok(STELE, "--root", ROOT, "list", "--quiet") == "", "stele has none left either"


def test_run(podman: Podman) -> None:
    """Root inside is the user outside; output and exit code arrive."""
    done = podman.done("run", "--rm", "shell", "sh", "-c", "cat /proc/self/uid_map; id -u; exit 7", code=7)
    assert done.stdout.split() == ["0", "1000", "1", "1", "100000", "65536", "0"]


def test_failures_are_told(podman: Podman) -> None:
    """stele's own words arrive."""
    assert "executable file not found in $PATH" in podman.done("run", "--rm", "shell", "nothere", code=127).stderr


def test_it_is_stele_with_limits(podman: Podman, host: Guest) -> None:
    """The container is in a scope of the user's systemd, with limits; exec, update, stats, pause, kill and logs."""
    script = "trap 'echo got it; exit 3' TERM; echo begun; while :; do sleep 0.2; done"
    flags = ("--memory=48m", "--cpus=0.5", "--pids-limit=20", "--read-only", "--user=7")
    name = podman("run", "--detach", "--name=limited", *flags, "shell", "sh", "-c", script)
    mine = state(host, ROOT, name, user=USER)
    assert mine["status"] == "running"
    assert host.ok("stat", "-c", "%u", f"/proc/{mine['pid']}") == "100006"
    below = "user.slice/user-1000.slice/user@1000.service/user.slice"
    assert host.read(f"/proc/{mine['pid']}/cgroup").strip() == f"0::/{below}/libpod-{name}.scope"
    read = ("exec", "limited", "sh", "-c", "cd /sys/fs/cgroup; cat memory.max cpu.max pids.max; id -u")
    assert podman(*read).split("\n") == [str(48 << 20), "50000 100000", "20", "7"]
    (stats,) = json.loads(podman("stats", "--no-stream", "--format=json", "limited"))
    assert stats["mem_usage"].endswith(" / 50.33MB") and int(stats["pids"]) >= 1
    podman("update", "--memory=64m", "limited")
    assert podman(*read).split("\n")[0] == str(64 << 20)
    podman("pause", "limited")
    assert state(host, ROOT, name, user=USER)["status"] == "paused"
    podman("unpause", "limited")
    podman("kill", "--signal=TERM", "limited")
    assert podman("wait", "limited") == "3"
    # By the journal, which has it some time later.
    host.eventually("all is in the logs", lambda: podman("logs", "limited").split("\n") == ["begun", "got it"])


def test_terminal(podman: Podman, host: Guest) -> None:
    """run -it and exec -it."""
    command = ("podman", "run", "--rm", "-it", "--network=none", "shell", "sh", "-c", "read a; tty; exit $a")
    with host.start(*command, tty=True, user=USER) as job:
        job.type("9\n")
        done = job.wait()
    assert (done.code, "/dev/pts/" in done.stdout) == (9, True), str(done)


def test_keep_id(podman: Podman) -> None:
    """--userns=keep-id: a user namespace of stele's making in Podman's, where the user is himself."""
    said = podman("run", "--rm", "--userns=keep-id", "shell", "sh", "-c", "id -u; touch /tmp/x && stat -c %u /tmp/x")
    assert said.split() == ["1000", "1000"]
