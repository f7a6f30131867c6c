"""The waiter: it stays beside a container that nobody waits for, and how the container ended is known afterwards."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from runtime.container.state import process_stat
from runtime.host.processes import WAITER
from tests.harness import leaks
from tests.harness.bundles import BundleFactory
from tests.harness.runtime import Runtime

CODES = (0, 1, 2, 7, 126, 127, 128, 137, 255)
SIGNALS = [
    n for n in signal.valid_signals() if n not in (signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH)
]
"""Those that can end a process, and those that stop it, after which KILL ends it."""
STOPPING = (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)


def host_pids(config: dict[str, Any]) -> None:
    """In a pid namespace of its own, process 1 would ignore all signals but KILL."""
    spaces = config["linux"]["namespaces"]
    spaces[:] = [space for space in spaces if space["type"] != "pid"]


def waiter_of(stele: Runtime, name: str) -> int:
    """The pid of a container's waiter, which is a process of that name."""
    pid = int(json.loads((stele.root / name / "state.json").read_text())["waiter"]["pid"])
    assert Path(f"/proc/{pid}/comm").read_text().strip() == WAITER
    return pid


def told(stele: Runtime, name: str) -> tuple[int, int, bool]:
    """Exit status, signal and OOM of an ended container, which is then deleted; `wait`, `state` and `list` agree."""
    waited = json.loads(stele.ok("wait", name))
    state = stele.state(name)
    assert (state["status"], "waiter" in state) == ("stopped", False)
    assert state["exit"] == {
        "status": waited["exitStatus"],
        "signal": waited["signal"],
        "oomKilled": waited["oomKilled"],
        "time": waited["time"],
    }
    rows = json.loads(stele.ok("list", "--format", "json"))
    assert [row["exit"] for row in rows if row["id"] == name] == [state["exit"]]
    stele.ok("delete", name)
    return waited["exitStatus"], waited["signal"], waited["oomKilled"]


