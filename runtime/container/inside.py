"""Files of a running container, reached through its own mount namespace, where no link can lead out of its root."""

from __future__ import annotations

import os
import stat

from runtime.container.state import Record, is_alive
from runtime.errors import HostError, StateError
from runtime.host.shim import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, openat2


def open_root(record: Record) -> int:
    """Open the root directory of a container's init as an O_PATH descriptor, owned by the caller.

    Raises:
        StateError: the container is not running.
    """
    gone = StateError(f'container not running: "{record.id}"')
    if record.pid <= 0:
        raise gone
    try:
        fd = os.open(f"/proc/{record.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError):
        raise gone from None
    if not is_alive(record):  # checked after the open: the PID was the container's when it was used
        os.close(fd)
        raise gone
    return fd


def resolve(root: int, path: str, flags: int, *, mode: int = 0) -> int:
    """Open a path as a process in the container would, links and `..` included, but without links of /proc."""
    return openat2(root, path or "/", flags, mode=mode, resolve=RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)


def read(record: Record, path: str, limit: int) -> bytes:
    """Return a regular file's content; b"" if the container has none there.

    Raises:
        StateError: the container is not running. HostError: it is not a regular file, or longer than `limit`.
    """
    root = open_root(record)
    try:
        found = resolve(root, path, os.O_PATH)
    except FileNotFoundError:
        return b""
    finally:
        os.close(root)
    try:
        # Looked at before it is opened: opening a device or a FIFO has effects of its own.
        if not stat.S_ISREG(os.fstat(found).st_mode):
            raise HostError(f'container "{record.id}": {path} is not a regular file, so it is not read')
        with open(f"/proc/self/fd/{found}", "rb", buffering=0) as file:
            content = b""
            while len(content) <= limit and (part := file.read(limit + 1 - len(content))):
                content += part
    finally:
        os.close(found)
    if len(content) > limit:
        raise HostError(f'container "{record.id}": {path} is longer than {limit >> 20} MiB, so it is not read')
    return content
