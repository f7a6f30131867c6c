"""`features`: what this stele can do on this host (runtime-spec features.md, features-linux.md)."""

from __future__ import annotations

import os
from typing import Any

from runtime.host.seccomp import seccomp_features
from runtime.oci.constants import CAPABILITIES, MOUNT_ATTRS, MOUNT_ATTRS_RECURSIVE, NAMESPACES, PROPAGATION
from runtime.plan.process import MEMORY_FLAGS, MEMORY_MODES

HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
OTHER_OPTIONS = ("bind", "rbind", "tmpcopyup", "idmap", "ridmap", "defaults", "remount", "src-nofollow")


def _is_on(path: str) -> bool:
    try:
        with open(path, "rb") as f:
            return f.read(1) in (b"Y", b"1", b"0")
    except OSError:
        return False


def host_features() -> dict[str, Any]:
    """The document. `linux` is always there: containerd reads it without looking."""
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": "1.3.0",
        "hooks": list(HOOKS),
        "mountOptions": sorted({*MOUNT_ATTRS, *MOUNT_ATTRS_RECURSIVE, *PROPAGATION, *OTHER_OPTIONS}),
        "linux": {
            "namespaces": sorted(NAMESPACES),
            "capabilities": list(CAPABILITIES),
            "cgroup": {"v1": False, "v2": True, "systemd": True, "systemdUser": True, "rdma": True},
            "seccomp": seccomp_features(),
            "apparmor": {"enabled": _is_on("/sys/module/apparmor/parameters/enabled")},
            "selinux": {"enabled": os.path.exists("/sys/fs/selinux/enforce")},
            "intelRdt": {"enabled": False, "schemata": False, "enableMonitoring": False},
            "mountExtensions": {"idmap": {"enabled": True}},
            "netDevices": {"enabled": True},
            "memoryPolicy": {"modes": list(MEMORY_MODES), "flags": list(MEMORY_FLAGS)},
        },
        "annotations": {
            "org.opencontainers.runc.checkpoint.enabled": "false",
            "org.stele.read-only-root.private-layer": "true",
        },
        "potentiallyUnsafeConfigAnnotations": ["org.systemd.property."],
    }
