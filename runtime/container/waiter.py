"""The waiter: the small process that stays beside a container and records how it ends (cshim/waiter).

A command that leaves one splits itself: the caller's process waits, and a new process does the work, so it becomes the
parent of the container's init. When the container is there, that process executes the waiter, and the caller's ends.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from typing import NoReturn

from runtime.container.lifecycle import manager_of
from runtime.container.state import Record, Store, waiter_pidfd
from runtime.errors import Become, HostError, NotFound, SteleError
from runtime.host.interrupt import SIGNALS
from runtime.host.launch import sealed_memfd
from runtime.host.processes import WAITER, signal_name
from runtime.host.shim import checked, ffi, lib
from runtime.plan.waiter import CHILD, DIRECTORY, MEMORY, NULL_DEVICE, STARTER, Entry, encode, fds


def split() -> int:
    """Go on in a new process, which is to call `take_over`; returns what that takes.

    The caller's process does not return: it passes TERM, HUP and INT on, and exits with 0 once the waiter is ready, or
    else as the new process does.

    Raises:
        OSError: no memory or no process to be had.
    """
    ready, starter = os.pipe()
    pid = os.fork()
    if pid:
        os.close(starter)
        os._exit(_outcome(ready, pid))
    os.close(ready)
    os.setsid()  # the terminal's signals go to the caller's process, and none of them to the waiter
    return starter


def _outcome(ready: int, pid: int) -> int:
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda n, _: _pass_on(pid, n))
    if os.read(ready, 1):
        return 0
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status < 0:
        os.write(2, f"stele was killed by {signal_name(-status)}; delete --force removes what it left\n".encode())
        return 1
    return status


def _pass_on(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def take_over(store: Store, container_id: str, starter: int) -> None:
    """Become the waiter of a container whose init is our child. Returns only if it was deleted meanwhile.

    Raises:
        Become: what `main` does last. HostError: it cannot be.
    """
    try:
        directory = store.lock(container_id)  # the waiter releases it
        record = store.read(container_id)
    except NotFound:
        return
    try:
        entries = _table(record, starter, directory)
        memory = ffi.buffer(lib.stele_waiter_blob, lib.stele_waiter_blob_size)
        program = sealed_memfd(WAITER, memory, executable=True)
        table = sealed_memfd(f"{WAITER}-table", encode(entries), executable=False)
    except OSError as e:
        raise HostError(f"cannot start the waiter: {os.strerror(e.errno or 0)}", e.errno or 0) from e

    def become() -> NoReturn:
        given = ffi.new("int[]", [table, *fds(entries)])
        error = lib.stele_become(program, WAITER.encode(), container_id.encode(), given, len(given))
        checked(error, "the waiter")
        raise SteleError("the waiter was not executed")

    raise Become(become)


def _table(record: Record, starter: int, directory: int) -> list[Entry]:
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    entries = [
        Entry(CHILD, number=record.pid),
        Entry(STARTER, starter),
        Entry(DIRECTORY, directory),
        Entry(NULL_DEVICE, null),
    ]
    with contextlib.suppress(SteleError, FileNotFoundError):  # it has ended already, or has no cgroup or no controller
        cgroup = manager_of(record).open("")
        if cgroup >= 0:
            events = os.open("memory.events", os.O_RDONLY | os.O_CLOEXEC, dir_fd=cgroup)
            # systemd removes a scope's cgroup once it is empty; nobody else but `delete` does.
            entries.append(Entry(MEMORY, events, number=record.cgroup.get("manager") == "systemd"))
    return entries


def wait(record: Record) -> None:
    """Wait until the container's waiter has ended, if there is one; then it has recorded the end, or was killed."""
    pidfd = waiter_pidfd(record)
    if pidfd < 0:
        return
    try:
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        poller.poll()
    finally:
        os.close(pidfd)
