"""Run a container in the foreground: forward signals, relay the terminal, exit with its status."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Callable
from dataclasses import replace

from runtime.container.create import create
from runtime.container.lifecycle import delete, manager_of
from runtime.container.requests import CreateRequest, Readiness, Started
from runtime.container.start import KILLED_FOR_MEMORY, killed_for_memory, start
from runtime.container.state import ExitInfo, Record, Store, now
from runtime.container.terminal import Relay
from runtime.errors import SteleError
from runtime.host import interrupt
from runtime.host.shim import checked, lib, prctl

PR_SET_CHILD_SUBREAPER = 36
KEPT = {
    signal.SIGCHLD,
    signal.SIGURG,
    signal.SIGPIPE,
    signal.SIGKILL,
    signal.SIGSTOP,
    signal.SIGTSTP,
    signal.SIGTTIN,
    signal.SIGTTOU,
}
"""Signals not forwarded: they concern this process, or cannot be caught."""
TAKEN = sum(1 << number - 1 for number in signal.valid_signals() - KEPT)
SIGNAL_INFO = 128
"""Bytes of a struct signalfd_siginfo; the signal's number is its first field (signalfd(2))."""


def run(
    store: Store,
    container_id: str,
    request: CreateRequest,
    warn: Callable[[str], None],
    *,
    ready: Readiness,
    detach: bool,
    keep: bool,
    subreaper: bool,
) -> int:
    """create, start and, unless detached, wait and delete.

    Args:
        warn: called with each warning. ready: when detached, return after that.
    Returns:
        the container's exit status, 128 + n for signal n; 0 when detached.
    """
    if subreaper and not detach:
        prctl(PR_SET_CHILD_SUBREAPER, 1)
    if request.waiter:
        _start_beside_waiter(store, container_id, request, warn, ready)
        return 0
    if request.log:
        request = replace(request, stdio=(os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC),) * 3)
    created = create(store, container_id, request)
    pid = created.record.pid
    try:
        interrupt.check()
        for note in created.notes:
            warn(note)
        if detach:
            _start(store, container_id, ready)
            return 0
        with Forwarding(reaping=subreaper) as forwarding:
            forwarding.to(pid, os.pidfd_open(pid))
            record = start(store, container_id, ready.host if ready.kind == "notify" else "", background=True)
            if ready.host and ready.kind == "exec":
                from runtime.container.readiness import tell_once

                tell_once(store, record, ready.command, ready.host)
            elif ready.host and ready.kind == "started":
                from runtime.container.notify import tell

                tell(ready.host, pid)
            status = follow(Started(pid, forwarding.pidfd, created.master), forwarding)
            # Signals are still blocked: systemd sends us one when the unit's main process, the container's, ends. It
            # must not interrupt the cleanup.
            if os.WIFSIGNALED(status) and killed_for_memory(record):
                warn(KILLED_FOR_MEMORY)
            if keep:
                _remember(store, container_id, record, status)
            else:
                for warning in delete(store, container_id, force=True):
                    warn(warning)
            return exit_code(status)
    except BaseException:
        delete(store, container_id, force=True)
        raise


def _start(store: Store, container_id: str, ready: Readiness) -> None:
    """Start a container that we do not wait for; returns when it is ready."""
    record = start(store, container_id, ready.host if ready.kind == "notify" else "")
    if ready.kind == "exec":
        from runtime.container.readiness import wait_for

        wait_for(store, record, ready.command)
    if ready.host and ready.kind != "notify":
        from runtime.container.notify import tell

        tell(ready.host, record.pid)


def _start_beside_waiter(
    store: Store, container_id: str, request: CreateRequest, warn: Callable[[str], None], ready: Readiness
) -> None:
    from runtime.container import waiter

    waiter.create_beside(store, container_id, request, warn)
    try:
        interrupt.check()
        _start(store, container_id, ready)
    except BaseException:
        delete(store, container_id, force=True)
        raise


def exit_code(status: int) -> int:
    """Convert a wait status to an exit code as a shell does."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


class Forwarding:
    """Forwards this process's signals to another process; catches them from before that process shows any sign of life.

    SIGWINCH calls `resized` instead, one call at a time; as a handler it could interrupt another handler's work.

    Signals are blocked and read from a signalfd: three system calls, where handlers would need two for each signal.
    init unblocks them all in its own process.

    Args:
        reaping: the container's orphans become our children (PR_SET_CHILD_SUBREAPER); reap them, or a container that
            shares our pid namespace would fill it with zombies.
    """

    def __init__(self, *, reaping: bool = False) -> None:
        self.fd = self.pidfd = -1
        self.pid = self.before = 0
        self.taken = TAKEN | (1 << signal.SIGCHLD - 1 if reaping else 0)
        self.resized: Callable[[], None] | None = None

    def __enter__(self) -> Forwarding:
        self.before = lib.stele_block_signals(self.taken)
        if self.before & ~self.taken:
            lib.stele_block_signals(self.taken | self.before)
        self.fd = checked(lib.stele_signalfd(self.taken), "signalfd")
        return self

    def __exit__(self, *_: object) -> None:
        self.pass_on()  # drain: signals that came after the end have no recipient
        lib.stele_block_signals(self.before)
        os.close(self.fd)
        if self.pidfd >= 0:
            os.close(self.pidfd)

    def to(self, pid: int, pidfd: int) -> None:
        """Forward to this child of ours, which the caller reaps; takes over the pidfd."""
        self.pid, self.pidfd = pid, pidfd

    def pass_on(self) -> None:
        """Forward all pending signals."""
        with contextlib.suppress(BlockingIOError):
            while True:
                number = int.from_bytes(os.read(self.fd, SIGNAL_INFO)[:4], "little")
                if number == signal.SIGWINCH:
                    if self.resized:
                        self.resized()
                    continue
                if number == signal.SIGCHLD:
                    self._reap()
                    continue
                with contextlib.suppress(ProcessLookupError):  # it has ended; its status is read next
                    if self.pidfd >= 0:
                        signal.pidfd_send_signal(self.pidfd, number)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                if ended.si_pid == self.pid:
                    return  # `follow` reads its status
                os.waitpid(ended.si_pid, 0)

    def wait(self) -> None:
        """Return when the process has ended."""
        poller = select.poll()
        poller.register(self.fd, select.POLLIN)
        poller.register(self.pidfd, select.POLLIN)
        while True:
            ready = dict(poller.poll())
            if self.fd in ready:
                self.pass_on()
            if self.pidfd in ready:
                return


def follow(process: Started, forwarding: Forwarding) -> int:
    """Wait for our child, relaying its terminal and signals; returns its wait status."""
    if process.master >= 0:
        with Relay(process.master, process.pidfd, forwarding) as relay:
            relay.run()
    forwarding.wait()
    _, status = os.waitpid(process.pid, 0)
    return status


def _remember(store: Store, container_id: str, record: Record, status: int) -> None:
    code = os.waitstatus_to_exitcode(status)
    try:
        with store.locked(container_id) as directory:
            oom = bool(manager_of(record).oom_kills())
            info = ExitInfo(max(code, 0) if code >= 0 else 128 - code, max(-code, 0), oom, now())
            store.write(directory, replace(store.read(container_id), exit=info))
    except SteleError:
        pass  # deleted meanwhile by another command: nobody can ask for the status
