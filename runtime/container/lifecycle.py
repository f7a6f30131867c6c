"""A container's status, and the commands that change it: kill, delete, pause, resume, update."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from runtime.container.hooks import run_poststop
from runtime.container.state import Record, Store, is_alive, is_exiting, state_document, waiter_pidfd
from runtime.errors import HookError, NewerState, NotFound, StateError, SteleError
from runtime.host import cgroups
from runtime.host.processes import is_waiter
from runtime.oci.numbers import ascii_upper, decimal

KILL_TIMEOUT = 10.0
STOP_SIGNAL = "org.opencontainers.image.stopSignal"
UNKNOWN = {"bundle": "", "created": "", "owner": ""}
RECORDING = 2.0
"""Seconds that a waiter may take to record an end."""
EXITING_POLL = 0.05
"""Seconds between checks whether a killed process is at least exiting."""


def manager_of(record: Record) -> cgroups.Manager:
    """Return the manager of the container's cgroup."""
    return cgroups.from_record(dict(record.cgroup))


def status(store: Store, record: Record) -> str:
    """Return creating, created, running, paused or stopped (runtime.md "State")."""
    if not is_alive(record):
        return "creating" if record.phase == "creating" and store.busy(record.id) else "stopped"
    if record.phase == "creating":
        return "creating"
    if manager_of(record).paused():
        return "paused"
    return "running" if store.started(record) else "created"


def state(store: Store, record: Record) -> dict[str, Any]:
    """Return the state document; pid is 0 when stopped, as in runc."""
    now = status(store, record)
    document = state_document(record, now, 0 if now == "stopped" else record.pid)
    return {**document, **_end_of(store, record, now)} if record.waiter or record.exit else document


def _end_of(store: Store, record: Record, now: str) -> dict[str, Any]:
    """Return how a stopped container ended, as far as that is known, and what has become of its waiter."""
    pidfd = waiter_pidfd(record)
    if pidfd >= 0:
        try:
            if now != "stopped":
                return {"waiter": "running"}
            _readable(pidfd, RECORDING)
        finally:
            os.close(pidfd)
        record = store.read(record.id)
    ended = record.exit
    if ended is None or now != "stopped":
        return {"waiter": "lost"} if record.waiter else {}
    return {
        "exit": {"status": ended.status, "signal": ended.signal, "oomKilled": ended.oom, "time": ended.time},
    }


def signal_number(text: str) -> int:
    """Parse "9", "KILL" or "SIGKILL" in any case; 0 only checks that the process exists (kill(2)).

    Raises:
        StateError: there is no such signal.
    """
    number = decimal(text, signal.NSIG - 1)
    if number is not None:
        return number
    name = ascii_upper(text)
    name = name if name.startswith("SIG") else f"SIG{name}"
    try:
        return signal.Signals[name].value
    except KeyError:
        pass
    for prefix, base, sign in (("SIGRTMIN+", signal.SIGRTMIN, 1), ("SIGRTMAX-", signal.SIGRTMAX, -1)):
        away = (
            decimal(name.removeprefix(prefix), signal.SIGRTMAX - signal.SIGRTMIN) if name.startswith(prefix) else None
        )
        if away is not None:
            return base + sign * away
    names = (known.name.removeprefix("SIG") for known in signal.Signals)
    raise StateError(f'unknown signal "{text[:40]}"; use a name such as TERM or a number', given=text, choices=names)


def stop_signal(store: Store, container_id: str) -> str:
    """Return the default stop signal: that of the container's image if it is valid, else TERM.

    Raises:
        NotFound, StateError: no such container, or its record is damaged.
    """
    record = store.read(container_id)
    told = (record.config.get("annotations") or {}).get(STOP_SIGNAL) if record.image else ""
    try:
        signal_number(str(told))
    except StateError:
        return "TERM"
    return str(told)


def kill(store: Store, container_id: str, number: int, *, everyone: bool = False) -> None:
    """Send a signal to the container's process, or to every process in its cgroup.

    Without a pid namespace of its own, KILL also goes to every process: nothing else would end the remaining ones
    (pid_namespaces(7)).

    Raises:
        StateError: the container is not running.
    """
    record = store.read(container_id)
    if everyone or (number == signal.SIGKILL and not _own_pids(record) and manager_of(record).pids()):
        manager = manager_of(record)
        if number == signal.SIGKILL:
            manager.kill()
        else:
            manager.signal(number)
        return
    try:
        pidfd = os.pidfd_open(record.pid) if record.pid else -1
    except ProcessLookupError:
        pidfd = -1
    if pidfd < 0 or not is_alive(record):
        if pidfd >= 0:
            os.close(pidfd)
        raise StateError(f'container not running: "{container_id}"')
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        raise StateError(f'container not running: "{container_id}"') from None
    finally:
        os.close(pidfd)


def is_paused(store: Store, container_id: str) -> bool:
    """Whether the container exists and is frozen."""
    try:
        return manager_of(store.read(container_id)).paused()
    except (SteleError, OSError):
        return False


