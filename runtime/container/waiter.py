"""The waiter: the small process that stays beside a container and records how it ends (cshim/waiter).

A command that leaves one splits itself: a new process creates the container, so it is the parent of its init, and then
executes the waiter. The caller's process waits for that, and goes on to start the container.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NoReturn

from runtime.container.create import create
from runtime.container.lifecycle import delete, manager_of
from runtime.container.requests import CreateRequest
from runtime.container.state import Record, Store, waiter_pidfd
from runtime.errors import Become, HostError, SteleError
from runtime.host import interrupt
from runtime.host.cgroups import tree
from runtime.host.interrupt import SIGNALS
from runtime.host.launch import sealed_memfd
from runtime.host.processes import PR_SET_PDEATHSIG, WAITER, signal_name
from runtime.host.shim import checked, ffi, lib, prctl
from runtime.plan.waiter import ABOVE, CHILD, DIRECTORY, MEMORY, NULL_DEVICE, OUTPUT, STARTER, Entry, encode, fds


def create_beside(store: Store, container_id: str, request: CreateRequest, warn: Callable[[str], None]) -> None:
    """Create a container in a new process, which becomes its waiter. Returns, in the caller's process, once it has.

    The caller's process passes TERM, HUP and INT on. If the new one fails, it has said why, and the caller's exits as it did.

    Raises:
        Become: in the new process, at its end. SteleError: there, for it to report.
    """
    ready, starter = os.pipe()
    caller = os.getpid()
    pid = os.fork()
    if pid:
        os.close(starter)
        _await(ready, pid)
        return
    os.close(ready)
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)  # if the caller's process is killed, undo all; the waiter resets this
    if os.getppid() != caller:
        os._exit(1)
    os.setsid()  # the terminal's signals go to the caller's process, and none of them to the waiter
    if request.log is None:
        created = create(store, container_id, request)
        outputs: list[Entry] = []
    else:
        from runtime.container import logs

        with logs.streams(request.log) as (stdio, outputs):
            created = create(store, container_id, replace(request, stdio=stdio, keep_master=True))
        if created.master >= 0:
            outputs = [Entry(OUTPUT, created.master, 1)]
        outputs += logs.entries(request.log, created.record, store.root)
    try:
        for note in created.notes:
            warn(note)
        interrupt.check()
        _become(store, container_id, starter, outputs)
    except Exception:
        delete(store, container_id, force=True)
        raise


def _await(ready: int, pid: int) -> None:
    before = {n: handler for n in SIGNALS if (handler := signal.getsignal(n)) is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, lambda n, _: _pass_on(pid, n))
    if not os.read(ready, 1):
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status < 0:
            text = f"stele was killed by {signal_name(-status)}; delete --force removes what it left\n"
            os.write(2, text.encode())
        os._exit(1 if status < 0 else status)
    os.close(ready)
    for number, handler in before.items():
        signal.signal(number, handler)


def _pass_on(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _become(store: Store, container_id: str, starter: int, outputs: Sequence[Entry]) -> NoReturn:
    """Become the waiter of a container whose init is our child.

    Raises:
        Become: what `main` does last. HostError: it cannot be. NotFound: the container was deleted meanwhile.
    """
    directory = store.lock(container_id)  # the waiter releases it
    try:
        record = store.read(container_id)
        entries = [*_table(record, starter, directory), *outputs]
        memory = ffi.buffer(lib.stele_waiter_blob, lib.stele_waiter_blob_size)
        program = sealed_memfd(WAITER, memory, executable=True)
        table = sealed_memfd(f"{WAITER}-table", encode(entries), executable=False)
    except BaseException as e:
        os.close(directory)
        if not isinstance(e, OSError):
            raise
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
            events = tree.open_file(cgroup, "memory.events")
            entries.append(Entry(MEMORY, events))
            if record.cgroup.get("manager") == "systemd":  # it removes the cgroup as soon as that is empty
                above = tree.open_file(cgroup, "../memory.events")
                entries.append(Entry(ABOVE, above))
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
