"""The plan: what will be done to start a process in a container, as plain values.

A plan has two halves. The host's half (`Plan.fds`, `id_maps`, `hooks`, ...) is carried out by the stele process;
`Plan.steps` is carried out, in order, by the static init inside the new namespaces. Each step class below is
one entry of cshim/plan.h: its integers and its strings travel in the order of its fields (`runtime/plan/wire.py`).

`index` of a step is the element of the list in config.json that it comes from (mounts[3], devices[0]), so that a
failure names its field. A file descriptor is named by its slot: its position in `Plan.fds`, NO_SLOT for none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from runtime.plan.device_rules import DeviceRule
from runtime.plan.resources import CgroupWrite

NO_SLOT = 0xFFFF_FFFF
"""The slot of a step that needs no file descriptor from the stele process."""

LISTENER_SLOT = 0
"""Slot of the unix socket on which a created container's init waits for `start`."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What planning needs to know of the host; probed once by `runtime.host.facts`.

    Args:
        euid: effective user ID of the stele process.
        capabilities: bit mask of the capabilities in the stele process's permitted set.
        cgroup_mount: where the cgroup2 hierarchy is mounted, "" if nowhere.
        apparmor, selinux: whether the LSM is on.
        kernel: (major, minor).
        in_user_namespace: the stele process is in one that is not the host's own.
        setgroups: whether the user namespace lets supplementary groups be set (user_namespaces(7)).
    """

    euid: int = 0
    capabilities: int = (1 << 41) - 1
    cgroup_mount: str = "/sys/fs/cgroup"
    apparmor: bool = False
    selinux: bool = False
    kernel: tuple[int, int] = (6, 1)
    in_user_namespace: bool = False
    setgroups: bool = True


class Step:
    """Base of everything init can do. Each has `index`, as its last field."""

    __slots__ = ()
    index: int


# --- meeting the stele process ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sync(Step):
    """Tell the stele process that `what` is due (one of SYNC_*) and wait for its answer."""

    what: int
    index: int = 0


SYNC_ATTACHED, SYNC_MAPPED, SYNC_HOOKS, SYNC_NET_DEVICES, SYNC_RESCTRL = 1, 2, 3, 4, 5
SYNC_NAMES = {1: "cgroup", 2: "id maps and limits", 3: "createRuntime hooks", 4: "network devices", 5: "resctrl group"}


@dataclass(frozen=True, slots=True)
class Ready(Step):
    """Report that the container is created; then, if `listen`, wait on the listener until `start` connects."""

    listen: bool
    index: int = 0


# --- namespaces ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class JoinNamespace(Step):
    """setns(2) on the namespace file or pidfd in `slot`; `flags` are CLONE_NEW* bits."""

    slot: int
    flags: int
    index: int = 0


@dataclass(frozen=True, slots=True)
class Unshare(Step):
    """unshare(2) with CLONE_NEW* bits."""

    flags: int
    index: int = 0


@dataclass(frozen=True, slots=True)
class Fork(Step):
    """Go on in a child (a sibling, CLONE_PARENT): pid and time namespaces only take effect there."""

    index: int = 0


@dataclass(frozen=True, slots=True)
class TimeOffsets(Step):
    """Write /proc/self/timens_offsets, lines of "clock secs nanosecs" (time_namespaces(7))."""

    offsets: str
    index: int = 0


@dataclass(frozen=True, slots=True)
class BecomeRoot(Step):
    """Take uid and gid 0 of a new user namespace; `groups` drops the supplementary groups first."""

    groups: bool
    index: int = 0


@dataclass(frozen=True, slots=True)
class Session(Step):
    """setsid(2), and with `keyring` a new session keyring.

    One without a name: one with a name would be searched for among all of the host's, and joined if it were there.
    """

    keyring: bool
    index: int = 0


@dataclass(frozen=True, slots=True)
class LoopbackUp(Step):
    """Bring `lo` up in a new network namespace."""

    index: int = 0


@dataclass(frozen=True, slots=True)
class Hostname(Step):
    name: str
    index: int = 0


@dataclass(frozen=True, slots=True)
class Domainname(Step):
    name: str
    index: int = 0


@dataclass(frozen=True, slots=True)
class Sysctl(Step):
    """Write `value` to /proc/sys/`key`; key uses slashes."""

    key: str
    value: str
    index: int = 0


# --- the root file system -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Propagation(Step):
    """mount(NULL, "/", NULL, flags): cut the container's mounts off from the host's before anything is mounted."""

    flags: int
    index: int = 0


@dataclass(frozen=True, slots=True)
class Rootfs(Step):
    """Make `path` (or the detached tree in `slot`) a mount and the place where all later steps work.

    `bind` is false only without a mount namespace of its own.
    """

    slot: int
    bind: bool
    path: str
    index: int = 0


@dataclass(frozen=True, slots=True)
class LayeredRoot(Step):
    """Mount an image's root on the empty host directory `place`, and let all later steps work there.

    slot: a detached read-only tree that is the whole image; else it is an overlay of `layers`, host directories, the
    highest first. append: the kernel takes layers one by one (Linux 6.5). upper: UPPER_NONE, UPPER_TMPFS of `size`
    (tmpfs(5), "" for its default), or UPPER_DIRECTORY: `directory` holds the directories upper and work.
    attributes: MOUNT_ATTR_* of the root. device (major << 32 | minor), inode: which directory `directory` must still be.
    """

    slot: int
    append: bool
    upper: int
    attributes: int
    device: int
    inode: int
    place: str
    size: str
    directory: str
    layers: tuple[str, ...]
    index: int = 0


UPPER_NONE, UPPER_TMPFS, UPPER_DIRECTORY = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Directory(Step):
    """Make a directory in the root, with its parents, mode 0755; one that is there stays."""

    path: str
    index: int = 0


@dataclass(frozen=True, slots=True)
class PrivateLayer(Step):
    """Where the root must not be written (`readonly`, or its file system is) and one of `targets` is missing in it,
    put an overlay with a tmpfs upper over it, so that mount points are made there and never in the bundle."""

    readonly: bool
    targets: tuple[str, ...]
    index: int = 0


@dataclass(frozen=True, slots=True)
class BindMount(Step):
    """Bind `source` (or the detached tree in `slot`) on `target`.

    attr_*: MOUNT_ATTR_* masks for mount_setattr(2) on the top mount; rec_*: on the whole tree.
    propagation: MS_* to set afterwards, MS_REC for the tree; 0 for none.
    """

    slot: int
    recursive: bool
    nofollow: bool
    attr_set: int
    attr_clear: int
    rec_set: int
    rec_clear: int
    propagation: int
    source: str
    target: str
    index: int = 0


@dataclass(frozen=True, slots=True)
class NewMount(Step):
    """Mount a new instance of file system `fstype` on `target` through fsopen(2)/fsmount(2).

    options: fsconfig(2) strings "key=value" or flags "key".
    strict: the target must be a real directory, no symbolic link anywhere in its path (proc, sysfs).
    copy_up: copy what the target held into the new mount (tmpfs with tmpcopyup).
    copy_mode: its root gets the mode of the target, if that was there (tmpfs without mode=).
    label: for SELinux, of its root, where no option can give it; "" for none.
    """

    attr_set: int
    rec_set: int
    propagation: int
    strict: bool
    copy_up: bool
    copy_mode: bool
    fstype: str
    source: str
    target: str
    label: str
    options: tuple[str, ...]
    index: int = 0


@dataclass(frozen=True, slots=True)
class Device(Step):
    """Make a device node: mode holds type and permission bits; `bind` takes the host's node instead (user namespace).

    One that is there already, of the right type and number, stays as it is.
    """

    mode: int
    major: int
    minor: int
    uid: int
    gid: int
    bind: bool
    path: str
    index: int = 0


@dataclass(frozen=True, slots=True)
class Symlink(Step):
    """Make the symbolic link `path`; one that is there already stays."""

    content: str
    path: str
    index: int = 0


@dataclass(frozen=True, slots=True)
class Console(Step):
    """Open a pty in the container's devpts, hand its master to the stele process, use the slave as stdio.

    mount: also bind it on /dev/console. Sizes in characters, 0 leaves the kernel's.
    """

    mount: bool
    columns: int
    rows: int
    uid: int
    index: int = 0


@dataclass(frozen=True, slots=True)
class MaskPath(Step):
    """Hide a path: an empty read-only directory or the null device on top; a missing path is no error.

    options: of the tmpfs that is the directory; all paths share that of the first.
    """

    path: str
    options: tuple[str, ...]
    index: int = 0


@dataclass(frozen=True, slots=True)
class ReadonlyPath(Step):
    """Bind a path read-only on itself; a missing path is no error."""

    path: str
    index: int = 0


@dataclass(frozen=True, slots=True)
class MountAttributes(Step):
    """Set MOUNT_ATTR_* on the mount at `path`, late: a read-only tmpfs must first receive its mount points."""

    attr_set: int
    path: str
    index: int = 0


@dataclass(frozen=True, slots=True)
class Hook(Step):
    """Run a hook of the container (createContainer before pivot_root, startContainer before the process).

    On stdin it gets `state_head` + its container pid + `state_tail` (runtime-spec runtime.md "State").
    timeout: seconds, 0 for none. n_args: how many of `words` are arguments; the rest is the environment.
    """

    timeout: int
    n_args: int
    path: str
    state_head: str
    state_tail: str
    words: tuple[str, ...]
    index: int = 0


@dataclass(frozen=True, slots=True)
class EnterRoot(Step):
    """Make the prepared root `/`. how: PIVOT, MOVE (--no-pivot) or CHROOT (no mount namespace of its own)."""

    how: int
    index: int = 0


PIVOT, MOVE, CHROOT = 0, 1, 2
ENTER_NAMES = {PIVOT: "pivot_root", MOVE: "move and chroot", CHROOT: "chroot"}


@dataclass(frozen=True, slots=True)
class RootAttributes(Step):
    """Make `/` read-only and set its propagation (MS_*, 0 for none)."""

    readonly: bool
    propagation: int
    index: int = 0


# --- the process --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FindProgram(Step):
    """Look args[0] up in `path` (a PATH value) now, so that `create` can already say that it is missing.

    A relative name counts from the directory that a WorkingDirectory step chose; afterwards we are in "/" again.
    home: also look up the home directory of `uid` in the container's /etc/passwd, for HOME.
    """

    home: bool
    uid: int
    program: str
    path: str
    index: int = 0


@dataclass(frozen=True, slots=True)
class Rlimit(Step):
    resource: int
    soft: int
    hard: int
    index: int = 0


@dataclass(frozen=True, slots=True)
class OomScore(Step):
    """Write /proc/self/oom_score_adj; `score` is biased by 1000 (0..2000). lenient: EACCES is no error (rootless)."""

    score: int
    lenient: bool
    index: int = 0


@dataclass(frozen=True, slots=True)
class Scheduler(Step):
    """sched_setattr(2); nice is biased by 20."""

    policy: int
    nice: int
    priority: int
    flags: int
    runtime: int
    deadline: int
    period: int
    index: int = 0


@dataclass(frozen=True, slots=True)
class IoPriority(Step):
    """ioprio_set(2): class << 13 | level."""

    value: int
    index: int = 0


@dataclass(frozen=True, slots=True)
class Affinity(Step):
    """sched_setaffinity(2); a bit for each CPU, little-endian."""

    mask: bytes
    index: int = 0


@dataclass(frozen=True, slots=True)
class MemoryPolicy(Step):
    """set_mempolicy(2): mode with its flags, a bit for each node."""

    mode: int
    nodes: bytes
    index: int = 0


@dataclass(frozen=True, slots=True)
class Personality(Step):
    persona: int
    index: int = 0


@dataclass(frozen=True, slots=True)
class Umask(Step):
    umask: int
    index: int = 0


@dataclass(frozen=True, slots=True)
class Streams(Step):
    """Give the standard streams that are pipes, sockets or files for output to `uid`, where that may be done."""

    uid: int
    index: int = 0


@dataclass(frozen=True, slots=True)
class Label(Step):
    """Write `label` to /proc/self/attr/`file` ("apparmor/exec", "exec" or "keycreate")."""

    file: str
    label: str
    index: int = 0


@dataclass(frozen=True, slots=True)
class NoNewPrivs(Step):
    index: int = 0


@dataclass(frozen=True, slots=True)
class Seccomp(Step):
    """Load a filter; notify: hand the listener's fd to the stele process."""

    flags: int
    notify: bool
    program: bytes
    index: int = 0