def _own_pids(record: Record) -> bool:
    spaces = (record.config.get("linux") or {}).get("namespaces") or ()
    return any(space["type"] == "pid" and not space.get("path") for space in spaces)


def delete(store: Store, container_id: str, *, force: bool) -> list[str]:
    """Remove a container that is stopped or created; with force, in any state.

    Returns:
        warnings: failed poststop hooks, or lost state.
    Raises:
        StateError: it is still running. NotFound: only without force.
    """
    try:
        directory = _lock_to_end(store, container_id) if force else store.lock(container_id)
    except NotFound:
        lost = _lost(store, container_id)
        if lost and os.path.isdir(store.path(container_id)):  # created meanwhile
            return delete(store, container_id, force=force)
        if lost and not force:
            raise StateError(
                f'container "{container_id}" has lost its state, but not its cgroup {lost.path}; use --force to end it'
            ) from None
        if force:
            return _end_lost(container_id, lost)
        raise
    try:
        return _delete_locked(store, container_id, force=force)
    finally:
        os.close(directory)


def _lock_to_end(store: Store, container_id: str) -> int:
    """Lock a container that is to be killed.

    The lock's holder may be waiting for the container, such as `start` with a startContainer hook that does not end.
    Killing the container makes it release the lock. A running `create` is left to finish."""
    try:
        return store.lock(container_id, wait=False)
    except BlockingIOError:
        pass
    with contextlib.suppress(SteleError):  # raised again once we hold the lock
        record = store.read(container_id)
        if record.phase != "creating":
            manager_of(record).kill()
    return store.lock(container_id)


def _delete_locked(store: Store, container_id: str, *, force: bool) -> list[str]:
    try:
        record = store.read(container_id)
    except NewerState:
        raise
    except StateError:
        if not force:
            raise
        return _delete_damaged(store, container_id)
    now = status(store, record)
    if now not in ("stopped", "created", "creating") and not force:
        raise StateError(
            f'cannot delete container "{container_id}" that is not stopped: {now}; kill it first, or use --force'
        )
    manager = manager_of(record)
    end(record, manager)
    if record.waiter:
        _end_waiter(record)
    manager.destroy()
    if record.resctrl:
        from runtime.host import resctrl

        resctrl.remove(record.resctrl)
    if record.image:
        from runtime.container import from_image

        from_image.end_network(record.image)
    warnings = run_poststop(record.config, state_document(record, "stopped", 0))
    store.remove(container_id)
    if record.image:
        from_image.release(record.image.get("store", ""), container_id, store.root)
    return warnings


def destroy(store: Store, record: Record, error: HookError) -> None:
    """Stop and remove a locked container whose startContainer or poststart hook failed, and run its poststop hooks.

    Their failures are added to `error`. Source: runtime.md "Lifecycle", steps 7, 9, 12 and 13.
    """
    if store.read(record.id).created != record.created:  # it was deleted meanwhile, and its id reused
        return
    failed = _delete_locked(store, record.id, force=True)
    error.args = ("; and then ".join((str(error), *failed)),)


def end(record: Record, manager: cgroups.Manager) -> None:
    """Kill all processes and wait for init, even if it is not in the cgroup or the cgroup is gone."""
    manager.kill()
    if is_alive(record):
        with contextlib.suppress(ProcessLookupError):
            pidfd = os.pidfd_open(record.pid)
            try:
                if is_alive(record):
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                    _wait(pidfd, record.pid)
            finally:
                os.close(pidfd)


def _wait(pidfd: int, pid: int) -> None:
    """Wait until a killed process has ended or is exiting.

    The init of a pid namespace ends only after all its other processes are reaped. Those started by `exec` are reaped
    by parents outside, whenever these choose (pid_namespaces(7)).
    """
    import select

    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    end = time.monotonic() + KILL_TIMEOUT
    while not poller.poll(EXITING_POLL * 1000) and not is_exiting(pid):
        if time.monotonic() > end:
            raise StateError(f"container init still running {KILL_TIMEOUT:.0f} s after SIGKILL; nothing was removed")


def _readable(pidfd: int, seconds: float) -> bool:
    """Wait until a process has ended; False if it takes longer."""
    import select

    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(seconds * 1000))


def _end_waiter(record: Record) -> None:
    """Let the waiter record the end and end itself, before its directory and the cgroup go; kill it if it does not.

    A command that is yet to become the waiter is left alone: it takes the container's lock first, which we hold.
    """
    pidfd = waiter_pidfd(record)
    if pidfd < 0:
        return
    try:
        if is_waiter(record.waiter["pid"]) and not _readable(pidfd, RECORDING):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            _readable(pidfd, KILL_TIMEOUT)
    finally:
        os.close(pidfd)


def _delete_damaged(store: Store, container_id: str) -> list[str]:
    """Delete a container whose state.json is missing or damaged, using the cgroup record."""
    cgroup = store.read_cgroup(container_id)
    warnings: list[str] = []
    if cgroup is None:
        lost = _lost(store, container_id)
        if not lost and not store.blank(container_id):
            raise StateError(
                f'the state of container "{container_id}" is damaged and its cgroup is unknown, so its processes cannot be '
                f"killed; kill them, then remove {store.path(container_id)}"
            )
        warnings = _end_lost(container_id, lost)
    else:
        manager = cgroups.from_record(cgroup)
        manager.kill()
        manager.destroy()
    store.remove(container_id)
    return warnings


