"""The file descriptors that a caller gives us: the standard streams, and those to be passed on."""

from __future__ import annotations

import errno
import fcntl
import os
import sys

from runtime.errors import HostError
from runtime.oci.numbers import decimal

FDS_MAX = 1 << 20


def settle_streams() -> None:
    """Put /dev/null where a standard stream was closed, so that no file of ours ever gets number 0, 1 or 2."""
    for fd in (0, 1, 2):
        try:
            fcntl.fcntl(fd, fcntl.F_GETFD)
        except OSError as e:
            if e.errno != errno.EBADF:
                raise
            os.open("/dev/null", os.O_RDWR)  # gets the lowest free number, which is this one
            os.set_inheritable(fd, True)


def listen_fds() -> int:
    """How many sockets, from 3 on, systemd or Podman gave to this very process (sd_listen_fds(3))."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return 0
    return decimal(os.environ.get("LISTEN_FDS", ""), FDS_MAX) or 0


def check_preserved(listening: int, preserve: int) -> None:
    """See that the fds that LISTEN_FDS and --preserve-fds mean are there; before any of ours can take such a number.

    Raises:
        HostError: names the first that is not.
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
    """Write out what is buffered. Raises OSError: it cannot be written."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()


def silence() -> None:
    """Nobody reads our output any more: let what is buffered go nowhere when the interpreter ends."""
    try:
        null = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:  # in a root without devices
        null = os.memfd_create("null")
    for fd in (1, 2):
        os.dup2(null, fd)
    os.close(null)
