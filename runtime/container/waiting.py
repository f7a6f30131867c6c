"""Wait for the end of a container that is somebody else's child, and find out how it ended."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace

from runtime.container.lifecycle import manager_of
from runtime.container.state import ExitInfo, Record, Store, boot_id, now, process_stat
from runtime.errors import NotFound
from runtime.host.exits import wait_status


def wait_for_end(store: Store, container_id: str) -> ExitInfo | None:
    """Wait; returns how it ended and keeps that in the state. None when nobody knows any more.

    Raises:
        NotFound: no such container, also when it was deleted meanwhile and its end was not seen.
    """
    record = store.read(container_id)
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
        pass  # deleted at once; the caller still learns what it waited for
    return info


def _status(record: Record) -> int | None:
    """The wait status, once it has ended: also of a zombie that its parent has not looked at yet."""
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
