"""Open directories without following links, and remove trees of any depth."""

from __future__ import annotations

import errno
import itertools
import os
import stat
from collections.abc import Iterator


def open_dir(name: str, dir_fd: int | None = None) -> int:
    """A directory, not through a symbolic link; the fd is the caller's."""
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=dir_fd)


def remove_tree(directory: int, name: str) -> None:
    """Remove a file, or a directory with all in it, of any depth, without following a link; nothing if it is not there.

    What a directory holds is moved up before it is removed, so that neither the stack nor the number of open files
    limits the depth, and no path gets long: an image can nest directories deeper than PATH_MAX.
    """
    try:
        top = open_dir(name, directory)
    except FileNotFoundError:
        return
    except OSError as e:
        if e.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        os.unlink(name, dir_fd=directory)
        return
    try:
        secret = os.urandom(16).hex()
        names = (f".stele-{secret}-{number}" for number in itertools.count())
        pending = _empty(top, top, names)
        while pending:
            below = pending.pop()
            inner = open_dir(below, top)
            try:
                pending += _empty(inner, top, names)
            finally:
                os.close(inner)
            os.rmdir(below, dir_fd=top)
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=directory)


def _empty(inner: int, top: int, names: Iterator[str]) -> list[str]:
    """Unlink the files of `inner` and move its directories to `top`, under names that nothing there can have.

    A name that is taken by an empty directory would be no error to rename(2): it replaces that.
    """
    os.fchmod(inner, 0o700)
    with os.scandir(inner) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    moved = []
    for entry, is_dir in found:
        if not is_dir:
            os.unlink(entry, dir_fd=inner)
        elif inner == top:
            moved.append(entry)
        else:
            _writable(inner, entry)  # a directory that moves gets another "..", which is a change to it
            moved.append(next(names))
            os.rename(entry, moved[-1], src_dir_fd=inner, dst_dir_fd=top)
    return moved


def _writable(directory: int, name: str) -> None:
    if os.geteuid() != 0 and not os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode & stat.S_IWUSR:
        os.chmod(name, 0o700, dir_fd=directory)
