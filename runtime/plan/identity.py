"""Plan the process's ids, groups and five capability sets (capabilities(7))."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runtime.errors import ConfigError
from runtime.oci.constants import CAPABILITIES
from runtime.plan import model, steps

SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")
REQUIRED = (
    ("inheritable", ("bounding",)),
    ("effective", ("permitted",)),
    ("ambient", ("permitted", "inheritable")),
)
"""A capability of the first set can be granted only if it is in the others, too (capabilities(7))."""
MAX_ID = 0xFFFF_FFFE
"""Largest uid or gid: (uid_t)-1 means "no change" to the kernel."""


def capability_mask(names: Sequence[str]) -> int:
    """Convert names such as CAP_KILL to a bit mask; unknown names are ignored."""
    mask = 0
    for name in names:
        if name in CAPABILITIES:
            mask |= 1 << CAPABILITIES[name]
    return mask


def plan_credentials(
    process: Mapping[str, Any], facts: model.Facts, *, in_user: bool, can_set_groups: bool, keep_groups: bool = False
) -> tuple[steps.Credentials, tuple[str, ...]]:
    """Plan process.user and process.capabilities. An absent object or set grants nothing.

    Args:
        keep_groups: leave the caller's supplementary groups; additionalGids are ignored, as by crun.
        in_user: the process is in a user namespace, where all capabilities are available; otherwise only stele's own.
    Returns:
        the step, and notes on capabilities that cannot be granted, which is a warning and not an error (config.md).
    Raises:
        ConfigError: an id is out of range, or there are groups that cannot be set.
    """
    user = process.get("user") or {}
    uid, gid = user.get("uid", 0), user.get("gid", 0)
    gids = user.get("additionalGids") or ()
    for name, value in (("uid", uid), ("gid", gid), *(("additionalGids", g) for g in gids)):
        if not 0 <= value <= MAX_ID:
            raise ConfigError(f"process.user.{name}", f"invalid ID {value}; use 0 to {MAX_ID}")
    if keep_groups:
        gids = ()
    if gids and not can_set_groups:
        raise ConfigError(
            "process.user.additionalGids", "a rootless container cannot have additional groups; remove them"
        )
    sets = process.get("capabilities") or {}
    masks = {name: capability_mask(sets.get(name) or ()) for name in SETS}
    available = (1 << 64) - 1 if in_user else facts.capabilities
    missing = 0
    for name in SETS:
        missing |= masks[name] & ~available
        masks[name] &= available
    beyond = []
    for name, required in REQUIRED:
        allowed = masks[required[0]] & masks[required[-1]]
        refused = masks[name] & ~allowed
        masks[name] &= allowed
        beyond += [
            f"process.capabilities.{name}: {capability} is not given: it is not in the {' and '.join(required)} set"
            for capability, bit in CAPABILITIES.items()
            if refused >> bit & 1
        ]
    unknown = dict.fromkeys(c for name in SETS for c in sets.get(name) or () if c not in CAPABILITIES)
    notes = (
        *(f"process.capabilities: {name!r} is not given: stele knows no such capability" for name in unknown),
        *(
            f"process.capabilities: {name} is not given: stele does not have it itself"
            for name, bit in CAPABILITIES.items()
            if missing >> bit & 1
        ),
        *beyond,
    )
    step = steps.Credentials(
        uid=uid,
        gid=gid,
        bounding=masks["bounding"],
        permitted=masks["permitted"],
        effective=masks["effective"],
        inheritable=masks["inheritable"],
        ambient=masks["ambient"],
        groups=can_set_groups,
        gids=b"".join(g.to_bytes(4, "little") for g in gids),
    )
    return step, notes
