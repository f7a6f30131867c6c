"""A container's record on disk: <root>/<id>/state.json, replaced atomically, locked through its directory.

A container's directory holds: state.json; `cgroup`, a second record of the cgroup alone, written first, so that a
container with a damaged state.json can still be killed; `start`, a socket that exists until the container is started.
Both records end in a checksum, because they decide which hooks are run and which processes are killed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import stat
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from runtime.errors import AlreadyExists, HostError, NewerState, NotFound, StateError
from runtime.host.files import replace, temporary
from runtime.host.interrupt import waiting
from runtime.host.processes import is_init, stat_of
from runtime.oci import OCI_VERSION

FORMAT = 1
STATE_FILE = "state.json"
CGROUP_FILE = "cgroup"
START_SOCKET = "start"
LOG_FILE = "log"
"""What the waiter writes the container's output to; older files have a number after it."""
EXIT_FILE = "exit"
"""What the waiter writes when the container has ended (cshim/waiter/record.c)."""
CACHE = ".cache"
"""A directory below --root, beside the containers; may be removed at any time."""
ID = re.compile(r"[A-Za-z0-9_+.-]{1,255}")
STATE_MAX = 16 << 20
PF_EXITING = 0x4
SEAL = ', "checksum": "%08x"}'
"""A record's last bytes: the CRC-32 of everything before them."""


@dataclass(frozen=True, slots=True)
class ExitInfo:
    """How the container's process ended. signal: 0 if none; time: RFC 3339; oom: the OOM killer acted in its cgroup."""

    status: int
    signal: int
    oom: bool
    time: str


@dataclass(frozen=True, slots=True)
class Record:
    """One container.

    created: RFC 3339 with nanoseconds. pid: 0 before the process exists. start_time: field 22 of /proc/PID/stat, in
    ticks. boot_id: /proc/sys/kernel/random/boot_id. cgroup: the cgroup manager's own record. config: config.json as of
    creation. phase: "creating" until creation is complete. image: {} unless made from an image; "store": path of the
    image store; "upper": the directory it writes to, as DEVICE:INODE; "veth": the host end of its veth pair.
    resctrl: its group (`runtime.host.resctrl.choose`), or {}. waiter: pid and start_time of the process that is the
    container's waiter, or is to become it; {} for none. log: the driver that gets the container's output, "" for none.
    """

    id: str
    bundle: str
    rootfs: str
    created: str
    owner: int
    config: Mapping[str, Any]
    cgroup: Mapping[str, Any]
    phase: str = "creating"
    pid: int = 0
    start_time: int = 0
    boot_id: str = ""
    rootless: bool = False
    exit: ExitInfo | None = None
    image: Mapping[str, str] = field(default_factory=dict)
    no_new_keyring: bool = False
    resctrl: Mapping[str, Any] = field(default_factory=dict)
    waiter: Mapping[str, int] = field(default_factory=dict)
    log: str = ""
    format: int = field(default=FORMAT)


def check_id(container_id: str) -> str:
    """Return the id if it is well-formed.

    Raises:
        StateError: it contains characters that runc does not allow, or is reserved.
    """
    if not ID.fullmatch(container_id) or container_id in (".", "..", CACHE):
        raise StateError(
            f"invalid container ID format: {container_id!r}; use letters, digits and _ + . - only, at most 255 of them, "
            f"and not {CACHE}"
        )
    return container_id


def now() -> str:
    """Return the current time as RFC 3339 with nanoseconds, UTC."""
    ns = time.time_ns()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ns // 10**9)) + f".{ns % 10**9:09d}Z"


def boot_id() -> str:
    """Return the id of the current boot: pids recorded in another boot are meaningless."""
    with open("/proc/sys/kernel/random/boot_id", "rb", buffering=0) as f:
        return f.read(64).decode().strip()


def process_stat(pid: int) -> tuple[str, int] | None:
    """Return a process's state letter and start time from /proc/PID/stat (proc(5)); None if it is gone."""
    found = stat_of(pid)
    return found and (found["state"].decode(), int(found["start"]))


