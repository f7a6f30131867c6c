"""Where the cgroup2 hierarchy is mounted."""

from __future__ import annotations

import os

from runtime.errors import HostError

USUAL = "/sys/fs/cgroup"


def _is_cgroup2(path: str) -> bool:
    """A cgroup2 directory has cgroup.procs and, other than v1's, cgroup.controllers."""
    return os.path.exists(f"{path}/cgroup.controllers")


def mount_point() -> str:
    """The directory, without a slash at its end.

    Raises:
        HostError: there is none: a host with cgroup v1 only.
    """
    if _is_cgroup2(USUAL):
        return USUAL
    with open("/proc/self/mountinfo", "rb") as f:
        for line in f:
            fields, _, rest = line.partition(b" - ")
            if rest.startswith(b"cgroup2 "):
                octal = fields.split()[4]
                return octal.decode("unicode_escape").encode("latin-1").decode("utf-8", "surrogateescape")
    raise HostError(
        "this host has no cgroup2 hierarchy and stele does not use cgroup v1; boot with systemd.unified_cgroup_hierarchy=1, "
        "or mount cgroup2 on /sys/fs/cgroup"
    )
