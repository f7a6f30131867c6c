"""The steps that init does: their numbers, fields and constants. C gets them from here.

This is the one place where a step is defined. `cshim/steps.h` is generated from it (`make init` writes it), and
`runtime/plan/wire.py` encodes a step by its fields: integers and bools as u64 in field order, then strings, then the
strings of a trailing tuple. Numbers are never reused for another step.

A file descriptor is identified by its slot: its position in `Plan.fds`, or NO_SLOT for none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, TypeVar, dataclass_transform

NO_SLOT = 0xFFFF_FFFF
"""The slot of a step without a file descriptor from the stele process."""

LISTENER_SLOT = 0
"""Slot of the unix socket on which a created container's init waits for `start`."""


@dataclass(frozen=True, slots=True)
class Step:
    """Base class of init's steps.

    index: the step's element in its list of config.json (mounts[3], devices[0]), so that errors can name the field.
    """

    index: int = field(default=0, kw_only=True)
    says: ClassVar[str] = ""
    fails: ClassVar[str] = ""


KINDS: dict[int, type[Step]] = {}
"""Every step class by its number."""

Kind = TypeVar("Kind", bound=Step)


@dataclass_transform(frozen_default=True)
def step(number: int, *, says: str = "", fails: str = "") -> Callable[[type[Kind]], type[Kind]]:
    """Make the class a frozen dataclass and a step of init with this number.

    Args:
        says: one line for `stele plan`, a str.format template with the step's fields. Where words depend on values,
            they are in `runtime/plan/explain.py`; a step with neither is printed by its name and fields.
        fails: the error when init reports that the step failed: the step's fields, {detail} (what init reported) and
            {why} (the text of errno). Where words depend on the error, they are in `runtime/container/failure.py`.
    """

    def register(kind: type[Kind]) -> type[Kind]:
        if number in KINDS:
            raise ValueError(f"step {number} is {KINDS[number].__name__}; give {kind.__name__} another number")
        made: type[Kind] = dataclass(frozen=True, slots=True)(kind)
        made.says, made.fails = says, fails
        KINDS[number] = made
        return made

    return register


def fields_of(step: Step) -> dict[str, Any]:
    """The step's own fields, then its index."""
    return {f.name: getattr(step, f.name) for f in fields(step) if f.name != "index"} | {"index": step.index}


# --- meeting the stele process ------------------------------------------------------------------------------------


@step(1)
class Sync(Step):
    """Ask the stele process to do `what` (one of SYNC_*) and wait for its answer."""

    what: int


SYNC_ATTACHED, SYNC_MAPPED, SYNC_HOOKS, SYNC_NET_DEVICES, SYNC_RESCTRL, SYNC_TERMINAL = 1, 2, 3, 4, 5, 6
SYNC_NAMES = {
    1: "cgroup",
    2: "id maps and limits",
    3: "createRuntime hooks",
    4: "network devices",
    5: "resctrl group",
    6: "terminal",
}


@step(2)
class Ready(Step):
    """Report that the container is created; then, if `listen`, wait on the listener until `start` connects."""

    listen: bool


# --- namespaces ---------------------------------------------------------------------------------------------------


@step(3, fails="linux.namespaces[{index}].path: cannot join the namespace: {why}; check that its owner still runs")
class JoinNamespace(Step):
    """setns(2) on the namespace file or pidfd in `slot`; `flags` are CLONE_NEW* bits."""

    slot: int
    flags: int


@step(4)
class Unshare(Step):
    """unshare(2) with CLONE_NEW* bits."""

    flags: int


@step(5, says="continue in a child process, which is in these namespaces")
class Fork(Step):
    """Continue in a new process (a sibling, CLONE_PARENT): pid and time namespaces only apply to children."""


@step(6)
class TimeOffsets(Step):
    """Ask the stele process to write `offsets` to our /proc/PID/timens_offsets, and wait for its answer.

    Lines of "clock secs nanosecs" (time_namespaces(7)). A process that has changed its ids may not write its own file.
    """

    offsets: str


@step(7)
class BecomeRoot(Step):
    """Take uid and gid 0 of a new user namespace; `groups` drops the supplementary groups first."""

    groups: bool


@step(8)
class Session(Step):
    """setsid(2), and with `keyring` a new session keyring.

    The keyring is anonymous: a named one would be looked up on the host, and joined if it existed.
    """

    keyring: bool


