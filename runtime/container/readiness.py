"""When a container counts as ready: a command in it succeeds. Then the host's service manager is notified."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Mapping, Sequence
from typing import Any

from runtime.container.exec import execute
from runtime.container.notify import tell
from runtime.container.requests import ExecRequest
from runtime.container.state import Record, Store, is_alive
from runtime.errors import HostError, StateError, SteleError
from runtime.host.interrupt import waiting
from runtime.host.processes import PR_SET_PDEATHSIG
from runtime.host.shim import prctl
from runtime.printable import visible

INTERVAL = 1.0
"""Seconds between two runs of the command."""


def wait_for(store: Store, record: Record, command: Sequence[str]) -> None:
    """Run a command in the container until it exits with 0.

    Raises:
        HostError: the container has ended. SteleError: the command cannot be run.
    """
    try:
        pidfd = os.pidfd_open(record.pid)
    except ProcessLookupError:
        raise _ended(record) from None
    try:
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        while not _succeeds(store, record, command):
            with waiting():
                if poller.poll(INTERVAL * 1000):
                    raise _ended(record)
    finally:
        os.close(pidfd)


def _ended(record: Record) -> HostError:
    return HostError(f'container "{record.id}" ended before it was ready')


def _succeeds(store: Store, record: Record, command: Sequence[str]) -> bool:
    def process(own: Mapping[str, Any]) -> Mapping[str, Any]:
        return {
            **{key: value for key, value in own.items() if key != "consoleSize"},
            "args": command,
            "terminal": False,
        }

    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    try:
        started = execute(store, record.id, ExecRequest(process=process, stdio=(null, null, null)))
    except StateError:
        if is_alive(record):  # paused, perhaps
            return False
        raise _ended(record) from None
    finally:
        os.close(null)
    try:
        with waiting():
            return os.waitpid(started.pid, 0)[1] == 0
    finally:
        os.close(started.pidfd)


def tell_once(store: Store, record: Record, command: Sequence[str], host: str) -> None:
    """Tell the socket `host` when the container is ready, and return at once.

    A process runs the command, as ours is busy with the container; a thread tells, as systemd believes our process only.
    """
    import threading

    reader, writer = os.pipe()
    if os.fork() == 0:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        try:
            wait_for(store, record, command)
            os.write(writer, b"R")
        except SteleError as e:
            os.write(2, f"{visible(str(e))}\n".encode())  # it may quote a file of the container
        finally:
            os._exit(0)
    os.close(writer)

    def listen() -> None:
        if os.read(reader, 1):
            tell(host, record.pid)
        os.close(reader)

    threading.Thread(target=listen, daemon=True).start()
