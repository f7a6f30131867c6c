"""Does a host with a thousand containers make the next one slower?"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.bench.timer import Cost
from tests.bench.work import Contender, reap

CROWD = 1000
ROUNDS = 40


def one_create(who: Contender) -> Cost:
    """The cost of one `create`; the container is gone again."""
    name = who.id()
    cost, pid = who.create(name)
    who.call("delete", "--force", name)
    reap(pid)
    return cost


def gather(who: Contender, count: int) -> list[tuple[str, int]]:
    """Make `count` containers that wait: (id, pid of init) of each."""

    def share(timer: int) -> list[tuple[str, int]]:
        made = []
        for _ in range(timer, count, len(who.timers)):
            name = who.id()
            pid_file = who.root / f"{name}.pid"
            words = ["create", "--bundle", str(who.sleep), "--pid-file", str(pid_file), name]
            who.timers[timer].run([who.program, "--root", str(who.root), *words])
            made.append((name, int(pid_file.read_text())))
            pid_file.unlink()
        return made

    with ThreadPoolExecutor(len(who.timers)) as pool:
        return [each for part in pool.map(share, range(len(who.timers))) for each in part]


def scatter(who: Contender, crowd: list[tuple[str, int]]) -> None:
    """Remove them."""

    def share(timer: int) -> None:
        for name, _ in crowd[timer :: len(who.timers)]:
            who.timers[timer].run([who.program, "--root", str(who.root), "delete", "--force", name])

    with ThreadPoolExecutor(len(who.timers)) as pool:
        list(pool.map(share, range(len(who.timers))))
    for _, pid in crowd:
        os.waitpid(pid, 0)


def crowd(contenders: list[Contender], place: Path, scale: float) -> dict[str, dict[str, list[Cost]]]:
    """stele's create alone, then beside a thousand containers, then alone again, so that a slow moment hits both.

    Nothing ran side by side, so costs are paired by their rank.
    """
    who = next((each for each in contenders if each.name.startswith("stele")), None)
    if who is None:
        return {}
    rounds = max(3, round(ROUNDS * scale))
    before = [one_create(who) for _ in range(rounds)]
    made = gather(who, max(10, round(CROWD * min(scale, 1))))
    try:
        beside = [one_create(who) for _ in range(2 * rounds)]
    finally:
        scatter(who, made)
    after = [one_create(who) for _ in range(rounds)]
    alone = [*before, *after]
    for costs in (alone, beside):
        costs.sort(key=lambda cost: cost.wall)
    return {"create among many": {f"beside {len(made)}": beside, "alone": alone}}
