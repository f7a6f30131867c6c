"""Send a file descriptor to a caller's unix socket: a terminal's master, a pidfd, a seccomp listener."""

from __future__ import annotations

import errno
import os
import socket
import struct

from runtime.errors import HostError, UsageError
from runtime.host.interrupt import waiting

LONG = "the path of a unix socket can have 107 bytes"  # unix(7); Python raises this error without an errno
TIMEOUT = 5.0
"""Seconds to wait for a peer that does not accept the descriptor."""


def keep_line_ends(master: int) -> None:
    """Let a new terminal that is relayed to a pipe or file pass "\\n" on as it is, without a carriage return.

    On a terminal both stay: a program that moves the cursor must know what its own terminal does.

    Raises:
        HostError: `master` is not a terminal.
    """
    if os.isatty(1):
        return
    import termios

    try:
        modes = termios.tcgetattr(master)
        modes[1] &= ~termios.ONLCR
        termios.tcsetattr(master, termios.TCSANOW, modes)
    except termios.error as e:  # not an OSError
        raise HostError(f"process.terminal: cannot set up the new terminal: {e.args[1]}", e.args[0]) from e


def send_fd(path: str, fd: int, message: bytes, *, field: str) -> None:
    """Connect to the socket at `path`, send `message` with `fd` (unix(7), SCM_RIGHTS), and close `fd`.

    Args:
        field: the flag or config field that names the path; used in errors.
    Raises:
        UsageError: no path was given. HostError: nobody listens there, or the peer does not accept the descriptor.
    """
    try:
        if not path:
            raise UsageError(
                "process.terminal is true, so a console socket is needed; give --console-socket, or set it false"
            )
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
            # Not settimeout(): a non-blocking connect(2) fails at once if the socket's queue is full, unix(7).
            seconds, rest = divmod(TIMEOUT, 1)
            connection.setsockopt(
                socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(seconds), int(rest * 1e6))
            )
            with waiting():
                connection.connect(path)
            sent = socket.send_fds(connection, [message], [fd])
            if sent < len(message):  # skip an empty send: it fails if the peer has everything and has closed
                connection.sendall(message[sent:])
    except OSError as e:
        reason = "it did not answer in time" if e.errno == errno.EAGAIN else e.strerror or LONG
        raise HostError(f'{field} "{path}": cannot send the file descriptor: {reason}', e.errno or 0) from e
    finally:
        os.close(fd)
