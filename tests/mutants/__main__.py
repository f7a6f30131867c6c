"""Plant faults, run the tests that concern each, and report which faults nobody saw."""

from __future__ import annotations

import argparse
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from tests.harness.runtime import TOKEN
from tests.mutants import clang, concern, python
from tests.mutants.mutant import Mutant, choose, explained

Item = TypeVar("Item")
REPO = Path(__file__).resolve().parents[2]
EXPLAINED = Path(__file__).with_name("explained.txt")
AREAS = {
    "plan": ("runtime/plan", 90),
    "container": ("runtime/container", 50),
    "images": ("runtime/images", 60),
    "host": ("runtime/host", 60),
    "init": ("cshim/init", 40),
    "shim": ("cshim", 40),
}
"""Each area's folder and how many mutants are taken of it."""
MAKE_SHIM = ["make", "--no-print-directory", "--old-file=build/venv/stele-installed", "shim"]
"""The virtual environment is shared: making it anew in a copy would have it import the copy's modules."""
WORDS_ONLY = ("runtime/plan/explain.py", "runtime/plan/disassembly.py")
"""What is printed for people only."""


def candidates(area: str, only: str) -> Iterator[Mutant]:
    folder = REPO / AREAS[area][0]
    files = sorted(folder.glob("*.c") if area in ("init", "shim") else folder.rglob("*.py"))
    for path in files:
        file = str(path.relative_to(REPO))
        if file not in WORDS_ONLY and file.startswith(only):
            yield from (clang if path.suffix == ".c" else python).mutants(file, path.read_bytes())


class Copy:
    """A copy of the tree with a build of its own, in which one mutant at a time is planted."""

    def __init__(self, place: Path, timeout: float) -> None:
        self.tree, self.timeout = place, timeout
        self.token = f"m{uuid.uuid4().hex[:8]}"
        names = subprocess.run(["git", "ls-files", "-z"], cwd=REPO, stdout=subprocess.PIPE, check=True).stdout
        for name in map(os.fsdecode, names.split(b"\0")):
            if (REPO / name).is_file():
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(REPO / name, place / name, follow_symlinks=False)
        (place / "build").mkdir()
        for name in ("venv", "cache", "bundles", "sources"):
            if (REPO / "build" / name).exists():
                (place / "build" / name).symlink_to(REPO / "build" / name)
        if self._call(MAKE_SHIM, 300) != "passed":
            raise SystemExit(f"{place}: make shim fails without a mutant")

    def _call(self, command: list[str], timeout: float) -> str:
        environment = {
            **os.environ,
            "STELE_BIN": "python",
            TOKEN: self.token,
            "PYTHONPATH": f"{self.tree}:{self.tree / 'build/lib'}",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        process = subprocess.Popen(
            command, cwd=self.tree, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            return "failed" if process.wait(timeout) else "passed"
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            subprocess.run([sys.executable, "-m", "tests.mutants.clean", self.token], cwd=REPO, check=True)
            return "timeout"

    def tests(self, tests: list[str]) -> str:
        return self._call([str(REPO / "build/venv/bin/python"), "-m", "pytest", "-q", "-x", *tests], self.timeout)

    def result(self, mutant: Mutant, usual: float) -> str:
        """killed, survived, timeout; or "broken" for one that does not compile.

        Tests that hang see the mutant, if they are done in a quarter of the time without it (`usual`, in seconds).
        """
        path = self.tree / mutant.file
        source = path.read_bytes()
        path.write_bytes(mutant.apply(source))
        try:
            if path.suffix == ".c" and self._call(MAKE_SHIM, 300) != "passed":
                return "broken"
            found = self.tests(concern.tests_of(mutant.file, self.tree))
            if found == "timeout" and usual * 4 <= self.timeout:
                return "killed"
            return {"failed": "killed", "passed": "survived"}.get(found, found)
        finally:
            path.write_bytes(source)


def _drain(todo: queue.SimpleQueue[Item]) -> Iterator[Item]:
    while True:
        try:
            yield todo.get_nowait()
        except queue.Empty:
            return


def run(mutants: list[Mutant], jobs: int, timeout: float) -> dict[Mutant, str]:
    """What became of each mutant.

    Raises:
        SystemExit: a test fails without any mutant, or is too slow, so that it cannot tell.
    """
    needed: queue.SimpleQueue[tuple[str, ...]] = queue.SimpleQueue()
    # Once: the tree may be edited meanwhile.
    parts = {file: concern.parts_of(file, REPO) for file in {mutant.file for mutant in mutants}}
    for tests in sorted({part for each in parts.values() for part in each}):
        needed.put(tests)
    todo: queue.SimpleQueue[Mutant] = queue.SimpleQueue()
    for mutant in mutants:
        todo.put(mutant)
    unfit: list[str] = []
    usual: dict[tuple[str, ...], float] = {}
    results: dict[Mutant, str] = {}
    all_seen = threading.Barrier(jobs)

    def work(place: Path) -> None:
        try:
            copy = Copy(place, timeout)
            for tests in _drain(needed):
                begun = time.monotonic()
                found = copy.tests(list(tests))
                usual[tests] = time.monotonic() - begun
                if found != "passed":
                    unfit.append(f"{' '.join(tests)}: {'too slow' if found == 'timeout' else 'fails'}")
            all_seen.wait()
        except BaseException:
            all_seen.abort()
            raise
        for mutant in _drain(todo) if not unfit else ():
            results[mutant] = copy.result(mutant, sum(usual[part] for part in parts[mutant.file]))
            print(f"{results[mutant]:8} {mutant.file}:{mutant.number} [{mutant.old} -> {mutant.new}]", flush=True)

    with tempfile.TemporaryDirectory(prefix="stele-mutants-", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)  # tests also run as other users
        workers = [threading.Thread(target=work, args=(Path(folder) / str(n),)) for n in range(jobs)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    if unfit:
        raise SystemExit("\n".join(["these tests cannot tell, even without a mutant:", *sorted(unfit)]))
    return results


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--area", choices=AREAS, action="append", help="only this part of the source; may be repeated")
    parser.add_argument("--only", default="", metavar="PATH", help="only files whose path begins so")
    parser.add_argument("--limit", type=int, help="at most so many mutants an area")
    parser.add_argument("--seed", default="stele", help="chooses other mutants")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--timeout", type=float, default=180, help="seconds for the tests of one mutant")
    asked = parser.parse_args()
    begun = time.monotonic()
    mutants: list[Mutant] = []
    for area in asked.area or AREAS:
        mutants += choose(
            candidates(area, asked.only), AREAS[area][1] if asked.limit is None else asked.limit, asked.seed
        )
    reasons = explained(EXPLAINED)
    todo = [mutant for mutant in mutants if mutant.key not in reasons]
    results = run(todo, asked.jobs, asked.timeout)
    unseen = [mutant for mutant in todo if results.get(mutant) in ("survived", "timeout")]
    for mutant in unseen:
        print(f"{results[mutant]}: {mutant.key}")
    counts = {word: list(results.values()).count(word) for word in ("killed", "survived", "timeout", "broken")}
    print(
        f"{len(mutants)} mutants: {', '.join(f'{n} {word}' for word, n in counts.items())}, {len(mutants) - len(todo)} explained; {time.monotonic() - begun:.0f} s"
    )
    return 1 if unseen or len(results) < len(todo) else 0


if __name__ == "__main__":
    sys.exit(main())
