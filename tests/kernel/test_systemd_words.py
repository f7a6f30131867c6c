"""What systemd gives a service and asks of it, passed through to the container: sockets, and the word that it is ready."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.harness.bundles import BundleFactory
from tests.harness.runtime import REPO, Runtime

# systemd sets LISTEN_PID to the process that it starts; so does conmon.
START = """
import os, sys
names, fd, *command = sys.argv[1:]
os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
if names:
    os.environ["LISTEN_FDNAMES"] = names
os.dup2(int(fd), 3)
os.execv(command[0], command)
"""


@pytest.mark.parametrize(("names", "told"), [("", ""), ("web", "web")])
def test_sockets_are_passed_on(stele: Runtime, bundle: BundleFactory, tmp_path: Path, names: str, told: str) -> None:
    """sd_listen_fds(3): they are 3, 4, ... in the container too, before those of --preserve-fds."""
    folder = bundle(["sh", "-c", "echo $LISTEN_FDS $LISTEN_PID $LISTEN_FDNAMES; echo hello >&3; ls /proc/self/fd"])
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = [
            sys.executable,
            "-c",
            START,
            names,
            str(theirs.fileno()),
            *stele.command("run", "-b", folder, stele.id()),
        ]
        done = subprocess.run(command, capture_output=True, text=True, pass_fds=[theirs.fileno()], check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == ["1", "1", *([told] if told else []), "0", "1", "2", "3", "4"]
        assert ours.recv(100) == b"hello\n"


def test_sockets_of_another_process_are_not_ours(stele: Runtime, bundle: BundleFactory) -> None:
    env = {**os.environ, "LISTEN_FDS": "1", "LISTEN_PID": "1"}
    done = stele("run", "-b", bundle(["sh", "-c", "echo [$LISTEN_FDS]; ls /proc/self/fd"]), stele.id(), env=env)
    assert done.stdout.split() == ["[]", "0", "1", "2", "3"]


def test_a_socket_that_is_not_there(stele: Runtime, bundle: BundleFactory) -> None:
    text = START.replace("os.dup2(int(fd), 3)", "")
    command = [sys.executable, "-c", text, "", "0", *stele.command("run", "-b", bundle(["true"]), stele.id())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "file descriptor 3 is not open" in done.stderr


READY = "/tmp/ready"  # a static program, since busybox cannot write to a datagram socket
READY_C = r"""
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
int main(void)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	strncpy(to.sun_path, getenv("NOTIFY_SOCKET"), sizeof(to.sun_path) - 1);
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	if (sendto(fd, "STATUS=soon", 11, 0, (void *)&to, sizeof(to)) < 0)
		return 3;
	if (sendto(fd, "X=1\nREADY=1\nMAINPID=1", 21, 0, (void *)&to, sizeof(to)) < 0)
		return 4;
	return getenv("STAY") ? pause() : 0;
}
"""


@pytest.fixture(scope="session")
def ready_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ready")
    (folder / "ready.c").write_text(READY_C)
    subprocess.run(["gcc", "-static", "-O1", "-o", folder / "ready", folder / "ready.c"], check=True)
    return folder / "ready"


@pytest.fixture
def says_ready(bundle: BundleFactory, ready_program: Path) -> Any:
    def make(**more: Any) -> Path:
        folder = bundle(["/bin/ready"], {"process": {"env": ["STAY=1"], "user": {"uid": 1000, "gid": 1000}}}, **more)
        (folder / "rootfs/bin/ready").write_bytes(ready_program.read_bytes())
        (folder / "rootfs/bin/ready").chmod(0o755)
        return folder

    return make


KILLED = """
import os, sys
from runtime.cli.main import main
from runtime.container.state import Store
Store.write = lambda *_: os._exit(9)
main(sys.argv[1:])
"""


def test_a_create_that_is_killed_before_its_record_can_be_deleted(stele: Runtime, bundle: BundleFactory) -> None:
    name, root = stele.id(), str(stele.root)
    words = [sys.executable, "-c", KILLED, "--root", root, "create", "--bundle", str(bundle(["true"])), name]
    env = {**os.environ, "NOTIFY_SOCKET": "/nowhere"}
    assert subprocess.run(words, env=env, check=False, cwd=REPO).returncode == 9
    stele.ok("delete", "--force", name)


@pytest.mark.parametrize("readonly", [False, True])
def test_ready_is_passed_on_by_start(stele: Runtime, says_ready: Any, tmp_path: Path, readonly: bool) -> None:
    """start returns when the container has said it; systemd gets that and the pid, and nothing else the container says."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as host:
        host.bind(str(tmp_path / "host"))
        host.settimeout(30)
        env = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "host")}
        name = stele.create(says_ready(readonly=readonly), "c", env=env)
        (stele.root / name / "notify/notify.sock").touch()  # as a `start` that was killed leaves one
        pid = stele.state(name)["pid"]
        starting = subprocess.Popen(stele.command("start", name), env=env)
        assert host.recv(1000).decode().split() == [f"MAINPID={pid}", "READY=1"]
        message, fds, _, _ = socket.recv_fds(host, 1000, 1)
        assert message == b"BARRIER=1"
        assert starting.poll() is None, "it waits until systemd has handled it"
        os.close(fds[0])
        assert starting.wait(30) == 0
    stele.ok("delete", "--force", name)


def test_run_in_the_foreground_passes_it_on_while_it_waits(stele: Runtime, says_ready: Any, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as host:
        host.bind(b"\0stele-test-" + stele.token.encode())
        host.settimeout(30)
        env = {**os.environ, "NOTIFY_SOCKET": f"@stele-test-{stele.token}"}
        name = stele.id()
        running = subprocess.Popen(stele.command("run", "-b", says_ready(), name), env=env)
        assert "READY=1" in host.recv(1000).decode().split()
        _, fds, _, _ = socket.recv_fds(host, 1000, 1)
        os.close(fds[0])
        stele.ok("kill", name, "KILL")
        assert running.wait(30) == 137


def test_start_does_not_wait_for_one_that_ends_instead(stele: Runtime, bundle: BundleFactory, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as host:
        host.bind(str(tmp_path / "host"))
        env = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "host")}
        name = stele.create(bundle(["true"]), "c", env=env)
        stele.ok("start", name, env=env)
        host.settimeout(0)
        with pytest.raises(BlockingIOError):
            host.recv(1000)
    stele.ok("delete", name)


def test_without_the_variable_there_is_nothing_of_it(stele: Runtime, bundle: BundleFactory) -> None:
    done = stele("run", "-b", bundle(["sh", "-c", "echo [$NOTIFY_SOCKET]; ls /run"]), stele.id())
    assert done.stdout == "[]\n"
