"""Fill the slots of a plan: open the fds that init receives, before init exists."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from collections.abc import Sequence

from runtime.errors import HostError
from runtime.host import shim
from runtime.host.interrupt import waiting
from runtime.plan import model

LINKS = {"mount": "mnt", "network": "net"}
"""Namespace kinds whose file in /proc/PID/ns has another name."""


def open_slots(sources: Sequence[model.FdSource], *, listener: int = -1, pidfd: int = -1, pid: int = 0) -> list[int]:
    """Open one fd for each entry of Plan.fds. The caller closes them; `listener` and `pidfd` are duplicated.

    Args:
        pidfd, pid: the container's init, both of the same process.
    Raises:
        HostError: names the field whose object cannot be opened.
    """
    fds: list[int] = []
    try:
        for source in sources:
            match source:
                case model.ListenerFd():
                    fds.append(os.dup(listener))
                case model.PidFd():
                    fds.append(os.dup(pidfd))
                case model.RootFd():
                    fds.append(_root_of(pid, pidfd))
                case model.NamespaceFd():
                    fds.append(_namespace(source))
                case model.TreeFd():
                    fds.append(_tree(source))
                case model.ErofsFd():
                    from runtime.host.erofs import mount_erofs

                    fds.append(mount_erofs(source))
    except BaseException:
        close_all(fds)
        raise
    return fds


def close_all(fds: Sequence[int]) -> None:
    """Close fds, ignoring errors."""
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)


def _refused(field: str, path: str, e: OSError, advice: str) -> HostError:
    words = os.strerror(e.errno or 0)
    return HostError(f'{field} "{path}": {words[:1].lower()}{words[1:]}; {advice}', e.errno or 0)


def _root_of(pid: int, pidfd: int) -> int:
    """The root directory of a process; of that one, since its pid is in use until it was reaped."""
    import select

    path = f"/proc/{pid}/root"
    try:
        fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as e:
        raise _refused("the container's root directory", path, e, "see that the container runs and is yours") from e
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    if poller.poll(0):
        os.close(fd)
        raise HostError("the container's init has ended", errno.ESRCH)
    return fd


def _namespace(source: model.NamespaceFd) -> int:
    try:
        fd = os.open(source.path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as e:
        raise _refused(source.field, source.path, e, "use an existing namespace file") from e
    import fcntl

    # NS_GET_NSTYPE, ioctl_ns(2): fails on anything but a namespace.
    with contextlib.suppress(OSError):
        fcntl.ioctl(fd, 0xB703)
        return fd
    os.close(fd)
    raise HostError(
        f'{source.field} "{source.path}" is not a namespace; use a file such as /proc/PID/ns/{LINKS.get(source.kind, source.kind)}'
    )


def _tree(source: model.TreeFd) -> int:
    try:
        tree = shim.open_tree(source.path, recursive=source.recursive, nofollow=source.nofollow)
    except OSError as e:
        raise _refused(source.field, source.path, e, "create it, or correct the source") from e
    if source.id_maps is None and not source.id_namespace:
        return tree
    try:
        with contextlib.ExitStack() as cleanup:
            if source.id_maps is None:
                userns = os.open(source.id_namespace, os.O_RDONLY | os.O_CLOEXEC)
                cleanup.callback(os.close, userns)
            else:
                userns = user_namespace(source.id_maps, cleanup)
            shim.idmap_tree(tree, userns, recursive=source.recursive_map, what=source.path)
    except OSError as e:
        os.close(tree)
        raise _refused(
            source.field, source.path, e, "this file system or kernel cannot id-map it; remove the mappings"
        ) from e
    return tree


def user_namespace(maps: model.IdMaps, cleanup: contextlib.ExitStack) -> int:
    """Create a user namespace with these maps and return its fd; `cleanup` closes it and ends its holder process.

    Raises:
        OSError: the kernel refused the maps.
    """
    pid = shim.checked(shim.lib.stele_hold_userns(), "user namespace")

    def end() -> None:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    cleanup.callback(end)
    write_id_maps(pid, maps)
    fd = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    cleanup.callback(os.close, fd)
    return fd


def _lines(lines: Sequence[model.IdMapping]) -> bytes:
    return "".join(f"{m.container_id} {m.host_id} {m.size}\n" for m in lines).encode()


def write(path: str, content: bytes) -> None:
    """Write a file of procfs, all at once."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, content)
    finally:
        os.close(fd)


def write_id_maps(pid: int, maps: model.IdMaps) -> None:
    """Write the maps of the user namespace of `pid` (user_namespaces(7)).

    An ordinary user may map only itself, with setgroups(2) denied. Anything more needs newuidmap and newgidmap, which
    are used only from their fixed paths.

    Raises:
        OSError: the kernel or a helper refused the maps.
    """
    if os.geteuid() == 0:
        write(f"/proc/{pid}/gid_map", _lines(maps.gids))
        write(f"/proc/{pid}/uid_map", _lines(maps.uids))
        return
    if _only_self(maps.uids, os.geteuid()) and _only_self(maps.gids, os.getegid()):
        write(f"/proc/{pid}/setgroups", b"deny")
        write(f"/proc/{pid}/gid_map", _lines(maps.gids))
        write(f"/proc/{pid}/uid_map", _lines(maps.uids))
        return
    _run_helper("/usr/bin/newgidmap", pid, maps.gids)
    _run_helper("/usr/bin/newuidmap", pid, maps.uids)


def _only_self(lines: Sequence[model.IdMapping], own: int) -> bool:
    return len(lines) == 1 and lines[0].host_id == own and lines[0].size == 1


def _run_helper(path: str, pid: int, lines: Sequence[model.IdMapping]) -> None:
    numbers = [str(n) for m in lines for n in (m.container_id, m.host_id, m.size)]
    try:
        child = os.posix_spawn(path, [path, str(pid), *numbers], {})
    except FileNotFoundError as e:
        raise HostError(f"{path} is missing; install it (package uidmap), or map only your own id", 2) from e
    # It is setuid, so the kernel would not end it with us.
    try:
        with waiting():
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    except BaseException:
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(child, os.WNOHANG)[0] == 0:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
        raise
    if status:
        file = "/etc/subgid" if "gid" in path else "/etc/subuid"
        raise HostError(f"{path} refused the id mappings (exit status {status}); compare them with {file}", 1)
