"""Paths as the command line gives them."""

from __future__ import annotations

import os

from runtime.errors import HostError


def absolute(path: str, what: str) -> str:
    """An absolute path, without looking at it. what: option, for the error.

    Raises:
        HostError: it is relative, and the working directory has been removed.
    """
    try:
        return os.path.abspath(path)
    except FileNotFoundError:
        raise HostError(
            f'{what} "{path}": it counts from the working directory, and that is gone: no such file or directory; '
            "change to one that exists, or give an absolute path"
        ) from None
