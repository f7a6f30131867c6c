"""Parse linux.cgroupsPath: a path for cgroupfs, slice:prefix:name for systemd, as runc does."""

from __future__ import annotations

import os
import re

from runtime.errors import ConfigError

FIELD = "linux.cgroupsPath"
UNIT_PART = re.compile(r"[A-Za-z0-9_.:@\\-]*")
LONGEST_NAME = 255
LONGEST_PATH = 3800
"""Bytes below the mount point; with a file name appended, the path must fit PATH_MAX."""


def parent_of_own(proc_self_cgroup: str) -> str:
    """The parent of the calling process's cgroup, without leading or trailing slashes.

    Args:
        proc_self_cgroup: the text of /proc/self/cgroup (cgroups(7)); the cgroup2 line is "0::PATH". The path is
            relative to the cgroup namespace; one outside it ("/..") counts as the namespace's root.
    """
    for line in proc_self_cgroup.split("\n"):
        if line.startswith("0::/") and not line.startswith("0::/.."):
            return line.removeprefix("0::").removesuffix(" (deleted)").rpartition("/")[0].strip("/")
    return ""


def cgroupfs_path(cgroups_path: str | None, container_id: str, parent: str) -> str:
    """The path of the container's cgroup below the cgroup2 mount, without leading or trailing slashes.

    Args:
        cgroups_path: linux.cgroupsPath. An absolute path is relative to the mount, a relative one to `parent`. If it
            is not set, the cgroup is named by the container ID, in `parent`.
        parent: the result of `parent_of_own`. The caller's own cgroup has processes, so it cannot enable controllers
            for children; its parent can (cgroup-v2.rst "No Internal Process Constraint"). runc does the same.
    Raises:
        ConfigError: the path leaves the hierarchy, names its root, or is too long.
    """
    given = cgroups_path or container_id
    parts = [part for part in given.split("/") if part and part != "."]
    if not parts or ".." in parts or any(ord(c) < 0x20 for c in given):
        raise ConfigError(
            FIELD, f"{given!r} leaves the hierarchy, names its root or is not a valid path; use a path such as /a/b"
        )
    whole = parts if given.startswith("/") else [*filter(None, parent.split("/")), *parts]
    path = "/".join(whole)
    if len(os.fsencode(path)) > LONGEST_PATH or any(len(os.fsencode(part)) > LONGEST_NAME for part in whole):
        raise ConfigError(
            FIELD, f"is too long; use at most {LONGEST_NAME} bytes per component and {LONGEST_PATH} in all"
        )
    return path


def systemd_unit(cgroups_path: str | None, container_id: str, *, rootless: bool) -> tuple[str, str]:
    """Parse "slice:prefix:name" into (slice, unit).

    The default is stele-ID.scope in system.slice (rootless: user.slice). A name that ends in ".slice" is a slice
    rather than a scope, as in runc.

    Raises:
        ConfigError: the value is malformed, or a name is not valid for a unit.
    """
    parts = (cgroups_path or f":stele:{container_id}").split(":")
    if len(parts) != 3 or "/" in (cgroups_path or ""):
        raise ConfigError(
            FIELD, f"{cgroups_path!r} is not of the form slice:prefix:name, which --systemd-cgroup needs; correct it"
        )
    if not all(UNIT_PART.fullmatch(part) for part in parts) or not parts[2]:
        raise ConfigError(FIELD, f"{cgroups_path!r} is not a valid unit name; correct it")
    parent, prefix, name = parts
    parent = parent or ("user.slice" if rootless else "system.slice")
    slice_path(parent)
    if name.endswith(".slice"):
        slice_path(name)
        unit = name
    else:
        unit = f"{prefix}-{name}.scope" if prefix else f"{name}.scope"
    if len(unit) > LONGEST_NAME:
        raise ConfigError(
            FIELD, f"gives a unit name of {len(unit)} bytes; at most {LONGEST_NAME} are allowed; shorten it"
        )
    return parent, unit


def slice_path(name: str) -> str:
    """The cgroup path of a slice: a.slice/a-b.slice for "a-b.slice" (systemd.slice(5)); "" for the root slice.

    Raises:
        ConfigError: the name is not valid for a slice.
    """
    if name == "-.slice":
        return ""
    stem = name.removesuffix(".slice")
    parts = stem.split("-")
    if not name.endswith(".slice") or not all(parts):
        raise ConfigError(FIELD, f"{name!r} is not a slice; use a name such as system.slice or a-b.slice")
    return "/".join("-".join(parts[: i + 1]) + ".slice" for i in range(len(parts)))
