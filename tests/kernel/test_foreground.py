"""run and exec as the parent of a process: signals that come to them, and what their own caller has left them."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import select
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from runtime.host.seccomp import number_of
from tests.harness.bundles import BundleFactory
from tests.harness.output import Output
from tests.harness.runtime import Runtime

PASSED = ("HUP", "INT", "QUIT", "USR1", "USR2", "ALRM", "TERM", "SEGV", "IO", "PWR", "RTMIN", "RTMAX")
TRAPS = (
    "".join(f"trap 'echo got {name}' {name}; " for name in PASSED[:-2]) + "trap 'echo got RTMIN' 34; trap 'exit 9' 64;"
)
SCRIPT = f"{TRAPS} echo ready; while :; do sleep 0.02; done"


def number(name: str) -> int:
    return {"RTMIN": signal.SIGRTMIN, "RTMAX": signal.SIGRTMAX}.get(name) or signal.Signals[f"SIG{name}"].value


@pytest.mark.parametrize("command", ["run", "exec"])
def test_signals_are_passed_on(stele: Runtime, bundle: BundleFactory, output: Output, command: str) -> None:
    """Each arrives, in the order in which they were sent one by one; the last one ends the program."""
    if command == "run":
        words = stele.command("run", "--bundle", bundle(["/bin/sh", "-c", SCRIPT]), stele.id())
    else:
        name = stele.detached(bundle(["/bin/sleep", "1000"]))
        words = stele.command("exec", name, "/bin/sh", "-c", SCRIPT)
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output.write_fd)
    output.until("ready")
    for each in PASSED[:-1]:
        process.send_signal(number(each))
        output.until(f"got {each}\n")
    process.send_signal(signal.SIGRTMAX)
    assert process.wait(30) == 9
    if command == "exec":
        stele.ok("delete", "--force", name)


def test_a_signal_that_comes_while_the_program_is_started_is_not_lost(stele: Runtime, bundle: BundleFactory) -> None:
    """A poststart hook sends it, when run has blocked its signals and nothing waits for them yet."""
    made = bundle(["/bin/sh", "-c", "trap 'exit 7' USR1; : >/ready; while :; do sleep 0.02; done"])
    script = f"until [ -e {made}/rootfs/ready ]; do sleep 0.02; done; kill -USR1 $PPID"
    config = json.loads((made / "config.json").read_text())
    config["hooks"] = {"poststart": [{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"]}]}
    (made / "config.json").write_text(json.dumps(config))
    assert stele("run", "--bundle", made, stele.id()).returncode == 7


def test_signals_are_passed_on_beside_a_terminal(stele: Runtime, bundle: BundleFactory) -> None:
    made = bundle(["/bin/sh", "-c", SCRIPT], terminal=True)
    master, slave = os.openpty()
    process = subprocess.Popen(
        stele.command("run", "--bundle", made, stele.id()),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    seen = b""
    for name in (*PASSED[:3], "RTMAX"):
        while not seen.endswith(b"\r\n"):
            seen += os.read(master, 4096)
        process.send_signal(number(name))
        seen = b""
    assert process.wait(30) == 9
    os.close(master)


def test_orphans_are_reaped(stele: Runtime, bundle: BundleFactory, output: Output) -> None:
    """run is given what a container in its own pid namespace leaves; nobody else could reap it."""

    def shared(config: dict[str, Any]) -> None:
        config["linux"]["namespaces"] = [n for n in config["linux"]["namespaces"] if n["type"] != "pid"]

    # The shell in the middle names its child and goes; the child ends once it is the runtime's.
    script = "for n in 1 2 3; do sh -c '(read x; exit 9) <&9 & echo orphan $!' 9</pipe; done; echo all; read x; exit 7"
    made = bundle(["/bin/sh", "-c", script], edit=shared)
    os.mkfifo(made / "rootfs/pipe")
    gate = os.open(made / "rootfs/pipe", os.O_RDWR)
    process = subprocess.Popen(
        stele.command("run", "--bundle", made, stele.id()), stdin=subprocess.PIPE, stdout=output.write_fd
    )
    output.until("all")
    pids = [int(line.split()[1]) for line in output.text.splitlines() if line.startswith("orphan")]
    fds = [os.pidfd_open(pid) for pid in pids]
    os.write(gate, b"\n" * 3)
    for fd in fds:
        assert select.select([fd], [], [], 30)[0]
        os.close(fd)
    end = time.monotonic() + 10
    while zombies := [pid for pid in pids if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < end, f"nobody reaps {zombies}"
    process.communicate(b"\n", timeout=30)
    assert process.returncode == 7
    os.close(gate)


LINES = "".join(f"{n:08} {'z' * 60}\n" for n in range(4000))


def test_what_is_pasted_may_be_more_than_a_terminal_holds(stele: Runtime, bundle: BundleFactory) -> None:
    """The program writes what it reads, and neither side waits for the other."""
    made = bundle(["/bin/sh", "-c", "stty -echo -onlcr; echo; cat"], terminal=True)
    done = stele("run", "--bundle", made, stele.id(), input=LINES)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(LINES[-len(LINES) // 2 :])  # what came before stty is echoed, too


def test_a_program_that_does_not_read_is_still_heard(stele: Runtime, bundle: BundleFactory, output: Output) -> None:
    """More is typed than anybody takes; output and signals go on."""
    script = "stty raw -echo; trap 'exit 7' USR1; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo $i; done; echo end; while :; do sleep 0.02; done"
    words = stele.command("run", "--bundle", bundle(["/bin/sh", "-c", script], terminal=True), stele.id())
    typed, ours = os.pipe()
    os.set_blocking(ours, False)
    process = subprocess.Popen(words, stdin=typed, stdout=output.write_fd)
    os.close(typed)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(ours, b"x" * 4096)
    output.until("20000")
    output.until("end")
    process.send_signal(signal.SIGUSR1)
    assert process.wait(30) == 7
    os.close(ours)


def test_all_is_shown_of_a_program_that_has_ended(stele: Runtime, bundle: BundleFactory, output: Output) -> None:
    """What its terminal holds yet when it ends, and nobody has read our output until then."""
    name, script = stele.id(), "stty -onlcr; head -c 10000 /dev/zero; exit 7"
    made = bundle(["/bin/sh", "-c", f"read x; {script}"], terminal=True)
    fcntl.fcntl(output.write_fd, fcntl.F_SETPIPE_SZ, 4096)
    process = subprocess.Popen(
        stele.command("run", "--bundle", made, name), stdin=subprocess.PIPE, stdout=output.write_fd
    )
    while '"running"' not in stele("state", name).stdout:
        assert process.poll() is None
    pidfd = os.pidfd_open(stele.state(name)["pid"])
    assert process.stdin
    process.stdin.write(b"\n")
    process.stdin.flush()
    stele.wait_ended(pidfd)
    assert output.rest().count("\0") == 10_000
    process.stdin.close()
    assert process.wait(30) == 7


def test_a_callers_output_may_not_block(stele: Runtime, bundle: BundleFactory, output: Output) -> None:
    """With O_NONBLOCK, as some have made the terminal that they share with us: what it cannot take at once waits."""
    script = "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); echo $i; done; exit 7"
    made = bundle(["/bin/sh", "-c", script], terminal=True)
    os.set_blocking(output.write_fd, False)
    fcntl.fcntl(output.write_fd, fcntl.F_SETPIPE_SZ, 4096)  # so it is full nearly always
    process = subprocess.Popen(
        stele.command("run", "--bundle", made, stele.id()), stdin=subprocess.DEVNULL, stdout=output.write_fd
    )
    output.until("30000")
    assert process.wait(30) == 7


@pytest.mark.parametrize("command", ["run", "exec"])
def test_output_that_nobody_takes_ends_no_program(stele: Runtime, bundle: BundleFactory, command: str) -> None:
    """As before `| head`, or on a full disk: what is written is lost, what else the program does is not."""
    made = bundle(["/bin/sh", "-c", "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); echo $i; done; exit 7"], terminal=True)
    words = ["run", "--bundle", str(made), stele.id()]
    if command == "exec":
        name = stele.detached(bundle(["/bin/sleep", "1000"]))
        words = ["exec", "--tty", name, *json.loads((made / "config.json").read_text())["process"]["args"]]
    with open("/dev/full", "wb") as full:
        assert stele(*words, stdout=full).returncode == 7
    read, write = os.pipe()
    os.close(read)
    try:
        assert stele(*words, stdout=write).returncode == 7
    finally:
        os.close(write)
    if command == "exec":
        stele.ok("delete", "--force", name)


def test_a_caller_may_ignore_the_end_of_its_children(stele: Runtime, bundle: BundleFactory) -> None:
    """SIGCHLD ignored is inherited, and would have the kernel reap a child before it is waited for; nor may the
    container inherit it."""
    made = bundle(["/bin/sh", "-c", "grep SigIgn /proc/self/status; exit 7"])
    done = stele("run", "--bundle", made, stele.id(), preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
    assert (done.returncode, int(done.stdout.split()[1], 16) >> (signal.SIGCHLD - 1) & 1) == (7, 0), done


def _own_secret() -> None:
    """In a child: a session keyring of its own with a key in it, which only who possesses it can see (keyctl(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    add_key, keyctl = (number_of(0, name) for name in ("add_key", "keyctl"))
    session, set_permission, join = -3, 5, 1
    assert libc.syscall(keyctl, join, None) >= 0
    key = libc.syscall(add_key, b"user", b"stele-secret", b"x", 1, session)
    assert key > 0
    assert libc.syscall(keyctl, set_permission, key, 0x3F00_0000) == 0


@pytest.mark.parametrize("flags", [[], ["--no-new-keyring"]], ids=["new keyring", "the caller's"])
def test_no_process_has_the_keys_of_its_caller(stele: Runtime, bundle: BundleFactory, flags: list[str]) -> None:
    """Neither the container's init nor a process beside it: unless the caller's keyring was asked for."""
    script = "cat /proc/keys >/new; mv /new /keys; sleep 1000"
    made = bundle(["/bin/sh", "-c", script], {"linux": {"maskedPaths": []}})
    name = stele.create(made, "c", *flags, preexec_fn=_own_secret)
    stele.ok("start", name)
    script = "until [ -e /keys ]; do sleep 0.02; done; cat /proc/keys; echo MIDDLE; cat /keys"
    own, _, inits = stele("exec", name, "sh", "-c", script, preexec_fn=_own_secret).stdout.partition("MIDDLE")
    assert "keyring" in own and "keyring" in inits
    assert ("stele-secret" in own, "stele-secret" in inits) == (bool(flags), bool(flags))
    stele.ok("delete", "--force", name)
