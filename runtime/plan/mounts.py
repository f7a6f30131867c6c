"""Plan mounts[]: each entry becomes a bind mount or a new file system, its options sorted by kernel interface."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

from runtime.errors import ConfigError
from runtime.oci.constants import MOUNT_ATTRS, MOUNT_ATTRS_RECURSIVE, PROPAGATION
from runtime.oci.numbers import decimal
from runtime.plan import model, steps
from runtime.plan.identity import MAX_ID
from runtime.plan.namespaces import Namespaces, mappings
from runtime.plan.steps import Step

MS_REC, MS_SLAVE, MS_SHARED = 0x4000, 0x80000, 0x100000
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NODEV = 1, 4
IGNORED = frozenset({"defaults", "bind", "rbind", "remount", "loud", "silent", "nostrictatime", "tmpcopyup", "idmap", "ridmap",
                     "async", "nomand", "nolazytime", "src-nofollow", "dest-nofollow", "copy-symlink"})  # fmt: skip
# Obsolete mount(2) flags: the file system itself decides about ACLs and change counters.
MOOT = frozenset({"acl", "noacl", "iversion", "noiversion"})
# crun.1 lists them as recursive; they are file system flags, which a mount's tree shares with its sources.
RECURSIVE_FILE_SYSTEM_FLAGS = frozenset({"rsync", "rasync", "rdirsync", "rmand", "rnomand"})
# File system flags: a bind mount shares its source's, and the kernel does not change them (mount(2), MS_REMOUNT | MS_BIND).
SUPERBLOCK = frozenset({"sync", "dirsync", "mand", "lazytime"})
# Files of a procfs that lxcfs and engines may mount over; anything else there would hide the kernel's information.
PROC_FILES = frozenset(
    f"/proc/{name}"
    for name in (
        "cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg", "slabinfo", "net/dev",
        "sys/kernel/ns_last_pid", "sys/crypto/fips_enabled",
    )
)  # fmt: skip


@dataclass(slots=True)
class Options:
    """mounts[].options, sorted. set/clear: MOUNT_ATTR_* of the top mount; rec_*: of the whole tree."""

    set: int = 0
    clear: int = 0
    rec_set: int = 0
    rec_clear: int = 0
    propagation: int = 0
    data: list[str] = field(default_factory=list)
    bind: bool = False
    recursive: bool = False
    copy_up: bool = False
    idmap: str = ""
    idmap_value: str = ""
    nofollow: bool = False
    copy_link: bool = False
    target_nofollow: bool = False


def parse_options(options: Sequence[str]) -> Options:
    """Sort mount options; later ones override earlier ones (mount(8))."""
    o = Options()
    for option in options:
        if option in MOUNT_ATTRS:
            on, off = MOUNT_ATTRS[option]
            o.set, o.clear = (o.set & ~off) | on, (o.clear & ~on) | off
        elif option in MOUNT_ATTRS_RECURSIVE:
            on, off = MOUNT_ATTRS_RECURSIVE[option]
            o.rec_set, o.rec_clear = (o.rec_set & ~off) | on, (o.rec_clear & ~on) | off
        elif option in PROPAGATION:
            flag, recursive = PROPAGATION[option]
            o.propagation = flag | (MS_REC if recursive else 0)
        elif option in ("bind", "rbind"):
            o.bind, o.recursive = True, o.recursive or option == "rbind"
        elif option.partition("=")[0] in ("idmap", "ridmap"):
            o.idmap, _, o.idmap_value = option.partition("=")
        elif option not in IGNORED | MOOT | RECURSIVE_FILE_SYSTEM_FLAGS:
            o.data.append(option)
        o.copy_up |= option == "tmpcopyup"
        o.nofollow |= option in ("src-nofollow", "copy-symlink")
        o.copy_link |= option == "copy-symlink"
        o.target_nofollow |= option == "dest-nofollow"
    # The access-time bits are one field: setting a value means clearing all of it first (mount_setattr(2)).
    for name in ("set", "rec_set"):
        if getattr(o, name) & 0x70:
            clear = name.replace("set", "clear")
            setattr(o, clear, getattr(o, clear) | 0x70)
    return o


@dataclass(frozen=True, slots=True)
class MountPlan:
    """steps: in the order of mounts[]; late: attributes to set after all mount points have been created.

    fds: their slots start at the caller's first_slot. targets: mount points in the root file system itself.
    """

    steps: tuple[Step, ...]
    late: tuple[Step, ...]
    fds: tuple[model.FdSource, ...]
    targets: tuple[str, ...]


def plan_mounts(
    mounts: Sequence[Mapping[str, Any]],
    *,
    bundle: str,
    namespaces: Namespaces,
    facts: model.Facts,
    mount_label: str,
    first_slot: int,
    id_maps: model.IdMaps | None = None,
) -> MountPlan:
    """Plan mounts[] (config.md "Mounts").

    Args:
        id_maps: of the container's user namespace; used by mounts with idmap but without mappings.

    Raises:
        ConfigError: an entry is invalid.
    """
    planned: list[Step] = []
    late: list[Step] = []
    fds: list[model.FdSource] = []
    targets: list[str] = []
    clean: set[str] = set()
    for i, mount in enumerate(mounts):
        target = destination(mount["destination"], i)
        options = parse_options(mount.get("options") or ())
        kind = mount.get("type") or ("bind" if options.bind else "none")
        plain = posixpath.normpath(target)
        if not is_below(plain, clean):
            targets.append(target)
            clean.add(plain)
        _check_proc(target, kind, options, i)
        if kind == "cgroup" and not namespaces.has("cgroup"):
            # A new mount would show the same hierarchy, and cost an RCU grace period.
            planned.append(_bind(_CGROUP_BIND, facts.cgroup_mount, target, steps.NO_SLOT, i, extra=options))
        elif options.bind or kind == "bind":
            planned.append(_plan_bind(mount, options, target, bundle, namespaces, facts, fds, first_slot, i, id_maps))
        else:
            new = _plan_new(mount, options, "cgroup2" if kind == "cgroup" else kind, target, mount_label, i)
            if kind == "tmpfs" and new.attr_set & MOUNT_ATTR_RDONLY:
                late.append(steps.MountAttributes(MOUNT_ATTR_RDONLY, target, index=i))
                new = replace(new, attr_set=new.attr_set & ~MOUNT_ATTR_RDONLY)
            planned.append(new)
    return MountPlan(tuple(planned), tuple(late), tuple(fds), tuple(targets))


_CGROUP_BIND = Options(bind=True, recursive=True, propagation=MS_SLAVE | MS_REC)


def destination(path: str, index: int) -> str:
    """mounts[].destination as an absolute path in the root; relative paths start at the root (config.md, 1.2).

    A trailing slash is ignored, even if a file is bound there.
    """
    absolute = "/" + path.strip("/")
    if posixpath.normpath(absolute) == "/":
        raise ConfigError(f"mounts[{index}].destination", f"{path!r} is the root itself; use root.path for that")
    return absolute


def is_below(path: str, parents: Set[str]) -> bool:
    """Whether a path is below one of others; all normal. It takes as long as the path is deep, however many they are."""
    end = path.rfind("/")
    while end > 0:
        if path[:end] in parents:
            return True
        end = path.rfind("/", 0, end)
    return False


def _check_proc(target: str, kind: str, options: Options, index: int) -> None:
    """Allow only a procfs at /proc: a fake one could swallow writes of LSM labels (CVE-2019-16884)."""
    clean = posixpath.normpath(target)
    if clean == "/proc" and kind != "proc" and not options.bind:
        raise ConfigError(f"mounts[{index}].destination", f"only a procfs can be mounted on /proc, not {kind!r}")
    if clean.startswith("/proc/") and clean not in PROC_FILES:
        raise ConfigError(
            f"mounts[{index}].destination", f"{target!r} is inside /proc, which must stay the kernel's; remove it"
        )


def _bind(
    o: Options, source: str, target: str, slot: int, index: int, *, extra: Options | None = None
) -> steps.BindMount:
    e = extra or Options()
    return steps.BindMount(
        slot=slot,
        recursive=o.recursive,
        nofollow=o.nofollow,
        attr_set=o.set | e.set,
        attr_clear=o.clear | e.clear,
        rec_set=o.rec_set | e.rec_set,
        rec_clear=o.rec_clear | e.rec_clear,
        propagation=e.propagation or o.propagation,
        source=source,
        target=target,
        copy_link=o.copy_link,
        target_nofollow=o.target_nofollow,
        index=index,
    )


def _plan_bind(
    mount: Mapping[str, Any],
    options: Options,
    target: str,
    bundle: str,
    namespaces: Namespaces,
    facts: model.Facts,
    fds: list[model.FdSource],
    first_slot: int,
    index: int,
    own_maps: model.IdMaps | None,
) -> steps.BindMount:
    if not mount.get("source"):
        raise ConfigError(f"mounts[{index}].source", "is missing; a bind mount needs the host path to bind")
    unknown = [option for option in options.data if option not in SUPERBLOCK]
    if unknown:
        raise ConfigError(
            f"mounts[{index}].options",
            f"{unknown[0]!r} is an option of a file system; a bind mount takes none, remove it",
        )
    source = posixpath.join(bundle, mount["source"])
    id_namespace = _id_namespace(mount, options, namespaces)
    id_maps = None if id_namespace else _mount_id_maps(mount, options, index, own_maps)
    # Create it on the host if the container cannot: id maps need the host's rights, a user namespace may not reach
    # the path, and only a copy of the host's own mount propagates back to it.
    on_host = (
        bool(id_maps or id_namespace)
        or (namespaces.has("user") and facts.euid == 0)
        or bool(options.propagation & MS_SHARED)
    )
    slot = steps.NO_SLOT
    if on_host:
        slot = first_slot + len(fds)
        fds.append(
            model.TreeFd(
                source,
                options.recursive,
                id_maps,
                options.idmap == "ridmap",
                f"mounts[{index}].source",
                id_namespace,
                options.nofollow,
            )
        )
        options.propagation = options.propagation or MS_SLAVE | MS_REC
    return _bind(options, source, target, slot, index)


def _id_namespace(mount: Mapping[str, Any], options: Options, namespaces: Namespaces) -> str:
    """The user namespace that the container joins, if the mount has idmap but no mappings: its maps are used; or ""."""
    if not options.idmap or options.idmap_value or mount.get("uidMappings") or mount.get("gidMappings"):
        return ""
    return next((path for kind, path, _ in namespaces.joined if kind == "user"), "")


def _mount_id_maps(
    mount: Mapping[str, Any], options: Options, index: int, own_maps: model.IdMaps | None
) -> model.IdMaps | None:
    uids, gids = mount.get("uidMappings"), mount.get("gidMappings")
    if not (uids or gids or options.idmap):
        return None
    if options.idmap_value:
        return _idmap_value(options, index, own_maps)
    if not (uids or gids) and own_maps:
        return own_maps
    if not (uids and gids):
        raise ConfigError(
            f"mounts[{index}]", "an id-mapped mount needs both uidMappings and gidMappings; add what is missing"
        )
    return model.IdMaps(mappings(uids, f"mounts[{index}].uidMappings"), mappings(gids, f"mounts[{index}].gidMappings"))


def _idmap_value(options: Options, index: int, own_maps: model.IdMaps | None) -> model.IdMaps:
    """Parse the value of crun's idmap option, uids=FILE-HOST-SIZE#FILE-HOST-SIZE;gids=..., as crun.1 describes it.

    With @ before a list, HOST is an id of the container's user namespace.
    """
    field = f"mounts[{index}].options"
    lists: dict[str, tuple[model.IdMapping, ...]] = {}
    for part in options.idmap_value.split(";"):
        name, _, value = part.partition("=")
        own = {"uids": own_maps.uids, "gids": own_maps.gids}.get(name, ()) if own_maps else ()
        numbers = [[decimal(n, MAX_ID) for n in triplet.split("-")] for triplet in value.removeprefix("@").split("#")]
        entries = [
            dict(zip(("containerID", "hostID", "size"), line, strict=True)) for line in numbers if len(line) == 3
        ]
        if name not in ("uids", "gids") or len(entries) < len(numbers) or any(None in line for line in numbers):
            raise ConfigError(
                field,
                f"{options.idmap}={options.idmap_value!r} is malformed; it looks like uids=0-1-10#10-11-10;gids=0-1-10",
            )
        for entry in entries if value.startswith("@") else ():
            inside: int = entry["containerID"]  # type: ignore[assignment]
            line = next((m for m in own if 0 <= inside - m.container_id < m.size), None)
            if line is None:
                raise ConfigError(
                    field,
                    f"{options.idmap}={options.idmap_value!r}: {name} @{inside} is not mapped in linux.uidMappings or linux.gidMappings; "
                    "map it there, or omit the @",
                )
            entry["hostID"] += line.host_id - line.container_id  # type: ignore[operator]
        lists[name] = mappings(entries, field)
    if len(lists) < 2:
        raise ConfigError(
            field, f"{options.idmap}={options.idmap_value!r} needs both uids and gids; add what is missing"
        )
    return model.IdMaps(lists["uids"], lists["gids"])


def _plan_new(
    mount: Mapping[str, Any], options: Options, kind: str, target: str, mount_label: str, index: int
) -> steps.NewMount:
    if kind == "none":
        raise ConfigError(f"mounts[{index}].type", "is missing; name a file system, or add the option bind")
    if mount.get("uidMappings") or mount.get("gidMappings"):
        raise ConfigError(f"mounts[{index}].uidMappings", "only bind mounts can be id-mapped; remove the mappings")
    data = list(options.data)
    if mount_label and kind in ("tmpfs", "devpts", "overlay"):
        data.append(f"context={mount_label}")
    return steps.NewMount(
        attr_set=options.set,
        rec_set=options.rec_set,
        propagation=options.propagation,
        strict=kind in ("proc", "sysfs"),
        copy_up=options.copy_up,
        copy_mode=kind == "tmpfs" and not options.copy_up and not any(o.startswith("mode=") for o in data),
        fstype=kind,
        source=mount.get("source") or kind,
        target=target,
        label=mount_label if kind == "mqueue" else "",  # the kernel created it with the ipc namespace
        options=tuple(data),
        index=index,
    )
