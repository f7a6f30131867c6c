"""Ends what killed tests left: `python -m tests.mutants.clean TOKEN`. Their mounts go with their mount namespaces."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

from tests.harness import cgroup2
from tests.harness.runtime import TOKEN


def clean(token: str) -> None:
    """Kill the processes that have `token` in their environment, and those in cgroups named so; remove the cgroups."""
    cgroup2.enter()
    variable = f"{TOKEN}={token}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            if int(folder.name) != os.getpid() and variable in (folder / "environ").read_bytes().split(b"\0"):
                os.kill(int(folder.name), signal.SIGKILL)
    cgroups = sorted(cgroup2.named(token), reverse=True)
    for path in cgroups:
        with contextlib.suppress(OSError):
            (path / "cgroup.kill").write_text("1")
    deadline = time.monotonic() + 20
    while cgroups and time.monotonic() < deadline:
        for path in cgroups:
            with contextlib.suppress(OSError):  # busy until the last process is gone
                path.rmdir()
        cgroups = [path for path in cgroups if path.exists()]
        time.sleep(0.05)


if __name__ == "__main__":
    clean(sys.argv[1])