@step(9)
class LoopbackUp(Step):
    """Bring `lo` up in a new network namespace."""


@step(10, says="hostname {name}", fails='hostname "{name}": {why}; it can have at most 64 bytes')
class Hostname(Step):
    name: str


@step(11, says="domainname {name}", fails='domainname "{name}": {why}; it can have at most 64 bytes')
class Domainname(Step):
    name: str


@step(
    12,
    says="sysctl {key} = {value}",
    fails='linux.sysctl "{key}": cannot set it to "{value}": {why}; correct or remove it',
)
class Sysctl(Step):
    """Write `value` to /proc/sys/`key`; key uses slashes."""

    key: str
    value: str


# --- the root file system -----------------------------------------------------------------------------------------


@step(13)
class Propagation(Step):
    """mount(NULL, "/", NULL, flags): detach the container's mounts from the host's before anything is mounted."""

    flags: int


@step(
    14,
    says="root file system {path}",
    fails='root.path "{path}": cannot use it as the root file system: {why}; correct root.path',
)
class Rootfs(Step):
    """Mount `path` (or the detached tree in `slot`) as the root for all later steps.

    `bind` is false only if the container has no mount namespace; then `slot` may be a RootFd.
    """

    slot: int
    bind: bool
    path: str


@step(43, fails="image root: cannot mount it ({detail}): {why}; `stele image verify` checks its layers")
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


UPPER_NONE, UPPER_TMPFS, UPPER_DIRECTORY = 0, 1, 2


@step(
    44,
    says="create the directory {path} if it is missing",
    fails='process.cwd "{path}": cannot create it: {why}; choose another with --workdir',
)
class Directory(Step):
    """Create a directory in the root, with its parents, mode 0755; an existing one is kept."""

    path: str


@step(
    15,
    fails="root: cannot put a private layer over the read-only root ({detail}): {why}; add the "
    "missing mount points to the image",
)
class PrivateLayer(Step):
    """If the root is read-only (`readonly`, or its file system) and lacks one of `targets`, put an overlay with a
    tmpfs upper on it, so that mount points are created there and never in the bundle."""

    readonly: bool
    targets: tuple[str, ...]


