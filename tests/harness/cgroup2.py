"""A private mount namespace whose /sys/fs/cgroup is cgroup2, whatever the machine's own is.

The namespace is for the mounts only: the hierarchy is the machine's one and only cgroup2, so cgroups are told apart
by name. Nothing of the machine's mounts is changed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
CLONE_NEWNS = 0x00020000
MS_REC, MS_PRIVATE = 0x4000, 0x40000
MNT_DETACH = 2


def _checked(what: str, result: int) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


def enter() -> None:
    """Move this process, and so its later children, to a mount namespace of its own with cgroup2 on /sys/fs/cgroup.

    Raises: OSError where it is not allowed (not root).
    """
    libc = ctypes.CDLL(None, use_errno=True)
    _checked("unshare(CLONE_NEWNS)", libc.unshare(CLONE_NEWNS))
    _checked("make / private", libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))
    if not is_cgroup2():
        path = str(ROOT).encode()
        _checked(f"umount {ROOT}", libc.umount2(path, MNT_DETACH))
        _checked(f"mount cgroup2 on {ROOT}", libc.mount(b"cgroup2", path, b"cgroup2", 0, None))


def is_cgroup2() -> bool:
    """Whether /sys/fs/cgroup is the cgroup2 file system itself."""
    return (ROOT / "cgroup.controllers").exists()


def controllers() -> set[str]:
    """What cgroup2 can limit on this machine: all of it on an ordinary one, what cgroup v1 has left on a hybrid one."""
    return set((ROOT / "cgroup.controllers").read_text().split())


def named(token: str) -> list[Path]:
    """Every cgroup whose name contains `token`.

    Not by os.walk, which recurses: other tests on this machine nest cgroups deeper than Python does.
    """
    found: list[Path] = []
    folders = [ROOT]
    while folders:
        # It may be gone by now, or deeper than a path reaches.
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as entries:
            below = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
            found += [path for path in below if token in path.name]
            folders += below
    return found
