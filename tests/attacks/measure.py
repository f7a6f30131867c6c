"""How much memory a command of the runtime takes at most."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

from tests.attacks.arena import Arena, Ran, payload

MUCH = 100 << 20
"""Bytes. stele and the other runtimes take far less, and what the attacks offer is more."""
AT_MOST = 600 << 20
"""Bytes of address space, so that what would take all of the machine fails before it has."""


def measured(
    arena: Arena, *args: str | Path, bounded: bool = True, timeout: float = 90, stdout: Any = subprocess.PIPE
) -> tuple[Ran, int]:
    """Run a command of the runtime; how it ended, and the most memory that it or a child of it had, in bytes."""
    limit = str(AT_MOST if bounded else 0)
    child = subprocess.Popen(
        [payload(), "peak", limit, *arena.runtime.command(*args)],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        out, err = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        out, err = child.communicate()
        return Ran(-1, out or "", err), 0
    said, _, told = err.rpartition("\npeak ")
    code, kib = map(int, told.split())
    return Ran(code, out or "", said), kib << 10
