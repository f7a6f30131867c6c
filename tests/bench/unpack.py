"""From a packed image to files: stele beside umoci, and with the import before it beside `podman load`.

All read and write on the benchmark's tmpfs, so that a disk's moods are in no number. What is removed between rounds is
removed outside the clock. All run at an ordinary priority: at a real-time one of SCHED_FIFO the threads of podman's Go
spin for others that never get the processor (sched(7)), and its load does not end.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from bundles import layout, packages
from tests.bench.timer import Cost, Timer
from tests.bench.work import Contender
from tests.harness.runtime import REPO

ROUNDS = 5
# A Debian of usual size, and one of ten thousand small files.
IMAGES = {
    "debian": ["apt", "bash", "coreutils", "curl", "findutils", "grep", "gzip", "login", "openssh-client", "passwd",
               "perl", "sed", "tar", "util-linux", "vim"],
    "python": ["python3-django", "python3-twisted"],
}  # fmt: skip


def image(name: str) -> Path:
    """The layout of one of IMAGES, made once from Debian's packages and kept in build/cache."""
    kept = REPO / "build/cache/bench" / "+".join(IMAGES[name])
    if not (kept / "index.json").exists():
        with tempfile.TemporaryDirectory(dir=REPO / "build") as staging:
            rootfs = Path(staging) / "rootfs"
            packages.unpack(packages.fetch(IMAGES[name], REPO / "build/cache"), rootfs)
            made = Path(staging) / "layout"
            layout.write(rootfs, made, name, {})
            kept.parent.mkdir(parents=True, exist_ok=True)
            made.rename(kept)
    return kept


def unpack(contenders: list[Contender], place: Path, scale: float) -> dict[str, dict[str, list[Cost]]]:
    """Costs of `unpack` and of `load`, for each image."""
    who = next((each for each in contenders if each.name.startswith("stele")), None)
    if who is None:
        return {}
    rounds = max(3, round(ROUNDS * scale))
    results = {}
    timer = Timer(place / "timer")
    timer.ordinary()
    for name in IMAGES:
        work = place / "unpack"
        source = shutil.copytree(image(name), work / "image")
        archive = work / "image.tar"
        subprocess.run(["tar", "-C", source, "-cf", archive, "."], check=True)
        manifest = json.loads((source / "index.json").read_text())["manifests"][0]["digest"].removeprefix("sha256:")
        layers = json.loads((source / "blobs/sha256" / manifest).read_text())["layers"]
        size = sum(each["size"] for each in layers) // 1_000_000
        with tempfile.TemporaryDirectory(prefix="stele-") as short:
            results[f"unpack {name}, {size} MB"] = _rounds(rounds, work, _unpackers(who, timer, source, name, work))
            loaders = _loaders(who, timer, archive, name, work, Path(short))
            results[f"load {name}, {size} MB"] = _rounds(rounds, work, loaders)
        shutil.rmtree(work)
    timer.close()
    return results


Way = Callable[[], Cost]


def _rounds(rounds: int, work: Path, ways: dict[str, Way]) -> dict[str, list[Cost]]:
    costs: dict[str, list[Cost]] = {name: [] for name in ways}
    for number in range(-1, rounds):
        for name, way in ways.items():
            for left in ("bundle", "store", "podman"):
                subprocess.run(["rm", "-rf", work / left], check=True)
            cost = way()
            if number >= 0:
                costs[name].append(cost)
    return costs


def _unpackers(who: Contender, timer: Timer, source: Path, name: str, work: Path) -> dict[str, Way]:
    store = ["--store", str(work / "kept")]
    subprocess.run(
        [who.program, *store, "image", "import", "-q", f"oci:{source}", name], check=True, stdout=subprocess.DEVNULL
    )
    bundle = str(work / "bundle")
    ways = {who.name: lambda: timer.run([who.program, *store, "unpack", name, bundle])}
    if umoci := shutil.which("umoci"):
        ways["umoci"] = lambda: timer.run([umoci, "unpack", "--image", f"{source}:{name}", bundle])
    return ways


def _loaders(who: Contender, timer: Timer, archive: Path, name: str, work: Path, short: Path) -> dict[str, Way]:
    store = ["--store", str(work / "store")]

    def stele() -> Cost:
        took = timer.run([who.program, *store, "image", "import", "-q", f"oci-archive:{archive}", name])
        return took + timer.run([who.program, *store, "unpack", name, str(work / "bundle")])

    ways = {who.name: stele}
    if podman := shutil.which("podman"):
        roots = ["--root", str(work / "podman"), "--runroot", str(short), "--storage-driver", "overlay"]
        ways["podman"] = lambda: timer.run([podman, *roots, "load", "-q", "-i", str(archive)])
    return ways
