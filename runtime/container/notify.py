"""sd_notify(3): forward a container's READY=1 to systemd or Podman.

The container gets its own socket in /run/notify, never the host's, so it can report readiness and nothing else.
`create` makes the folder and the mount; `start` listens and forwards.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Mapping
from typing import Any

from runtime.host.interrupt import waiting

FOLDER = "notify"
"""Inside the container's directory below --root, which other users of the host cannot enter."""

SOCKET = "notify.sock"
INSIDE = "/run/notify"
VARIABLE = f"NOTIFY_SOCKET={INSIDE}/{SOCKET}"
MESSAGE_MAX = 4096
QUEUE_MAX = 1024
"""More messages than a socket queues (net.unix.max_dgram_qlen: 10, with systemd 512)."""
BARRIER_TIMEOUT = 30.0
"""Seconds to wait until systemd has processed our messages (sd_notify(3), BARRIER=1)."""


def with_notify(config: Mapping[str, Any], directory: str) -> dict[str, Any]:
    """Return config.json with the folder mounted on /run/notify and NOTIFY_SOCKET set."""
    process = dict(config.get("process") or {})
    if process:
        process["env"] = [*(process.get("env") or ()), VARIABLE]
    options = ["bind", "ro", "nosuid", "nodev", "noexec"]
    mount = {"destination": INSIDE, "type": "bind", "source": f"{directory}/{FOLDER}", "options": options}
    return {**config, "process": process, "mounts": [*(config.get("mounts") or ()), mount]}


def make_folder(directory: int) -> None:
    """Create the folder in the container's directory, readable for every user of the container."""
    os.mkdir(FOLDER, 0o755, dir_fd=directory)
    os.chmod(FOLDER, 0o755, dir_fd=directory)


class Listener:
    """The container's socket while `start` waits.

    Args:
        directory: fd of the container's directory.
    Raises:
        FileNotFoundError: the container was created without a notify folder.
    """

    def __init__(self, directory: int) -> None:
        path = f"/proc/self/fd/{directory}/{FOLDER}"
        os.stat(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{path}/{SOCKET}")  # left by a `start` that was killed
        self.socket.bind(f"{path}/{SOCKET}")
        os.chmod(f"{path}/{SOCKET}", 0o777)

    def forward(self, pid: int, host: str) -> None:
        """Wait until the container is ready, then notify the socket `host`; return early if process `pid` ends."""
        with self.socket:
            try:
                pidfd = os.pidfd_open(pid)
            except ProcessLookupError:
                return
            try:
                if self._ready(pidfd):
                    tell(host, pid)
            finally:
                os.close(pidfd)

    def _ready(self, pidfd: int) -> bool:
        poller = select.poll()
        poller.register(self.socket, select.POLLIN)
        poller.register(pidfd, select.POLLIN)
        more = QUEUE_MAX
        while more:
            with waiting():
                ready = [fd for fd, _ in poller.poll()]
            if pidfd in ready:  # still read what is queued, but a bounded number of messages
                more -= 1
            if self.socket.fileno() not in ready:
                return False
            if b"READY=1" in self.socket.recv(MESSAGE_MAX).split(b"\n"):
                return True
        return False


def tell(host: str, pid: int) -> None:
    """Send READY=1 and the container's pid; returns when they are processed, or after BARRIER_TIMEOUT."""
    address = "\0" + host[1:] if host.startswith("@") else host
    reader, writer = os.pipe()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
            connection.settimeout(BARRIER_TIMEOUT)
            connection.connect(address)
            connection.send(f"MAINPID={pid}\nREADY=1\n".encode())
            # The receiver closes its copy of the fd once it has processed all earlier messages.
            socket.send_fds(connection, [b"BARRIER=1"], [writer])
        os.close(writer)
        writer = -1
        poller = select.poll()
        poller.register(reader, select.POLLHUP)
        with waiting():
            poller.poll(BARRIER_TIMEOUT * 1000)
    except OSError:
        pass  # nobody listens any more; the container runs regardless
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)
