"""Wait for the end of a container that is somebody else's child, and find out how it ended."""

from __future__ import annotations

import os
from dataclasses import replace

from runtime.container.lifecycle import manager_of
from runtime.container.state import ExitInfo, Store, is_alive, now
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
    status = None
    if is_alive(record):
        pidfd = os.pidfd_open(record.pid)
        try:
            if is_alive(record):
                status = wait_status(pidfd, record.pid, record.start_time)
        finally:
            os.close(pidfd)
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
