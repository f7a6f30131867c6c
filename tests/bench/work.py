"""The pieces of work that are timed, each the same for every runtime."""

from __future__ import annotations

import concurrent.futures
import itertools
import os
import select
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.timer import Cost, Timer
from tests.harness import cgroup2


@dataclass
class Contender:
    """A runtime, with a state directory, a timer and containers of its own.

    Attributes:
        gap: seconds of rest before each process; the kernel's deferred work makes it matter.
    """

    name: str
    program: str
    root: Path
    timers: list[Timer]
    true: Path  # bundle that runs /bin/true
    sleep: Path  # bundle that sleeps
    gap: float
    running: str = ""
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def id(self) -> str:
        """A fresh container id."""
        return f"bench{os.getpid()}-{self.name}-{next(self._numbers)}"

    def call(self, *args: str, timer: int = 0) -> Cost:
        """Rest, then run one command of the runtime."""
        time.sleep(self.gap)
        return self.timers[timer].run([self.program, "--root", str(self.root), *args])

    def create(self, name: str) -> tuple[Cost, int]:
        """`create` a sleeping container; returns the cost and init's pid."""
        pid_file = self.root / f"{name}.pid"
        cost = self.call("create", "--bundle", str(self.sleep), "--pid-file", str(pid_file), name)
        pid = int(pid_file.read_text())
        pid_file.unlink()
        return cost, pid

    def begin(self) -> None:
        """Keep one container running, for exec and state."""
        self.running = self.id()
        _, self._pid = self.create(self.running)
        self.call("start", self.running)

    def end(self) -> None:
        """Remove it."""
        self.call("kill", self.running, "KILL")
        reap(self._pid)
        self.call("delete", self.running)


def reap(pid: int) -> None:
    """Wait for a container's init to end; it is our child, since we are the subreaper."""
    pidfd = os.pidfd_open(pid)
    select.select([pidfd], [], [])
    os.close(pidfd)
    os.waitpid(pid, 0)


def remove_leftovers() -> None:
    """End and remove what a failed command left in our cgroups, so that the next run starts clean."""
    for path in sorted(cgroup2.named(f"bench{os.getpid()}-"), reverse=True):
        (path / "cgroup.kill").write_text("1")
        while "populated 1" in (path / "cgroup.events").read_text():
            os.waitpid(-1, 0)
        path.rmdir()


def run(who: Contender) -> dict[str, Cost]:
    """The whole life of a container by one process."""
    return {"run": who.call("run", "--bundle", str(who.true), who.id())}


def exec_(who: Contender) -> dict[str, Cost]:
    """/bin/true in a running container."""
    return {"exec": who.call("exec", who.running, "/bin/true")}


def state(who: Contender) -> dict[str, Cost]:
    """The state of a running container."""
    return {"state": who.call("state", who.running)}


def life(who: Contender) -> dict[str, Cost]:
    """create, start, kill, delete by four processes, and their sum; init's end is awaited outside the clock."""
    name = who.id()
    create, pid = who.create(name)
    start = who.call("start", name)
    kill = who.call("kill", name, "KILL")
    reap(pid)
    delete = who.call("delete", name)
    return {
        "create+start+kill+delete": create + start + kill + delete,
        "  create": create,
        "  start": start,
        "  kill": kill,
        "  delete": delete,
    }


def many(who: Contender, *, count: int = 200) -> dict[str, Cost]:
    """`count` containers run to their end, as many at a time as there are timers; wall time of all, CPU of all."""
    at_once = len(who.timers)

    def share(timer: int) -> Cost:
        total = Cost(0, 0, 0)
        for _ in range(count // at_once):
            argv = [who.program, "--root", str(who.root), "run", "--bundle", str(who.true), who.id()]
            total += who.timers[timer].run(argv)
        return total

    time.sleep(who.gap)
    begin = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        parts = list(pool.map(share, range(at_once)))
    wall = time.monotonic() - begin
    cpu = sum(part.cpu for part in parts)
    return {f"{count} runs, {at_once} at a time": Cost(wall, cpu, max(part.peak for part in parts))}


def waiting_memory(who: Contender) -> int:
    """Bytes of PSS of a created container's waiting init (/proc/pid/smaps_rollup, proc(5))."""
    name = who.id()
    _, pid = who.create(name)
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    pss = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    who.call("delete", "--force", name)
    reap(pid)
    return pss


# Name for --only, the work, and how many rounds of it a run of 100% has.
WORK: dict[str, tuple[Callable[[Contender], dict[str, Cost]], int]] = {
    "run": (run, 60),
    "life": (life, 40),
    "exec": (exec_, 60),
    "state": (state, 60),
    "many": (many, 3),
}
