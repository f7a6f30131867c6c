"""From a packed image to files: stele beside umoci, and with the import before it beside `podman load`.

All read and write on the benchmark's tmpfs, so that a disk's moods are in no number. What is removed between rounds is
removed outside the clock.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from bundles import layout, packages
from tests.bench.timer import Cost
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
    for name in IMAGES:
        work = place / "unpack"
        source = shutil.copytree(image(name), work / "image")
        archive = work / "image.tar"
        subprocess.run(["tar", "-C", source, "-cf", archive, "."], check=True)
        manifest = json.loads((source / "index.json").read_text())["manifests"][0]["digest"].removeprefix("sha256:")
        layers = json.loads((source / "blobs/sha256" / manifest).read_text())["layers"]
        size = sum(each["size"] for each in layers) // 1_000_000
        with tempfile.TemporaryDirectory(prefix="stele-") as short:
            results[f"unpack {name}, {size} MB"] = _rounds(rounds, work, _unpackers(who, source, name, work))
            results[f"load {name}, {size} MB"] = _rounds(rounds, work, _loaders(who, archive, name, work, Path(short)))
        shutil.rmtree(work)
    return results


Way = Callable[[], Cost]


def _rounds(rounds: int, work: Path, ways: dict[str, Way]) -> dict[str, list[Cost]]:
    costs: dict[str, list[Cost]] = {name: [] for name in ways}
    for number in range(-1, rounds):
        for name, way in ways.items():
            for left in ("bundle", "store", "podman"):
                subprocess.run(["rm", "-rf", work / left], check=True)
            if name not in costs:
                continue
            try:
                cost = way()
            except SystemExit as e:
                if name == next(iter(ways)):
                    raise
                print(f"left out: {e}")
                del costs[name]
                continue
            if number >= 0:
                costs[name].append(cost)
    return costs


def _unpackers(who: Contender, source: Path, name: str, work: Path) -> dict[str, Way]:
    store = ["--store", str(work / "kept")]
    subprocess.run(
        [who.program, *store, "image", "import", "-q", f"oci:{source}", name], check=True, stdout=subprocess.DEVNULL
    )
    bundle = str(work / "bundle")
    ways = {who.name: lambda: who.timers[0].run([who.program, *store, "unpack", name, bundle])}
    if umoci := shutil.which("umoci"):
        ways["umoci"] = lambda: who.timers[0].run([umoci, "unpack", "--image", f"{source}:{name}", bundle])
    return ways


def _loaders(who: Contender, archive: Path, name: str, work: Path, short: Path) -> dict[str, Way]:
    store = ["--store", str(work / "store")]

    def stele() -> Cost:
        took = who.timers[0].run([who.program, *store, "image", "import", "-q", f"oci-archive:{archive}", name])
        return took + who.timers[0].run([who.program, *store, "unpack", name, str(work / "bundle")])

    ways = {who.name: stele}
    if podman := shutil.which("podman"):
        roots = ["--root", str(work / "podman"), "--runroot", str(short), "--storage-driver", "overlay"]
        # Podman 4.3 was seen to spin for ever in its own unpacker, once in some dozens of loads.
        patience = ["timeout", "--kill-after=5", "20"]
        ways["podman"] = lambda: who.timers[0].run([*patience, podman, *roots, "load", "-q", "-i", str(archive)])
    return ways
