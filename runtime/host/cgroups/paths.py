"""linux.cgroupsPath as runc's callers write it: a path for cgroupfs, slice:prefix:name for systemd."""

from __future__ import annotations

import re

from runtime.errors import ConfigError

UNIT_PART = re.compile(r"[A-Za-z0-9_.:@\\-]*")


def cgroupfs_path(cgroups_path: str | None, container_id: str) -> str:
    """The path below the cgroup2 mount, without a slash at either end.

    An absolute path counts from the mount, a relative one too; nothing given puts the container at the top, named by
    its id.
    """
    if not cgroups_path:
        return container_id
    parts = [part for part in cgroups_path.split("/") if part and part != "."]
    if ".." in parts or "\0" in cgroups_path or not parts:
        raise ConfigError(
            "linux.cgroupsPath", f"{cgroups_path!r} leaves the hierarchy or names its top; use a path such as /a/b"
        )
    if len(cgroups_path) > 3800 or any(len(part.encode()) > 255 for part in parts):
        raise ConfigError("linux.cgroupsPath", "is too long; a component has at most 255 bytes")
    return "/".join(parts)


def systemd_unit(cgroups_path: str | None, container_id: str, *, rootless: bool) -> tuple[str, str]:
    """(slice, unit) of "slice:prefix:name"; nothing given is system.slice (user.slice rootless) and stele-ID.scope."""
    parts = (cgroups_path or f":stele:{container_id}").split(":")
    if len(parts) != 3:
        raise ConfigError(
            "linux.cgroupsPath", f"{cgroups_path!r} is not slice:prefix:name, which --systemd-cgroup needs; correct it"
        )
    if not all(UNIT_PART.fullmatch(part) for part in parts):
        raise ConfigError(
            "linux.cgroupsPath", f"{cgroups_path!r} has characters that no unit name can have; correct it"
        )
    parent, prefix, name = parts
    parent = parent or ("user.slice" if rootless else "system.slice")
    if name.endswith(".slice"):
        return parent, name
    return parent, f"{prefix}-{name}.scope" if prefix else f"{name}.scope"
