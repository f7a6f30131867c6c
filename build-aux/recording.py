"""Have the linked launcher take its snapshot, in surroundings that are the same each time, until one comes out twice."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bundles import layout
from bundles.config import docker_like

HERE = Path(__file__).resolve().parent
CORRECTED = 2  # the launcher's exit status when its lessons were wrong
CORRECTIONS = 20  # at most; usual are none or one
TOGETHER, RECORDINGS = 2, 8  # at a time, at most
TIMEOUT = 1800  # seconds, for one step of a recording: some where the processor is emulated
TINY = ("-Os", "-static", "-nostdlib", "-fno-pie", "-no-pie", "-ffreestanding")


@dataclass(frozen=True)
class Recording:
    """What the launcher reported about itself."""

    snapshot: bytes
    pages: bytes
    """For each page of pydata and pybss, how many of the usual commands write it."""
    maps: str
    """/proc/PID/maps of the process that was dumped; its addresses beside the snapshot's are not the same each time."""
    modules: str


def surroundings(folder: Path) -> list[str | Path]:
    """The words before a command, a path below the folder, that make all around it the same each time: see alone.c."""
    alone = folder / "alone"
    if not alone.exists():
        subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", alone, HERE / "alone.c"], check=True)
        for place in ("proc", "sys/fs/cgroup", "dev"):
            (folder / place).mkdir(parents=True)
        (folder / "dev/null").touch()
    return [alone, folder]


def record(bare: Path, seed: int) -> Recording:
    """Let the launcher take its snapshot, with nothing of our environment."""
    with tempfile.TemporaryDirectory(prefix="stele-build-", dir="/tmp") as name:  # as deep in any build
        folder = Path(name)
        shutil.copy(bare, folder / "bare")
        words = "".join("".join(f"{word}\n" for word in words) + "\n" for words in commands(folder))
        (folder / "commands").write_text(words)

        def launch(step: str, output: str) -> int:
            return subprocess.run(
                [*surroundings(folder), "./bare", step, output, str(seed), "commands", "lessons"],
                env={"TZ": "UTC"}, stdin=subprocess.DEVNULL, timeout=TIMEOUT, check=False, umask=0o022,
            ).returncode  # fmt: skip

        if launch("--dump", "snapshot") != CORRECTED:
            raise SystemExit("seal: the launcher does not start")
        for step, output in (("--learn", "pages"), ("--dump", "snapshot")):
            status = next((s for _ in range(CORRECTIONS) if (s := launch(step, output)) != CORRECTED), CORRECTED)
            if status:
                raise SystemExit(f"seal: {step} of the launcher came to no end ({status})")
        maps, modules = (folder / "snapshot.maps").read_text(), (folder / "modules").read_text()
        return Recording((folder / "snapshot").read_bytes(), (folder / "pages").read_bytes(), maps, modules)


def recorded(bare: Path, seed: int) -> Recording:
    """The recording that comes out twice. On a busy machine a command may have to wait where it never waits else.

    Each is sound; where no two are the same, that is said, and the last one serves.
    """
    seen: list[Recording] = []
    with ThreadPoolExecutor(TOGETHER) as pool:
        while len(seen) < RECORDINGS:
            for new in pool.map(lambda _: record(bare, seed), range(TOGETHER)):
                if any((new.snapshot, new.pages) == (old.snapshot, old.pages) for old in seen):
                    return new
                seen.append(new)
    print(
        f"seal: of {len(seen)} snapshots no two are the same: another build will differ from this one", file=sys.stderr
    )
    return seen[-1]


def commands(folder: Path) -> list[list[str]]:
    """The usual commands, and what they run in the folder: bundles, and an image that is unpacked.

    The first word of each says whether it "must" succeed.

    As root they really start containers, in no cgroup and under a --root in the folder, which is where they run. Else
    they fail where root is needed first, and what comes behind is not laid out for speed.
    """
    for name, words in (("ends", ["/pause", "end"]), ("waits", ["/pause"])):
        root = folder / name / "rootfs"
        for inside in ("proc", "dev", "sys"):
            (root / inside).mkdir(parents=True)
        subprocess.run(["gcc", *TINY, "-o", root / "pause", HERE / "pause.c"], check=True)
        config = docker_like(words)
        del config["linux"]["resources"]
        (folder / name / "config.json").write_text(json.dumps(config))
    root, store = folder / "ends/rootfs", folder / "store"
    layout.write(root, store, "localhost/image:latest", {"Cmd": ["/pause", "end"]})
    layer = store / "layers/sha256" / hashlib.sha256(layout.layer_tar(root)).hexdigest()
    shutil.copytree(root, layer / "tree")
    (manifest,) = json.loads((store / "index.json").read_bytes())["manifests"]
    (blob,) = json.loads((store / "blobs/sha256" / manifest["digest"][7:]).read_bytes())["layers"]
    (layer / blob["digest"][7:]).symlink_to("tree")  # see runtime/images/store/layers.py
    chain = f"stele stack\nsha256:{layer.name}"  # see stack_id of runtime/images/store/contents.py
    stack = store / "stacks" / hashlib.sha256(chain.encode()).hexdigest()
    stack.mkdir(parents=True)
    (stack / "layers").write_text("1")
    (folder / "state").mkdir(mode=0o700)
    own = ["--root", "state", "--store", "store", "--cgroup-manager", "disabled"]
    ends, waits = (["--bundle", name] for name in ("ends", "waits"))
    must, may = ("must" if os.geteuid() == 0 else "may"), "may"
    return [
        [must, "stele", "--version"],
        [must, "stele", "features"],
        [must, "stele", *own, "run", *ends, "one"],
        [must, "stele", *own, "run", "--image", "image", "three"],
        [must, "stele", *own, "create", *waits, "--pid-file", "pid", "two"],
        [must, "stele", *own, "state", "two"],
        [must, "stele", *own, "start", "two"],
        [must, "stele", *own, "exec", "two", "/pause", "end"],
        [must, "stele", *own, "list"],
        [must, "stele", *own, "ps", "two"],
        [must, "stele", *own, "kill", "two", "KILL"],
        [may, "stele", *own, "wait", "two"],
        [must, "stele", *own, "delete", "--force", "two"],
        [may, "stele", *own, "state", "two"],
    ]
