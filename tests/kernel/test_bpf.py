"""The kernel obeys device programs: asked by a process inside the cgroup, which opens and makes device nodes."""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import HostError
from runtime.host import bpf
from runtime.host.shim import ffi, lib
from runtime.plan.device_rules import device_program

KMSG = {"type": "c", "major": 1, "minor": 11}  # not one of the devices that every container has
DENY = [{"allow": False, "access": "rwm"}]
DENY_EVERYTHING = struct.pack("=BBhiBBhi", 0xB4, 0, 0, 0, 0x95, 0, 0, 0)


class Inside:
    """A process in a cgroup that opens and makes nodes on demand; each answer is 0 or an errno."""

    def __init__(self, cgroup: Path, folder: Path) -> None:
        self.folder = folder
        self.talk, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self.talk.close()
                (cgroup / "cgroup.procs").write_text(str(os.getpid()))
                self._serve(other)
            finally:
                os._exit(1)
        other.close()

    def _serve(self, talk: socket.socket) -> None:
        talk.send(b"0")
        while request := talk.recv(4096).decode():
            verb, name, mode, device = request.split("\t")
            if verb == "until":  # open it again and again until the parent says so; answer how often it worked
                worked = 0
                talk.setblocking(False)
                while True:
                    worked += self._try("open", name, int(mode), 0) == 0
                    try:
                        talk.recv(1)
                        break
                    except BlockingIOError:
                        pass
                talk.setblocking(True)
                talk.send(str(worked).encode())
            else:
                talk.send(str(self._try(verb, name, int(mode), int(device))).encode())

    def _try(self, verb: str, name: str, mode: int, device: int) -> int:
        try:
            if verb == "open":
                os.close(os.open(self.folder / name, mode | os.O_NONBLOCK))
            else:
                os.mknod(self.folder / name, mode, device)
        except OSError as e:
            return e.errno or -1
        return 0

    def ask(self, verb: str, name: str, mode: int = os.O_RDONLY, device: int = 0) -> int:
        self.talk.send(f"{verb}\t{name}\t{mode}\t{device}".encode())
        return int(self.talk.recv(64))

    def close(self) -> None:
        self.talk.close()
        os.waitpid(self.pid, 0)


@pytest.fixture
def cgroup(cgroup2_root: Path) -> Iterator[Path]:
    path = cgroup2_root / f"bpf-{uuid.uuid4().hex[:8]}"
    path.mkdir()
    yield path
    path.rmdir()


@pytest.fixture
def cgroup_fd(cgroup: Path) -> Iterator[int]:
    fd = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


@contextmanager
def apart(pid: int) -> Iterator[None]:
    """This process and that one on CPUs of their own, where there are two: else they would take turns."""
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(pid, cpus[-1:])
    os.sched_setaffinity(0, cpus[:1])
    try:
        yield
    finally:
        os.sched_setaffinity(0, cpus)


@contextmanager
def inside(cgroup: Path, folder: Path) -> Iterator[Inside]:
    for name, minor in (("null", 3), ("kmsg", 11)):
        os.mknod(folder / name, stat.S_IFCHR | 0o666, os.makedev(1, minor))
    process = Inside(cgroup, folder)
    assert process.talk.recv(1) == b"0"
    try:
        yield process
    finally:
        process.close()


def attached(cgroup_fd: int) -> int:
    ids, count = ffi.new("uint32_t[64]"), ffi.new("uint32_t *")
    assert lib.stele_bpf_query(cgroup_fd, ids, 64, count) == 0
    return int(count[0])


def rules(*more: dict[str, Any]) -> bytes:
    return device_program([*DENY, *more])


def test_devices_are_denied_and_allowed(cgroup: Path, cgroup_fd: int, tmp_path: Path) -> None:
    """Without a program all is open; with one, only what it allows; a change is felt at once by a running process."""
    with inside(cgroup, tmp_path) as process:
        assert process.ask("open", "kmsg") == 0
        bpf.attach_devices(cgroup_fd, rules())
        assert process.ask("open", "kmsg") == errno.EPERM
        assert process.ask("open", "null", os.O_RDWR) == 0
        bpf.attach_devices(cgroup_fd, rules({"allow": True, **KMSG, "access": "r"}))
        assert process.ask("open", "kmsg") == 0
        assert process.ask("open", "kmsg", os.O_RDWR) == errno.EPERM
        bpf.attach_devices(cgroup_fd, rules())
        assert process.ask("open", "kmsg") == errno.EPERM


def test_nodes_can_be_made_unless_the_program_denies_it(cgroup: Path, cgroup_fd: int, tmp_path: Path) -> None:
    """The default rules let any node be made, which gives no access to it; a program without them does not."""
    with inside(cgroup, tmp_path) as process:
        bpf.attach_devices(cgroup_fd, rules())
        assert process.ask("mknod", "new", stat.S_IFCHR | 0o666, os.makedev(1, 11)) == 0
        assert process.ask("open", "new") == errno.EPERM
        bpf.attach_devices(cgroup_fd, DENY_EVERYTHING)
        assert process.ask("mknod", "newer", stat.S_IFBLK | 0o666, os.makedev(8, 0)) == errno.EPERM
        assert process.ask("open", "null") == errno.EPERM
        assert not (tmp_path / "newer").exists()


