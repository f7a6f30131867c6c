"""Probe what planning needs to know about this host, once per command."""

from __future__ import annotations

import os

from runtime.plan.model import Facts


def _read(path: str) -> str:
    try:
        with open(path, "rb", buffering=0) as f:
            return f.read(4096).decode("ascii", "replace")
    except OSError:
        return ""


def capabilities() -> int:
    """The permitted set of this process, a bit mask (proc(5), CapPrm)."""
    for line in _read("/proc/self/status").split("\n"):  # Name: may contain separators of str.splitlines
        if line.startswith("CapPrm:"):
            return int(line.split()[1], 16)
    return 0


def apparmor() -> bool:
    """Whether AppArmor is on."""
    return _read("/sys/module/apparmor/parameters/enabled").startswith("Y")


def selinux() -> bool:
    """Whether SELinux is on."""
    return os.path.exists("/sys/fs/selinux/enforce")


def in_user_namespace() -> bool:
    """Whether this process is in a user namespace that is not the host's own."""
    return _read("/proc/self/uid_map").split() != ["0", "0", "4294967295"]


def probe(*, cgroup_mount: str) -> Facts:
    """Query the kernel.

    Args:
        cgroup_mount: where the cgroup manager found the cgroup2 hierarchy.
    """
    major, minor = (int(part) for part in os.uname().release.split("-", 1)[0].split(".")[:2])
    return Facts(
        euid=os.geteuid(),
        capabilities=capabilities(),
        cgroup_mount=cgroup_mount,
        apparmor=apparmor(),
        selinux=selinux(),
        kernel=(major, minor),
        in_user_namespace=in_user_namespace(),
        setgroups=not _read("/proc/self/setgroups").startswith("deny"),
    )
