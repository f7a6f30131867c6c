"""The pid file. Callers parse its raw bytes, so it holds only digits."""

from __future__ import annotations

import contextlib
import os

from runtime.errors import HostError
from runtime.host.paths import absolute


def write_pid_file(path: str, pid: int) -> None:
    """Write a pid file atomically: to a hidden name, then rename.

    Raises:
        HostError: the directory cannot be written.
    """
    directory, name = os.path.split(absolute(path, "--pid-file"))
    temporary = f"{directory}/.{name}"
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)  # left by a killed writer; O_EXCL would fail
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
