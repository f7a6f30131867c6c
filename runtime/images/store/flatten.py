"""One layer's tree laid over another in place, as overlayfs would show the two: for a root that is plain files.

Whole directories that only the upper has are moved at once; what both have is walked. All by fds: no link is followed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from runtime.host.shim import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV, openat2
from runtime.host.trees import remove_tree

OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")


def merge(upper: int, target: int, *, whiteouts: bool) -> None:
    """Move all of `upper` into `target`.

    Args:
        upper: a tree in overlayfs form; its directories may be left, empty. target: a plain tree on the same file
            system. Both fds stay the caller's.
        whiteouts: False promises that `upper` has none, and no opaque directory.
    """
    pending = [""]
    merged: list[tuple[str, os.stat_result]] = []
    while pending:
        path = pending.pop()
        with directory(upper, path) as above, directory(target, path) as below:
            merged.append((path, os.fstat(above)))  # first: what is moved out of a directory changes its time
            for name in os.listdir(above):
                if _merge_one(above, below, name, whiteouts=whiteouts):
                    pending.append(f"{path}/{name}" if path else name)
    for path, found in merged:  # last: what is moved into it does, too
        with directory(upper, path) as above, directory(target, path) as below:
            _copy_attributes(above, below, found)


def _merge_one(above: int, below: int, name: str, *, whiteouts: bool) -> bool:
    """One name of a directory; True if it is a directory in both now, still to be merged."""
    found = os.stat(name, dir_fd=above, follow_symlinks=False)
    if stat.S_ISCHR(found.st_mode) and found.st_rdev == 0:
        remove_tree(below, name)
        return False
    try:
        there = os.stat(name, dir_fd=below, follow_symlinks=False)
    except FileNotFoundError:
        there = None
    if not stat.S_ISDIR(found.st_mode):
        if there is not None:
            remove_tree(below, name)
        os.rename(name, name, src_dir_fd=above, dst_dir_fd=below)
        return False
    if there is not None and (not stat.S_ISDIR(there.st_mode) or (whiteouts and _is_opaque(above, name))):
        remove_tree(below, name)
        there = None
    if there is None and not whiteouts:
        os.rename(name, name, src_dir_fd=above, dst_dir_fd=below)
        return False
    if there is None:
        os.mkdir(name, 0o700, dir_fd=below)
    return True


@contextmanager
def directory(root: int, path: str) -> Iterator[int]:
    """A directory below another, "" for that one, reached through no link; its fd."""
    resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV
    fd = openat2(root, path or ".", os.O_RDONLY | os.O_DIRECTORY, resolve=resolve)
    try:
        yield fd
    finally:
        os.close(fd)


def _is_opaque(parent: int, name: str) -> bool:
    with directory(parent, name) as fd:
        return any(attribute in OPAQUE for attribute in os.listxattr(fd))


def _copy_attributes(above: int, below: int, found: os.stat_result) -> None:
    wanted = {name: os.getxattr(above, name) for name in os.listxattr(above) if name not in OPAQUE}
    for name in os.listxattr(below):
        if name not in wanted:
            _remove_xattr(below, name)
    os.fchown(below, found.st_uid, found.st_gid)
    for name, value in wanted.items():
        os.setxattr(below, name, value)
    os.fchmod(below, stat.S_IMODE(found.st_mode))
    os.utime(below, ns=(found.st_mtime_ns, found.st_mtime_ns))


def _remove_xattr(fd: int, name: str) -> None:
    try:
        os.removexattr(fd, name)
    except OSError as e:
        if e.errno not in (errno.ENODATA, errno.EPERM, errno.EOPNOTSUPP) or not name.startswith("security."):
            raise  # labels that the host's policy gives belong to the host
