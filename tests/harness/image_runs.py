"""A store of images for one test module, and containers that run from it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.harness.bundles import BUSYBOX
from tests.harness.images import add_image, add_layout, layer

SHELL = {
    "bin/": None,
    "bin/busybox": BUSYBOX.read_bytes(),
    **dict.fromkeys(("bin/sh", "bin/id", "bin/cat"), "-> busybox"),
}
Run = Callable[..., subprocess.CompletedProcess[str]]


class Images:
    """A store for one test module, and commands that use it."""

    def __init__(self, folder: Path, built: Callable[[str], tuple[Path, Path]]) -> None:
        self.path = folder / "store"
        self.folder = folder
        self._built = built
        self._taken: set[str] = set()

    def recipe(self, name: str) -> str:
        """The image of a recipe of bundles/, imported once."""
        if name not in self._taken:
            add_layout(self.path, self.layout(name), name)
            self._taken.add(name)
        return name

    def layout(self, name: str) -> Path:
        """The image of a recipe as a folder."""
        return self._built(name)[1]

    def made(self, name: str, *layers: dict[str, Any], **run: Any) -> str:
        """An image of busybox and these layers above it."""
        add_image(self.path, name, [layer(SHELL), *map(layer, layers)], {"Cmd": ["/bin/sh"], **run})
        return name

    def uses(self) -> list[str]:
        folder = self.path / "uses"
        return sorted(os.listdir(folder)) if folder.exists() else []


def ok(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return str(done.stdout)
