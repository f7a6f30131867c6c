"""`start`: make a created container's init execute the user's program."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from runtime.container import failure
from runtime.container.hooks import run_hooks
from runtime.container.lifecycle import destroy, end, manager_of
from runtime.container.requests import CreateRequest
from runtime.container.state import START_SOCKET, Record, Store, is_alive, state_document
from runtime.errors import HookError, HostError, NotFound, StateError, SteleError
from runtime.host import cgroups
from runtime.host.facts import probe
from runtime.host.launch import Child
from runtime.host.processes import executed
from runtime.oci import OCI_VERSION
from runtime.plan import model, steps
from runtime.plan.hooks import host_hooks

if TYPE_CHECKING:
    from runtime.container.notify import Listener

KILLED_FOR_MEMORY = (
    "the OOM killer ended the container: linux.resources.memory.limit is too low for its program; raise it"
)


def start(store: Store, container_id: str, notify_socket: str = "", *, background: bool = False) -> Record:
    """Start a created container; returns once the program is executed and the poststart hooks have run.

    Args:
        notify_socket: receives the container's readiness; if given, wait for that before returning.
        background: wait for readiness in a thread instead.
    Raises:
        StateError: its status is not created. HookError: a hook failed; the container has been destroyed. HostError: a
        step failed; the container has been stopped.
    """
    listener: Listener | None = None
    with store.locked(container_id) as directory:
        record = store.read(container_id)
        if not is_alive(record):
            raise StateError(
                f'cannot start a container that has stopped: "{container_id}"; delete it and create it again'
            )
        if not record.config.get("process"):  # config.md "Process": needed at start only
            raise StateError(
                f'cannot start container "{container_id}": its config.json has no process; create it again with one, or run '
                "programs in it with exec --process"
            )
        manager = manager_of(record)
        if manager.paused():  # a frozen init would not answer
            raise StateError(f'cannot start a container in the paused state: "{container_id}"; resume it first')
        if notify_socket and not store.started(record):  # before the program starts: it may notify at once
            from runtime.container.notify import Listener

            with contextlib.suppress(FileNotFoundError):
                listener = Listener(directory)
        talk = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        with talk:
            try:
                talk.connect(f"/proc/self/fd/{directory}/{START_SOCKET}")
            except OSError:
                raise StateError(f'cannot start an already running container: "{container_id}"') from None
            try:
                _talk(record, talk)
            except HookError as e:
                destroy(store, record, e)
                raise
            except SteleError:
                end(record, manager)  # init may take a while to end after reporting a failure
                raise
            finally:  # whatever happened, it no longer waits for `start`
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(START_SOCKET, dir_fd=directory)
    hooks = host_hooks(record.config, "poststart")
    try:
        run_hooks(hooks, state_document(record, "running", record.pid))
    except HookError as e:
        with contextlib.suppress(NotFound), store.locked(container_id):
            destroy(store, record, e)
        raise
    except SteleError:  # interrupted by a signal
        end(record, manager)
        raise
    if listener and background:
        import threading

        threading.Thread(target=listener.forward, args=(record.pid, notify_socket), daemon=True).start()
    elif listener:
        listener.forward(record.pid, notify_socket)
    return record


def _talk(record: Record, talk: socket.socket) -> None:
    child = Child(record.pid, -1, talk)
    while (report := child.receive()) is not None:
        if report.error:
            raise failure.explain(report, _plan(record))
        if steps.KINDS[report.step] is steps.Seccomp:
            send_listener(record.config, report.fd, record, "created")
        elif report.fd >= 0:  # `create` handles terminals
            os.close(report.fd)
    if not is_alive(record) and killed_for_memory(record):
        raise HostError(KILLED_FOR_MEMORY)
    if not executed(record.pid):
        raise failure.died(child, "it could execute the program")


def _plan(record: Record) -> model.Plan:
    """Rebuild the plan that init executes, to explain its report in terms of config.json."""
    from runtime.container.create import plan_create

    request = CreateRequest(bundle=record.bundle, rootless=record.rootless)
    facts = probe(cgroup_mount=cgroups.mount_point())
    return plan_create(record.config, record.id, record.bundle, request, facts, lambda rules: b"")


def killed_for_memory(record: Record) -> bool:
    """Whether the OOM killer killed a process of the container."""
    return bool(manager_of(record).oom_kills())


def send_listener(config: Mapping[str, Any], fd: int, record: Record, status: str) -> None:
    """Send the seccomp listener and the container process state to the agent at listenerPath (config-linux.md)."""
    from runtime.container.console import send_fd

    seccomp = (config.get("linux") or {}).get("seccomp") or {}
    message = {
        "ociVersion": OCI_VERSION,
        "fds": ["seccompFd"],
        "pid": record.pid,
        "metadata": seccomp.get("listenerMetadata", ""),
        "state": state_document(record, status, record.pid),
    }
    send_fd(seccomp.get("listenerPath", ""), fd, json.dumps(message).encode(), field="linux.seccomp.listenerPath")
