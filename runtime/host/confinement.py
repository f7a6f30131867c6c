"""How containers are confined on this host, for `features`; as annotations, since the specification has no field."""

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
    """Who may create user namespaces: nobody, root, or everybody (user_namespaces(7), Debian's and Ubuntu's sysctls)."""
    if _first_line("/proc/sys/user/max_user_namespaces") in ("", "0"):
        return "off"
    closed = (
        _first_line("/proc/sys/kernel/unprivileged_userns_clone") == "0"
        or _first_line("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1"
    )
    return "root" if closed else "all"


def _devices() -> str:
    """Whether device rules can be enforced: they need a BPF program on the cgroup, and the right to load it."""
    held = capabilities()
    needed = (("BPF", "NET_ADMIN"), ("SYS_ADMIN",))
    able = any(all(held >> CAPABILITIES[f"CAP_{name}"] & 1 for name in names) for names in needed)
    return "cgroup-bpf" if able else "none"


def confinement() -> dict[str, str]:
    """The annotations.

    init: how our own code gets into a container. paths: how paths in a root file system are resolved. lsm: the
    kernel's security modules in order. The rest is what this caller can use on this host.
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
