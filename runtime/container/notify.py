"""sd_notify(3): a container that says READY=1 is told to who waits for it, systemd or Podman.

The container gets a socket of its own on /run/notify, never the host's: what it can say by it is that it is ready, and
nothing else. `create` makes the folder and the mount, `start` listens and passes the word on.
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
"""Of the container's directory below --root, which keeps it from other users of the host."""

SOCKET = "notify.sock"
INSIDE = "/run/notify"
VARIABLE = f"NOTIFY_SOCKET={INSIDE}/{SOCKET}"
MESSAGE_MAX = 4096
QUEUE_MAX = 1024
"""More messages than wait in a socket (net.unix.max_dgram_qlen is 10, by systemd 512)."""
BARRIER_TIMEOUT = 30.0
"""Seconds to wait until systemd has handled what it was told (sd_notify(3), BARRIER=1)."""


def with_notify(config: Mapping[str, Any], directory: str) -> dict[str, Any]:
    """config.json with the folder on /run/notify and the variable that names the socket in it."""
    process = dict(config["process"])
    process["env"] = [*(process.get("env") or ()), VARIABLE]
    options = ["bind", "ro", "nosuid", "nodev", "noexec"]
    mount = {"destination": INSIDE, "type": "bind", "source": f"{directory}/{FOLDER}", "options": options}
    return {**config, "process": process, "mounts": [*(config.get("mounts") or ()), mount]}


def make_folder(directory: int) -> None:
    """In the container's directory. Its users, whoever they are inside, must be able to look into it."""
    os.mkdir(FOLDER, 0o755, dir_fd=directory)
    os.chmod(FOLDER, 0o755, dir_fd=directory)


class Listener:
    """The container's socket while `start` waits.

    Args:
        directory: the container's.
    Raises:
        FileNotFoundError: its `create` was not told to make one.
    """

    def __init__(self, directory: int) -> None:
        path = f"/proc/self/fd/{directory}/{FOLDER}"
        os.stat(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{path}/{SOCKET}")  # of a `start` that was killed
        self.socket.bind(f"{path}/{SOCKET}")
        os.chmod(f"{path}/{SOCKET}", 0o777)

    def forward(self, pid: int, host: str) -> None:
        """Wait until the container is ready, or its process `pid` has ended; then tell the socket `host`."""
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
            if pidfd in ready:  # what it said before is still heard, but not others without end
                more -= 1
            if self.socket.fileno() not in ready:
                return False
            if b"READY=1" in self.socket.recv(MESSAGE_MAX).split(b"\n"):
                return True
        return False


def tell(host: str, pid: int) -> None:
    """READY=1 and the container's pid; returns when it was handled, or after half a minute."""
    address = "\0" + host[1:] if host.startswith("@") else host
    reader, writer = os.pipe()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
            connection.settimeout(BARRIER_TIMEOUT)
            connection.connect(address)
            connection.send(f"MAINPID={pid}\nREADY=1\n".encode())
            # The other side closes its copy of the fd when it comes to it, which is after what was sent before.
            socket.send_fds(connection, [b"BARRIER=1"], [writer])
        os.close(writer)
        writer = -1
        poller = select.poll()
        poller.register(reader, select.POLLHUP)
        with waiting():
            poller.poll(BARRIER_TIMEOUT * 1000)
    except OSError:
        pass  # nobody waits there any more; the container runs all the same
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)
