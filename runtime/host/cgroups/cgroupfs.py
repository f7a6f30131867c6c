"""A cgroup made and removed by us, through fds of directories: no path is resolved twice (cgroup-v2.rst)."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import time
from collections.abc import Iterator, Sequence
from typing import Any

from runtime.errors import ConfigError, HostError, StateError
from runtime.host.cgroups.mount import mount_point
from runtime.plan.resources import CgroupWrite

FREEZE_TIMEOUT = 10.0
KILL_TIMEOUT = 10.0
"""Seconds to wait for the kernel; a process in an uninterruptible sleep may take longer than anybody wants to wait."""

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW


class CgroupfsManager:
    """The cgroup `relative` below the mount.

    Args:
        relative: path without slashes at its ends.
        rootless: limits that cannot be set for want of delegation say how to get it.
    """

    __slots__ = ("_fd", "path", "relative", "rootless")

    def __init__(self, relative: str, *, rootless: bool) -> None:
        self.relative, self.rootless = relative, rootless
        self.path = f"{mount_point()}/{relative}"
        self._fd = -1

    def record(self) -> dict[str, Any]:
        return {"manager": "cgroupfs", "path": self.relative, "rootless": self.rootless}

    # --- making it ---

    def prepare(self, writes: Sequence[CgroupWrite]) -> None:
        wanted = {w.controller: w.field for w in writes if w.controller}
        fd = os.open(mount_point(), DIRECTORY)
        parts = self.relative.split("/")
        try:
            for depth, name in enumerate(parts):
                if wanted:
                    self._enable(fd, wanted, "/".join(parts[:depth]))
                child = self._enter(fd, name, last=depth == len(parts) - 1)
                os.close(fd)
                fd = child
        except OSError as e:
            os.close(fd)
            if self.rootless and not wanted and e.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                return  # nothing is asked of the cgroup, so the caller's own will do
            raise HostError(
                f"linux.cgroupsPath: cannot make the cgroup {self.path}: {os.strerror(e.errno or 0)}; "
                "run stele where the cgroup is delegated to you, or correct linux.cgroupsPath",
                e.errno or 0,
            ) from e
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        self.apply(writes)

    def _enter(self, parent: int, name: str, *, last: bool) -> int:
        made = True
        try:
            os.mkdir(name, 0o755, dir_fd=parent)
        except FileExistsError:
            made = False
        fd = os.open(name, DIRECTORY, dir_fd=parent)
        if last and not made:
            self._refuse_used(fd)
        return fd

    def _refuse_used(self, fd: int) -> None:
        events = self._read(fd, "cgroup.events")
        problem = ""
        if "populated 1" in events:
            problem = "is not empty"
        elif "frozen 1" in events or self._read(fd, "cgroup.freeze").strip() == "1":
            problem = "is frozen"
        if problem:
            os.close(fd)
            raise HostError(
                f"linux.cgroupsPath: the cgroup {self.path} exists and {problem}; choose another, or end what is in it"
            )

    def _enable(self, fd: int, wanted: dict[str, str], where: str) -> None:
        """Give the controllers to the children of a cgroup, those that are not yet."""
        have = set(self._read(fd, "cgroup.subtree_control").split())
        offered = set(self._read(fd, "cgroup.controllers").split())
        for controller, field in wanted.items():
            if controller in have:
                continue
            if controller not in offered:
                raise ConfigError(
                    field,
                    f'needs the cgroup controller "{controller}", which {mount_point()}/{where} does not have; '
                    "let the parent cgroup delegate it (cgroup.subtree_control), or remove the limit",
                )
            try:
                self._write(fd, "cgroup.subtree_control", f"+{controller}")
            except OSError as e:
                raise HostError(
                    f'{field}: cannot enable the cgroup controller "{controller}" in {mount_point()}/{where}: {os.strerror(e.errno or 0)}; '
                    "a cgroup that has processes itself cannot share out controllers (cgroup-v2.rst)",
                    e.errno or 0,
                ) from e

    def fd(self) -> int:
        return self._fd

    def attach(self, pid: int) -> None:
        self._write(self._directory(), "cgroup.procs", str(pid))

    def open(self, below: str) -> int:
        parts = [p for p in below.split("/") if p and p != "."]
        if ".." in parts:
            raise StateError(f'--cgroup "{below}" leaves the container\'s cgroup; name one below it')
        try:
            return os.open("/".join(parts) or ".", DIRECTORY, dir_fd=self._directory())
        except FileNotFoundError:
            if not parts and self.rootless:
                return -1
            raise StateError(f'--cgroup "{below}": the container has no such cgroup') from None

    # --- reading and writing ---

    def _directory(self) -> int:
        if self._fd < 0:
            self._fd = os.open(self.path, DIRECTORY)
        return self._fd

    @staticmethod
    def _read(fd: int, name: str) -> str:
        try:
            file = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=fd)
        except FileNotFoundError:
            return ""
        try:
            return os.read(file, 65536).decode()
        except OSError as e:
            if e.errno == errno.ENODEV:  # removed meanwhile
                return ""
            raise
        finally:
            os.close(file)

    @staticmethod
    def _write(fd: int, name: str, value: str) -> None:
        file = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=fd)
        try:
            os.write(file, value.encode())
        finally:
            os.close(file)

    def apply(self, writes: Sequence[CgroupWrite]) -> None:
        for w in writes:
            try:
                self._write(self._directory(), w.file, w.value)
            except OSError as e:
                reason = os.strerror(e.errno or 0)
                advice = "the kernel or its parent cgroup does not allow this value"
                if e.errno in (errno.ENOENT, errno.EACCES):
                    advice = f'the controller "{w.controller}" is not there for this cgroup; let the parent delegate it'
                raise HostError(
                    f"{w.field}: cannot write {w.value!r} to {w.file}: {reason}; {advice}", e.errno or 0
                ) from e

    def apply_devices(self, program: bytes) -> None:
        from runtime.host.bpf import attach_devices

        attach_devices(self._directory(), program)

    # --- its processes ---

    def pids(self, *, recursive: bool = True) -> list[int]:
        found: list[int] = []
        with contextlib.suppress(FileNotFoundError):
            for fd in self._walk(self._directory()) if recursive else [self._directory()]:
                found += [int(line) for line in self._read(fd, "cgroup.procs").split()]
        return found

    def _walk(self, fd: int) -> Iterator[int]:
        """fds of the cgroup and all below it, each valid until the next is asked for; deepest last."""
        yield fd
        with os.scandir(fd) as entries:
            names = [e.name for e in entries if e.is_dir(follow_symlinks=False)]
        for name in names:
            try:
                child = os.open(name, DIRECTORY, dir_fd=fd)
            except FileNotFoundError:
                continue
            try:
                yield from self._walk(child)
            finally:
                os.close(child)

    def _events(self, field: str) -> bool:
        return f"{field} 1" in self._read(self._directory(), "cgroup.events")

    def _await(self, field: str, *, value: bool, timeout: float) -> bool:
        """Wait until cgroup.events says so; the kernel wakes pollers of that file on each change."""
        try:
            file = os.open("cgroup.events", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._directory())
        except FileNotFoundError:
            return not value
        try:
            poller = select.poll()
            poller.register(file, select.POLLPRI)
            end = time.monotonic() + timeout
            while True:
                try:
                    text = os.pread(file, 4096, 0).decode()
                except OSError:
                    return not value
                if (f"{field} 1" in text) == value:
                    return True
                left = end - time.monotonic()
                if left <= 0:
                    return False
                poller.poll(left * 1000)
        finally:
            os.close(file)

    def freeze(self) -> None:
        self._write(self._directory(), "cgroup.freeze", "1")
        if not self._await("frozen", value=True, timeout=FREEZE_TIMEOUT):
            self._write(self._directory(), "cgroup.freeze", "0")
            raise HostError(f"the container could not be paused within {FREEZE_TIMEOUT:.0f} s: a process does not stop")

    def thaw(self) -> None:
        self._write(self._directory(), "cgroup.freeze", "0")
        self._await("frozen", value=False, timeout=FREEZE_TIMEOUT)

    def paused(self) -> bool:
        try:
            return self._read(self._directory(), "cgroup.freeze").strip() == "1"
        except FileNotFoundError:
            return False

    def kill(self) -> None:
        try:
            directory = self._directory()
        except FileNotFoundError:
            return
        try:
            self._write(directory, "cgroup.kill", "1")
        except FileNotFoundError:
            self._kill_one_by_one(directory)
        if not self.wait_empty(KILL_TIMEOUT):
            raise HostError(
                f"processes of the container are still there {KILL_TIMEOUT:.0f} s after SIGKILL: {self.pids()}"
            )

    def _kill_one_by_one(self, directory: int) -> None:
        """A kernel before 5.14 has no cgroup.kill; a frozen cgroup cannot fork away from us."""
        with contextlib.suppress(OSError):
            self._write(directory, "cgroup.freeze", "1")
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            self._write(directory, "cgroup.freeze", "0")

    def wait_empty(self, timeout: float) -> bool:
        try:
            return self._await("populated", value=False, timeout=timeout)
        except FileNotFoundError:
            return True

    def oom_kills(self) -> int:
        try:
            text = self._read(self._directory(), "memory.events")
        except FileNotFoundError:
            return 0
        return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill ")), 0)

    # --- removing it ---

    def destroy(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        parent, _, name = self.path.rpartition("/")
        try:
            fd = os.open(parent, DIRECTORY)
        except FileNotFoundError:
            return
        try:
            self._remove(fd, name)
        except OSError as e:
            raise HostError(
                f"cannot remove the cgroup {self.path}: {os.strerror(e.errno or 0)}; end what is in it", e.errno or 0
            ) from e
        finally:
            os.close(fd)

    def _remove(self, parent: int, name: str) -> None:
        """Remove a cgroup and what the payload made below it, deepest first."""
        try:
            os.rmdir(name, dir_fd=parent)
            return
        except FileNotFoundError:
            return
        except OSError as e:
            if e.errno != errno.EBUSY:
                raise
        fd = os.open(name, DIRECTORY, dir_fd=parent)
        try:
            with os.scandir(fd) as entries:
                names = [e.name for e in entries if e.is_dir(follow_symlinks=False)]
            for child in names:
                self._remove(fd, child)
        finally:
            os.close(fd)
        os.rmdir(name, dir_fd=parent)