@step(16)
class BindMount(Step):
    """Bind `source` (or the detached tree in `slot`) on `target`.

    attr_*: MOUNT_ATTR_* masks for mount_setattr(2) on the top mount; rec_*: on the whole tree.
    propagation: MS_* to set afterwards, MS_REC for the tree; 0 for none.
    nofollow, target_nofollow: a symbolic link there is not followed. copy_link: if the source is a symbolic link, make the same
    link at `target` instead.
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
    copy_link: bool = False
    target_nofollow: bool = False


@step(17)
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


@step(18, fails='device "{path}": cannot create it: {why}; correct linux.devices, or what the image has there')
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


@step(19, says="symbolic link {path} -> {content}")
class Symlink(Step):
    """Create the symbolic link `path`; an existing one is kept."""

    content: str
    path: str


@step(20, fails="process.terminal: cannot open a terminal ({detail}): {why}; mounts needs a devpts on /dev/pts")
class Console(Step):
    """Open a pty in the container's devpts, send its master to the stele process, and use the slave as stdio.

    mount: also bind it on /dev/console. Sizes are in characters; 0 keeps the kernel's default.
    """

    mount: bool
    columns: int
    rows: int
    uid: int


@step(21, says="mask {path}", fails='linux.maskedPaths[{index}] "{path}": cannot mask it: {detail}: {why}')
class MaskPath(Step):
    """Hide a path under an empty read-only directory or the null device; a missing path is ignored.

    options: for the tmpfs that serves as the directory; all paths share the first one's.
    """

    path: str
    options: tuple[str, ...]


@step(22, says="make {path} read-only", fails='linux.readonlyPaths[{index}] "{path}": cannot make it read-only: {why}')
class ReadonlyPath(Step):
    """Bind a path read-only on itself; a missing path is ignored."""

    path: str


@step(41)
class MountAttributes(Step):
    """Set MOUNT_ATTR_* on the mount at `path`, late: a read-only tmpfs must first receive its mount points."""

    attr_set: int
    path: str


@step(23)
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


@step(24)
class EnterRoot(Step):
    """Switch to the prepared root. how: PIVOT, MOVE (--no-pivot) or CHROOT (no mount namespace)."""

    how: int


PIVOT, MOVE, CHROOT = 0, 1, 2
ENTER_NAMES = {PIVOT: "pivot_root", MOVE: "move and chroot", CHROOT: "chroot"}


@step(25)
class RootAttributes(Step):
    """Make `/` read-only and set its propagation (MS_*, 0 for none)."""

    readonly: bool
    propagation: int


# --- the process --------------------------------------------------------------------------------------------------


@step(26, says="look up {program} in {path}")
class FindProgram(Step):
    """Look up args[0] in `path` (a PATH value) now, so that `create` can already report a missing program.

    A relative name is resolved from the directory of the WorkingDirectory step; afterwards the cwd is "/" again.
    home: also look up the home directory of `uid` in the container's /etc/passwd, for HOME.
    """

    home: bool
    uid: int
    program: str
    path: str


@step(27)
class Rlimit(Step):
    resource: int
    soft: int
    hard: int


@step(28)
class OomScore(Step):
    """Write /proc/self/oom_score_adj; `score` is biased by 1000 (0..2000). lenient: ignore EACCES (rootless)."""

    score: int
    lenient: bool


@step(29, fails="process.scheduler: the kernel refuses it: {why}; correct its numbers, or give stele CAP_SYS_NICE")
class Scheduler(Step):
    """sched_setattr(2); nice is biased by 20."""

    policy: int
    nice: int
    priority: int
    flags: int
    runtime: int
    deadline: int
    period: int


@step(30, fails="process.ioPriority: the kernel refuses it: {why}; choose another class, or give stele CAP_SYS_ADMIN")
class IoPriority(Step):
    """ioprio_set(2): class << 13 | level."""

    value: int


@step(
    31,
    fails="process.execCPUAffinity: the kernel refuses it: {why}; name CPUs that this host and "
    "linux.resources.cpu.cpus have",
)
class Affinity(Step):
    """sched_setaffinity(2); a bit for each CPU, little-endian."""

    mask: bytes


@step(
    32,
    fails="linux.memoryPolicy: the kernel refuses it: {why}; name memory nodes that this host "
    "has, and flags that fit the mode",
)
class MemoryPolicy(Step):
    """set_mempolicy(2): mode with its flags, a bit for each node."""

    mode: int
    nodes: bytes


@step(33, fails="linux.personality: the kernel refuses it: {why}; remove it")
class Personality(Step):
    persona: int


@step(34, says="umask {umask:04o}")
class Umask(Step):
    umask: int


@step(45, says="standard streams: pipes, sockets and output files belong to uid {uid}")
class Streams(Step):
    """Change the owner of standard streams that are pipes, sockets or output files to `uid`, where permitted."""

    uid: int


@step(35)
class Label(Step):
    """Write `label` to /proc/self/attr/`file` ("apparmor/exec", "exec" or "keycreate")."""

    file: str
    label: str


@step(36)
class NoNewPrivs(Step):
    """prctl(2) PR_SET_NO_NEW_PRIVS."""


@step(37, fails="linux.seccomp: cannot load the filter: {why}")
class Seccomp(Step):
    """Load a filter; notify: send the listener's fd to the stele process."""

    flags: int
    notify: bool
    program: bytes


@step(38, fails="process.user {uid}:{gid}: cannot switch to it ({detail}): {why}; with a user namespace, map these ids")
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


@step(39, fails='process.cwd "{path}": cannot change to it: {why}; create it in the image or correct process.cwd')
class WorkingDirectory(Step):
    """chdir(2), then check that the directory is inside the root (CVE-2024-21626).

    last: retry with the user's ids if the first attempt failed with EACCES, which it ignores.
    """

    last: bool
    path: str


@step(42)
class Trace(Step):
    """Start or stop reporting when each step began and ended (`wire.TIMING`), for `stele --trace`."""

    on: bool


@step(40)
class Execute(Step):
    """execve(2). The first n_args of `words` are arguments, the rest the environment. keep_fds: fds 3.. to keep open.

    path: the PATH value for looking up a name without a slash.
    """

    n_args: int
    keep_fds: int
    path: str
    words: tuple[str, ...]
