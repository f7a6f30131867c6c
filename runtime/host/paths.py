"""Paths given on the command line."""

from __future__ import annotations

import os

from runtime.errors import HostError


def absolute(path: str, what: str) -> str:
    """Make a path absolute, without accessing it. what: the option, for the error.

    Raises:
        HostError: the path is relative, and the working directory has been removed.
    """
    try:
        return os.path.abspath(path)
    except FileNotFoundError:
        raise HostError(
            f'{what} "{path}": the path is relative, but the working directory is gone: no such file or directory; '
            "change to a directory that exists, or use an absolute path"
        ) from None