@dataclass(frozen=True, slots=True)
class Credentials(Step):
    """Take the user's ids and capabilities, in the only safe order: bounding set, groups, gid, uid, sets, ambient.

    groups: set the supplementary groups to `gids` (little-endian u32 each).
    """

    uid: int
    gid: int
    bounding: int
    permitted: int
    effective: int
    inheritable: int
    ambient: int
    groups: bool
    gids: bytes
    index: int = 0


@dataclass(frozen=True, slots=True)
class WorkingDirectory(Step):
    """chdir(2) and make sure that it is inside the root (CVE-2024-21626).

    last: after the user's ids are taken, if it could not be done before; there EACCES is left for this second try.
    """

    last: bool
    path: str
    index: int = 0


@dataclass(frozen=True, slots=True)
class Trace(Step):
    """From here on, report when each step began and ended (`wire.TIMING`), or no longer: for `stele --trace`."""

    on: bool
    index: int = 0


@dataclass(frozen=True, slots=True)
class Execute(Step):
    """execve(2). n_args of `words` are arguments, the rest is the environment. keep_fds: fds 3.. that stay open.

    path: the PATH value in which a name without a slash is looked up.
    """

    n_args: int
    keep_fds: int
    path: str
    words: tuple[str, ...]
    index: int = 0


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
    """A namespace file to join. field: where config.json names it."""

    path: str
    kind: str
    field: str


