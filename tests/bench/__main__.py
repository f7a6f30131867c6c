"""python -m tests.bench: what a person waits for under stele, crun and runc, side by side, in a few minutes.

The peers are the newest crun and runc of Debian (build-aux/fetch-peers.sh), then those installed here. Each round runs every contender once, in an order that turns from round to round, so that a slow moment hits all.
A round's times are compared within the round; the table shows the median of these ratios and the middle half's
spread, which tells how noisy the run was. All run the same bundle: static busybox on a read-only root, a docker-like
config.json of 20 KB, Docker's set of namespaces, the whole seccomp allow-list. State and bundles are on a tmpfs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bundles.config import docker_like
from tests.bench import work
from tests.bench.crowd import crowd
from tests.bench.image_run import image_run
from tests.bench.timer import Cost, Timer, compile_timer
from tests.bench.unpack import unpack
from tests.harness import cgroup2, leaks
from tests.harness.bundles import busybox_rootfs
from tests.harness.runtime import REPO

Costs = dict[str, dict[str, list[Cost]]]

NEWEST = REPO / "build/peers"
INSTALLED = ("crun", "runc")
# Works whose contenders are not runtimes side by side: each returns label -> contender -> one cost for each round, the
# contenders of a label in the order in which they are told; ratios are to all behind the first.
OTHERS: dict[str, Callable[[list[work.Contender], Path, float], Costs]] = {
    "crowd": crowd,
    "image": image_run,
    "unpack": unpack,
}
AT_ONCE = 8
WARM_UP = 5


def programs(chosen: list[str]) -> dict[str, str]:
    """Name to absolute path of each contender that is there: those chosen, else stele, the newest peers, Debian's."""
    known = {"stele": str(REPO / "build/bin/stele")}
    known |= {path.name: str(path) for peer in INSTALLED for path in sorted(NEWEST.glob(f"{peer}-*"))}
    known |= {peer: path for peer in INSTALLED if (path := shutil.which(peer))}
    known |= {Path(path).name: path for path in chosen if "/" in path}
    wanted = [Path(name).name for name in chosen] or list(known)
    missing = [name for name in wanted if name not in known or not os.path.exists(known[name])]
    if missing:
        sys.exit(
            f"python -m tests.bench: not here: {', '.join(missing)}; `make bench` fetches and builds what it compares"
        )
    return {name: known[name] for name in wanted}


def bundle(folder: Path, args: list[str]) -> Path:
    """A bundle that runs `args`; 3 spaces of indent make its config.json 20 KB.

    Without device rules: crun 1.8 raises RLIMIT_MEMLOCK for them, which needs CAP_SYS_RESOURCE on some machines.
    """
    busybox_rootfs(folder / "rootfs")
    config = docker_like(args)
    del config["linux"]["resources"]
    (folder / "config.json").write_text(json.dumps(config, indent=3))
    return folder


def measure(contenders: list[work.Contender], name: str, scale: float) -> Costs:
    """Costs of one work: label -> contender -> one cost for each round."""
    job, rounds = work.WORK[name]
    rounds = max(3, round(rounds * scale))
    costs: dict[str, dict[str, list[Cost]]] = defaultdict(lambda: defaultdict(list))
    for number in range(-min(WARM_UP, rounds), rounds):
        turn = number % len(contenders)
        for who in contenders[turn:] + contenders[:turn]:
            for label, cost in job(who).items():
                if number >= 0:
                    costs[label][who.name].append(cost)
    return costs


def measure_all(
    contenders: list[work.Contender], names: list[str], place: Path, scale: float
) -> tuple[dict[str, dict[str, Any]], dict[str, int]]:
    """The summaries of all works, by label, and the waiting container's memory by contender."""
    results = {}
    for who in contenders:
        who.begin()
    for name in names:
        if name in OTHERS:
            for label, costs in OTHERS[name](contenders, place, scale).items():
                results[label] = summary(costs, list(costs)[1:])
        else:
            for label, costs in measure(contenders, name, scale).items():
                results[label] = summary(costs, [who.name for who in contenders[1:]])
    memory = {who.name: work.waiting_memory(who) for who in contenders}
    for who in contenders:
        who.end()
        for each in who.timers:
            each.close()
    return results, memory


