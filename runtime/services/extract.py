"""Copy the files of services out of an image's unpacked layers: regular files and links between them, nothing else."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from runtime.errors import SteleError
from runtime.services.quadlet import SIZE_MAX

PLACES = ("etc/stele/services", "services", ".")
"""Directories of an image that may hold the files; the first that has one counts."""
WHITEOUT = 0
"""Device number of a character device that stands for a removed file (overlayfs)."""


def extract(trees: Sequence[str], target: str) -> None:
    """Copy the files.

    Args:
        trees: directories of the unpacked layers, topmost first.
        target: an empty directory.
    Raises:
        SteleError: the image has no such files, or one is too large.
    """
    for place in PLACES:
        if _copy(trees, place, target):
            return
    raise SteleError("the image holds no services: it has no .container file in /etc/stele/services, /services or /")


def _copy(trees: Sequence[str], place: str, target: str) -> bool:
    found: dict[str, str] = {}
    for tree in trees:
        for name, path in _listed(tree, place):
            found.setdefault(name, path)
            if name.endswith(".d"):
                for more, inner in _listed(tree, f"{place}/{name}"):
                    found.setdefault(f"{name}/{more}", inner)
    if not any(name.endswith(".container") for name in found):
        return False
    for name, path in sorted(found.items()):
        _copy_one(path, f"{target}/{name}")
    return True


def _listed(tree: str, place: str) -> list[tuple[str, str]]:
    """List a directory of a layer without following a link on the way to it."""
    directory = tree
    for part in place.split("/"):
        directory = f"{directory}/{part}"
        try:
            if not stat.S_ISDIR(os.lstat(directory).st_mode):
                return []
        except FileNotFoundError:
            return []
    return [(name, f"{directory}/{name}") for name in sorted(os.listdir(directory)) if not name.startswith(".")]


def _copy_one(source: str, target: str) -> None:
    about = os.lstat(source)
    if stat.S_ISDIR(about.st_mode):
        if target.endswith(".d"):
            os.makedirs(target, exist_ok=True)
    elif stat.S_ISLNK(about.st_mode):
        link = os.readlink(source)
        if "/" not in link:  # an instance of a template; others could lead out of the image
            os.symlink(link, target)
    elif stat.S_ISREG(about.st_mode):
        if about.st_size > SIZE_MAX:
            raise SteleError(f"{os.path.basename(source)}: it is larger than {SIZE_MAX >> 20} MiB; split it")
        fd = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(fd, "rb") as file, open(target, "wb") as copy:
            copy.write(file.read(SIZE_MAX + 1))
