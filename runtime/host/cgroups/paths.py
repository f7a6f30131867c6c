"""linux.cgroupsPath as runc's callers write it: a path for cgroupfs, slice:prefix:name for systemd."""

from __future__ import annotations

import os
import re

from runtime.errors import ConfigError

FIELD = "linux.cgroupsPath"
UNIT_PART = re.compile(r"[A-Za-z0-9_.:@\\-]*")
LONGEST_NAME = 255
LONGEST_PATH = 3800
"""Bytes below the mount; with the name of a file in it, it must fit PATH_MAX."""


def parent_of_own(proc_self_cgroup: str) -> str:
    """The cgroup that the calling process's own one is in, without slashes at its ends.

    Args:
        proc_self_cgroup: the text of /proc/self/cgroup (cgroups(7)); the line of cgroup2 is "0::PATH". The path is
            relative to the cgroup namespace; one that leads out of it ("/..") is taken for the namespace's top.
    """
    for line in proc_self_cgroup.split("\n"):
        if line.startswith("0::/") and not line.startswith("0::/.."):
            return line.removeprefix("0::").removesuffix(" (deleted)").rpartition("/")[0].strip("/")
    return ""


def cgroupfs_path(cgroups_path: str | None, container_id: str, parent: str) -> str:
    """The path of the container's cgroup below the cgroup2 mount, without slashes at its ends.

    Args:
        cgroups_path: linux.cgroupsPath. An absolute one counts from the mount, a relative one from `parent`; none
            puts the container, by its id, into `parent`.
        parent: what `parent_of_own` says. The caller's own cgroup has processes, so it cannot share out controllers
            to cgroups in it; the one above can (cgroup-v2.rst "No Internal Process Constraint"). So runc has it.
    Raises:
        ConfigError: the path leaves the hierarchy, names its top, or is too long.
    """
    given = cgroups_path or container_id
    parts = [part for part in given.split("/") if part and part != "."]
    if not parts or ".." in parts or any(ord(c) < 0x20 for c in given):
        raise ConfigError(
            FIELD, f"{given!r} leaves the hierarchy, names its top or is no name; use a path such as /a/b"
        )
    whole = parts if given.startswith("/") else [*filter(None, parent.split("/")), *parts]
    path = "/".join(whole)
    if len(os.fsencode(path)) > LONGEST_PATH or any(len(os.fsencode(part)) > LONGEST_NAME for part in whole):
        raise ConfigError(
            FIELD, f"is too long; a component has at most {LONGEST_NAME} bytes, the whole at most {LONGEST_PATH}"
        )
    return path


def systemd_unit(cgroups_path: str | None, container_id: str, *, rootless: bool) -> tuple[str, str]:
    """(slice, unit) of "slice:prefix:name".

    Nothing given is system.slice (rootless: user.slice) and stele-ID.scope. A name that ends in ".slice" is a slice of
    its own, as runc has it.

    Raises:
        ConfigError: it is no such triple, or no unit can have these names.
    """
    parts = (cgroups_path or f":stele:{container_id}").split(":")
    if len(parts) != 3 or "/" in (cgroups_path or ""):
        raise ConfigError(FIELD, f"{cgroups_path!r} is not slice:prefix:name, which --systemd-cgroup needs; correct it")
    if not all(UNIT_PART.fullmatch(part) for part in parts) or not parts[2]:
        raise ConfigError(FIELD, f"{cgroups_path!r} has a name that no unit can have; correct it")
    parent, prefix, name = parts
    parent = parent or ("user.slice" if rootless else "system.slice")
    slice_path(parent)
    if name.endswith(".slice"):
        slice_path(name)
        unit = name
    else:
        unit = f"{prefix}-{name}.scope" if prefix else f"{name}.scope"
    if len(unit) > LONGEST_NAME:
        raise ConfigError(FIELD, f"makes a unit name of {len(unit)} bytes; {LONGEST_NAME} are allowed; shorten it")
    return parent, unit


def slice_path(name: str) -> str:
    """ "a-b.slice" as the path of its cgroup, a.slice/a-b.slice (systemd.slice(5)); "" for the root slice.

    Raises:
        ConfigError: no slice can have this name.
    """
    if name == "-.slice":
        return ""
    stem = name.removesuffix(".slice")
    parts = stem.split("-")
    if not name.endswith(".slice") or not all(parts):
        raise ConfigError(FIELD, f"{name!r} is no slice; it looks like system.slice or a-b.slice")
    return "/".join("-".join(parts[: i + 1]) + ".slice" for i in range(len(parts)))
