"""Bundles for tests: a busybox root file system and a docker-like config.json, both to be changed at will."""

from __future__ import annotations

import copy
import itertools
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bundles.config import docker_like

BUSYBOX = Path("/bin/busybox")  # Debian's busybox-static


def busybox_rootfs(target: Path) -> Path:
    """A root file system of the static busybox, its applets, and the folders that a container expects."""
    for folder in ("bin", "dev", "etc", "home", "proc", "root", "sys", "tmp", "usr", "var", "run"):
        (target / folder).mkdir(parents=True, exist_ok=True)
    shutil.copy(BUSYBOX, target / "bin/busybox")
    applets = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split()
    for applet in applets:
        if applet != "busybox":
            (target / "bin" / applet).symlink_to("busybox")
    (target / "tmp").chmod(0o1777)
    (target / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home:/bin/sh\n")
    (target / "etc/group").write_text("root:x:0:\nuser:x:1000:\n")
    return target


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with `changes` laid over: objects are merged, anything else is replaced, None removes."""
    merged = copy.deepcopy(base)
    for key, value in changes.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


class BundleFactory:
    """`bundle(args, changes)` makes a bundle and returns its folder.

    Each bundle has a rootfs of its own, so a test may write to it; `master` is copied and never changed.
    """

    def __init__(self, folder: Path, master: Path) -> None:
        self.folder = folder
        self.master = master
        self._numbers = itertools.count(1)

    def __call__(
        self,
        args: list[str],
        changes: dict[str, Any] | None = None,
        *,
        edit: Callable[[dict[str, Any]], None] | None = None,
        readonly: bool = False,
        seccomp: bool = False,
        terminal: bool = False,
    ) -> Path:
        """Make a bundle that runs `args`.

        Args:
            changes: laid over the docker-like config.json by `merge`.
            edit: called with the config last, for changes inside lists.
            seccomp: with the whole default profile.
        """
        bundle = self.folder / f"bundle{next(self._numbers)}"
        shutil.copytree(self.master, bundle / "rootfs", symlinks=True)
        config = docker_like(args, readonly=readonly, seccomp=seccomp, terminal=terminal)
        config = merge(config, changes or {})
        if edit:
            edit(config)
        (bundle / "config.json").write_text(json.dumps(config, indent=2))
        return bundle
