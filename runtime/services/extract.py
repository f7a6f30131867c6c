"""Copy the files of services out of an image's unpacked layers: regular files and links between them, nothing else.

The image is read as a container would see it; both sides are reached by file descriptors, so that no link of the image
leads a copy anywhere else.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Sequence

from runtime.errors import SteleError
from runtime.images.store.overlay_view import Found, OverlayView
from runtime.services import sources
from runtime.services.quadlet import SIZE_MAX
from runtime.services.sources import NUMBER_MAX

PLACES = ("/etc/stele/services", "/services", "/")
"""Directories of an image that may hold the files; the first that has one counts."""
KINDS = (*sources.KINDS, *sources.FOREIGN, "d")
TOTAL_MAX = 16 << 20
"""Bytes of all files together."""
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def extract(trees: Sequence[str], target: str) -> None:
    """Copy the files.

    Args:
        trees: directories of the unpacked layers, topmost first.
        target: an empty directory.
    Raises:
        SteleError: the image has no such files, or they are too large or too many.
    """
    directory = os.open(target, DIRECTORY)
    try:
        with OverlayView(trees) as view:
            for place in PLACES:
                found = _shown(view, place, KINDS)
                if any(each.name.endswith(".container") for each in found):
                    _Copying(view).all(found, place, directory)
                    return
    finally:
        os.close(directory)
    raise SteleError("the image holds no services: it has no .container file in /etc/stele/services, /services or /")


def _shown(view: OverlayView, place: str, kinds: Collection[str]) -> list[Found]:
    """What `read_services` would look at."""
    found = (each for each in view.listed(place) if not each.name.startswith("."))
    return [each for each in found if each.name.rpartition(".")[2] in kinds]


class _Copying:
    def __init__(self, view: OverlayView) -> None:
        self.view, self.number, self.bytes = view, 0, 0

    def all(self, found: list[Found], place: str, directory: int) -> None:
        """Copy what is in `place`, and in its folders of drop-ins."""
        for each in found:
            if each.is_directory and each.name.endswith(".d"):
                os.mkdir(each.name, 0o700, dir_fd=directory)
                below = os.open(each.name, DIRECTORY, dir_fd=directory)
                try:
                    for inner in _shown(self.view, f"{place}/{each.name}", ("conf",)):
                        self._one(inner, below)
                finally:
                    os.close(below)
            else:
                self._one(each, directory)

    def _one(self, found: Found, directory: int) -> None:
        if stat.S_ISLNK(found.stat.st_mode):
            link = os.readlink(found.name, dir_fd=found.parent)
            if "/" not in link:  # an instance of a template; others could lead out of the image
                os.symlink(link, found.name, dir_fd=directory)
        elif stat.S_ISREG(found.stat.st_mode):
            self._count(found)
            source = os.open(found.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=found.parent)
            with open(source, "rb") as file:
                content = file.read(SIZE_MAX + 1)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with open(os.open(found.name, flags, 0o600, dir_fd=directory), "wb") as copy:
                copy.write(content)

    def _count(self, found: Found) -> None:
        if found.stat.st_size > SIZE_MAX:
            raise SteleError(f"{found.name}: it is larger than {SIZE_MAX >> 20} MiB; split it")
        self.number += 1
        self.bytes += found.stat.st_size
        if self.number > NUMBER_MAX or self.bytes > TOTAL_MAX:
            most = f"{NUMBER_MAX} files or {TOTAL_MAX >> 20} MiB"
            raise SteleError(f"the image holds more than {most} beside its services; split it")
