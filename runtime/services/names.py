"""Names of systemd: of units, and of the cgroups in which it puts them."""

from __future__ import annotations

import re

SPECIFIER = re.compile(r"%[A-Za-z%]")


def unit_name(name: str) -> str:
    """Return the unit that a name in a Quadlet file stands for: "db.container" is db.service."""
    return f"{name.removesuffix('.container')}.service" if name.endswith(".container") else name


def slice_of(given: str, name: str) -> str:
    """Return the cgroup path of the slice in which systemd puts a service (systemd.slice(5)).

    Args:
        given: Slice= of the unit, or "" for the default: system.slice, and for an instance a slice of its template.
        name: the service's, without suffix.
    """
    base, at, _ = name.partition("@")
    if not given:
        escaped = base.replace("-", "\\x2d")
        return f"/system.slice/system-{escaped}.slice" if at else "/system.slice"
    parts = given.removesuffix(".slice").split("-")
    if not any(parts):
        return ""
    return "".join(f"/{'-'.join(parts[: n + 1])}.slice" for n in range(len(parts)))
