"""The cgroupfs manager: stele creates and removes the cgroup itself (cgroup-v2.rst)."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from runtime.errors import HostError, StateError
from runtime.host.cgroups import limits, tree
from runtime.host.cgroups.mount import DIRECTORY, cgroup_of, mount_point, open_root
from runtime.host.shim import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV, openat2
from runtime.plan.resources import CgroupWrite

FREEZE_TIMEOUT = 10.0
KILL_TIMEOUT = 10.0
REMOVE_TIMEOUT = 5.0
"""Seconds to wait for the kernel; a process in uninterruptible sleep may take longer."""

MARK, OWN_MARK = "trusted.stele", "user.stele"
"""Extended attribute of a container's cgroup: its record's token, a space, and the owner. `find` uses the owner if the
record is lost. Who may not set the first, which a container that owns its cgroup cannot change, sets the second; that
counts only for such a caller, on a cgroup of its own."""

ACCOUNTING = ("cpu", "io", "memory", "pids")
"""Controllers to enable wherever possible, because docker stats and the kubelet read their counters. A missing one is
an error only if a limit needs it."""

DELEGATE = "/sys/kernel/cgroup/delegate"
BENEATH = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV
NOT_PERMITTED = (errno.EACCES, errno.EPERM, errno.EROFS)


def open_below(root: int, relative: str) -> int:
    """Open a cgroup by its path below an open one; the caller owns the fd. Raises FileNotFoundError."""
    return openat2(root, relative or ".", DIRECTORY, resolve=BENEATH)


def _unmake(parts: Sequence[str], made: Sequence[int]) -> None:
    """Remove the cgroups at these depths of the path, unless they are in use by now."""
    root, _ = open_root()
    try:
        for depth in reversed(made):
            # Missing, busy or someone else's: not ours to remove.
            with contextlib.suppress(OSError):
                parent = open_below(root, "/".join(parts[:depth]))
                try:
                    os.rmdir(parts[depth], dir_fd=parent)
                finally:
                    os.close(parent)
    finally:
        os.close(root)


def find(owner: str) -> CgroupfsManager | None:
    """Find the cgroup marked with this owner anywhere in the hierarchy; None if there is none.

    Containers' cgroups are not descended into, because a container can create any number of cgroups.

    Raises:
        StateError: several are marked so, and all but one are not the container's.
    """
    root, _ = open_root()
    pending = [""]
    marks = _marks()
    found: list[CgroupfsManager] = []
    try:
        while pending:
            relative = pending.pop()
            try:
                fd = open_below(root, relative)
            except OSError:  # gone, or deeper than PATH_MAX: not one of ours
                continue
            try:
                mark = _mark_of(fd, marks)
                if mark.partition(" ")[2] == owner:
                    found.append(CgroupfsManager(relative, rootless=False, ident=os.fstat(fd).st_ino))
                if not mark:
                    pending += [f"{relative}/{name}".lstrip("/") for name in tree.children(fd)]
            finally:
                os.close(fd)
    finally:
        os.close(root)
    if len(found) > 1:
        where = " and ".join(manager.path for manager in found[:2])
        raise StateError(
            f"the state is lost, and {where} are both marked as the container's; kill the one that is, by its path"
        )
    return found[0] if found else None


def _marks() -> tuple[str, ...]:
    """The attributes that stele sets as this caller: whoever may set MARK does. OWN_MARK any owner of a cgroup can set, as a
    root that another runtime gave a container without CAP_SYS_ADMIN."""
    from runtime.host.facts import capabilities, in_user_namespace
    from runtime.plan.namespaces import CAP_SYS_ADMIN

    if capabilities() & CAP_SYS_ADMIN and not in_user_namespace():
        return (MARK,)
    return (MARK, OWN_MARK)


def _mark_of(fd: int, marks: Sequence[str] = (MARK, OWN_MARK)) -> str:
    for name in marks:
        with contextlib.suppress(OSError):
            mark = os.getxattr(fd, name).decode("utf-8", "replace")
            if name == MARK or os.fstat(fd).st_uid == os.geteuid():
                return mark
    return ""


class CgroupfsManager:
    """The cgroup `relative` below the mount.

    A cgroup at that path is the container's only if it has the id (the directory's inode) that the record keeps; or,
    when the creator died before it could record that, if it carries the record's token. So nothing of another
    container is ever killed or removed, whoever else uses the path.

    Args:
        relative: path without slashes at its ends.
        rootless: limits that cannot be set for want of delegation say how to get it.
        token: a random word for a new container.
        owner: which container it is for, among those of all --root; for a new one.
        ident: the cgroup's id, 0 while it is not known.
        fresh: there was none at that path when the record was made: one that is there without a mark and without
            processes is what a creator left that died between making and marking it.
    """

    kind: Literal["cgroupfs", "systemd"] = "cgroupfs"
    __slots__ = ("_fd", "fresh", "ident", "owner", "relative", "rootless", "token")

    def __init__(
        self, relative: str, *, rootless: bool, token: str = "", owner: str = "", ident: int = 0, fresh: bool = False
    ) -> None:
        self.relative, self.rootless, self.token, self.ident = relative, rootless, token, ident
        self.owner, self.fresh = owner, fresh
        self._fd = -1

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> CgroupfsManager:
        return cls(
            record["path"],
            rootless=bool(record.get("rootless")),
            token=record.get("token", ""),
            ident=record.get("id", 0),
            fresh=record.get("fresh") is True,
        )

    def record(self) -> dict[str, Any]:
        return {
            "manager": self.kind,
            "path": self.relative,
            "rootless": self.rootless,
            "token": self.token,
            "id": self.ident,
            "fresh": self.fresh,
        }

    @property
    def path(self) -> str:
        return f"{mount_point()}/{self.relative}"

    # --- making it ---

    def prepare(self, writes: Sequence[CgroupWrite]) -> None:
        try:
            fd = self._make({w.controller: w.field for w in writes if w.controller})
        except OSError as e:
            if self.rootless and not writes and e.errno in NOT_PERMITTED:
                return  # no limits requested, so the caller's own cgroup will do
            raise self._cannot_make(e) from e
        self._fd = fd
        limits.apply(fd, limits.concrete(fd, writes))

    def _cannot_make(self, e: OSError) -> HostError:
        number = e.errno or 0
        advice = "correct linux.cgroupsPath"
        if number in NOT_PERMITTED:
            advice = (
                "run stele in a cgroup delegated to you (systemd-run --user --scope -p Delegate=yes), or choose one"
            )
        elif number == errno.EAGAIN:
            advice = "the limit cgroup.max.descendants or cgroup.max.depth of an ancestor is reached"
        return HostError(
            f"linux.cgroupsPath: cannot create the cgroup {self.path}: {os.strerror(number)}; {advice}", number
        )

    def _make(self, wanted: Mapping[str, str]) -> int:
        """Create the cgroup and its missing parents, and claim it. Returns an fd that the caller owns.

        On failure, the cgroups it created are removed again.
        """
        parts = self.relative.split("/")
        here, _ = open_root()
        made: list[int] = []
        try:
            for depth, name in enumerate(parts):
                self._enable(here, wanted, "/".join(parts[:depth]))
                try:
                    os.mkdir(name, 0o755, dir_fd=here)
                    made.append(depth)
                except FileExistsError:
                    pass
                child = os.open(name, DIRECTORY, dir_fd=here)
                os.close(here)
                here = child
            self._claim(here)
        except BaseException:
            os.close(here)
            _unmake(parts, made)
            raise
        return here

    def _claim(self, fd: int) -> None:
        """Check that the cgroup is unused, and mark it.

        Raises:
            HostError: it is in use, frozen (a process cloned into it would never run), or cannot hold processes.
        """
        events = tree.read(fd, "cgroup.events")
        problem = ""
        if tree.flag(events, "populated"):
            problem = "has processes; end them, or choose another path"
        elif tree.flag(events, "frozen"):
            problem = "is frozen; write 0 to its cgroup.freeze or an ancestor's, or choose another path"
        elif tree.read(fd, "cgroup.type").strip() not in ("domain", "domain threaded"):
            problem = "is in a threaded cgroup, which does not accept new processes; choose another path"
        else:
            try:
                self._mark(fd)
            except FileExistsError:
                problem = "belongs to another stele container; delete that container or choose another path (if the container is lost, rmdir the cgroup)"
        if problem:
            raise HostError(f"linux.cgroupsPath: the cgroup {self.path} {problem}")
        self.ident = os.fstat(fd).st_ino

    def _mark(self, fd: int) -> None:
        mark = f"{self.token} {self.owner}".encode()
        try:
            os.setxattr(fd, MARK, mark, os.XATTR_CREATE)
        except PermissionError:  # without CAP_SYS_ADMIN on the host
            os.setxattr(fd, OWN_MARK, mark, os.XATTR_CREATE)

    def _enable(self, fd: int, wanted: Mapping[str, str], where: str) -> None:
        """Enable controllers for a cgroup's children: all that limits need, and those available for accounting."""
        have = set(tree.read(fd, "cgroup.subtree_control").split())
        if have.issuperset(wanted) and have.issuperset(ACCOUNTING):
            return
        offered = tree.read(fd, "cgroup.controllers").split()
        for controller in wanted.keys() - have - set(offered):
            raise limits.missing_controller(controller, wanted[controller], where, rootless=self.rootless)
        missing = [c for c in offered if c not in have and (c in wanted or c in ACCOUNTING)]
        if missing and tree.has_own_processes(fd):
            # The kernel would enable some (cpu, pids), but then no cgroup below could hold a process
            # (cgroup-v2.rst "Threads").
            missing = [c for c in missing if c in wanted]
            if missing:
                raise self._not_enabled(missing[0], wanted[missing[0]], where, errno.EBUSY)
        if not missing:
            return
        try:
            tree.write(fd, "cgroup.subtree_control", " ".join(f"+{c}" for c in missing))
        except OSError:
            for controller in missing:  # the write is all-or-nothing; retry one by one
                self._enable_one(fd, controller, wanted.get(controller, ""), where)

    def _enable_one(self, fd: int, controller: str, field: str, where: str) -> None:
        try:
            tree.write(fd, "cgroup.subtree_control", f"+{controller}")
        except OSError as e:
            if field:  # otherwise it is only for accounting, where failure is allowed
                raise self._not_enabled(controller, field, where, e.errno or 0) from e

    @staticmethod
    def _not_enabled(controller: str, field: str, where: str, number: int) -> HostError:
        advice = {
            errno.EBUSY: "a cgroup with its own processes cannot enable controllers for its children; move the processes into a child, or choose another path",
            errno.EACCES: "have it delegated to you (Delegate= of user@.service), or remove the limit",
            errno.EPERM: "have it delegated to you (Delegate= of user@.service), or remove the limit",
        }.get(number, "the kernel does not allow it there; remove the limit")
        return HostError(
            f'{field}: cannot enable the cgroup controller "{controller}" in {mount_point()}/{where}: '
            f"{os.strerror(number)} ({errno.errorcode.get(number, number)}); {advice}",
            number,
        )

    def fd(self) -> int:
        return self._fd

    def attach(self, pid: int) -> None:
        tree.write(self._directory(), "cgroup.procs", str(pid))

    def delegate(self, uid: int) -> None:
        """Let a user create cgroups below this one, without giving them its limits.

        Args:
            uid: host uid of the owner of the container's user namespace.
        """
        fd = self._directory()
        os.chown(fd, uid, -1)
        try:
            with open(DELEGATE) as f:  # the kernel's list of files that are safe to delegate
                names = f.read().split()
        except FileNotFoundError:
            names = ["cgroup.procs", "cgroup.threads", "cgroup.subtree_control"]
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # its controller is not enabled here
                os.chown(name, uid, -1, dir_fd=fd, follow_symlinks=False)

    # --- using it ---

    def _is_ours(self, fd: int) -> bool:
        if self.ident:
            return os.fstat(fd).st_ino == self.ident
        mark = _mark_of(fd)
        if mark:
            return mark.partition(" ")[0] == self.token
        return self.fresh and not tree.flag(tree.read(fd, "cgroup.events"), "populated")

    def _directory(self) -> int:
        """The fd of the container's cgroup. Raises FileNotFoundError if it is missing or not the container's."""
        if self._fd < 0:
            root, _ = open_root()
            try:
                fd = open_below(root, self.relative)
            finally:
                os.close(root)
            if not self._is_ours(fd):
                os.close(fd)
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.path)
            self._fd = fd
        return self._fd

    def open(self, below: str = "") -> int:
        parts = [p for p in below.split("/") if p and p != "."]
        if ".." in parts:
            raise StateError(f'--cgroup "{below}" leaves the container\'s cgroup; use one below it')
        gone = StateError(f"the container's cgroup {self.path} is gone")
        try:
            directory = self._directory()
        except FileNotFoundError:
            if self.rootless and not parts and not self.ident:
                return -1  # it never had one: `prepare` lacked the permission
            raise gone from None
        try:
            return open_below(directory, "/".join(parts))
        except FileNotFoundError:
            if not parts:
                raise gone from None
            raise StateError(f'--cgroup "{below}": the container has no such cgroup; use one that exists') from None

    def open_beside(self, pid: int) -> int:
        path = cgroup_of(pid)
        if path.startswith(f"{self.relative}/"):
            return self.open(path.removeprefix(f"{self.relative}/"))
        if not self.left(pid):
            return self.open()
        root, _ = open_root()
        try:
            return open_below(root, path)
        except OSError as e:
            raise StateError(
                f"the container's init is in the cgroup /{path}, which cannot be opened: {e.strerror}"
            ) from e
        finally:
            os.close(root)

    def left(self, pid: int) -> bool:
        path = cgroup_of(pid)
        had_one = not self.rootless or bool(self.ident)
        return had_one and path != "" and not f"{path}/".startswith(f"{self.relative}/")

    def apply(self, writes: Sequence[CgroupWrite]) -> None:
        if not writes:
            return
        try:
            fd = self._directory()
        except FileNotFoundError as e:
            raise HostError(
                f"{writes[0].field}: the container has no cgroup {self.path}, so it cannot be limited", errno.ENOENT
            ) from e
        self._enable_above(fd, writes)
        limits.change(fd, limits.concrete(fd, writes))

    def _enable_above(self, fd: int, writes: Sequence[CgroupWrite]) -> None:
        """Enable missing controllers from the top down: no limit needed them when the cgroup was created."""
        wanted = {w.controller: w.field for w in writes if w.controller}
        if wanted.keys() <= set(tree.read(fd, "cgroup.controllers").split()):
            return
        here, _ = open_root()
        parts = self.relative.split("/")
        try:
            for depth, name in enumerate(parts):
                self._enable(here, wanted, "/".join(parts[:depth]))
                child = os.open(name, DIRECTORY, dir_fd=here)
                os.close(here)
                here = child
        finally:
            os.close(here)

    def apply_devices(self, program: bytes) -> None:
        from runtime.host.bpf import attach_devices

        attach_devices(self._directory(), program)

    # --- its processes ---

    def pids(self, *, recursive: bool = True) -> list[int]:
        try:
            return tree.processes(self._directory(), recursive=recursive)
        except FileNotFoundError:
            return []

    def signal(self, number: int) -> int:
        try:
            return tree.signal_all(self._directory(), number)
        except FileNotFoundError:
            return 0

    def freeze(self) -> None:
        fd = self._existing("paused")
        tree.write(fd, "cgroup.freeze", "1")
        if not tree.wait_event(fd, "frozen", value=True, timeout=FREEZE_TIMEOUT):
            tree.write(fd, "cgroup.freeze", "0")
            raise HostError(
                f"the container could not be paused within {FREEZE_TIMEOUT:.0f} s: one of its processes does not freeze (it "
                "is waiting for a device or held by a tracer); the container keeps running"
            )

    def thaw(self) -> None:
        fd = self._existing("resumed")
        tree.write(fd, "cgroup.freeze", "0")
        if not tree.wait_event(fd, "frozen", value=False, timeout=FREEZE_TIMEOUT):
            raise HostError(f"the container is still frozen because a cgroup above {self.path} is; thaw that one")

    def _existing(self, done: str) -> int:
        try:
            return self._directory()
        except FileNotFoundError:
            raise StateError(f"the container has no cgroup {self.path}, so it cannot be {done}") from None

    def paused(self) -> bool:
        try:
            return tree.read_if_there(self._directory(), "cgroup.freeze").strip() == "1"
        except FileNotFoundError:
            return False

    def kill(self) -> None:
        try:
            fd = self._directory()
        except FileNotFoundError:
            return
        try:
            tree.write(fd, "cgroup.kill", "1")
            ended = tree.wait_event(fd, "populated", value=False, timeout=KILL_TIMEOUT)
        except OSError as e:
            if e.errno not in (errno.ENOENT, errno.EOPNOTSUPP):
                raise
            ended = tree.kill_one_by_one(fd, KILL_TIMEOUT)
        if not ended:
            raise HostError(
                f"the container still has processes {KILL_TIMEOUT:.0f} s after SIGKILL: {self.pids()}; "
                "they are waiting for a device or a file system; try again when it responds"
            )

    def oom_kills(self) -> int:
        try:
            text = tree.read_if_there(self._directory(), "memory.events")
        except FileNotFoundError:
            return 0
        return next((int(line.split()[1]) for line in text.split("\n") if line.startswith("oom_kill ")), 0)

    # --- removing it ---

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def destroy(self) -> None:
        try:
            self._directory()
        except FileNotFoundError:
            return
        self.close()
        above, _, name = self.relative.rpartition("/")
        root, _ = open_root()
        try:
            parent = open_below(root, above)
        except FileNotFoundError:
            return
        finally:
            os.close(root)
        try:
            tree.remove(parent, name, REMOVE_TIMEOUT)
        except OSError as e:
            raise HostError(
                f"cannot remove the cgroup {self.path}: {os.strerror(e.errno or 0)}; "
                f"it still has processes {self.pids()[:10]}; end them and try again",
                e.errno or 0,
            ) from e
        finally:
            os.close(parent)