def run(stele: Runtime, folder: Path, *flags: str) -> str:
    """`run --detach`; returns the id. Its output goes nowhere: the container holds the streams that it gets."""
    name = stele.id()
    stele.ok("run", "--detach", *flags, "--bundle", folder, name, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return name


def test_each_exit_code(stele: Runtime, bundle: BundleFactory) -> None:
    for code in CODES:
        name = run(stele, bundle(["/bin/sh", "-c", f"exit {code}"]))
        assert told(stele, name) == (code, 0, False)


def test_each_signal(stele: Runtime, bundle: BundleFactory) -> None:
    folder = bundle(["/bin/sleep", "1000"], edit=host_pids)
    for number in SIGNALS:
        name = run(stele, folder)
        stele.ok("kill", name, str(int(number)))
        if number in STOPPING:
            stele.ok("kill", name, "KILL")
        ends = signal.SIGKILL if number in STOPPING else number
        assert told(stele, name) == (128 + ends, ends, False)


def test_an_end_that_nobody_waits_for_is_known_later(stele: Runtime, bundle: BundleFactory) -> None:
    """It ended before `run` returned; the first to ask is `state`."""
    name = run(stele, bundle(["/bin/sh", "-c", "exit 3"]))
    ended = stele.state(name)
    while ended["status"] != "stopped":  # what it ends at is its own time
        ended = stele.state(name)
    assert ended["exit"]["status"] == 3
    assert not (stele.root / name / ".exit.new").exists()
    stele.ok("delete", name)


def test_a_created_container_can_have_one(stele: Runtime, bundle: BundleFactory) -> None:
    """From `create --waiter` on, through `start` by another process."""
    name = stele.create(bundle(["/bin/sh", "-c", "exit 5"]), "c", "--waiter")
    state = stele.state(name)
    assert (state["status"], state["waiter"]) == ("created", "running")
    assert process_stat(waiter_of(stele, name))
    stele.ok("start", name)
    assert told(stele, name) == (5, 0, False)


def test_who_reaps_by_itself_is_given_the_container(stele: Runtime, bundle: BundleFactory) -> None:
    """As runc's callers do: without --waiter its init becomes the child of the nearest subreaper, this process."""
    name = stele.detached(bundle(["/bin/sh", "-c", "exit 9"]))
    record = json.loads((stele.root / name / "state.json").read_text())
    assert record["waiter"] == {} and "waiter" not in stele.state(name)
    assert os.waitstatus_to_exitcode(os.waitpid(record["pid"], 0)[1]) == 9
    stele.ok("delete", name)
    folder = bundle(["/bin/sh", "-c", "exit 8"])
    name = run(stele, folder, "--no-waiter", "--pid-file", str(folder / "pid"))
    pid = int((folder / "pid").read_text())
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 8
    stele.ok("delete", name)


def test_systemd_reaps_by_itself(stele: Runtime, bundle: BundleFactory) -> None:
    """Started by systemd, `run --detach` leaves no waiter without --waiter: $SYSTEMD_EXEC_PID is stele's own pid."""
    script = 'export SYSTEMD_EXEC_PID=$$; exec "$@" </dev/null >/dev/null 2>&1'
    for flags, waiter in (((), False), (("--waiter",), True)):
        name = stele.id()
        words = stele.command("run", "--detach", *flags, "--bundle", bundle(["/bin/sleep", "1000"]), name)
        assert os.spawnv(os.P_WAIT, "/bin/sh", ["sh", "-c", script, "sh", *words]) == 0
        assert ("waiter" in stele.state(name)) is waiter
        stele.ok("delete", "--force", name)


def test_a_killed_waiter(stele: Runtime, bundle: BundleFactory) -> None:
    """The container runs on, `state` says that its waiter is lost, and all is removed."""
    name = run(stele, bundle(["/bin/sleep", "1000"]))
    pid = waiter_of(stele, name)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    state = stele.state(name)
    assert (state["status"], state["waiter"]) == ("running", "lost")
    assert stele.ok("exec", name, "/bin/echo", "on") == "on\n"
    stele.ok("delete", "--force", name)


@pytest.mark.parametrize("number", (1, 2, 3, 10, 13, 14, 20, 34))
def test_a_signal_does_not_end_it(stele: Runtime, bundle: BundleFactory, number: int) -> None:
    name = run(stele, bundle(["/bin/sleep", "1000"]))
    os.kill(waiter_of(stele, name), number)
    stele.ok("kill", name, "KILL")
    assert told(stele, name) == (137, 9, False)


def test_term_ends_it_after_a_while(stele: Runtime, bundle: BundleFactory) -> None:
    """What ends a session or a unit sends TERM: the waiter waits for the container, but not until that is killed."""
    name = run(stele, bundle(["/bin/sleep", "1000"]))
    pid = waiter_of(stele, name)
    pidfd = os.pidfd_open(pid)
    os.kill(pid, signal.SIGTERM)
    assert not select.select([pidfd], [], [], 1)[0]
    assert select.select([pidfd], [], [], 30)[0]
    os.close(pidfd)
    assert stele.state(name)["waiter"] == "lost"
    stele.ok("delete", "--force", name)


def test_a_stopped_waiter_holds_up_nothing(stele: Runtime, bundle: BundleFactory) -> None:
    name = run(stele, bundle(["/bin/sleep", "1000"]))
    os.kill(waiter_of(stele, name), signal.SIGSTOP)
    stele.ok("delete", "--force", name)


def test_it_keeps_nothing_of_the_caller_or_the_container(stele: Runtime, bundle: BundleFactory) -> None:
    """Its streams are /dev/null, its directory is /, its fds are few, and its cgroup and namespaces are the caller's."""
    reader, writer = os.pipe()
    folder = bundle(["/bin/sleep", "1000"])
    name = stele.id()
    os.set_inheritable(writer, True)
    words = ("run", "--detach", "--bundle", folder, "--preserve-fds", "1", name)
    null = subprocess.DEVNULL
    stele.ok(*words, pass_fds=(3, writer), preexec_fn=lambda: os.dup2(writer, 3), stdout=null, stderr=null)
    pid = waiter_of(stele, name)
    held = {int(fd): os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
    assert [held.pop(fd) for fd in (0, 1, 2)] == ["/dev/null"] * 3
    known = {"anon_inode:[signalfd]", "anon_inode:[eventpoll]", str(stele.root / name)}
    assert {path for path in held.values() if not path.endswith("/memory.events")} == known
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    for space in os.listdir("/proc/self/ns"):
        assert os.readlink(f"/proc/{pid}/ns/{space}") == os.readlink(f"/proc/self/ns/{space}")
    assert Path(f"/proc/{pid}/cgroup").read_text() == Path("/proc/self/cgroup").read_text()
    assert os.getsid(pid) == pid
    pss = next(line.split()[1] for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines() if "Pss:" in line)
    assert int(pss) <= 200
    os.close(writer)
    stele.ok("delete", "--force", name)
    assert select.select([reader], [], [], 10)[0] and os.read(reader, 1) == b""
    os.close(reader)


def test_a_failed_run_leaves_no_waiter(stele: Runtime, bundle: BundleFactory) -> None:
    done = stele("run", "--detach", "--bundle", bundle(["/nowhere"]), stele.id())
    assert (done.returncode, "no such file or directory" in done.stderr) == (1, True)


def test_signals_end_a_run_that_is_under_way(stele: Runtime, bundle: BundleFactory) -> None:
    """A hook sends TERM to the process that the caller knows; it passes that on to the one that creates."""
    folder = bundle(["/bin/sleep", "1000"])
    config = json.loads((folder / "config.json").read_text())
    script = "kill -TERM $(awk '{ print $4 }' /proc/$PPID/stat); sleep 0.2"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}
    config["hooks"] = {"createRuntime": [hook]}
    (folder / "config.json").write_text(json.dumps(config))
    done = stele("run", "--detach", "--bundle", folder, stele.id())
    assert done.returncode == 1
    assert "interrupted by SIGTERM; nothing of it is left" in done.stderr


def test_its_options_exclude_each_other(stele: Runtime, bundle: BundleFactory) -> None:
    folder = bundle(["true"])
    for flags, said in (
        (("--waiter",), "without --detach"),
        (("--detach", "--waiter", "--no-waiter"), "with --no-waiter"),
    ):
        done = stele("run", *flags, "--bundle", folder, stele.id())
        assert done.returncode == 1 and said in done.stderr


def test_a_killed_run_leaves_nothing(stele: Runtime, bundle: BundleFactory) -> None:
    """A hook kills the process that the caller knows; the one that creates undoes all, as after TERM."""
    folder = bundle(["/bin/sleep", "1000"])
    config = json.loads((folder / "config.json").read_text())
    script = "kill -KILL $(awk '{ print $4 }' /proc/$PPID/stat); sleep 0.2"
    config["hooks"] = {
        "createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}]
    }
    (folder / "config.json").write_text(json.dumps(config))
    before, name = leaks.children(), stele.id()
    null = subprocess.DEVNULL
    assert stele("run", "--detach", "--bundle", folder, name, stdout=null, stderr=null).returncode == -signal.SIGKILL
    for pid in leaks.children() - before:  # it is ours now: this process adopts orphans
        os.waitpid(pid, 0)
    assert not (stele.root / name).exists()
