"""Sockets with a hostile other end: init's reports, consoles and agents that are handed fds, readiness, the start socket.

Whatever comes, with whatever fds: each ends in a sentence or in order, soon, and no fd is open that was not before.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from runtime.container import console, create, exec, notify, start
from runtime.container.state import START_SOCKET
from runtime.errors import SteleError
from runtime.host import launch
from runtime.plan import steps, wire
from tests.fuzz import LONG, SECONDS
from tests.harness.bundles import BundleFactory
from tests.harness.runtime import Runtime

HANG = 5.0
SOON = 0.1
PATIENCE = 60.0
"""Seconds: what is too long, for how long others are waited for here, and for how long where they will come."""


def open_fds() -> set[str]:
    """The open descriptors: number and target of each."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the listing's own
            found.add(f"{number} {os.readlink(f'/proc/self/fd/{number}')}")
    return found


def some_fds(rng: random.Random) -> list[int]:
    """As many as SCM_RIGHTS takes, mostly a few; the caller's."""
    return [os.memfd_create("hostile") for _ in range(rng.choice((0, 0, 0, 1, 1, 2, 3, 250)))]


def throw(rng: random.Random, to: socket.socket, data: bytes) -> None:
    """Send it with some fds, without waiting, if the other end still takes it."""
    fds = some_fds(rng)
    try:
        with contextlib.suppress(OSError):
            socket.send_fds(to, [data], fds, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
    finally:
        for fd in fds:
            os.close(fd)


# ---- init, as whom somebody speaks ----


def report(rng: random.Random) -> bytes:
    """A report, mostly of a kind that there is."""
    step = rng.choice((*range(46), 1, 2, 5, 20, 37, 2**32 - 1))
    error = rng.choice((0, 0, 0, 0, errno.ENOENT, errno.EBADMSG, -5, 2**31 - 1))
    detail = rng.choice((b"", rng.randbytes(244), struct.pack("<i", rng.choice((0, -1, 1, os.getpid(), 2**31 - 1)))))
    whole = wire.REPORT.pack(step, rng.choice((0, 1, 2**32 - 1)), error, detail)
    return rng.choice((whole, whole, whole, whole, whole[: rng.randrange(300)], whole + b"more"))


def told_by_init(rng: random.Random, place: Path) -> None:
    """create, start and exec follow what is told, until they believe it or say why not."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        for _ in range(rng.randint(0, 6)):
            throw(rng, theirs, report(rng))
    pid = os.posix_spawn("/bin/true", ["true"], {})
    child = launch.Child(pid, os.pidfd_open(pid), ours)
    listener = {"linux": {"seccomp": {"listenerPath": str(place / "nobody")}}}
    record: Any = SimpleNamespace(config=listener, resctrl={"group": "", "monitor": ""}, pid=pid, cgroup={}, id="x")
    plan: Any = SimpleNamespace(steps=(), cgroup_owner=None, id_maps=None, rlimits=(), oom_score=None, net_devices=())
    plan.veth, plan.hooks = (), ()
    with contextlib.ExitStack() as undo, contextlib.suppress(SteleError):
        undo.callback(child.close)
        undo.callback(child.kill)
        match rng.randrange(3):
            case 0:
                exec._talk(child, plan, SimpleNamespace(console_socket=""), record, undo)  # type: ignore[arg-type]
            case 1:
                start._talk(record, ours)
            case _:
                made = create.Creation.__new__(create.Creation)
                made.child, made.plan, made.record, made.undo, made.master = child, plan, record, undo, -1
                made.request = SimpleNamespace(keep_master=True, console_socket="")  # type: ignore[assignment]
                made.manager = SimpleNamespace(oom_kills=int, attach=int)
                made._talk()


# ---- consoles, and agents of seccomp ----


def behave(rng: random.Random, listener: socket.socket, how: str, got: list[bytes], over: threading.Event) -> None:
    """What listens at the path, as it pleases."""
    if how == "deaf":
        return
    listener.settimeout(HANG)
    try:
        other = listener.accept()[0] if how != "datagrams" else listener
    except OSError:
        return
    with other:
        if how == "junk":
            for _ in range(3):
                throw(rng, other, rng.randbytes(100))
        if how in ("good", "slow"):
            other.settimeout(HANG)
            data, fds, _, _ = socket.recv_fds(other, 1 if how == "slow" else 65536, 8)
            while data:
                got.append(data)
                data = other.recv(rng.choice((1000, 5000)) if how == "slow" else 65536)
            got.append(b"".join(os.pread(fd, 100, 0) for fd in fds))
            for fd in fds:
                os.close(fd)
        if how in ("holds", "junk"):
            over.wait(HANG)


def handed_over(rng: random.Random, place: Path) -> None:
    """Who takes it gets the whole message and one fd; whatever the others do, ours is closed."""
    path = place / f"s{rng.randrange(1 << 60)}"
    how = rng.choice(("good", "good", "slow", "deaf", "closes", "junk", "holds", "datagrams", "file", "nothing"))
    console.TIMEOUT = HANG if how in ("good", "slow") else SOON
    message = rng.randbytes(rng.choice((1, 13, 4000, 1 << 20)))
    got: list[bytes] = []
    over = threading.Event()
    fd = os.memfd_create("ours")
    os.write(fd, b"the fd")
    with contextlib.ExitStack() as undo:
        if how == "file":
            path.touch()
        elif how != "nothing":
            kind = socket.SOCK_DGRAM if how == "datagrams" else socket.SOCK_STREAM
            listener = undo.enter_context(socket.socket(socket.AF_UNIX, kind))
            listener.bind(str(path))
            if how != "datagrams":
                listener.listen(1)
            thread = threading.Thread(target=behave, args=(rng, listener, how, got, over))
            thread.start()
            undo.callback(thread.join)
        undo.callback(over.set)
        try:
            console.send_fd(str(path), fd, message, field="--console-socket")
            assert how not in ("datagrams", "file", "nothing"), "handed to nobody"
        except SteleError as e:
            assert how not in ("good", "slow"), e
    path.unlink(missing_ok=True)
    if how in ("good", "slow"):
        assert b"".join(got[:-1]) == message and got[-1] == b"the fd", "not all of it came"


# ---- sd_notify ----


class Flooded:
    """The socket when somebody sends without end: whatever is taken, there is another message."""

    def __init__(self, own: socket.socket, sender: socket.socket) -> None:
        self.own, self.sender, self.fileno = own, sender, own.fileno
        with contextlib.suppress(BlockingIOError):
            sender.send(b"STATUS=busy", socket.MSG_DONTWAIT)

    def recv(self, size: int) -> bytes:
        got = self.own.recv(size)
        with contextlib.suppress(BlockingIOError):
            self.sender.send(b"STATUS=busy", socket.MSG_DONTWAIT)
        return got


def heard_from_container(rng: random.Random, place: Path) -> None:
    """READY=1 is heard if it was said; after the container's end others are not listened to for ever."""
    os.mkdir(place / "c")
    os.mkdir(place / "c" / notify.FOLDER)
    directory = os.open(place / "c", os.O_RDONLY)
    listener = notify.Listener(directory)
    os.close(directory)
    path = str(place / "c" / notify.FOLDER / notify.SOCKET)
    ended = rng.randrange(4) > 0
    pid = os.posix_spawn("/bin/true", ["true"], {}) if ended else os.getpid()
    pidfd = os.pidfd_open(pid)
    if ended:
        os.waitpid(pid, 0)
    with contextlib.ExitStack() as undo:
        undo.enter_context(listener.socket)
        undo.callback(os.close, pidfd)
        sender = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        sender.connect(path)
        for _ in range(rng.randint(0, 6)):
            throw(rng, sender, rng.choice((b"", b"READY=0", b"XREADY=1", b"A=1\nB=2", rng.randbytes(9000))))
        ready = not ended or rng.randrange(2) == 0
        if ready:
            throw(rng, sender, b"A=1\nREADY=1\n")
        elif rng.randrange(8) == 0:
            listener.socket = Flooded(listener.socket, sender)  # type: ignore[assignment]
        assert listener._ready(pidfd) == ready
    for name in (path, place / "c" / notify.FOLDER, place / "c"):
        os.unlink(name) if name == path else os.rmdir(name)


def told_to_host(rng: random.Random, place: Path) -> None:
    """Who waits for the word may not read it, nor close what is the barrier."""
    path = str(place / "host")
    host = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    host.bind(path)
    how = rng.choice(("reads", "gone", "full", "silent"))
    with contextlib.ExitStack() as undo, host:
        if how == "gone":
            host.close()
        elif how == "full":
            filler = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            with contextlib.suppress(BlockingIOError):
                while True:
                    filler.sendto(b"x", socket.MSG_DONTWAIT, path)
        elif how == "reads":

            def read() -> None:
                with contextlib.suppress(OSError):  # it was given up
                    assert host.recv(100).endswith(b"READY=1\n")
                    for fd in socket.recv_fds(host, 100, 8)[1]:
                        os.close(fd)

            thread = threading.Thread(target=read)
            thread.start()
            undo.callback(thread.join)
        notify.tell(path, 1)
    os.unlink(path)


TARGETS: dict[str, Callable[[random.Random, Path], None]] = {
    f.__name__: f for f in (told_by_init, handed_over, heard_from_container, told_to_host)
}


def search(target: Callable[[random.Random, Path], None], place: Path, seconds: float) -> int:
    """Try it for a while; how often."""

    def hung(*_: object) -> None:
        raise AssertionError(f"it hangs for {HANG} s")

    seed = random.randrange(1 << 30)
    rng, end, tried = random.Random(seed), time.monotonic() + seconds, 0
    signal.signal(signal.SIGALRM, hung)
    try:
        while time.monotonic() < end or not tried:
            before = open_fds()
            signal.setitimer(signal.ITIMER_REAL, HANG)
            try:
                target(rng, place)
                left = open_fds() - before
                assert not left, f"left open: {left}"
            except Exception as e:
                raise AssertionError(f"seed {seed}, number {tried}: {type(e).__name__}: {e}") from e
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            tried += 1
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    return tried


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others are waited for shorter, and what needs a container is not asked."""
    monkeypatch.setattr(console, "TIMEOUT", SOON)
    monkeypatch.setattr(notify, "BARRIER_TIMEOUT", SOON)
    monkeypatch.setattr(start, "_plan", lambda record: SimpleNamespace(steps=()))
    for module in (start, create):
        monkeypatch.setattr(module, "state_document", lambda *_: {})
    monkeypatch.setattr(start, "is_alive", lambda record: True)
    monkeypatch.setattr(create.Creation, "_record_pid", lambda *_, **__: None)


@pytest.mark.parametrize("name", TARGETS)
def test_hostile_peers(name: str, tmp_path: Path) -> None:
    assert search(TARGETS[name], tmp_path, SECONDS / 8) > 0


def takes_two(self: launch.Child) -> launch.Report | None:
    """As if of two fds the second could not be there."""
    data, ancillary, _, _ = self.talk.recvmsg(wire.REPORT.size, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC)
    fds = [int.from_bytes(content[:4], "little") for _, _, content in ancillary]
    known = len(data) == wire.REPORT.size and steps.KINDS.get(wire.REPORT.unpack(data)[0])
    return launch.Report(*wire.REPORT.unpack(data), *fds) if known else None


def sends_once(path: str, fd: int, message: bytes, *, field: str) -> None:
    """As if a message went whole, or not at all."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(console.TIMEOUT)
            connection.connect(path)
            socket.send_fds(connection, [message], [fd])
    except OSError as e:
        raise SteleError(str(e)) from e
    finally:
        os.close(fd)


PLANTED: dict[str, tuple[Any, str, Any]] = {
    "told_by_init": (launch.Child, "receive", takes_two),
    "handed_over": (console, "send_fd", sends_once),
    "heard_from_container": (notify, "QUEUE_MAX", 1 << 40),
    "told_to_host": (notify, "BARRIER_TIMEOUT", 2 * HANG),
}


@pytest.mark.parametrize("name", TARGETS)
def test_finds_what_was_planted(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*PLANTED[name])
    monkeypatch.setattr(f"{__name__}.HANG", 1.0)
    with pytest.raises(AssertionError, match="seed"):
        search(TARGETS[name], tmp_path, LONG)


def test_who_has_it_all_may_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that closes as soon as it has the fd and the message, as most do, is not a failure; nor is that many come at
    once, and must wait until they are let in."""
    monkeypatch.setattr(console, "TIMEOUT", PATIENCE)
    ours, each = 8, 50
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen(1)

        def give() -> None:
            for _ in range(each):
                console.send_fd(
                    str(tmp_path / "s"), os.memfd_create("ours"), b"/dev/pts/ptmx", field="--console-socket"
                )

        threads = [threading.Thread(target=give, daemon=True) for _ in range(ours)]
        for thread in threads:
            thread.start()
        listener.settimeout(PATIENCE)
        for _ in range(ours * each):
            with listener.accept()[0] as other:
                os.close(socket.recv_fds(other, 4096, 1)[1][0])
        for thread in threads:
            thread.join(PATIENCE)


def test_hostile_starters(stele: Runtime, bundle: BundleFactory) -> None:
    """Who speaks to a waiting init instead of `start` gives the program no fd, and does not keep it from beginning."""
    rng = random.Random()
    made = bundle(["sleep", "1000"])
    for _ in range(max(3, int(SECONDS))):
        name = stele.create(made)
        pid = stele.state(name)["pid"]
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as peer:
            peer.connect(str(stele.root / name / START_SOCKET))
            for _ in range(rng.randint(0, 3)):
                throw(rng, peer, rng.randbytes(rng.choice((1, 256, 4000))))
            if rng.randrange(2):  # else we are gone before it looks
                peer.settimeout(HANG)
                with contextlib.suppress(ConnectionResetError):  # it never read what we sent
                    while peer.recv(4096):
                        pass
        end = time.monotonic() + PATIENCE
        while not os.readlink(f"/proc/{pid}/exe").endswith("/busybox"):
            assert time.monotonic() < end, "the program does not begin"
            os.sched_yield()
        # What is closed by execve(2) is open for a moment yet when it has its new name.
        while (fds := sorted(os.listdir(f"/proc/{pid}/fd"))) != ["0", "1", "2"]:
            assert time.monotonic() < end, f"it has {fds}"
            os.sched_yield()
        stele.ok("delete", "--force", name)
