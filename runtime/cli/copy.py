"""cp: copy files between the host and a running container."""

from __future__ import annotations

import errno
import os

from runtime.cli.context import Globals
from runtime.cli.table import Cp
from runtime.container.copy import copy_in, copy_out
from runtime.container.state import check_id
from runtime.errors import HostError, UsageError

REPORTED_MAX = 10
"""Skipped files that are named."""


def copy(context: Globals, options: Cp) -> int:
    source, target = _inside(options.source), _inside(options.target)
    if (source is None) == (target is None):
        raise UsageError("cp: write ID:PATH for the container's side, and a path of the host for the other")
    container_id, path = source or target or ("", "")
    record = context.store().read(check_id(container_id))
    try:
        skipped = copy_out(record, path, options.target) if source else copy_in(record, options.source, path)
    except OSError as e:
        hint = ""
        if e.errno == errno.EROFS:
            hint = "; the root is read-only: copy to a volume, or run the container with --upper tmpfs"
        elif e.errno == errno.EOVERFLOW:
            hint = "; the file system there is ID-mapped and knows no owner for it"
        where = f"{e.filename}: " if e.filename else ""
        problem = f"cp {options.source} {options.target}: {where}{os.strerror(e.errno or 0)}{hint}"
        raise HostError(problem, e.errno or 0) from e
    for name in skipped[:REPORTED_MAX]:
        context.log.warning(f"not copied: {name}")
    if len(skipped) > REPORTED_MAX:
        context.log.warning(f"not copied: {len(skipped) - REPORTED_MAX} more")
    return 0


def _inside(text: str) -> tuple[str, str] | None:
    """Return container and path of ID:PATH; None for a path of the host, which may hold a colon behind a slash."""
    container_id, colon, path = text.partition(":")
    return (container_id, path or "/") if colon and container_id and "/" not in container_id else None
