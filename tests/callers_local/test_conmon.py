"""Debian's conmon drives stele as Podman does: create, attach, exit code, exec, terminal, failure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.harness import conmon
from tests.harness.bundles import BundleFactory
from tests.harness.runtime import Runtime


def process_of(bundle: Path, args: list[str], **changes: Any) -> dict[str, Any]:
    """The process.json of an exec: the container's own process with other args, as Podman makes it."""
    process: dict[str, Any] = json.loads((bundle / "config.json").read_text())["process"]
    return {**process, "args": args, **changes}


def test_the_exit_code_and_both_streams_arrive(stele: Runtime, bundle: BundleFactory, tmp_path: Path) -> None:
    """conmon tells the pid, logs stdout and stderr apart, and writes the exit code."""
    name = stele.id()
    monitor = conmon.start(
        stele, bundle(["/bin/sh", "-c", "echo out; echo err >&2; exit 42"]), name, folder=tmp_path / "c"
    )
    assert monitor.pid > 0, monitor.message
    assert (tmp_path / "c/pidfile").read_text() == str(monitor.pid)
    state = stele.state(name)
    assert (state["status"], state["pid"]) == ("created", monitor.pid)
    stele.ok("start", name)
    assert monitor.exit_code() == 42
    assert sorted(monitor.log()) == [("stderr", "err"), ("stdout", "out")]
    assert stele.state(name)["status"] == "stopped"
    stele.ok("delete", "--force", name)


def test_a_killed_container_has_128_and_the_signal(stele: Runtime, bundle: BundleFactory, tmp_path: Path) -> None:
    """`kill ID 9`, with the number as Podman gives it, is told as 137."""
    name = stele.id()
    monitor = conmon.start(stele, bundle(["/bin/sleep", "1000"]), name, folder=tmp_path / "c")
    stele.ok("start", name)
    stele.ok("kill", name, "9")
    assert monitor.exit_code() == 137
    stele.ok("delete", "--force", name)


def test_attach_carries_input_and_output(stele: Runtime, bundle: BundleFactory, tmp_path: Path) -> None:
    """What is typed at the attach socket reaches the container, and its answer comes back."""
    name = stele.id()
    shell = ["/bin/sh", "-c", "read word; echo got $word; echo bad $word >&2; exit 3"]
    monitor = conmon.start(stele, bundle(shell), name, folder=tmp_path / "c", stdin=True)
    attached = monitor.attach()
    stele.ok("start", name)
    attached.type("stone\n")
    attached.until("got stone\n")
    attached.until("bad stone\n", conmon.STDERR)
    attached.close()
    assert monitor.exit_code() == 3
    stele.ok("delete", "--force", name)


def test_a_terminal_is_handed_over_and_resized(stele: Runtime, bundle: BundleFactory, tmp_path: Path) -> None:
    """conmon gets the console by --console-socket: the size it sets is seen inside, and what is typed is echoed."""
    name = stele.id()
    # conmon sets the size when it comes to it.
    shell = [
        "/bin/sh",
        "-c",
        "tty; until stty size | grep '21 77'; do sleep 0.02; done; read word; echo got $word; exit 5",
    ]
    monitor = conmon.start(stele, bundle(shell, terminal=True), name, folder=tmp_path / "c", terminal=True, stdin=True)
    assert monitor.pid > 0, monitor.message
    attached = monitor.attach()
    monitor.resize(21, 77)
    stele.ok("start", name)
    attached.until("21 77\n")
    attached.type("stone\n")
    attached.until("stone\ngot stone\n")
    assert attached.seen[conmon.STDOUT].startswith("/dev/")
    attached.close()
    assert monitor.exit_code() == 5
    stele.ok("delete", "--force", name)


@pytest.mark.parametrize("terminal", [False, True])
def test_exec_is_attached_and_its_code_kept(
    stele: Runtime, bundle: BundleFactory, tmp_path: Path, terminal: bool
) -> None:
    """An exec by process.json, with and without a terminal; the container lives on."""
    name = stele.id()
    folder = bundle(["/bin/sleep", "1000"])
    monitor = conmon.start(stele, folder, name, folder=tmp_path / "c")
    stele.ok("start", name)
    process = process_of(folder, ["/bin/sh", "-c", "test -t 0; echo tty $?; read x; exit $x"], terminal=terminal)
    session = conmon.start(stele, folder, name, folder=tmp_path / "x", terminal=terminal, stdin=True, process=process)
    assert session.pid > 0, session.message
    assert session.pid != monitor.pid
    attached = session.attached
    assert attached
    attached.until("tty 0\n" if terminal else "tty 1\n")
    attached.type("17\n")
    assert session.exit_code() == 17
    attached.close()
    assert stele.state(name)["status"] == "running"
    stele.ok("kill", name, "KILL")
    assert monitor.exit_code() == 137
    stele.ok("delete", "--force", name)


def test_a_failed_create_is_told_in_one_json_line(stele: Runtime, bundle: BundleFactory, tmp_path: Path) -> None:
    """Podman reads the whole log as one JSON object, and looks for these words to answer 127."""
    name = stele.id()
    monitor = conmon.start(stele, bundle(["/no/such/program"]), name, folder=tmp_path / "c")
    assert monitor.pid == -1
    told = json.loads((tmp_path / "c/oci-log").read_text())
    assert told["level"] == "error"
    assert "no such file or directory" in told["msg"].lower()
    assert told["msg"] in monitor.message
    assert stele("state", name).returncode == 1


def test_a_failed_exec_is_told(stele: Runtime, bundle: BundleFactory, tmp_path: Path) -> None:
    """An exec of a missing program fails with the words that Podman turns into 127; the container lives on."""
    name = stele.id()
    folder = bundle(["/bin/sleep", "1000"])
    monitor = conmon.start(stele, folder, name, folder=tmp_path / "c")
    stele.ok("start", name)
    session = conmon.start(stele, folder, name, folder=tmp_path / "x", process=process_of(folder, ["/no/such/program"]))
    assert session.attached
    session.attached.close()
    assert session.pid == -1
    assert "no such file or directory" in json.loads((tmp_path / "x/oci-log").read_text())["msg"].lower()
    assert stele.state(name)["status"] == "running"
    stele.ok("kill", name, "KILL")
    assert monitor.exit_code() == 137
    stele.ok("delete", "--force", name)
