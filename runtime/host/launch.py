"""Start init with a plan and talk to it: the only way a process gets into a container.

init is executed from a sealed memfd and receives its plan in another. The two sides exchange 256-byte messages over a
SEQPACKET socket pair (cshim/plan.h, struct report).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from runtime.errors import HostError, SteleError
from runtime.host.files import write_all
from runtime.host.interrupt import check, waiting
from runtime.host.processes import INIT, signal_name
from runtime.host.shim import ffi, lib
from runtime.plan import steps, wire

SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
MFD_EXEC = 0x10
MFD_NOEXEC_SEAL = 0x08
WITH_FD = (steps.Console, steps.Seccomp)
"""The steps whose report carries an fd."""


@dataclass(frozen=True, slots=True)
class Report:
    """One message from init: a failure (`error` is an errno) or an event (`error` is 0), and the fd it carried."""

    step: int
    index: int
    error: int
    detail: bytes
    fd: int = -1

    @property
    def text(self) -> str:
        """The detail as text, up to its NUL."""
        return self.detail.split(b"\0", 1)[0].decode("utf-8", "replace")


def sealed_memfd(name: str, content: bytes | memoryview, *, executable: bool) -> int:
    """Create an immutable memfd with this content (memfd_create(2)); the caller owns it.

    Raises:
        OSError: out of memory or fds.
    """
    kind = MFD_EXEC if executable else MFD_NOEXEC_SEAL
    try:
        fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING | kind)
    except OSError as e:
        if e.errno != 22:  # EINVAL: a kernel before 6.3, where every memfd is executable
            raise
        fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    write_all(fd, content)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
    return fd


def init_memfd() -> int:
    """init's executable in a sealed memfd."""
    return sealed_memfd(INIT, ffi.buffer(lib.stele_init_blob, lib.stele_init_blob_size), executable=True)


@dataclass(slots=True)
class Child:
    """A started init. Closing it closes the connection, which ends an init that is not ready yet.

    pid: the process that becomes the container's: the first child, or the one reported by a Fork step.
    given: the kinds of steps that have sent their fd; each may do so once.
    """

    pid: int
    pidfd: int
    talk: socket.socket
    forked: list[int] = field(default_factory=list)
    given: list[object] = field(default_factory=list)

    def receive(self) -> Report | None:
        """Receive the next message; None if init closed its end (it executed the program, or died).

        Raises:
            HostError: the message is malformed. Its fds have been closed.
        """
        try:
            with waiting():
                data, ancillary, _, _ = self.talk.recvmsg(
                    wire.REPORT.size, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC
                )
        except ConnectionResetError:  # init died before it read our answer
            return None
        fds: list[int] = []  # the buffer's padding leaves room for a second one
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds += struct.unpack(f"{len(content) // 4}i", content[: len(content) // 4 * 4])
        if not data and not fds:
            return None
        if len(data) == wire.REPORT.size:
            step, index, error, detail = wire.REPORT.unpack(data)
            message = steps.KINDS.get(step)
            gives = not error and message in WITH_FD and message not in self.given
            if len(fds) == gives and (error or gives or (message and message not in WITH_FD)):
                if gives:
                    self.given.append(message)
                return Report(step, index, error, detail, *fds)
        for fd in fds:
            os.close(fd)
        raise HostError("init sent a malformed report; this is a bug in stele, please report it")

    def answer(self) -> None:
        """Let init continue after a Sync step. If it has died, the next `receive` returns None."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.talk.send(b"\0", socket.MSG_NOSIGNAL)

    def became(self, pid: int) -> None:
        """Switch to `pid`, a sibling created by a Fork step, as the container's process.

        Raises:
            HostError: it is not our child.
        """
        try:
            if not 0 < pid < 1 << 31:
                raise ChildProcessError
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            raise HostError(
                f"init reported process {pid}, which is not our child; this is a bug in stele, please report it"
            ) from None
        self.forked.append(self.pid)
        os.close(self.pidfd)
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)

    def ending(self) -> str:
        """How init ended after it closed the connection: "ended" or "was killed by SIGKILL". Does not reap it."""
        try:
            how = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:  # `start` is not its parent
            return "ended"
        killed = how and how.si_code in (os.CLD_KILLED, os.CLD_DUMPED)
        return f"was killed by {signal_name(how.si_status)}" if how and killed else "ended"

    def reap_forked(self) -> None:
        """Reap the earlier stages, which exit right after their Fork step."""
        while self.forked:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.forked.pop(), 0)

    def kill(self) -> None:
        """Kill and reap every process of a failed launch."""
        import signal

        for pid in (*self.forked, self.pid):
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        self.forked.clear()

    def close(self) -> None:
        self.talk.close()
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1


def spawn(
    plan: bytes,
    *,
    clone_flags: int,
    slots: Sequence[int],
    stdio: tuple[int, int, int] = (0, 1, 2),
    keep: Sequence[int] = (),
    cgroup_fd: int = -1,
    cwd_fd: int = -1,
    patient: bool = False,
) -> Child:
    """Start init with an encoded plan.

    Args:
        clone_flags: CLONE_NEW* bits.
        slots: one fd for each entry of Plan.fds; the caller still owns them.
        keep: fds that become 3, 4, ... in the user's process.
        cgroup_fd: the cgroup directory to clone into, -1 for the caller's own cgroup.
        cwd_fd: working directory of hooks, -1 for the caller's.
        patient: wait while the cgroup is frozen.
    Raises:
        OSError: a call failed; `filename` names it. ECANCELED: the cgroup is frozen. SteleError: a signal interrupted
            the start.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    init_fd = plan_fd = -1
    try:
        init_fd = init_memfd()
        plan_fd = sealed_memfd("stele-plan", plan, executable=False)
        request = ffi.new("struct stele_spawn *")
        kept, slot_fds = ffi.new("int[]", list(keep)), ffi.new("int[]", list(slots))
        request.flags, request.cgroup, request.init, request.cwd = clone_flags, cgroup_fd, init_fd, cwd_fd
        request.stdio = list(stdio)
        request.report, request.plan = theirs.fileno(), plan_fd
        request.keep, request.n_keep = kept, len(keep)
        request.slots, request.n_slots = slot_fds, len(slots)
        request.patient = patient
        pid = lib.stele_spawn(request)
        if pid == -errno.EINTR:
            check()
            raise SteleError("interrupted before init ran")
        if pid < 0:
            call = ffi.string(request.failed).decode() if request.failed else "spawn"
            raise OSError(-pid, os.strerror(-pid), call)
        return Child(pid, request.pidfd, ours)
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
        for fd in (init_fd, plan_fd):
            if fd >= 0:
                os.close(fd)
