"""File descriptors inherited from the caller: the standard streams, and those to pass on."""

from __future__ import annotations

import errno
import fcntl
import os
import sys

from runtime.errors import HostError
from runtime.oci.numbers import decimal

FDS_MAX = 1 << 20


def settle_streams() -> None:
    """Open /dev/null for each closed standard stream, so that none of our files gets fd 0, 1 or 2."""
    for fd in (0, 1, 2):
        try:
            fcntl.fcntl(fd, fcntl.F_GETFD)
        except OSError as e:
            if e.errno != errno.EBADF:
                raise
            os.open("/dev/null", os.O_RDWR)  # gets the lowest free fd, which is this one
            os.set_inheritable(fd, True)


def listen_fds() -> int:
    """Return the number of sockets, from fd 3 on, that systemd or Podman passed to this process (sd_listen_fds(3))."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return 0
    return decimal(os.environ.get("LISTEN_FDS", ""), FDS_MAX) or 0


def check_preserved(listening: int, preserve: int) -> None:
    """Check that the fds of LISTEN_FDS and --preserve-fds are open, before one of ours can take such a number.

    Raises:
        HostError: names the first that is closed.
    """
    for fd in range(3, 3 + listening + preserve):
        try:
            fcntl.fcntl(fd, fcntl.F_GETFD)
        except OSError as e:
            if e.errno != errno.EBADF:
                raise
            raise HostError(
                f"--preserve-fds {preserve}: file descriptor {fd} is not open; open 3 to {2 + listening + preserve} for stele, or lower the number",
                errno.EBADF,
            ) from None


def flush() -> None:
    """Flush the output streams. Raises OSError: the output cannot be written."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()


def silence() -> None:
    """Redirect output to /dev/null to avoid EPIPE at exit."""
    try:
        null = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:  # no /dev/null, such as in a root without devices
        null = os.memfd_create("null")
    for fd in (1, 2):
        os.dup2(null, fd)
    os.close(null)
