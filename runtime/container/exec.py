"""`exec`: run another process in a running container, with the same confinement as its init."""

from __future__ import annotations

import contextlib
import errno
import os
import select
from collections.abc import Mapping
from functools import partial
from typing import Any

from runtime.container import failure
from runtime.container.console import keep_line_ends, send_fd
from runtime.container.filters import compiler
from runtime.container.lifecycle import manager_of
from runtime.container.limits import raise_limits
from runtime.container.pidfile import write_pid_file
from runtime.container.requests import ExecRequest, Started
from runtime.container.start import send_listener
from runtime.container.state import Record, Store, is_alive
from runtime.errors import StateError, SteleError
from runtime.host import cgroups, launch, prepare
from runtime.host.facts import probe
from runtime.host.processes import executed
from runtime.plan import model, steps, wire
from runtime.plan.compile import KEEP_GROUPS, compile_exec


def execute(store: Store, container_id: str, request: ExecRequest) -> Started:
    """Start a process in a container.

    Returns:
        the process, our child; it has already executed the program.
    Raises:
        StateError: the container is not running or is paused. SteleError: a step failed; no process is left.
    """
    with contextlib.ExitStack() as undo:
        with store.locked(container_id):
            record = store.read(container_id)
            pidfd = _pidfd(record)
            undo.callback(os.close, pidfd)
            manager = manager_of(record)
            if not request.ignore_paused and manager.paused():
                raise StateError(
                    f'cannot exec in a paused container: "{container_id}"; resume it, or use --ignore-paused'
                )
        linux: Mapping[str, Any] = record.config.get("linux") or {}
        plan = compile_exec(
            request.process(record.config.get("process") or {}),
            linux,
            probe(cgroup_mount=cgroups.mount_point()),
            compiler(store.root),
            container_id=container_id,
            rootless=record.rootless,
            keep_fds=request.preserve_fds,
            new_keyring=not record.no_new_keyring,
            keep_groups=KEEP_GROUPS in (record.config.get("annotations") or {}),
        )
        failed = undo.enter_context(contextlib.ExitStack())
        try:
            child = _launch(plan, request, manager, pidfd, record.pid)
            failed.callback(child.close)
            failed.callback(child.kill)
            master = _talk(child, plan, request, record, failed)
        except SteleError as e:
            if _ended(pidfd, e):
                raise _stopped(record) from e
            raise
        if request.pid_file:
            write_pid_file(request.pid_file, child.pid)
        if request.pidfd_socket:
            send_fd(request.pidfd_socket, os.dup(child.pidfd), str(child.pid).encode(), field="--pidfd-socket")
        failed.pop_all()
        child.talk.close()
        return Started(child.pid, child.pidfd, master, plan.notes)


def _pidfd(record: Record) -> int:
    """Open a pidfd of the container's init, then verify that it is the same process."""
    if record.pid <= 0:
        raise _stopped(record)
    try:
        pidfd = os.pidfd_open(record.pid)
    except ProcessLookupError:
        raise _stopped(record) from None
    if not is_alive(record):
        os.close(pidfd)
        raise _stopped(record)
    return pidfd


def _stopped(record: Record) -> StateError:
    return StateError(f'cannot exec in a stopped container: container not running: "{record.id}"')


def _ended(pidfd: int, error: SteleError) -> bool:
    """Whether the container's init has ended meanwhile, so that its namespaces and cgroup can no longer be joined.

    After ESRCH from setns(2), wait a moment: init has released its namespaces, but its pidfd may not be readable yet.
    """
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(1000 if getattr(error, "errno", 0) == errno.ESRCH else 0))


def _launch(plan: model.Plan, request: ExecRequest, manager: cgroups.Manager, pidfd: int, pid: int) -> launch.Child:
    with contextlib.ExitStack() as fds:
        slots = prepare.open_slots(plan.fds, pidfd=pidfd, pid=pid)
        fds.callback(prepare.close_all, slots)
        stdio = request.stdio
        if plan.terminal:
            null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
            fds.callback(os.close, null)
            stdio = (null, null, null)
        left = not request.cgroup and manager.left(pid)
        cgroup = manager.open_beside(pid) if left else manager.open(request.cgroup)
        if cgroup >= 0:
            fds.callback(os.close, cgroup)
        spawn = partial(
            launch.spawn,
            wire.encode(plan.steps),
            clone_flags=plan.clone_flags,
            slots=slots,
            stdio=stdio,
            keep=range(3, 3 + request.preserve_fds),
            patient=request.ignore_paused,
        )
        try:
            try:
                return spawn(cgroup_fd=cgroup)
            except OSError as e:
                # A payload such as systemd enables controllers for its own child cgroups; then the container's cgroup
                # itself can no longer hold processes (cgroup-v2.rst "No Internal Process Constraint").
                if e.errno != errno.EBUSY or request.cgroup:
                    raise
            cgroup = manager.open_beside(pid)
            fds.callback(os.close, cgroup)
            return spawn(cgroup_fd=cgroup)
        except OSError as e:
            raise failure.not_started(e) from e


def _talk(
    child: launch.Child, plan: model.Plan, request: ExecRequest, record: Record, failed: contextlib.ExitStack
) -> int:
    """Handle init's reports until it executes the program.

    Args:
        failed: closes the terminal's master on failure.
    Returns:
        the terminal's master, or -1 if there is none or the console socket got it.
    """
    master, ready = -1, False
    while True:
        report = child.receive()
        if report is None:
            if not ready or not executed(child.pid):
                raise failure.died(child, "it could execute the program")
            child.reap_forked()
            return master
        if report.error:
            raise failure.explain(report, plan)
        kind = steps.KINDS[report.step]
        if kind is steps.Ready:
            ready = True
        elif kind is steps.Sync:
            if report.detail[0] == steps.SYNC_RESCTRL:
                from runtime.host import resctrl

                resctrl.join(record.resctrl, child.pid)
            elif report.detail[0] == steps.SYNC_MAPPED:
                raise_limits(child.pid, plan.rlimits)
            child.answer()
        elif kind is steps.Fork:
            child.became(int.from_bytes(report.detail[:4], "little"))
        elif kind is steps.Seccomp:
            send_listener(record.config, report.fd, record, "running")
        elif kind is steps.Console and request.console_socket:
            send_fd(request.console_socket, report.fd, b"/dev/pts/ptmx", field="--console-socket")
        elif kind is steps.Console:
            master = report.fd
            failed.callback(os.close, master)
            keep_line_ends(master)
