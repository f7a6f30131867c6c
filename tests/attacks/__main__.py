"""python -m tests.attacks: the table of attacks against stele and the runtimes installed beside it."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from tests.attacks import images, load
from tests.attacks.arena import ATTACKS, HELD, UNKNOWN, Outcome, arena, programs
from tests.harness import cgroup2, leaks


def against(name: str, runtime: str, rounds: int) -> Outcome:
    """Run one attack against one runtime."""
    row = ATTACKS[name]
    folder = Path(tempfile.mkdtemp(prefix=f"stele-attack-{name}-"))
    try:
        # Most peers need far more time for a round; a hundred tell enough of them.
        rounds = rounds or (row.rounds if runtime == "stele" else min(row.rounds, 100))
        with arena(programs(runtime), folder / "a", rounds=rounds) as ground:
            return row.run(ground)
    except Exception as e:  # shown in the table; the others still run
        return Outcome(UNKNOWN, f"{type(e).__name__}: {e}"[:300])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """Print the table; 1 if stele is broken by anything or could not be tried."""
    parser = argparse.ArgumentParser(prog="python -m tests.attacks")
    parser.add_argument("--only", action="append", default=[], help="rows, as B3")
    parser.add_argument("--runtime", action="append", default=[], help="stele, runc, crun or a path")
    parser.add_argument("--rounds", type=int, default=0, help="of each race; 0: each its own number")
    parser.add_argument("--details", action="store_true", help="what was seen, under each row")
    args = parser.parse_args()
    cgroup2.enter()
    leaks.become_subreaper()
    load()
    runtimes = args.runtime or ["stele", *(peer for peer in ("runc", "crun") if shutil.which(peer))]
    print(f"{'class':6}{'CVE':21}" + "".join(f"{Path(r).name:9}" for r in runtimes) + "attack")
    bad = False
    for name in args.only or ATTACKS:
        outcomes = [against(name, runtime, args.rounds) for runtime in runtimes]
        row = ATTACKS[name]
        print(f"{row.id:6}{row.cve:21}" + "".join(f"{o.verdict:9}" for o in outcomes) + row.title, flush=True)
        for runtime, outcome in zip(runtimes, outcomes, strict=True):
            if outcome.detail and (args.details or (runtime == "stele" and outcome.verdict in ("BROKEN", UNKNOWN))):
                print(f"{'':27}{Path(runtime).name}: {outcome.detail}")
            bad |= runtime == "stele" and outcome.verdict in ("BROKEN", UNKNOWN)
    if not args.only and "stele" in runtimes:
        for image_row, outcome in images.outcomes():
            cells = "".join(f"{outcome.verdict if runtime == 'stele' else '-':9}" for runtime in runtimes)
            print(
                f"{image_row.id:6}{image_row.cve:21}{cells}{image_row.title}"
                + (f" ({outcome.detail})" if args.details else "")
            )
            bad |= outcome.verdict != HELD
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
