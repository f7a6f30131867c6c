"""linux.intelRdt: which group of the resctrl file system a container belongs to (config-linux.md "IntelRdt")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runtime.errors import ConfigError
from runtime.plan import model

FIELD = "linux.intelRdt"
RESERVED = (".", "..", "info", "mon_groups", "mon_data")


def plan_resctrl(rdt: Mapping[str, Any], container_id: str) -> model.Resctrl | None:
    """Plan the group; None when `rdt` says nothing.

    Raises:
        ConfigError: closID can be no name of a group, or a line of a schema is not one line.
    """
    if not any(rdt.values()):
        return None
    name = rdt.get("closID") or ""
    if name != "/" and ("/" in name or "\n" in name or name in RESERVED):
        raise ConfigError(
            f"{FIELD}.closID", f"{name!r} is not a valid group name; use one without '/', or '/' for the root group"
        )
    l3, bandwidth = rdt.get("l3CacheSchema") or "", rdt.get("memBwSchema") or ""
    if bandwidth and (not bandwidth.startswith("MB:") or "\n" in bandwidth):
        raise ConfigError(f"{FIELD}.memBwSchema", f"{bandwidth!r} is not a schema; use one line such as MB:0=50;1=70")
    lines = [line for line in l3.split("\n") if line and not (bandwidth and line.startswith("MB:"))]
    lines += [bandwidth] if bandwidth else []
    whole = [line for entry in rdt.get("schemata") or () for line in entry.split("\n") if line]
    monitored = any(rdt.get(key) for key in ("enableMonitoring", "enableCMT", "enableMBM"))
    return model.Resctrl(
        group="" if name == "/" else name or container_id,
        named=bool(name),
        schema="".join(f"{line}\n" for line in lines),
        schemata="".join(f"{line}\n" for line in whole),
        monitor=container_id if monitored else "",
    )
