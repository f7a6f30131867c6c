"""`features`: what this stele can do on this host (runtime-spec features.md, features-linux.md)."""

from __future__ import annotations

from typing import Any

from runtime.host.confinement import confinement
from runtime.host.facts import apparmor, selinux
from runtime.host.seccomp import libseccomp_version, seccomp_features
from runtime.oci import OCI_VERSION
from runtime.oci.constants import (
    CAPABILITIES,
    HOOKS,
    MEMORY_FLAGS,
    MEMORY_MODES,
    MOUNT_ATTRS,
    MOUNT_ATTRS_RECURSIVE,
    NAMESPACES,
    OTHER_MOUNT_OPTIONS,
    PROPAGATION,
)


def host_features() -> dict[str, Any]:
    """The features document. `linux` is always present, because containerd does not check for it."""
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": OCI_VERSION,
        "hooks": list(HOOKS),
        "mountOptions": sorted({*MOUNT_ATTRS, *MOUNT_ATTRS_RECURSIVE, *PROPAGATION, *OTHER_MOUNT_OPTIONS}),
        "linux": {
            "namespaces": sorted(NAMESPACES),
            "capabilities": list(CAPABILITIES),
            "cgroup": {"v1": False, "v2": True, "systemd": True, "systemdUser": True, "rdma": True},
            "seccomp": seccomp_features(),
            "apparmor": {"enabled": apparmor()},
            "selinux": {"enabled": selinux()},
            "intelRdt": {"enabled": True, "schemata": True, "monitoring": True},
            "mountExtensions": {"idmap": {"enabled": True}},
            "netDevices": {"enabled": True},
            "memoryPolicy": {"modes": list(MEMORY_MODES), "flags": list(MEMORY_FLAGS)},
        },
        "annotations": {
            "io.github.seccomp.libseccomp.version": libseccomp_version(),
            "org.opencontainers.runc.checkpoint.enabled": "false",
            "org.stele.read-only-root.private-layer": "true",
            **confinement(),
        },
        "potentiallyUnsafeConfigAnnotations": ["org.systemd.property."],
    }
