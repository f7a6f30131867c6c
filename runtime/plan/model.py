"""The plan: everything needed to start a process in a container, as plain values.

A plan has two halves. The stele process carries out the host's half (`Plan.fds`, `id_maps`, `hooks`, ...). The static
init carries out `Plan.steps` (`runtime/plan/steps.py`), in order, inside the new namespaces.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from runtime.plan.device_rules import DeviceRule
from runtime.plan.resources import CgroupWrite
from runtime.plan.steps import UPPER_NONE, Rlimit, Step


@dataclass(frozen=True, slots=True)
class Facts:
    """What planning needs to know about the host; probed once by `runtime.host.facts`.

    Args:
        euid: effective user ID of the stele process.
        capabilities: bit mask of the capabilities in the stele process's permitted set.
        cgroup_mount: where the cgroup2 hierarchy is mounted, "" if nowhere.
        apparmor, selinux: whether the LSM is on.
        kernel: (major, minor).
        in_user_namespace: whether the stele process is outside the initial user namespace.
        setgroups: whether the user namespace allows setgroups(2) (user_namespaces(7)).
    """

    euid: int = 0
    capabilities: int = (1 << 41) - 1
    cgroup_mount: str = "/sys/fs/cgroup"
    apparmor: bool = False
    selinux: bool = False
    kernel: tuple[int, int] = (6, 1)
    in_user_namespace: bool = False
    setgroups: bool = True


# --- the host's half ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class IdMapping:
    """One line of /proc/PID/uid_map (user_namespaces(7))."""

    container_id: int
    host_id: int
    size: int


@dataclass(frozen=True, slots=True)
class IdMaps:
    """Both maps of a new user namespace, or of an id-mapped mount."""

    uids: tuple[IdMapping, ...]
    gids: tuple[IdMapping, ...]


@dataclass(frozen=True, slots=True)
class ListenerFd:
    """The `start` socket of the container."""


@dataclass(frozen=True, slots=True)
class NamespaceFd:
    """A namespace file to join. field: its field in config.json."""

    path: str
    kind: str
    field: str


@dataclass(frozen=True, slots=True)
class PidFd:
    """A pidfd of the container's init, for exec; filled in by the executor."""


@dataclass(frozen=True, slots=True)
class RootFd:
    """The root directory of the container's init, for exec into a container without a mount namespace."""


@dataclass(frozen=True, slots=True)
class TreeFd:
    """A detached copy of the mounts at `path`, made on the host because the new user namespace lacks the rights.

    id_maps: id-map the copy, or with the maps of the user namespace at the path `id_namespace`; recursive_map: its whole tree.
    field: the path's field in config.json. nofollow: if `path` is a symbolic link, the copy is of the link itself.
    """

    path: str
    recursive: bool
    id_maps: IdMaps | None
    recursive_map: bool
    field: str
    id_namespace: str = ""
    nofollow: bool = False


@dataclass(frozen=True, slots=True)
class ErofsFd:
    """A detached read-only mount of the erofs image in the file `path`, after its fs-verity digest is verified;
    verity: "" if it has none."""

    path: str
    verity: str


FdSource = ListenerFd | NamespaceFd | PidFd | RootFd | TreeFd | ErofsFd


@dataclass(frozen=True, slots=True)
class ImageRoot:
    """The parts of an image container's root.

    layers: host directories, highest first; or erofs: one image file instead of all layers.
    upper, size, directory: as in LayeredRoot. make: absolute paths of directories to create in it.
    """

    layers: tuple[str, ...]
    erofs: ErofsFd | None = None
    upper: int = UPPER_NONE
    size: str = ""
    directory: str = ""
    device: int = 0
    inode: int = 0
    make: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HostHook:
    """A hook that the stele process runs in its own namespaces (runtime-spec config.md "POSIX-platform Hooks")."""

    kind: Literal["prestart", "createRuntime", "poststart", "poststop"]
    path: str
    args: tuple[str, ...]
    env: tuple[str, ...]
    timeout: int
    index: int


@dataclass(frozen=True, slots=True)
class NetDevice:
    """A host network interface to move into the container's network namespace."""

    host_name: str
    container_name: str


@dataclass(frozen=True, slots=True)
class Veth:
    """One address of the container's end of a veth pair; `gateway` is the address of the host's end.

    Both have the same family and no prefix length.
    """

    address: str
    gateway: str


@dataclass(frozen=True, slots=True)
class Resctrl:
    """A group of the resctrl file system. group: its name, "" for the root group; named: it has a closID, so it may be
    shared. schema, then schemata: lines to write. monitor: name of its monitoring group, or ""."""

    group: str
    named: bool
    schema: str
    schemata: str
    monitor: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything needed to start one process.

    clone_flags: CLONE_NEW* bits of the first clone3(2).
    id_maps: of the new user namespace, if any. veth: addresses of the veth pair to create. resctrl: the process's
    group, if any.
    terminal: the steps include a Console step.
    rlimits, oom_score: raised and set by the stele process, because a new user namespace lacks the right to.
    cgroup_owner: the host uid that will own the container's cgroup, None to leave it.
    writes: the limits, as writes to cgroup files, in order.
    device_rules, device_program: the devices that the cgroup may use, as rules and as the compiled eBPF.
    hooks: the hooks that the stele process runs, in lifecycle order.
    notes: what was left out and why, for the user.
    """

    steps: tuple[Step, ...]
    clone_flags: int = 0
    fds: tuple[FdSource, ...] = ()
    id_maps: IdMaps | None = None
    net_devices: tuple[NetDevice, ...] = ()
    veth: tuple[Veth, ...] = ()
    resctrl: Resctrl | None = None
    rlimits: tuple[Rlimit, ...] = ()
    oom_score: int | None = None
    terminal: bool = False
    cgroup_owner: int | None = None
    writes: tuple[CgroupWrite, ...] = ()
    device_rules: tuple[DeviceRule, ...] = ()
    device_program: bytes = b""
    hooks: tuple[HostHook, ...] = ()
    notes: tuple[str, ...] = field(default=())
