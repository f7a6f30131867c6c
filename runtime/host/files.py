"""Files read within a bound, written whole, and replaced so that no half of one is ever seen."""

from __future__ import annotations

import contextlib
import os

from runtime.errors import ConfigError, HostError

SETTINGS_MAX = 1 << 20
"""The size in bytes that a file of settings, which a person writes, may have."""

RETRIES = 8  # somebody else may put another file in the way


def read_settings(path: str, what: str) -> bytes:
    """A file of settings, whole.

    Args:
        what: the kind of file, as an error names it.
    Raises:
        HostError: it cannot be read, with its errno. ConfigError: it is too large.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(SETTINGS_MAX + 1)
    except OSError as e:
        raise HostError(f'{what} "{path}": cannot read it: {os.strerror(e.errno or 0)}', e.errno or 0) from None
    if len(data) > SETTINGS_MAX:
        raise ConfigError(path, f"it is larger than {SETTINGS_MAX >> 20} MiB")
    return data


def write_all(fd: int, data: bytes | memoryview) -> None:
    """write(2) until all is written."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def temporary(name: str) -> str:
    """What a file is called until it replaces the one before."""
    return f".{name}.new"


def replace(directory: int, name: str, content: bytes, *, mode: int = 0o600, durable: bool = True) -> None:
    """Replace a file under its writer's lock: after a crash there is the old one or the new one, whole.

    Args:
        mode: what the new file has, whatever the umask, if it is not 0600.
        durable: also after the host's own crash; without it, for what is worth nothing after one.
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
    """A file that nobody else has, to be written.

    Whatever has the name is removed: what a killed writer left, or a link to a file of somebody else's that the
    directory's owner put there.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    for _ in range(RETRIES):
        with contextlib.suppress(FileExistsError):
            return os.open(name, flags, 0o600, dir_fd=directory)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=directory)
    return os.open(name, flags, 0o600, dir_fd=directory)
