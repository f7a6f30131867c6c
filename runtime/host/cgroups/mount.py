"""Find the mount point of the cgroup2 hierarchy."""

from __future__ import annotations

import os
import re

from runtime.errors import HostError
from runtime.host.shim import lib

USUAL = "/sys/fs/cgroup"
MOUNTS = "/proc/self/mountinfo"
CGROUP2_SUPER_MAGIC = 0x63677270
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
NO_CGROUP2 = (
    "this host has no cgroup2 hierarchy, and stele does not support cgroup v1; boot with systemd.unified_cgroup_hierarchy=1, "
    "or mount cgroup2 on /sys/fs/cgroup"
)


def is_cgroup2(fd: int) -> bool:
    """Whether a file is on cgroup2, by its file system type (statfs(2))."""
    return bool(lib.stele_fs_type(fd) == CGROUP2_SUPER_MAGIC)


def _opened(path: str) -> int:
    """Open the directory if it is on cgroup2; otherwise return -1."""
    try:
        fd = os.open(path, DIRECTORY)
    except OSError:
        return -1  # missing or inaccessible: unusable either way
    if is_cgroup2(fd):
        return fd
    os.close(fd)
    return -1


def _mounted() -> list[str]:
    """The cgroup2 mounts of this mount namespace, full hierarchies first (proc(5), mountinfo)."""
    found: list[tuple[bool, str]] = []
    if not os.path.exists(MOUNTS):
        raise HostError(f"cannot find the cgroup2 mount because {MOUNTS} is missing; mount procfs on /proc")
    with open(MOUNTS, "rb") as f:
        for line in f:
            fields, _, rest = line.partition(b" - ")
            if rest.startswith(b"cgroup2 "):
                columns = fields.split(b" ")
                path = re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal[1], 8)]), columns[4])
                found.append((columns[3] != b"/", os.fsdecode(path)))
    return [path for _, path in sorted(found, key=lambda entry: entry[0])]


def open_root() -> tuple[int, str]:
    """Open the root of the hierarchy.

    mountinfo grows with the number of containers, so it is read only on hybrid hosts.

    Returns:
        an fd that the caller owns, and the path without a trailing slash.
    Raises:
        HostError: the host has only cgroup v1.
    """
    fd = _opened(USUAL)
    if fd >= 0:
        return fd, USUAL
    for path in _mounted():
        fd = _opened(path)
        if fd >= 0:
            return fd, path
    raise HostError(NO_CGROUP2)


def mount_point() -> str:
    """The path of the hierarchy's root. Raises as `open_root` does."""
    fd, path = open_root()
    os.close(fd)
    return path


def cgroup_of(pid: int) -> str:
    """A process's cgroup path without leading or trailing slashes; "" if the process is gone (cgroups(7))."""
    try:
        with open(f"/proc/{pid}/cgroup", "rb") as f:
            for line in f.read().decode("utf-8", "surrogateescape").split("\n"):
                if line.startswith("0::/"):
                    return line.removeprefix("0::").strip("/")
    except (FileNotFoundError, ProcessLookupError):
        pass
    return ""