def test_replacing_leaves_no_gap(cgroup: Path, cgroup_fd: int, tmp_path: Path) -> None:
    """While the program is replaced 300 times by one that denies too, a denied device never opens; one program is left.

    Seen red: with the old program detached before the new one is attached, it opens hundreds of times.
    """
    with inside(cgroup, tmp_path) as process, apart(process.pid):
        bpf.attach_devices(cgroup_fd, rules())
        process.talk.send(b"until\tkmsg\t0\t0")
        for i in range(300):
            bpf.attach_devices(cgroup_fd, rules({"allow": True, "type": "c", "major": 200, "minor": i, "access": "r"}))
        process.talk.send(b".")
        assert int(process.talk.recv(64)) == 0
        assert attached(cgroup_fd) == 1
        # A sign that the loop can see a device open at all.
        process.talk.send(b"until\tnull\t0\t0")
        process.talk.send(b".")
        assert int(process.talk.recv(64)) > 0


def test_programs_of_others_stay(cgroup: Path, cgroup_fd: int, tmp_path: Path) -> None:
    """A program that somebody else attached is not replaced, and both must allow."""
    other = lib.stele_bpf_load(DENY_EVERYTHING, 2, b"sd_devices", ffi.NULL, 0)
    assert other >= 0
    with inside(cgroup, tmp_path) as process:
        assert lib.stele_bpf_attach(cgroup_fd, other, -1) == 0
        bpf.attach_devices(cgroup_fd, device_program([{"allow": True, "access": "rwm"}]))
        bpf.attach_devices(cgroup_fd, device_program([{"allow": True, "access": "rwm"}]))
        assert attached(cgroup_fd) == 2
        assert process.ask("open", "null") == errno.EPERM
    os.close(other)


def test_the_program_goes_with_its_cgroup(cgroup2_root: Path, tmp_path: Path) -> None:
    """Nothing is pinned: with the cgroup gone, its program is gone."""
    path = cgroup2_root / f"bpf-{uuid.uuid4().hex[:8]}"
    path.mkdir()
    fd = os.open(path, os.O_RDONLY)
    bpf.attach_devices(fd, rules())
    ids, count = ffi.new("uint32_t[64]"), ffi.new("uint32_t *")
    assert lib.stele_bpf_query(fd, ids, 64, count) == 0
    opened = lib.stele_bpf_open(ids[0])
    assert opened >= 0
    os.close(opened)
    path.rmdir()
    os.close(fd)
    # The kernel frees it when a grace period is over: opening it then fails.
    deadline = time.monotonic() + 60
    while (opened := lib.stele_bpf_open(ids[0])) >= 0 and time.monotonic() < deadline:
        os.close(opened)
    assert opened == -errno.ENOENT


def test_many_rules(cgroup_fd: int) -> None:
    """The verifier takes a thousand rules."""
    bpf.attach_devices(
        cgroup_fd,
        rules(
            *({"allow": i % 3 > 0, "type": "cb"[i % 2], "major": i, "minor": i, "access": "rw"} for i in range(1000))
        ),
    )


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        pytest.param(
            struct.pack("=BBhi", 0x95, 0, 0, 0),
            r"^cannot load the device rules: .* \(EACCES\) \(verifier: .*R0 !read_ok",
            id="no-answer",
        ),
        pytest.param(b"", r"^cannot load the device rules: .* \((E2BIG|EINVAL)\)", id="empty"),
    ],
)
def test_a_refused_program_is_explained(cgroup_fd: int, program: bytes, sentence: str) -> None:
    """The verifier's last words are in the sentence; nothing is attached."""
    with pytest.raises(HostError, match=sentence):
        bpf.attach_devices(cgroup_fd, program)
    assert attached(cgroup_fd) == 0


def test_no_cgroup2(tmp_path: Path) -> None:
    """A folder that is not a cgroup is refused by the kernel, and said so."""
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(HostError, match=r"^cannot list the cgroup's device programs: .* \(E[A-Z]+\)"):
            bpf.attach_devices(fd, rules())
    finally:
        os.close(fd)


def test_without_privileges(cgroup_fd: int) -> None:
    """An ordinary user is told which capabilities are needed."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setresuid(65534, 65534, 65534)
            bpf.attach_devices(cgroup_fd, rules())
        except HostError as e:
            os.write(writing, f"{e.errno} {e}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    told = os.read(reading, 4096).decode()
    os.close(reading)
    os.waitpid(pid, 0)
    assert told == (
        "1 cannot load the device rules: Operation not permitted (EPERM); this needs CAP_BPF and CAP_NET_ADMIN on the"
        " host: run as root, or without device rules"
    )
