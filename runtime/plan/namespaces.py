"""Plan namespaces: which to create, which to join, and in what order.

One clone3(2) creates all new namespaces at once. If that is impossible, a first stage joins and unshares, then forks:
pid and time namespaces only apply to children, and a process in a new user namespace may not join the host's
namespaces (setns(2), user_namespaces(7)).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runtime.errors import ConfigError
from runtime.oci.constants import NAMESPACES
from runtime.plan import model, steps
from runtime.plan.steps import Step

CLONE_NEWCGROUP = 0x0200_0000
CAP_SYS_ADMIN = 1 << 21
STAGED_JOINS = ("user", "pid", "time")
CLOCKS = ("monotonic", "boottime")


@dataclass(frozen=True, slots=True)
class Namespaces:
    """The namespaces of linux.namespaces: kinds to create, and (kind, path, index) to join."""

    new: frozenset[str]
    joined: tuple[tuple[str, str, int], ...]

    def has(self, kind: str) -> bool:
        """Whether the container creates or joins a namespace of this kind."""
        return kind in self.new or any(kind == k for k, _, _ in self.joined)


def parse(namespaces: Sequence[Mapping[str, Any]]) -> Namespaces:
    """Parse linux.namespaces (config-linux.md "Namespaces").

    Raises:
        ConfigError: unknown or repeated kind.
    """
    new: set[str] = set()
    joined: list[tuple[str, str, int]] = []
    for i, entry in enumerate(namespaces):
        kind = entry["type"]
        if kind not in NAMESPACES:
            raise ConfigError(
                f"linux.namespaces[{i}].type",
                f"unknown kind of namespace {kind!r}; use one of {', '.join(sorted(NAMESPACES))}",
            )
        if kind in new or any(kind == k for k, _, _ in joined):
            raise ConfigError(f"linux.namespaces[{i}].type", f"{kind!r} is there twice; remove one")
        if entry.get("path"):
            joined.append((kind, entry["path"], i))
        else:
            new.add(kind)
    return Namespaces(frozenset(new), tuple(joined))


def id_maps(linux: Mapping[str, Any]) -> model.IdMaps:
    """linux.uidMappings and gidMappings as the two maps of the new user namespace.

    Raises:
        ConfigError: a map is missing or does not map 0.
    """
    maps = model.IdMaps(
        mappings(linux.get("uidMappings") or (), "linux.uidMappings"),
        mappings(linux.get("gidMappings") or (), "linux.gidMappings"),
    )
    for lines, name in ((maps.uids, "linux.uidMappings"), (maps.gids, "linux.gidMappings")):
        if not any(line.container_id == 0 for line in lines):
            raise ConfigError(
                name, "id 0 is not mapped; a new user namespace needs it, add a mapping with containerID 0"
            )
    return maps


def mappings(entries: Sequence[Mapping[str, Any]], field: str) -> tuple[model.IdMapping, ...]:
    """A list of {containerID, hostID, size}; every range must lie below 2^32 - 1."""
    lines = []
    for i, entry in enumerate(entries):
        line = model.IdMapping(entry["containerID"], entry["hostID"], entry["size"])
        if line.size < 1 or max(line.container_id, line.host_id) + line.size > 0xFFFF_FFFF:
            raise ConfigError(f"{field}[{i}]", "the range is empty or goes beyond the largest id; correct size")
        lines.append(line)
    return tuple(lines)


def clone_flags(kinds: frozenset[str] | set[str]) -> int:
    """The CLONE_NEW* bits of some namespace kinds."""
    return sum(NAMESPACES[kind] for kind in kinds)


@dataclass(frozen=True, slots=True)
class Entry:
    """How to enter: flags of the first clone3(2), the steps, and the fds that they use (from `first_slot` on)."""

    clone_flags: int
    steps: tuple[Step, ...]
    fds: tuple[model.FdSource, ...]


def enter(
    namespaces: Namespaces,
    *,
    capabilities: int,
    attach: bool,
    drop_groups: bool,
    time_offsets: Mapping[str, Any],
    first_slot: int,
) -> Entry:
    """Plan how to enter the namespaces.

    Args:
        capabilities: the stele process's own.
        attach: the stele process must move init to its cgroup before the cgroup namespace is created (systemd).
        drop_groups: setgroups(2) is allowed in the new user namespace.
        time_offsets: linux.timeOffsets.
    """
    fds = tuple(model.NamespaceFd(path, kind, f"linux.namespaces[{i}].path") for kind, path, i in namespaces.joined)
    # With CAP_SYS_ADMIN any namespace of ours or of a descendant can be joined, but no longer from inside the container's user
    # namespace, unless that owns it: so user last. Without it, user first: it grants the right to join those that it owns.
    last = bool(capabilities & CAP_SYS_ADMIN)
    order = sorted(range(len(fds)), key=lambda i: ((namespaces.joined[i][0] == "user") == last, i))
    joins = tuple(
        steps.JoinNamespace(first_slot + i, NAMESPACES[namespaces.joined[i][0]], index=namespaces.joined[i][2])
        for i in order
    )
    new_user = "user" in namespaces.new
    synced = (steps.Sync(steps.SYNC_MAPPED),) if namespaces.has("user") else ()
    root = (steps.BecomeRoot(drop_groups),) if namespaces.has("user") else ()
    attached = (steps.Sync(steps.SYNC_ATTACHED),) if attach else ()
    cgroup = (steps.Unshare(CLONE_NEWCGROUP),) if "cgroup" in namespaces.new else ()
    at_clone = namespaces.new - {"cgroup"}
    staged = (
        any(kind in STAGED_JOINS for kind, _, _ in namespaces.joined)
        or "time" in namespaces.new
        or (new_user and bool(joins))
    )
    if not staged:
        # /dev/mqueue belongs to who creates the ipc namespace: that should be the container's root.
        late = at_clone & {"ipc"} if new_user else frozenset()
        ipc = (steps.Unshare(clone_flags(late)),) if late else ()
        return Entry(clone_flags(at_clone - late), (*attached, *synced, *root, *ipc, *joins, *cgroup), fds)
    clocks = offsets(namespaces, time_offsets)
    # The stele process may write the offsets only while our ids are still its own: so before we become root.
    first = at_clone & {"user", "time"} if new_user and clocks else at_clone & {"user"}
    rest = clone_flags(at_clone - first)
    entry = (
        *attached,
        *(() if new_user else synced),
        *joins,
        *((steps.Unshare(clone_flags(first)), *synced, *clocks) if new_user else ()),
        *root,
        *((steps.Unshare(rest),) if rest else ()),
        *(() if new_user else clocks),
        steps.Fork(),
        *cgroup,
    )
    return Entry(0, entry, fds)


def offsets(namespaces: Namespaces, time_offsets: Mapping[str, Any]) -> tuple[steps.TimeOffsets, ...]:
    """linux.timeOffsets for a new time namespace; a joined one keeps its own."""
    if not time_offsets or "time" not in namespaces.new:
        return ()
    for clock in time_offsets:
        if clock not in CLOCKS:
            raise ConfigError(f"linux.timeOffsets.{clock}", f"no such clock; use {CLOCKS}")
    lines = [f"{clock} {o.get('secs', 0)} {o.get('nanosecs', 0)}\n" for clock, o in time_offsets.items()]
    return (steps.TimeOffsets("".join(lines)),)
