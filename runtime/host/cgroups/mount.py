"""Where the cgroup2 hierarchy is mounted."""

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
    "this host has no cgroup2 hierarchy, and stele does not use cgroup v1; boot with systemd.unified_cgroup_hierarchy=1, "
    "or mount cgroup2 on /sys/fs/cgroup"
)


def is_cgroup2(fd: int) -> bool:
    """Whether a file is on cgroup2, by what the kernel says of its file system (statfs(2))."""
    return bool(lib.stele_fs_type(fd) == CGROUP2_SUPER_MAGIC)


def _opened(path: str) -> int:
    """The directory, if it is one of cgroup2; else -1."""
    try:
        fd = os.open(path, DIRECTORY)
    except OSError:
        return -1  # not there, or not for us: no place to look in either way
    if is_cgroup2(fd):
        return fd
    os.close(fd)
    return -1


def _mounted() -> list[str]:
    """The cgroup2 mounts of this mount namespace, whole hierarchies first (proc(5), mountinfo)."""
    found: list[tuple[bool, str]] = []
    if not os.path.exists(MOUNTS):
        raise HostError(f"{MOUNTS} is missing, by which cgroups are found; mount a procfs on /proc")
    with open(MOUNTS, "rb") as f:
        for line in f:
            fields, _, rest = line.partition(b" - ")
            if rest.startswith(b"cgroup2 "):
                columns = fields.split(b" ")
                path = re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal[1], 8)]), columns[4])
                found.append((columns[3] != b"/", os.fsdecode(path)))
    return [path for _, path in sorted(found, key=lambda entry: entry[0])]


def open_root() -> tuple[int, str]:
    """The top of the hierarchy.

    Only a hybrid host pays for reading mountinfo, which grows with the number of containers.

    Returns:
        its directory, an fd that is the caller's, and its path without a slash at the end.
    Raises:
        HostError: there is none: a host with cgroup v1 only.
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
    """The path of `open_root`. Raises as it does."""
    fd, path = open_root()
    os.close(fd)
    return path


def cgroup_of(pid: int) -> str:
    """The path of a process's cgroup, without slashes at its ends; "" when the process is gone (cgroups(7))."""
    try:
        with open(f"/proc/{pid}/cgroup", "rb") as f:
            for line in f.read().decode("utf-8", "surrogateescape").split("\n"):
                if line.startswith("0::/"):
                    return line.removeprefix("0::").strip("/")
    except (FileNotFoundError, ProcessLookupError):
        pass
    return ""
