"""What confines containers on this host, for `features`: annotations, since the specification has no place for it."""

from __future__ import annotations

from runtime.errors import SteleError
from runtime.host.cgroups import mount_point
from runtime.host.facts import capabilities
from runtime.oci.constants import CAPABILITIES

PREFIX = "org.stele.confinement."


def _first_line(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.readline().strip()
    except OSError:
        return ""


def _controllers() -> str:
    try:
        return _first_line(f"{mount_point()}/cgroup.controllers")
    except SteleError:
        return ""


def _user_namespaces() -> str:
    """Who may make them: nobody, root, or everybody (user_namespaces(7); Debian's and Ubuntu's own switches)."""
    if _first_line("/proc/sys/user/max_user_namespaces") in ("", "0"):
        return "off"
    closed = (
        _first_line("/proc/sys/kernel/unprivileged_userns_clone") == "0"
        or _first_line("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1"
    )
    return "root" if closed else "all"


def _devices() -> str:
    """Device rules need a BPF program on the cgroup; without the right to load one they cannot be kept."""
    held = capabilities()
    needed = (("BPF", "NET_ADMIN"), ("SYS_ADMIN",))
    able = any(all(held >> CAPABILITIES[f"CAP_{name}"] & 1 for name in names) for names in needed)
    return "cgroup-bpf" if able else "none"


def confinement() -> dict[str, str]:
    """Annotations.

    init: how our own code is in a container. paths: how paths in a root file system are resolved. lsm: the kernel's
    security modules in order. The rest says what this caller on this host has.
    """
    found = {
        "init": "sealed-memfd",
        "paths": "openat2",
        "lsm": _first_line("/sys/kernel/security/lsm"),
        "seccomp.actions": _first_line("/proc/sys/kernel/seccomp/actions_avail"),
        "cgroup.controllers": _controllers(),
        "user-namespaces": _user_namespaces(),
        "devices": _devices(),
    }
    return {PREFIX + name: value for name, value in found.items()}
