"""The pid file: callers parse its raw bytes, so it holds digits and nothing else."""

from __future__ import annotations

import contextlib
import os

from runtime.errors import HostError
from runtime.host.paths import absolute


def write_pid_file(path: str, pid: int) -> None:
    """Write it under a hidden name, then rename: a reader sees all or nothing.

    Raises:
        HostError: the directory cannot be written.
    """
    directory, name = os.path.split(absolute(path, "--pid-file"))
    temporary = f"{directory}/.{name}"
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)  # of one that was killed: it would be in the way for ever
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            os.write(fd, str(pid).encode())
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except OSError as e:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise HostError(f'--pid-file "{path}": cannot write it: {os.strerror(e.errno or 0)}', e.errno or 0) from e
