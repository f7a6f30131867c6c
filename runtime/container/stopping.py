"""`stop`: end a container in the way its image asks for, or by force."""

from __future__ import annotations

import os
import select
import signal

from runtime.container import lifecycle
from runtime.container.state import Store, is_alive
from runtime.errors import StateError


def stop(store: Store, container_id: str, grace: float) -> None:
    """Send the container's stop signal, and KILL if it has not ended after `grace` seconds; returns when it has ended.

    Raises:
        NotFound: no such container. StateError: it has not ended 10 s after KILL.
    """
    record = store.read(container_id)
    if not is_alive(record):
        return
    try:
        pidfd = os.pidfd_open(record.pid)
    except ProcessLookupError:
        return
    try:
        if not is_alive(record):  # another process has the PID by now
            return
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        number = lifecycle.signal_number(lifecycle.stop_signal(store, container_id))
        if lifecycle.status(store, record) in ("created", "creating"):
            number = signal.SIGKILL  # its program has not begun, so there is nobody to ask
        _send(store, container_id, number)
        if lifecycle.status(store, record) == "paused":
            lifecycle.resume(store, container_id)  # a frozen process does not see the signal
        if poller.poll(grace * 1000):
            return
        _send(store, container_id, signal.SIGKILL)
        if not poller.poll(lifecycle.KILL_TIMEOUT * 1000):
            raise StateError(
                f'container "{container_id}" still runs {lifecycle.KILL_TIMEOUT:.0f} s after SIGKILL; '
                "its process hangs in the kernel"
            )
    finally:
        os.close(pidfd)


def _send(store: Store, container_id: str, number: int) -> None:
    try:
        lifecycle.kill(store, container_id, number)
    except StateError:
        pass  # it has just ended
