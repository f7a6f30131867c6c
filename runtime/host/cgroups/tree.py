"""Operations on an open cgroup directory: read, write, walk, wait, signal, remove (cgroup-v2.rst).

Everything is relative to a directory fd; a name is always one component, or "..". A container may have created any
number of cgroups at any depth, so nothing here recurses, and at most two fds are open at a time.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import stat
import time
from collections.abc import Iterator

from runtime.host.cgroups.mount import DIRECTORY

SETTLE = 0.01
"""Seconds between attempts to remove a cgroup that reports itself empty but is still busy."""

PIDFDS = 128
"""How many processes are signalled per batch; each needs an open fd."""


# --- files --------------------------------------------------------------------------------------------------------


def open_file(fd: int, name: str) -> int:
    """Open a file for reading; the caller owns the fd.

    Raises:
        FileNotFoundError: the file does not exist, or the cgroup has been removed. That is so also where a container has
            named a cgroup of its own like a file of a controller that is not enabled.
    """
    file = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=fd)
    if stat.S_ISDIR(os.fstat(file).st_mode):
        os.close(file)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    return file


def read(fd: int, name: str) -> str:
    """Read a whole file.

    Raises:
        FileNotFoundError: as of `open_file`.
    """
    file = open_file(fd, name)
    try:
        chunks = []
        while chunk := os.read(file, 65536):  # each read returns at most a page
            chunks.append(chunk)
        return b"".join(chunks).decode("ascii", "replace")
    except OSError as e:
        if e.errno == errno.ENODEV:  # removed after the open
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name) from e
        raise
    finally:
        os.close(file)


def read_if_there(fd: int, name: str) -> str:
    """Like `read`, but returns "" if the file does not exist."""
    try:
        return read(fd, name)
    except FileNotFoundError:
        return ""


def write(fd: int, name: str, value: str) -> None:
    """Write a file in one write(2), because the kernel parses each write on its own.

    Raises:
        FileNotFoundError: as of `open_file`. OSError: the kernel refused it.
    """
    try:
        file = os.open(name, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=fd)
    except IsADirectoryError as e:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name) from e
    try:
        os.write(file, value.encode())
    except OSError as e:
        # Removed after the open. Of a controller's file, ENODEV may mean a device in the value.
        if e.errno == errno.ENODEV and name.startswith("cgroup."):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name) from e
        raise
    finally:
        os.close(file)


def has_own_processes(fd: int) -> bool:
    """Whether the cgroup itself has processes, which keeps it from enabling controllers. False for the root."""
    if not read_if_there(fd, "cgroup.type"):
        return False
    try:
        return bool(read(fd, "cgroup.procs"))
    except OSError as e:
        if e.errno == errno.EOPNOTSUPP:  # threaded: its domain lists the processes
            return False
        raise


def flag(text: str, name: str) -> bool:
    """Whether a flat keyed file contains "name 1"."""
    return f"{name} 1" in text.split("\n")


# --- the tree -----------------------------------------------------------------------------------------------------


def children(fd: int) -> list[str]:
    """The names of the child cgroups; empty if the cgroup is gone."""
    try:
        with os.scandir(fd) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def _traverse(top: int) -> Iterator[tuple[int, str]]:
    """Visit a cgroup and its descendants. Each fd is valid until the next item is requested.

    Returns:
        (fd, "") on entering a cgroup; (fd of the parent, name) on leaving one, except for the top.
    """
    here = os.open(".", DIRECTORY, dir_fd=top)
    path: list[str] = []
    left: list[list[str]] = []
    try:
        yield here, ""
        left.append(children(here))
        while True:
            if left[-1]:
                name = left[-1].pop()
                try:
                    next_one = os.open(name, DIRECTORY, dir_fd=here)
                except FileNotFoundError:
                    continue
                os.close(here)
                here = next_one
                path.append(name)
                yield here, ""
                left.append(children(here))
            elif path:
                left.pop()
                next_one = os.open("..", DIRECTORY, dir_fd=here)
                os.close(here)
                here = next_one
                yield here, path.pop()
            else:
                return
    finally:
        os.close(here)


def walk(top: int) -> Iterator[int]:
    """Yield an fd for the cgroup and each descendant, parents first; each is valid until the next is requested."""
    return (fd for fd, left in _traverse(top) if not left)


def _rmdir(parent: int, name: str) -> bool:
    """Remove a cgroup; False if it is busy."""
    try:
        os.rmdir(name, dir_fd=parent)
    except FileNotFoundError:
        pass
    except OSError as e:
        if e.errno == errno.EBUSY:
            return False
        raise
    return True


def remove(parent: int, name: str, timeout: float) -> None:
    """Remove a cgroup and its descendants, deepest first, waiting for exiting processes.

    Raises:
        OSError: EBUSY if processes are left after `timeout` seconds.
    """
    end = time.monotonic() + timeout
    while not _rmdir(parent, name):
        try:
            top = os.open(name, DIRECTORY, dir_fd=parent)
        except FileNotFoundError:
            return
        try:
            empty = wait_event(top, "populated", value=False, timeout=end - time.monotonic())
            below = 0
            for fd, child in _traverse(top):
                below += bool(child) and _rmdir(fd, child)
        finally:
            os.close(top)
        if time.monotonic() >= end or not empty:
            if _rmdir(parent, name):
                return
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), name)
        if not below and not _rmdir(parent, name):
            time.sleep(SETTLE)  # empty, without children, still busy: no event reports when the kernel is done with it


# --- events and processes -----------------------------------------------------------------------------------------


def wait_event(fd: int, name: str, *, value: bool, timeout: float) -> bool:
    """Wait until a key of cgroup.events has this value. The kernel wakes pollers of the file on every change.

    Returns:
        False after `timeout` seconds. A removed cgroup is neither populated nor frozen.
    """
    try:
        file = os.open("cgroup.events", os.O_RDONLY | os.O_CLOEXEC, dir_fd=fd)
    except FileNotFoundError:
        return not value
    try:
        poller = select.poll()
        poller.register(file, select.POLLPRI)
        end = time.monotonic() + timeout
        while True:
            try:
                text = os.pread(file, 4096, 0).decode("ascii", "replace")
            except OSError as e:
                if e.errno != errno.ENODEV:
                    raise
                return not value
            if flag(text, name) == value:
                return True
            left = end - time.monotonic()
            if left <= 0:
                return False
            poller.poll(left * 1000)
    finally:
        os.close(file)


def processes(fd: int, *, recursive: bool = True) -> list[int]:
    """The pids in a cgroup, by default including its descendants."""
    found: list[int] = []
    for each in walk(fd) if recursive else (fd,):
        try:
            found += map(int, read(each, "cgroup.procs").split())
        except FileNotFoundError:
            continue
        except OSError as e:
            # A threaded cgroup: the domain above it lists its processes (cgroup-v2.rst "Threads").
            if e.errno != errno.EOPNOTSUPP:
                raise
    return list(dict.fromkeys(pid for pid in found if pid))  # 0: a process outside our pid namespace


def signal_all(fd: int, number: int) -> int:
    """Send a signal to every process in a cgroup and below it, and to no other.

    A pid may be reused before the signal is sent. So open pidfds first, then signal only those whose pid is
    still in the cgroup.

    Returns:
        the number of processes signalled.
    """
    reached = 0
    pids = processes(fd)
    for start in range(0, len(pids), PIDFDS):
        held: dict[int, int] = {}
        try:
            for pid in pids[start : start + PIDFDS]:
                with contextlib.suppress(ProcessLookupError):
                    held[pid] = os.pidfd_open(pid)
            for pid in held.keys() & set(processes(fd)):
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(held[pid], number)
                    reached += 1
        finally:
            for pidfd in held.values():
                os.close(pidfd)
    return reached


def kill_one_by_one(fd: int, timeout: float) -> bool:
    """Send SIGKILL to all processes until none is left, where cgroup.kill is missing (before Linux 5.14, threaded).

    The cgroup is frozen meanwhile: frozen processes cannot fork, but SIGKILL still ends them.

    Returns:
        False if processes are left after `timeout` seconds.
    """
    end = time.monotonic() + timeout
    with contextlib.suppress(OSError):  # a threaded cgroup cannot be frozen; rely on repetition
        write(fd, "cgroup.freeze", "1")
    try:
        while True:
            signal_all(fd, signal.SIGKILL)
            left = end - time.monotonic()
            if wait_event(fd, "populated", value=False, timeout=min(left, 0.1)):
                return True
            if left <= 0:
                return False
    finally:
        with contextlib.suppress(OSError):  # gone, or never frozen
            write(fd, "cgroup.freeze", "0")
