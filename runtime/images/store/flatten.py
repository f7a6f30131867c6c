"""One layer's tree laid over another in place, as overlayfs would show the two: for a root that is plain files.

Whole directories that only the upper has are moved at once; what both have is walked. All by fds: no link is followed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from runtime.host.shim import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV, openat2
from runtime.host.trees import remove_tree
from runtime.images.store.overlay_view import OPAQUE, is_opaque


def merge(upper: int, target: int, *, whiteouts: bool, implied: Collection[str] = (), aside: str = "") -> None:
    """Move all of `upper` into `target`.

    Args:
        upper: a tree in overlayfs form; its directories may be left, empty. target: a plain tree on the same file
            system. Both fds stay the caller's.
        whiteouts: False promises that `upper` has none, and no opaque directory.
        implied: directories of `upper` that its layer does not describe: what `target` has keeps its attributes.
        aside: a name in `target` that is not the tree's.
    """
    if whiteouts and is_opaque(upper):
        root = os.fstat(target)
        _clear(target, aside)
        os.utime(target, ns=(root.st_mtime_ns, root.st_mtime_ns))
    pending = [("", True)]
    merged: list[tuple[str, os.stat_result, bool]] = []
    while pending:
        path, there = pending.pop()
        keep = there and path in implied
        with directory(upper, path) as above, directory(target, path) as below:
            # First: what is moved out of a directory, or into it, changes its time.
            merged.append((path, os.fstat(below if keep else above), keep))
            for name in os.listdir(above):
                whole = f"{path}/{name}" if path else name
                both = _merge_one(above, below, name, whiteouts=whiteouts, implied=whole in implied)
                if both is not None:
                    pending.append((whole, both))
    for path, found, keep in merged:
        with directory(upper, path) as above, directory(target, path) as below:
            if keep:
                os.utime(below, ns=(found.st_mtime_ns, found.st_mtime_ns))
            else:
                copy_attributes(above, below, found)


def _merge_one(above: int, below: int, name: str, *, whiteouts: bool, implied: bool) -> bool | None:
    """One name of a directory; not None if it is a directory in both now, still to be merged: whether it was below."""
    found = os.stat(name, dir_fd=above, follow_symlinks=False)
    if stat.S_ISCHR(found.st_mode) and found.st_rdev == 0:
        remove_tree(below, name)
        return None
    try:
        there = os.stat(name, dir_fd=below, follow_symlinks=False)
    except FileNotFoundError:
        there = None
    if not stat.S_ISDIR(found.st_mode):
        if there is not None:
            remove_tree(below, name)
        os.rename(name, name, src_dir_fd=above, dst_dir_fd=below)
        return None
    if there is not None and not stat.S_ISDIR(there.st_mode):
        remove_tree(below, name)
        there = None
    if there is not None and whiteouts and _opaque_below(above, name):
        if implied:
            with directory(below, name) as fd:
                _clear(fd)
                os.utime(fd, ns=(there.st_mtime_ns, there.st_mtime_ns))
        else:
            remove_tree(below, name)
            there = None
    if there is None and not whiteouts:
        os.rename(name, name, src_dir_fd=above, dst_dir_fd=below)
        return None
    if there is None:
        os.mkdir(name, 0o700, dir_fd=below)
    return there is not None


def _clear(directory_fd: int, aside: str = "") -> None:
    for name in os.listdir(directory_fd):
        if name != aside:
            remove_tree(directory_fd, name)


@contextmanager
def directory(root: int, path: str) -> Iterator[int]:
    """A directory below another, "" for that one, reached through no link; its fd."""
    resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV
    fd = openat2(root, path or ".", os.O_RDONLY | os.O_DIRECTORY, resolve=resolve)
    try:
        yield fd
    finally:
        os.close(fd)


def _opaque_below(parent: int, name: str) -> bool:
    with directory(parent, name) as fd:
        return is_opaque(fd)


def copy_attributes(above: int, below: int, found: os.stat_result) -> None:
    """Give `below` the attributes, owner, mode and times of `above`, whose stat is `found`."""
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
