"""The plan: everything needed to start a process in a container, as plain values.

A plan has two halves. The stele process carries out the host's half (`Plan.fds`, `id_maps`, `hooks`, ...). The static
init carries out `Plan.steps`, in order, inside the new namespaces. Each step class below is one entry of cshim/plan.h;
its integers and strings are encoded in field order (`runtime/plan/wire.py`).

A step's `index` is its element in the config.json list (mounts[3], devices[0]), so that errors can name the field. A
file descriptor is identified by its slot: its position in `Plan.fds`, or NO_SLOT for none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from runtime.plan.device_rules import DeviceRule
from runtime.plan.resources import CgroupWrite

NO_SLOT = 0xFFFF_FFFF
"""The slot of a step without a file descriptor from the stele process."""

LISTENER_SLOT = 0
"""Slot of the unix socket on which a created container's init waits for `start`."""


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


class Step:
    """Base class of init's steps. The last field of each is `index`."""

    __slots__ = ()
    index: int


# --- meeting the stele process ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sync(Step):
    """Ask the stele process to do `what` (one of SYNC_*) and wait for its answer."""

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
    """Continue in a new process (a sibling, CLONE_PARENT): pid and time namespaces only apply to children."""

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

    The keyring is anonymous: a named one would be looked up on the host, and joined if it existed.
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
    """mount(NULL, "/", NULL, flags): detach the container's mounts from the host's before anything is mounted."""

    flags: int
    index: int = 0


@dataclass(frozen=True, slots=True)
class Rootfs(Step):
    """Mount `path` (or the detached tree in `slot`) as the root for all later steps.

    `bind` is false only if the container has no mount namespace; then `slot` may be a RootFd.
    """

    slot: int
    bind: bool
    path: str
    index: int = 0


@dataclass(frozen=True, slots=True)
class LayeredRoot(Step):
    """Mount an image's root on the empty host directory `place`, as the root for all later steps.

    slot: a detached read-only tree with the whole image; otherwise an overlay of `layers`, host directories, highest
    first. append: the kernel accepts layers one by one (Linux 6.5). upper: UPPER_NONE, UPPER_TMPFS of `size`
    (tmpfs(5), "" for its default), or UPPER_DIRECTORY: `directory` contains the directories upper and work.
    attributes: MOUNT_ATTR_* of the root. device (major << 32 | minor), inode: identify `directory`, to detect a swap.
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
    """Create a directory in the root, with its parents, mode 0755; an existing one is kept."""

    path: str
    index: int = 0


@dataclass(frozen=True, slots=True)
class PrivateLayer(Step):
    """If the root is read-only (`readonly`, or its file system) and lacks one of `targets`, put an overlay with a
    tmpfs upper on it, so that mount points are created there and never in the bundle."""

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
    copy_up: copy the target's content into the new mount (tmpfs with tmpcopyup).
    copy_mode: give the mount's root the target's mode, if that exists (tmpfs without mode=).
    label: SELinux label for the mount's root, if no mount option can set it; "" for none.
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
    """Create a device node. mode: type and permission bits. bind: bind the host's node instead (user namespace).

    An existing node of the right type and number is kept as it is.
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
    """Create the symbolic link `path`; an existing one is kept."""

    content: str
    path: str
    index: int = 0


@dataclass(frozen=True, slots=True)
class Console(Step):
    """Open a pty in the container's devpts, send its master to the stele process, and use the slave as stdio.

    mount: also bind it on /dev/console. Sizes are in characters; 0 keeps the kernel's default.
    """

    mount: bool
    columns: int
    rows: int
    uid: int
    index: int = 0


@dataclass(frozen=True, slots=True)
class MaskPath(Step):
    """Hide a path under an empty read-only directory or the null device; a missing path is ignored.

    options: for the tmpfs that serves as the directory; all paths share the first one's.
    """

    path: str
    options: tuple[str, ...]
    index: int = 0


@dataclass(frozen=True, slots=True)
class ReadonlyPath(Step):
    """Bind a path read-only on itself; a missing path is ignored."""

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

    Its stdin is `state_head` + the container's pid + `state_tail` (runtime-spec runtime.md "State").
    timeout: seconds, 0 for none. n_args: how many of `words` are arguments; the rest are the environment.
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
    """Switch to the prepared root. how: PIVOT, MOVE (--no-pivot) or CHROOT (no mount namespace)."""

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
    """Look up args[0] in `path` (a PATH value) now, so that `create` can already report a missing program.

    A relative name is resolved from the directory of the WorkingDirectory step; afterwards the cwd is "/" again.
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
    """Write /proc/self/oom_score_adj; `score` is biased by 1000 (0..2000). lenient: ignore EACCES (rootless)."""

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
    """Change the owner of standard streams that are pipes, sockets or output files to `uid`, where permitted."""

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
    """Load a filter; notify: send the listener's fd to the stele process."""

    flags: int
    notify: bool
    program: bytes
    index: int = 0


@dataclass(frozen=True, slots=True)
class Credentials(Step):
    """Apply the user's ids and capabilities, in the only safe order: bounding set, groups, gid, uid, sets, ambient.

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
    """chdir(2), then check that the directory is inside the root (CVE-2024-21626).

    last: retry with the user's ids if the first attempt failed with EACCES, which it ignores.
    """

    last: bool
    path: str
    index: int = 0


@dataclass(frozen=True, slots=True)
class Trace(Step):
    """Start or stop reporting when each step began and ended (`wire.TIMING`), for `stele --trace`."""

    on: bool
    index: int = 0


@dataclass(frozen=True, slots=True)
class Execute(Step):
    """execve(2). The first n_args of `words` are arguments, the rest the environment. keep_fds: fds 3.. to keep open.

    path: the PATH value for looking up a name without a slash.
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

    id_maps: id-map the copy; recursive_map: its whole tree. field: the path's field in config.json.
    """

    path: str
    recursive: bool
    id_maps: IdMaps | None
    recursive_map: bool
    field: str


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
    rlimits, oom_score: set by the stele process, because a new user namespace lacks the right to raise them.
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
