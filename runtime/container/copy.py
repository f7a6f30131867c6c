"""`cp`: copy files between the host and a running container.

The container's side is reached through its own mount namespace (`runtime.container.inside`). Below the named file or
directory no link is followed and no other mount entered, on either side: what one copy has made on the host, links
too, leads the next one nowhere.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from dataclasses import dataclass, field

from runtime.container import inside
from runtime.container.state import Record
from runtime.errors import HostError
from runtime.host.shim import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV, openat2

DEPTH_MAX = 128
"""Directories below one another; each holds two descriptors open."""
BELOW = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV
FOUND = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
MODE = 0o777
"""The permissions that are kept: set-user-ID programs do not cross (CVE-2021-41103)."""


@dataclass(slots=True)
class Copying:
    """One copy. owner: of what is made, None for the caller's; skipped: what was not copied, and why."""

    owner: tuple[int, int] | None = None
    skipped: list[str] = field(default_factory=list)


def copy_out(record: Record, path: str, destination: str) -> list[str]:
    """Copy a container's file or directory to the host.

    Returns:
        what was skipped: devices, sockets, FIFOs, and other mounts.
    Raises:
        StateError: the container is not running. OSError: it is missing, or the destination cannot be written.
    """
    with contextlib.ExitStack() as fds:
        root = inside.open_root(record)
        fds.callback(os.close, root)
        source = inside.resolve(root, path, os.O_PATH)
        fds.callback(os.close, source)
        name = os.path.basename(path.rstrip("/"))
        if os.path.isdir(destination):
            parent = destination
        else:
            parent, name = os.path.dirname(destination.rstrip("/")) or ".", os.path.basename(destination.rstrip("/"))
        target = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fds.callback(os.close, target)
        return _copy(source, target, name, path, Copying())


def copy_in(record: Record, source_path: str, path: str) -> list[str]:
    """Copy a host's file or directory into a container, where it belongs to the container's root.

    Returns, Raises: as `copy_out`.
    """
    with contextlib.ExitStack() as fds:
        source = os.open(source_path, os.O_PATH | os.O_CLOEXEC)
        fds.callback(os.close, source)
        root = inside.open_root(record)
        fds.callback(os.close, root)
        try:
            target = inside.resolve(root, path, os.O_PATH | os.O_DIRECTORY)
            name = os.path.basename(os.path.abspath(source_path)) if not source_path.endswith("/.") else ""
        except (FileNotFoundError, NotADirectoryError):
            if path.endswith("/") and not stat.S_ISDIR(os.fstat(source).st_mode):
                raise
            folder, _, name = path.rstrip("/").rpartition("/")
            target = inside.resolve(root, folder or "/", os.O_PATH | os.O_DIRECTORY)
        fds.callback(os.close, target)
        owner = (_outside(record.pid, "uid_map"), _outside(record.pid, "gid_map"))
        return _copy(source, target, name, source_path, Copying(owner))


def _outside(pid: int, which: str) -> int:
    """Return the host's ID of the container's 0 (user_namespaces(7)); the host's 0 if it has none."""
    with open(f"/proc/{pid}/{which}", encoding="ascii") as file:
        lines = [line.split() for line in file]
    return next((int(outside) for first, outside, _ in lines if first == "0"), 0)


def _copy(source: int, parent: int, name: str, path: str, copying: Copying) -> list[str]:
    if name in ("", ".", ".."):  # the contents of a directory
        if not stat.S_ISDIR(os.fstat(source).st_mode):
            raise HostError(f'cp "{path}": name the file to write')
        _contents(source, parent, path, copying, 0)
    else:
        _entry(source, parent, name, path, copying, 0)
    return copying.skipped


def _entry(source: int, parent: int, name: str, path: str, copying: Copying, depth: int) -> None:
    """Copy what an O_PATH descriptor names to `name` in the directory `parent`."""
    found = os.fstat(source)
    if stat.S_ISREG(found.st_mode):
        _file(source, found, parent, name, copying)
    elif stat.S_ISLNK(found.st_mode):
        _link(os.readlink("", dir_fd=source), parent, name, copying)
    elif stat.S_ISDIR(found.st_mode):
        new = True
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            new = False  # whose owner and permissions are not the copy's to give
        made = openat2(parent, name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, resolve=BELOW)
        try:
            _contents(source, made, path, copying, depth)
            if new:
                _settle(made, found, copying)
        finally:
            os.close(made)
    else:
        copying.skipped.append(f"{path}: it is a device, socket or FIFO")


def _contents(source: int, target: int, path: str, copying: Copying, depth: int) -> None:
    if depth >= DEPTH_MAX:
        raise HostError(f"cp: {path}: it lies {DEPTH_MAX} directories deep; copy its parts one by one")
    listed = openat2(source, ".", os.O_RDONLY | os.O_DIRECTORY, resolve=BELOW)
    try:
        with os.scandir(listed) as entries:
            for entry in entries:
                where = f"{path.rstrip('/')}/{entry.name}"
                try:
                    child = openat2(listed, entry.name, FOUND, resolve=BELOW)
                except FileNotFoundError:
                    continue  # removed meanwhile
                except OSError as e:
                    if e.errno != errno.EXDEV:
                        raise
                    copying.skipped.append(f"{where}: something else is mounted there")
                    continue
                try:
                    _entry(child, target, entry.name, where, copying, depth + 1)
                finally:
                    os.close(child)
    finally:
        os.close(listed)


def _file(source: int, found: os.stat_result, parent: int, name: str, copying: Copying) -> None:
    """Write a new file and put it in the place of the old one, which is never opened: it may be a link or a device."""
    new = f".stele-cp-{os.getpid()}"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new, dir_fd=parent)
    reader = os.open(f"/proc/self/fd/{source}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        writer = openat2(parent, new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode=0o600, resolve=BELOW)
        try:
            _data(reader, writer, found.st_size)
            _settle(writer, found, copying)
            os.rename(new, name, src_dir_fd=parent, dst_dir_fd=parent)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(new, dir_fd=parent)
            raise
        finally:
            os.close(writer)
    finally:
        os.close(reader)


def _data(reader: int, writer: int, size: int) -> None:
    """Copy a file's first `size` bytes, no more even if it grows meanwhile. Holes stay holes: they cost no disk."""
    at, sent = 0, 1
    while at < size and sent:
        stop = size
        try:
            at = os.lseek(reader, at, os.SEEK_DATA)
            stop = min(size, os.lseek(reader, at, os.SEEK_HOLE))
        except OSError as e:
            if e.errno == errno.ENXIO:  # nothing but a hole is left
                os.ftruncate(writer, size)
                return
            if e.errno != errno.EINVAL:  # from file systems that do not tell where data is
                raise
        os.lseek(writer, at, os.SEEK_SET)
        while at < stop and (sent := os.sendfile(writer, reader, at, min(stop - at, 1 << 24))):
            at += sent


def _link(target: str, parent: int, name: str, copying: Copying) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=parent)
    os.symlink(target, name, dir_fd=parent)
    if copying.owner:
        os.chown(name, *copying.owner, dir_fd=parent, follow_symlinks=False)


def _settle(made: int, found: os.stat_result, copying: Copying) -> None:
    """Give a new file or directory its owner, permissions and time."""
    if copying.owner:
        os.fchown(made, *copying.owner)
    os.fchmod(made, found.st_mode & MODE)
    os.utime(made, ns=(found.st_atime_ns, found.st_mtime_ns))
