"""Read small files with a size limit, write them completely, and replace them atomically."""

from __future__ import annotations

import contextlib
import os

from runtime.errors import ConfigError, HostError

SETTINGS_MAX = 1 << 20
"""Maximum size in bytes of a hand-written settings file."""

RETRIES = 8  # someone else may put another file in the way


def read_settings(path: str, what: str) -> bytes:
    """Read a whole settings file.

    Args:
        what: the kind of file, for errors.
    Raises:
        HostError: it cannot be read. ConfigError: it is too large.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(SETTINGS_MAX + 1)
    except OSError as e:
        raise HostError(f'{what} "{path}": cannot read it: {os.strerror(e.errno or 0)}', e.errno or 0) from None
    if len(data) > SETTINGS_MAX:
        raise ConfigError(path, f"it is larger than {SETTINGS_MAX >> 20} MiB")
    return data


def dangles(path: str) -> bool:
    """Whether what is not at a path is missing because a link on the way leads nowhere, which nobody means."""
    while path not in ("", "/") and not os.path.lexists(path):
        path = os.path.dirname(path)
    return os.path.islink(path) and not os.path.exists(path)


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Call write(2) until everything is written."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def temporary(name: str) -> str:
    """The name of a new file until it replaces the old one."""
    return f".{name}.new"


def replace(directory: int, name: str, content: bytes, *, mode: int = 0o600, durable: bool = True) -> None:
    """Replace a file atomically; the caller holds the writer's lock.

    Args:
        mode: the new file's mode, regardless of the umask unless it is 0600.
        durable: sync to disk, so that a crash of the host leaves the old or the new file, complete.
    """
    fd = _fresh(directory, temporary(name))
    try:
        if mode != 0o600:
            os.fchmod(fd, mode)
        write_all(fd, content)
        if durable:
            os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(temporary(name), name, src_dir_fd=directory, dst_dir_fd=directory)
    if durable:
        os.fsync(directory)


def _fresh(directory: int, name: str) -> int:
    """Create a new file for writing.

    Whatever has the name is removed first: the leftover of a killed writer, or a link to another file that the
    directory's owner placed there.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    for _ in range(RETRIES):
        with contextlib.suppress(FileExistsError):
            return os.open(name, flags, 0o600, dir_fd=directory)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=directory)
    return os.open(name, flags, 0o600, dir_fd=directory)


def inode_of(fd: int) -> tuple[int, int]:
    """Return the device (major << 32 | minor) and inode of an open file, in the plan's format."""
    found = os.fstat(fd)
    return os.major(found.st_dev) << 32 | os.minor(found.st_dev), found.st_ino