def _lost(store: Store, container_id: str) -> cgroups.Manager | None:
    """Find the cgroup of a container without a record, where processes may still run."""
    try:
        return cgroups.find(store.owner(container_id))
    except OSError:  # the root is missing, too
        return None


def _end_lost(container_id: str, lost: cgroups.Manager | None) -> list[str]:
    """Kill all processes in the cgroup; returns warnings."""
    if lost is None:
        return []
    lost.kill()
    lost.destroy()
    return [f'container "{container_id}" had lost its state; the processes in its cgroup {lost.path} were killed']


def processes(record: Record) -> list[int]:
    """Return the pids of a container's processes: those in its cgroup.

    If init was moved to another cgroup, which it may share with strangers, also those of its pid namespace that are there.
    """
    manager = manager_of(record)
    found = manager.pids()
    if record.pid in found or not is_alive(record):
        return sorted(found)
    found.append(record.pid)
    own = _pid_namespace(record.pid)
    if manager.left(record.pid) and _own_pids(record):
        from runtime.host.cgroups import tree

        with contextlib.suppress(StateError):
            directory = manager.open_beside(record.pid)
            try:
                beside = tree.processes(directory)
            finally:
                os.close(directory)
            found += [pid for pid in beside if pid not in found and _pid_namespace(pid) == own]
    return sorted(found)


def _pid_namespace(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:  # it has ended
        return ""


def pause(store: Store, container_id: str) -> None:
    """Freeze a running container.

    Raises:
        StateError: it is not running.
    """
    with store.locked(container_id):
        record = store.read(container_id)
        now = status(store, record)
        if now not in ("running", "created"):
            raise StateError(f'container not running: "{container_id}" is {now}, so it cannot be paused')
        manager_of(record).freeze()


def resume(store: Store, container_id: str) -> None:
    """Thaw a paused container.

    Raises:
        StateError: it is not paused.
    """
    with store.locked(container_id):
        record = store.read(container_id)
        manager = manager_of(record)
        if not is_alive(record) or not manager.paused():
            raise StateError(f'container not paused: "{container_id}"')
        manager.thaw()


def listing(store: Store) -> list[dict[str, Any]]:
    """List all containers with their owners' names; damaged ones are listed as "damaged"."""
    rows: list[dict[str, Any]] = []
    for container_id in store.ids():
        try:
            record = store.read(container_id)
            rows.append({**state(store, record), "owner": _owner(record.owner)})
        except NotFound:
            continue  # deleted meanwhile
        except SteleError:
            rows.append({"id": container_id, "pid": 0, "status": status_without_record(store, container_id), **UNKNOWN})
    return rows


def status_without_record(store: Store, container_id: str) -> str:
    """Return the status of a container whose state cannot be read; nothing runs before it is first written."""
    if not store.unrecorded(container_id):
        return "damaged"
    return "creating" if store.busy(container_id) else "stopped"


def _owner(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def update(store: Store, container_id: str, resources: Mapping[str, Any], schema: str = "") -> None:
    """Change a container's limits; those not named and the device rules keep their values.

    Args:
        schema: new schemata lines for its resctrl group.
    Raises:
        ConfigError: an invalid limit. StateError: the container is not running. HostError: the kernel refused a limit;
        all previous limits are restored.
    """
    from runtime.plan.resources import plan_resources

    with store.locked(container_id) as directory:
        record = store.read(container_id)
        if not is_alive(record):
            raise StateError(f'container not running: "{container_id}"; its limits cannot be changed')
        linux = record.config.get("linux") or {}
        merged = merge_resources(linux.get("resources") or {}, resources)
        wanted = dict(resources)
        if "memory" in wanted:
            check = (merged["memory"] or {}).get("checkBeforeUpdate", False)
            wanted["memory"] = {**(wanted["memory"] or {}), "checkBeforeUpdate": check}
        writes = plan_resources(wanted, update=True)
        with _other_shares(record, schema):
            manager_of(record).apply(writes)
        config = {**record.config, "linux": {**linux, "resources": merged}}
        store.write(directory, replace(record, config=config))


def _other_shares(record: Record, schema: str) -> contextlib.AbstractContextManager[None]:
    """Change the schema of the container's resctrl group; undone if the body fails."""
    if not schema:
        return contextlib.nullcontext()
    if not record.resctrl:
        raise StateError(f'container "{record.id}" was created without linux.intelRdt, so it has no schema to change')
    from runtime.host import resctrl

    return resctrl.changed(record.resctrl, schema)


def merge_resources(before: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the linux.resources to store after an update: objects are merged, lists and values replaced."""
    merged = dict(before)
    for name, value in changes.items():
        if name == "devices":
            continue
        there = merged.get(name)
        both = isinstance(there, dict) and isinstance(value, dict)
        merged[name] = {**there, **value} if both else value  # type: ignore[dict-item]
    return merged
