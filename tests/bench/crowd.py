"""Does a host with a thousand containers make the next one slower?"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.bench.timer import Cost
from tests.bench.work import Contender, reap

CROWD = 1000
CROWDS = 3  # how often they come and go
ROUNDS = 20  # with each, and as many without
WARM_UP = 2


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


def turns(contenders: list[Contender], rounds: int) -> dict[str, list[Cost]]:
    """Each contender's creates, the quickest first; they take turns, so that a slow moment hits all."""
    costs: dict[str, list[Cost]] = {who.name: [] for who in contenders}
    for number in range(-WARM_UP, rounds):
        turn = number % len(contenders)
        for who in contenders[turn:] + contenders[:turn]:
            cost = one_create(who)
            if number >= 0:
                costs[who.name].append(cost)
    for found in costs.values():
        found.sort(key=lambda cost: cost.wall)
    return costs


def crowd(contenders: list[Contender], place: Path, scale: float) -> dict[str, dict[str, list[Cost]]]:
    """Every contender's create alone and beside the same thousand containers of stele's, which come and go some times.

    What is compared cannot run side by side, so costs are paired with those of the time before, by their rank.
    """
    keeper = next((each for each in contenders if each.name.startswith("stele")), None)
    if keeper is None:
        return {}
    rounds, size = max(3, round(ROUNDS * scale)), max(10, round(CROWD * min(scale, 1)))
    beside = f"beside {size}"
    results: dict[str, dict[str, list[Cost]]] = {
        f"create among many, {who.name}": {beside: [], "alone": []} for who in contenders
    }
    for _ in range(CROWDS):
        alone = turns(contenders, rounds)
        made = gather(keeper, size)
        try:
            among = turns(contenders, rounds)
        finally:
            scatter(keeper, made)
        for who, costs in zip(contenders, results.values(), strict=True):
            costs[beside] += among[who.name]
            costs["alone"] += alone[who.name]
    return results
