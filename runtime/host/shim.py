"""The one place that loads the C shim, and thin wrappers that raise OSError (cshim/shim.h)."""

from __future__ import annotations

import os
from typing import Any

import _stele_shim

from runtime.errors import SteleError
from runtime.plan import wire

lib: Any = _stele_shim.lib
ffi: Any = _stele_shim.ffi

if lib.SHIM_ABI != wire.ABI:
    raise SteleError("the C shim and the Python code have different versions; rebuild: make build")

OPEN_TREE_CLONE = 1
AT_RECURSIVE = 0x8000
AT_SYMLINK_NOFOLLOW = 0x100
RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10
MOUNT_ATTR_IDMAP = 0x0010_0000


def checked(result: int, what: str) -> int:
    """Return a non-negative result; raise OSError(errno, message, what) for -errno."""
    if result < 0:
        raise OSError(-result, os.strerror(-result), what)
    return result


def openat2(dir_fd: int, path: str, flags: int, *, mode: int = 0, resolve: int = 0) -> int:
    """openat2(2); the fd is close-on-exec and owned by the caller."""
    return checked(lib.stele_openat2(dir_fd, os.fsencode(path), flags, mode, resolve), path)


def open_tree(path: str, *, recursive: bool, nofollow: bool = False) -> int:
    """A detached copy of the mount(s) at an absolute host path (open_tree(2)); the caller owns the fd."""
    flags = OPEN_TREE_CLONE | (AT_RECURSIVE if recursive else 0) | (AT_SYMLINK_NOFOLLOW if nofollow else 0)
    return checked(lib.stele_open_tree(-100, os.fsencode(path), flags), path)


def mount_source(kind: str, source: str, attributes: int) -> int:
    """A detached read-only mount of the file system in a file or block device; the caller owns the fd."""
    return checked(lib.stele_mount_source(kind.encode(), os.fsencode(source), attributes), source)


def idmap_tree(tree: int, userns: int, *, recursive: bool, what: str) -> None:
    """Id-map a detached mount with a user namespace's maps (mount_setattr(2), MOUNT_ATTR_IDMAP)."""
    flags = AT_RECURSIVE if recursive else 0
    checked(lib.stele_mount_setattr(tree, flags, MOUNT_ATTR_IDMAP, 0, 0, userns), what)


def setns(fd: int, flags: int) -> None:
    """setns(2) for the calling thread."""
    checked(lib.stele_setns(fd, flags), "setns")


def prctl(option: int, a: int = 0, b: int = 0) -> int:
    """prctl(2)."""
    return checked(lib.stele_prctl(option, a, b), "prctl")
