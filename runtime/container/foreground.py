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
    try:
        record = start(store, container_id)
    except BaseException:
        delete(store, container_id, force=True)
        raise
    if detach:
        return 0
    status = follow(Started(record.pid, os.pidfd_open(record.pid), created.master))
    if keep:
        _remember(store, container_id, record, status)
    else:
        delete(store, container_id, force=True)
    return exit_code(status)


def exit_code(status: int) -> int:
    """What a shell would say of a wait status."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def follow(process: Started) -> int:
    """Wait for our child; returns its wait status."""

    def forward(number: int, _: FrameType | None) -> None:
        try:
            signal.pidfd_send_signal(process.pidfd, number)
        except ProcessLookupError:
            pass  # it has ended; its status is about to be read

    before = {}
    for number in signal.valid_signals() - KEPT:
        try:
            before[number] = signal.signal(number, forward)
        except (OSError, ValueError):
            continue  # glibc keeps two for itself
    try:
        if process.master >= 0:
            with Relay(process.master, process.pidfd) as relay:
                relay.run()
        _, status = os.waitpid(process.pid, 0)
        return status
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        os.close(process.pidfd)


def _remember(store: Store, container_id: str, record: Record, status: int) -> None:
    code = os.waitstatus_to_exitcode(status)
    try:
        with store.locked(container_id) as directory:
            oom = bool(manager_of(record).oom_kills())
            info = ExitInfo(max(code, 0) if code >= 0 else 128 - code, max(-code, 0), oom, now())
            store.write(directory, replace(store.read(container_id), exit=info))
    except SteleError:
        pass  # deleted by somebody else meanwhile: nobody is left to ask for it