def summary(costs: dict[str, list[Cost]], peers: Sequence[str]) -> dict[str, Any]:
    """Medians for each contender; of the first also its ratios to each peer, pair by pair."""
    told: dict[str, Any] = {}
    for name, mine in costs.items():
        walls = [cost.wall * 1e3 for cost in mine]
        told[name] = {
            "wall_ms": statistics.median(walls),
            "wall_ms_quartiles": statistics.quantiles(walls, n=4),
            "cpu_ms": statistics.median(cost.cpu * 1e3 for cost in mine),
            "peak_mb": statistics.median(cost.peak / 1e6 for cost in mine),
            "rounds": len(mine),
            "ratio": {},
        }
        for peer in peers if name == next(iter(costs)) else ():
            if peer in costs:
                pairs = list(zip(mine, costs[peer], strict=True))
                low, middle, high = statistics.quantiles((a.wall / b.wall for a, b in pairs), n=4)
                more = statistics.median((a.wall - b.wall) * 1e3 for a, b in pairs)
                told[name]["ratio"][peer] = {"median": middle, "quartiles": [low, high], "more_ms": more}
    return told


def table(results: dict[str, dict[str, Any]]) -> str:
    """The results as lines for people."""
    lines = [f"{'work':26} {'':14} {'ms':>8} {'user+sys':>9} {'peak MB':>8}   ratios (middle half)"]
    for label, told in results.items():
        for name, row in told.items():
            line = f"{label:26} {name:14} {row['wall_ms']:8.2f} {row['cpu_ms']:9.2f} {row['peak_mb']:8.1f}"
            for peer, ratio in row["ratio"].items():
                low, high = ratio["quartiles"]
                text = f"{ratio['median']:.2f} x {peer} ({low:.2f}..{high:.2f}, {ratio['more_ms']:+.1f} ms)"
                line += f"   {text:36}"
            lines.append(line.rstrip())
            label = ""
    return "\n".join(lines)


def noise(results: dict[str, dict[str, Any]]) -> float:
    """The median, over all rows, of the middle half's width relative to the median time."""
    widths = []
    for told in results.values():
        for row in told.values():
            low, _, high = row["wall_ms_quartiles"]
            widths.append((high - low) / row["wall_ms"])
    return float(statistics.median(widths))


def version(path: str) -> str:
    """The first line of --version."""
    return subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout.partition("\n")[0]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "--contenders",
        default="",
        help="names or paths, comma-separated; default: stele, the newest crun and runc, those installed",
    )
    works = [*work.WORK, *OTHERS]
    parser.add_argument("--only", default=",".join(works), help=f"of {','.join(works)}")
    parser.add_argument("--scale", type=float, default=1.0, help="times the usual number of rounds")
    parser.add_argument("--gap", type=float, default=20.0, help="ms of rest before each process; default 20")
    parser.add_argument("--json", type=Path, default=REPO / "build/bench.json")
    args = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("python -m tests.bench: containers with all namespaces need root")

    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # so that what was made is removed
    begin = time.monotonic()
    found = programs([name for name in args.contenders.split(",") if name])
    cgroup2.enter()
    leaks.become_subreaper()
    place = REPO / "build/bench"
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "stele-bench", place], check=True)  # ours alone, gone with the namespace
    timer = compile_timer(place)
    true, sleep = bundle(place / "true", ["/bin/true"]), bundle(place / "sleep", ["/bin/sleep", "100000"])
    contenders = []
    for name, path in found.items():
        root = place / f"root-{name}"
        root.mkdir(mode=0o700)
        timers = [Timer(timer) for _ in range(AT_ONCE)]
        contenders.append(work.Contender(name, path, root, timers, true, sleep, args.gap / 1e3))

    try:
        results, memory = measure_all(contenders, args.only.split(","), place, args.scale)
    finally:
        work.remove_leftovers()

    size = (true / "config.json").stat().st_size
    print(
        f"{platform.release()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}; config.json {size / 1e3:.1f} KB"
    )
    print(f"a rest of {args.gap:g} ms before each process (none in 'at a time'); medians; ratios pair by pair")
    for name, path in found.items():
        print(f"{name}: {path}, {version(path)}")
    print()
    print(table(results))
    print()
    print("memory of a created, waiting container (PSS of init, KiB):", end=" ")
    print(", ".join(f"{name} {pss // 1024}" for name, pss in memory.items()))
    print(f"noise: half of the times lie within {noise(results):.0%} of the median, at the middle row")
    print(f"took {time.monotonic() - begin:.0f} s")
    args.json.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "kernel": platform.release(),
        "cpus": os.cpu_count(),
        "load": os.getloadavg()[0],
        "gap_ms": args.gap,
        "config_bytes": size,
        "versions": {name: version(path) for name, path in found.items()},
        "noise": noise(results),
        "waiting_pss_bytes": memory,
        "results": {label.strip(): told for label, told in results.items()},
    }
    args.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
