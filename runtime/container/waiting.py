"""Wait for the end of a container that is somebody else's child, and find out how it ended."""

from __future__ import annotations

import fcntl
import os
import select
import struct
from dataclasses import replace

from runtime.container.lifecycle import manager_of
from runtime.container.state import ExitInfo, Store, is_alive, now
from runtime.errors import NotFound

PIDFD_GET_INFO = 0xC040FF0B
PIDFD_INFO_EXIT = 1 << 3
INFO = struct.Struct("<QQIIIIIIIIIIIIi4x")


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
                status = _wait(pidfd, record.pid, record.start_time)
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


def _wait(pidfd: int, pid: int, start_time: int) -> int | None:
    """The wait status: of the zombie while its parent has not looked, else of the kernel's memory (Linux 6.15)."""
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    poller.poll()
    status = _zombie_status(pid, start_time)
    if status is not None:
        return status
    buffer = bytearray(INFO.pack(PIDFD_INFO_EXIT, *([0] * 14)))
    try:
        fcntl.ioctl(pidfd, PIDFD_GET_INFO, buffer)
    except OSError:
        return None
    fields = INFO.unpack(buffer)
    return fields[14] if fields[0] & PIDFD_INFO_EXIT else None


def _zombie_status(pid: int, start_time: int) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:
            text = f.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(b")") + 2 :].split()
    if fields[0] not in (b"Z", b"X") or int(fields[19]) != start_time:
        return None
    return int(fields[49])