def is_exiting(pid: int) -> bool:
    """Whether a process no longer runs user code: PF_EXITING in field 9 of /proc/PID/stat, or gone."""
    found = stat_of(pid)
    return found is None or bool(int(found["flags"]) & PF_EXITING)


def is_alive(record: Record) -> bool:
    """Whether the container's init is alive: same start time, same boot, not a zombie."""
    if record.pid <= 0 or record.boot_id != boot_id():
        return False
    seen = process_stat(record.pid)
    return seen is not None and seen[1] == record.start_time and seen[0] not in ("Z", "X")


def own_identity() -> dict[str, int]:
    """Return this process's pid and start time, which execve(2) does not change."""
    stat = process_stat(os.getpid())
    return {"pid": os.getpid(), "start_time": stat[1] if stat else 0}


def waiter_pidfd(record: Record) -> int:
    """Open a pidfd of the process that is the container's waiter, or is to become it; -1 if there is none, or it ended."""
    pid = record.waiter.get("pid", 0)
    if not pid or record.boot_id != boot_id():
        return -1
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return -1
    stat = process_stat(pid)  # open the pidfd, then verify that it is the same process
    if stat is None or stat[1] != record.waiter["start_time"] or stat[0] in ("Z", "X"):
        os.close(pidfd)
        return -1
    return pidfd


def state_document(record: Record, status: str, pid: int) -> dict[str, Any]:
    """Return the specification's state document (runtime.md "State"), plus runc's rootfs and created."""
    document: dict[str, Any] = {
        "ociVersion": OCI_VERSION,
        "id": record.id,
        "pid": pid,
        "status": status,
        "bundle": record.bundle,
        "rootfs": record.rootfs,
        "created": record.created,
    }
    annotations = record.config.get("annotations")
    if annotations:
        document["annotations"] = annotations
    return document


