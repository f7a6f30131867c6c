"""Files read within a bound, written whole, and replaced so that no half of one is ever seen."""

from __future__ import annotations

import os

from runtime.errors import ConfigError, HostError

SETTINGS_MAX = 1 << 20
"""The size in bytes that a file of settings, which a person writes, may have."""


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


def replace(directory: int, name: str, content: bytes, *, durable: bool = True) -> None:
    """Replace a file under its writer's lock: after a crash there is the old one or the new one, whole.

    Args:
        durable: also after the host's own crash; without it, for what is worth nothing after one.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(temporary(name), flags, 0o600, dir_fd=directory)
    try:
        write_all(fd, content)
        if durable:
            os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(temporary(name), name, src_dir_fd=directory, dst_dir_fd=directory)
    if durable:
        os.fsync(directory)