@dataclass(frozen=True, slots=True)
class PidFd:
    """A pidfd of the container's init, for exec; filled in by the executor."""


@dataclass(frozen=True, slots=True)
class TreeFd:
    """A detached copy of the mounts at `path`, made on the host side because the new user namespace could not.

    id_maps: id-map the copy; recursive_map: its whole tree. field: where config.json names the path.
    """

    path: str
    recursive: bool
    id_maps: IdMaps | None
    recursive_map: bool
    field: str


@dataclass(frozen=True, slots=True)
class ErofsFd:
    """A detached read-only mount of an erofs image in the file `path`; its fs-verity digest, "" where it has none, is
    compared first."""

    path: str
    verity: str


FdSource = ListenerFd | NamespaceFd | PidFd | TreeFd | ErofsFd


@dataclass(frozen=True, slots=True)
class ImageRoot:
    """What the root of an image's container is made of.

    layers: host directories, the highest first; or erofs: the image file that stands for them all.
    upper, size, directory: as LayeredRoot has them. make: directories to make in it, absolute paths.
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
    """One address of a container's end of a veth pair; the host's end has `gateway`, through which all else is reached.

    address, gateway: of the same family, without a prefix length.
    """

    address: str
    gateway: str


@dataclass(frozen=True, slots=True)
class Resctrl:
    """A group of the resctrl file system. group: its name, "" for the root group; named: by closID, so that it may be
    others' too. schema, schemata: lines to write, the second last. monitor: name of a monitoring group in it, or ""."""

    group: str
    named: bool
    schema: str
    schemata: str
    monitor: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that starting one process takes.

    clone_flags: CLONE_NEW* bits of the first clone3(2).
    id_maps: of the new user namespace, if any. veth: addresses of the pair that the host side makes. resctrl: the group
    that the process is in, if any.
    terminal: a Console step is among the steps.
    rlimits, oom_score: set from the host side, where a new user namespace has not the right to raise them.
    cgroup_owner: the host's uid that gets the container's cgroup, None to leave it.
    writes: the limits, in their order, as writes to files of the cgroup.
    device_rules, device_program: which devices the cgroup may use, as rules and as the eBPF made of them.
    hooks: those that the stele process runs, in the order of the container's life.
    notes: what was left out and why, for people.
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
