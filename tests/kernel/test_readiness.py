"""When `run` says that a container is ready: to its caller by returning, and to a service manager by its socket."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.container.notify import FOLDER
from tests.harness.bundles import BundleFactory
from tests.harness.runtime import Runtime

QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
LATER = ["/bin/sh", "-c", "sleep 0.3; : >/ready; exec sleep 1000"]
PROBE = "exec:test -e /ready"


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """A service manager's socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(30)
        yield listener


def told(manager: socket.socket) -> set[str]:
    """The lines of the next message; the barrier after it is lifted (sd_notify(3))."""
    message = manager.recv(4096)
    barrier, fds, _, _ = socket.recv_fds(manager, 4096, 1)
    assert barrier == b"BARRIER=1"
    os.close(fds[0])
    return set(message.decode().split())


def environment(manager: socket.socket) -> dict[str, str]:
    return {**os.environ, "NOTIFY_SOCKET": manager.getsockname()}


def test_run_returns_once_a_command_succeeds(stele: Runtime, bundle: BundleFactory) -> None:
    folder, name = bundle(LATER), stele.id()
    stele.ok("run", "--detach", "--ready", PROBE, "--log-driver", "none", "--bundle", folder, name)
    assert (folder / "rootfs/ready").exists()
    stele.ok("delete", "--force", name)


def test_a_container_that_ends_first(stele: Runtime, bundle: BundleFactory) -> None:
    """Nothing of it is left."""
    folder = bundle(["/bin/sleep", "0.3"])
    done = stele("run", "--detach", "--ready", "exec:false", "--log-driver", "none", "--bundle", folder, stele.id())
    assert done.returncode == 1 and "ended before it was ready" in done.stderr


def test_a_command_that_is_not_there(stele: Runtime, bundle: BundleFactory) -> None:
    folder = bundle(["/bin/sleep", "1000"])
    done = stele("run", "--detach", "--ready", "exec:nowhere", "--log-driver", "none", "--bundle", folder, stele.id())
    assert done.returncode == 1 and '"nowhere": executable file not found' in done.stderr


@pytest.mark.parametrize("ready", ["started", PROBE])
def test_a_service_manager_is_told(stele: Runtime, bundle: BundleFactory, manager: socket.socket, ready: str) -> None:
    """Once, with the pid; the container is given no socket of its own. stele waits until that is processed."""
    name = stele.id()
    script = 'test -z "$NOTIFY_SOCKET" || exit 1; ' + LATER[2]
    words = stele.command("run", "--detach", "--ready", ready, "--bundle", bundle([*LATER[:2], script]), name)
    process = subprocess.Popen(words, env=environment(manager), stdin=subprocess.DEVNULL, **QUIET)
    lines = told(manager)
    assert process.wait(30) == 0
    assert lines == {"READY=1", f"MAINPID={stele.state(name)['pid']}"}
    stele.ok("delete", "--force", name)


@pytest.mark.parametrize("ready", ["started", PROBE])
def test_also_of_one_in_the_foreground(
    stele: Runtime, bundle: BundleFactory, manager: socket.socket, ready: str
) -> None:
    name = stele.id()
    words = stele.command("run", "--ready", ready, "--bundle", bundle(LATER), name)
    process = subprocess.Popen(words, env=environment(manager), stdin=subprocess.DEVNULL, **QUIET)
    assert told(manager) == {"READY=1", f"MAINPID={stele.state(name)['pid']}"}
    process.send_signal(signal.SIGTERM)  # which process 1 of a pid namespace ignores
    stele.ok("kill", name, "KILL")
    assert process.wait(30) == 137


def test_what_it_says_of_a_command_commands_no_terminal(
    stele: Runtime, bundle: BundleFactory, manager: socket.socket
) -> None:
    """The container wrote the first line of a script."""
    folder = bundle(["/bin/sleep", "1000"])
    (folder / "rootfs/evil").write_bytes(b"#!/\x1b[2J\n")
    (folder / "rootfs/evil").chmod(0o755)
    name = stele.id()
    words = stele.command("run", "--ready", "exec:/evil", "--bundle", folder, name)
    with subprocess.Popen(words, env=environment(manager), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr
        said = process.stderr.readline()
        stele.ok("kill", name, "KILL")
        process.wait(30)
    assert rb'its interpreter "/\x1b[2J" is missing' in said


@pytest.mark.parametrize("ready", ["exec:", "later", "exec:'"])
def test_malformed(stele: Runtime, bundle: BundleFactory, ready: str) -> None:
    done = stele("run", "--detach", "--ready", ready, "--bundle", bundle(["true"]), stele.id())
    assert done.returncode == 1 and "--ready" in done.stderr


def test_the_folder_that_a_container_has_for_its_socket(
    stele: Runtime, bundle: BundleFactory, manager: socket.socket
) -> None:
    """Any user of the container can go into it, and nobody can write it."""
    name = stele.create(bundle(["/bin/ls", "-ld", "/run/notify"]), env=environment(manager))
    assert (stele.root / name / FOLDER).stat().st_mode & 0o777 == 0o755
    stele.ok("delete", "--force", name)
