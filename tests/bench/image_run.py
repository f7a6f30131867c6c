"""What does an image, stored and unpacked before, add to a run of the same files as a bundle?"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from bundles import layout
from tests.bench.timer import Cost
from tests.bench.work import Contender
from tests.harness.images import add_layout

ROUNDS = 60
WARM_UP = 5


def image_run(contenders: Sequence[Contender], place: Path, scale: float) -> dict[str, dict[str, list[Cost]]]:
    """stele's run of a bundle, of an image of its root as an overlay, and as one erofs file, in turns."""
    who = next((each for each in contenders if each.name.startswith("stele")), None)
    if who is None:
        return {}
    args = json.loads((who.true / "config.json").read_text())["process"]["args"]
    name = "docker.io/library/bench:latest"  # as the store has it; people write it short
    layout.write(who.true / "rootfs", place / "layout", name, {"Cmd": args})
    store = place / "store"
    add_layout(store, place / "layout", name)
    image = ["--store", str(store), "run", "--image", "bench"]
    ways = {
        "image": image,
        "image, erofs": [*image, "--rootfs", "erofs"],
        "bundle": ["run", "--bundle", str(who.true)],
    }
    costs: dict[str, list[Cost]] = defaultdict(list)
    for number in range(-WARM_UP, max(3, round(ROUNDS * scale))):
        for way, words in ways.items():
            cost = who.call(*words, who.id())
            if number >= 0:
                costs[way].append(cost)
    return {"run of an image": dict(costs)}
