"""Files of the store: lock files, times and directories."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator

from runtime.errors import HostError
from runtime.host.interrupt import waiting
from runtime.host.trees import open_dir


@contextlib.contextmanager
def locked(directory: int, name: str, *, wait: bool = True, stoppable: bool = False) -> Iterator[None]:
    """Hold a lock file, made if it is not there; it is never removed, so its name stands for one lock.

    Args:
        stoppable: a signal ends the wait; not for what takes something back.
    Raises:
        HostError: it cannot be written, as on a read-only file system. SteleError: a signal ended the wait.
        BlockingIOError: somebody holds it, and we do not wait.
    """
    try:
        fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600, dir_fd=directory)
    except OSError as e:
        path = os.readlink(f"/proc/self/fd/{directory}")
        raise HostError(
            f'"{path}/{name}": cannot lock it: {os.strerror(e.errno or 0)}; choose a --store that can be written',
            e.errno or 0,
        ) from e
    try:
        with waiting() if stoppable else contextlib.nullcontext():
            fcntl.flock(fd, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(fd)


def touch(name: str, directory: int) -> None:
    """Mark something by its time as in use now; nothing on a read-only file system, where nothing is removed.

    Raises:
        FileNotFoundError: it is not there.
    """
    try:
        os.utime(name, dir_fd=directory, follow_symlinks=False)
    except OSError as e:
        if e.errno != errno.EROFS:
            raise


def make_dirs(directory: int, path: str) -> int:
    """Make the directories of a relative path (0700) where they are missing; the last one's fd, the caller's."""
    at = os.dup(directory)
    for name in path.split("/"):
        try:
            try:
                below = open_dir(name, at)
            except FileNotFoundError:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=at)
                    os.fsync(at)
                below = open_dir(name, at)
        finally:
            os.close(at)
        at = below
    return at