class Store:
    """The containers below one --root.

    Args:
        root: directory, made (0700 and sticky) with the first container.
    """

    __slots__ = ("root",)

    def __init__(self, root: str) -> None:
        self.root = root

    def path(self, container_id: str) -> str:
        """Return the directory of a container, which need not exist."""
        return f"{self.root}/{check_id(container_id)}"

    def owner(self, container_id: str) -> str:
        """Return a name that differs from that of the same ID below another root, as long as this root exists."""
        found = os.stat(self.root)
        return f"{found.st_dev}:{found.st_ino}/{container_id}"

    def ids(self) -> list[str]:
        """Return all ids, sorted; [] if the root does not exist. Non-directories are ignored."""
        try:
            with os.scandir(self.root) as entries:
                names = [e.name for e in entries if ID.fullmatch(e.name) and e.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            return []
        return sorted(name for name in names if name != CACHE)

    def make(self, container_id: str) -> int:
        """Make the container's directory and lock it; returns its fd, which holds the lock until closed.

        Raises:
            AlreadyExists: the id is taken. HostError: the root cannot be written.
        """
        path = self.path(container_id)
        try:
            # Sticky: exempt from cleanup of $XDG_RUNTIME_DIR (XDG Base Directory Specification).
            if not os.path.isdir(self.root):
                os.makedirs(self.root, mode=0o1700, exist_ok=True)
            os.mkdir(path, 0o700)
        except FileExistsError as e:
            if e.filename == self.root:
                raise HostError(f"--root {self.root}: it is not a directory; choose another with --root") from None
            raise AlreadyExists(
                f'container with given ID already exists: "{container_id}"; choose another id or delete it'
            ) from None
        except OSError as e:
            raise HostError(
                f"--root {self.root}: cannot write there: {os.strerror(e.errno or 0)}; choose another with --root"
            ) from e
        try:
            return self.lock(container_id)
        except OSError as e:
            with contextlib.suppress(OSError):
                os.rmdir(path)
            raise HostError(f"{path}: cannot lock it: {os.strerror(e.errno or 0)}", e.errno or 0) from e

    def lock(self, container_id: str, *, wait: bool = True) -> int:
        """Lock the container's directory; returns its fd, which holds the lock until closed.

        Raises:
            NotFound: no such container, also when it was deleted while we waited.
        """
        path = self.path(container_id)
        while True:
            try:
                fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
            except OSError as e:
                if e.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                    raise
                raise NotFound(f'container "{container_id}" does not exist; `stele list` shows those that do') from None
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BaseException:
                os.close(fd)
                raise
            # If it was deleted, and perhaps recreated, while we waited, this fd locks nothing.
            with contextlib.suppress(FileNotFoundError):
                if os.stat(path).st_ino == os.fstat(fd).st_ino:
                    return fd
            os.close(fd)

    @contextlib.contextmanager
    def locked(self, container_id: str) -> Iterator[int]:
        """`lock` as a context manager. Raises SteleError: a signal ended the wait (`runtime.host.interrupt`)."""
        with waiting():
            fd = self.lock(container_id)
        try:
            yield fd
        finally:
            os.close(fd)

    def write(self, directory: int, record: Record) -> None:
        """Replace the record atomically: a crash leaves the old one or the new one."""
        replace(directory, CGROUP_FILE, _sealed(dict(record.cgroup)))
        replace(directory, STATE_FILE, _sealed(_document(record)))

    def read(self, container_id: str) -> Record:
        """Return the record of a container.

        Raises:
            NotFound: no such container. NewerState: a newer stele made it. StateError: its record is damaged.
        """
        path = self.path(container_id)
        try:
            content = _content(f"{path}/{STATE_FILE}")
        except (FileNotFoundError, NotADirectoryError):
            if not os.path.isdir(path):
                raise NotFound(f'container "{container_id}" does not exist; `stele list` shows those that do') from None
            raise StateError(
                f'container "{container_id}" does not exist: it is being created or removed; if a killed command left '
                "it so, use delete --force"
            ) from None
        record = _parse(container_id, f"{path}/{STATE_FILE}", content)
        if record.waiter and record.exit is None:
            record = _with_exit(record, path)
            if record.exit is None and self.unrecorded(container_id):  # `delete` removes the exit status last
                return self.read(container_id)
        return record

    def read_cgroup(self, container_id: str) -> dict[str, Any] | None:
        """Return the separate cgroup record, for a container whose state.json is damaged; None if it is unusable, too."""
        try:
            content = _content(f"{self.path(container_id)}/{CGROUP_FILE}")
            return dict(json.loads(content)) if _whole(content) else None
        except OSError:
            return None

    def blank(self, container_id: str) -> bool:
        """Whether its creator died before recording anything, or `delete` at its end; then it has no kernel objects."""
        return set(os.listdir(self.path(container_id))) <= {temporary(CGROUP_FILE), EXIT_FILE}

    def remove(self, container_id: str) -> None:
        """Remove the container's directory, which holds no part of a root file system.

        The records go last, so after an interruption the container can still be listed and deleted.
        """
        path = self.path(container_id)
        last = (CGROUP_FILE, STATE_FILE, EXIT_FILE)  # while there is a state.json, `wait` must find the exit status
        for name in sorted(os.listdir(path), key=lambda n: last.index(n) if n in last else -1):
            try:
                os.unlink(f"{path}/{name}")
            except IsADirectoryError:
                _remove_directory(path, name)
            except FileNotFoundError:
                pass  # a temporary file of the waiter
        try:
            os.rmdir(path)
        except OSError as e:
            if e.errno != errno.ENOTEMPTY:
                raise
            self.remove(container_id)  # the waiter has recorded the end meanwhile, which it does once

    def unrecorded(self, container_id: str) -> bool:
        """Whether there is no state.json: the container is being created or removed."""
        return not os.path.exists(f"{self.path(container_id)}/{STATE_FILE}")

    def busy(self, container_id: str) -> bool:
        """Whether a command holds the container's lock."""
        try:
            os.close(self.lock(container_id, wait=False))
        except BlockingIOError:
            return True
        except NotFound:
            return False
        return False

    def started(self, record: Record) -> bool:
        """Whether a live container was started: `start` removes the socket that init waits on.

        A killed `start` may not have removed it; then check whether the process still executes init's binary.
        """
        if not os.path.exists(f"{self.path(record.id)}/{START_SOCKET}"):
            return True
        try:
            return not is_init(record.pid)
        except OSError:  # no permission, or it has just ended
            return False


def _remove_directory(path: str, name: str) -> None:
    """Remove a subdirectory, such as the generated bundle of a container made from an image."""
    from runtime.host.trees import remove_tree

    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        remove_tree(fd, name)
    finally:
        os.close(fd)


def _document(record: Record) -> dict[str, Any]:
    """Return the record as `_parse` reads it. dataclasses.asdict would copy the large config needlessly."""
    document = {f.name: getattr(record, f.name) for f in fields(Record)}
    return document if record.exit is None else {**document, "exit": asdict(record.exit)}


def _sealed(document: dict[str, Any]) -> bytes:
    """Serialize a record with its checksum; the result is still JSON."""
    content = json.dumps(document)[:-1].encode()
    return content + (SEAL % zlib.crc32(content)).encode()


def _whole(content: bytes) -> bool:
    """Whether the checksum that `_sealed` appended is intact."""
    end = len(content) - len(SEAL % 0)
    return end > 0 and content[end:] == (SEAL % zlib.crc32(content[:end])).encode()


def _content(path: str) -> bytes:
    """Return a file's content, or b"", which is not a valid record, if it is not a regular file.

    Raises:
        FileNotFoundError: nothing is there. PermissionError: it may not be read.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as e:
        if e.errno in (errno.ELOOP, errno.ENXIO):
            return b""
        raise
    try:
        kind = os.fstat(fd)
        return os.read(fd, min(kind.st_size, STATE_MAX) + 1) if stat.S_ISREG(kind.st_mode) else b""
    finally:
        os.close(fd)


def _with_exit(record: Record, path: str) -> Record:
    """Add what the waiter recorded, if it has."""
    try:
        value = json.loads(_content(f"{path}/{EXIT_FILE}"))
        return Record(**{**{f.name: getattr(record, f.name) for f in fields(Record)}, "exit": ExitInfo(**value)})
    except (FileNotFoundError, ValueError, TypeError):
        return record


def _parse(container_id: str, path: str, content: bytes) -> Record:
    damaged = f'the state of container "{container_id}" is damaged ({path}); remove the container: stele delete --force {container_id}'
    try:
        value = json.loads(content.decode("utf-8"))  # given bytes, json.loads would also try UTF-16 and UTF-32
    except ValueError:
        raise StateError(damaged) from None
    if not isinstance(value, dict):
        raise StateError(damaged)
    version = value.get("format")
    if isinstance(version, int) and version > FORMAT:
        raise NewerState(
            f'container "{container_id}" was made by a newer stele (state format {version}); use that version'
        )
    if not _whole(content):
        raise StateError(damaged)
    known = {f.name: value[f.name] for f in fields(Record) if f.name in value}
    try:
        if known.get("exit") is not None:
            known["exit"] = ExitInfo(**known["exit"])
        record = Record(**known)
    except TypeError:
        raise StateError(damaged) from None
    expected = (str, str, str, str, int, dict, dict, str, int, int, str, bool)
    values = [getattr(record, f.name) for f in fields(Record)][: len(expected)]
    if record.id != container_id or not all(type(v) is t for v, t in zip(values, expected, strict=True)):
        raise StateError(damaged)
    if not all(type(value) is dict for value in (record.image, record.resctrl, record.waiter)):
        raise StateError(damaged)
    return record
