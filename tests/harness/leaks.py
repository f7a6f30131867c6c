"""Finds what a test left behind: processes, mounts, cgroups, state.

The test process is a child subreaper, so a process whose creator is gone becomes its child and cannot hide; a zombie
among them is reaped here, a living one is a leak.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
from pathlib import Path

import prctl

from tests.harness import cgroup2
from tests.harness.runtime import Runtime

PF_EXITING = 0x4
DYING = 20.0
"""Seconds that a killed process may take to be gone, on a busy machine."""


def become_subreaper() -> None:
    """From now on, orphans among this process's descendants become its children."""
    prctl.set_child_subreaper(True)


def children() -> set[int]:
    """The pids of this process's children, of all its threads."""
    lists = Path("/proc/self/task").glob("*/children")
    return {int(pid) for each in lists for pid in each.read_text().split()}


def mounts() -> set[str]:
    """This namespace's mounts: one line each, without the ids that change from mount to mount."""
    return {" ".join(line.split()[3:5]) for line in Path("/proc/self/mountinfo").read_text().splitlines()}


def reap() -> dict[int, str]:
    """Reap the zombies among the children; returns the living ones, pid to command line."""
    living = {}
    for pid in children():
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
            if stat.rpartition(")")[2].split()[0] == "Z":
                os.waitpid(pid, 0)
                continue
            line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            living[pid] = line or stat.partition("(")[2].rpartition(")")[0]
        except (ChildProcessError, FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile, or its Popen reaped it
    return living


def _let_die(pid: int) -> None:
    """Wait for a process that ends or to which SIGKILL was sent already, and for no other (proc(5))."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        pending = [int(line.split()[1], 16) for line in status.splitlines() if line.startswith(("SigPnd:", "ShdPnd:"))]
        flags = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[6])
        if flags & PF_EXITING or any(mask >> (signal.SIGKILL - 1) & 1 for mask in pending):
            select.select([pidfd], [], [], DYING)
    except (FileNotFoundError, ProcessLookupError):
        pass
    finally:
        os.close(pidfd)


class Watch:
    """Remembers what is there before a test; `left()` tells what the test added."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.children = set(reap())
        self.mounts = mounts()

    def left(self) -> list[str]:
        """One line for each thing that should be gone; empty is good. What was killed is given the time to die."""
        for pid in set(reap()) - self.children:
            _let_die(pid)
        found = [f"process {pid}: {line}" for pid, line in sorted(reap().items()) if pid not in self.children]
        found += [f"mount: {line}" for line in sorted(mounts() - self.mounts)]
        found += [f"cgroup: {path}" for path in cgroup2.named(self.runtime.token)]
        # Names with the token are containers; anything else under the root is a cache, which may stay.
        found += [f"state: {path}" for path in self.runtime.root.rglob(f"*{self.runtime.token}*")]
        return found

    def clean(self) -> None:
        """Remove what a failed test left, so that the next one starts clean."""
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            for path in list(self.runtime.root.glob(f"{self.runtime.token}*")):
                self.runtime("delete", "--force", path.name, timeout=20)
        for path in sorted(cgroup2.named(self.runtime.token), reverse=True):
            with contextlib.suppress(OSError):
                (path / "cgroup.kill").write_text("1")
        for pid in set(reap()) - self.children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        for path in sorted(cgroup2.named(self.runtime.token), reverse=True):
            with contextlib.suppress(OSError):
                path.rmdir()
        for line in mounts() - self.mounts:
            subprocess.run(["umount", "-l", line.split()[1]], check=False, capture_output=True)
