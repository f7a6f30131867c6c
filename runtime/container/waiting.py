"""Wait for a container that is not our child, and find out how it ended."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace

from runtime.container.lifecycle import manager_of
from runtime.container.state import ExitInfo, Record, Store, boot_id, now, process_stat
from runtime.errors import NotFound
from runtime.host.exits import wait_status


def wait_for_end(store: Store, container_id: str) -> ExitInfo | None:
    """Wait for a container to end; record and return how. None if that can no longer be found out.

    Raises:
        NotFound: no such container, or it was deleted before we saw it end.
    """
    record = store.read(container_id)
    if record.waiter and record.exit is None:
        from runtime.container import waiter

        waiter.wait(record)
        record = store.read(container_id)  # NotFound: `delete` was quicker
    if record.exit is not None or not record.pid:
        return record.exit
    status = _status(record)
    if status is None:
        return None
    code = os.waitstatus_to_exitcode(status)
    info = ExitInfo(code if code >= 0 else 128 - code, max(-code, 0), bool(manager_of(record).oom_kills()), now())
    try:
        with store.locked(container_id) as directory:
            store.write(directory, replace(store.read(container_id), exit=info))
    except NotFound:
        pass  # already deleted; the caller still gets the result
    return info


def _status(record: Record) -> int | None:
    """Wait for the process to end; returns its wait status, also if it is a zombie not yet reaped by its parent."""
    if record.boot_id != boot_id():
        return None
    with contextlib.ExitStack() as stack:
        try:
            pidfd = os.pidfd_open(record.pid)
        except ProcessLookupError:
            return None
        stack.callback(os.close, pidfd)
        stat = process_stat(record.pid)
        if stat is None or stat[1] != record.start_time:
            return None
        return wait_status(pidfd, record.pid, record.start_time)
