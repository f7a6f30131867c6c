"""Be the parent of a container's process: pass signals and the terminal through, and end as it ends."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from types import FrameType

from runtime.container.create import create
from runtime.container.lifecycle import delete, manager_of
from runtime.container.requests import CreateRequest, Started
from runtime.container.start import start
from runtime.container.state import ExitInfo, Record, Store, now
from runtime.container.terminal import Relay
from runtime.errors import SteleError
from runtime.host.shim import prctl

PR_SET_CHILD_SUBREAPER = 36
KEPT = {
    signal.SIGCHLD,
    signal.SIGURG,
    signal.SIGWINCH,
    signal.SIGKILL,
    signal.SIGSTOP,
    signal.SIGTSTP,
    signal.SIGTTIN,
    signal.SIGTTOU,
}
"""Signals that are not passed on: they are about this process, or nobody can catch them."""


def run(store: Store, container_id: str, request: CreateRequest, *, detach: bool, keep: bool, subreaper: bool) -> int:
    """create, start and, unless detached, wait and delete.

    Returns:
        the container's exit status, 128 + n for signal n; 0 when detached.
    """
    if subreaper and not detach:
        prctl(PR_SET_CHILD_SUBREAPER, 1)
    created = create(store, container_id, request)
    pid = created.record.pid
    try:
        if detach:
            start(store, container_id)
            return 0
        with Forwarding() as forwarding:
            forwarding.to(os.pidfd_open(pid))
            record = start(store, container_id)
            status = follow(Started(pid, forwarding.pidfd, created.master))
    except BaseException:
        delete(store, container_id, force=True)
        raise
    if keep:
        _remember(store, container_id, record, status)
    else:
        delete(store, container_id, force=True)
    return exit_code(status)


def exit_code(status: int) -> int:
    """What a shell would say of a wait status."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


class Forwarding:
    """Passes the signals that this process gets on to another one, from before that one can show that it lives."""

    def __init__(self) -> None:
        self.pidfd = -1
        self.early: list[int] = []
        self.before: dict[int, object] = {}

    def __enter__(self) -> Forwarding:
        for number in signal.valid_signals() - KEPT:
            try:
                self.before[number] = signal.signal(number, self._forward)
            except (OSError, ValueError):
                continue  # glibc keeps two for itself
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)  # type: ignore[arg-type]
        if self.pidfd >= 0:
            os.close(self.pidfd)

    def to(self, pidfd: int) -> None:
        """Pass them on to this process; the pidfd is ours now."""
        self.pidfd = pidfd
        for number in self.early:
            self._send(number)

    def _forward(self, number: int, _: FrameType | None) -> None:
        if self.pidfd < 0:
            self.early.append(number)
        else:
            self._send(number)

    def _send(self, number: int) -> None:
        try:
            signal.pidfd_send_signal(self.pidfd, number)
        except ProcessLookupError:
            pass  # it has ended; its status is about to be read


def follow(process: Started) -> int:
    """Wait for our child, relaying its terminal; returns its wait status."""
    if process.master >= 0:
        with Relay(process.master, process.pidfd) as relay:
            relay.run()
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
        pass  # deleted by somebody else meanwhile: nobody is left to ask for it
