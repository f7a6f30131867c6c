"""Look into an image as a container would see it, without mounting anything: layer by layer, name by name.

No path is ever given to the kernel: each name is looked up in a directory that is held open and never followed, so a
layer cannot lead out of itself. Source: overlayfs.rst ("whiteouts and opaque directories", "Merging").
"""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
import stat
from collections.abc import Sequence
from dataclasses import dataclass

from runtime.images.model import ImageError

LINKS_MAX = 40
OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class Found:
    """Something in the image. parent: the directory of the layer that it is in, open until `OverlayView` is closed."""

    parent: int
    name: str
    stat: os.stat_result

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.stat.st_mode)


class OverlayView:
    """The root of an image, for look-ups; to be closed, or used in a with statement.

    Args:
        layers: directories in overlayfs form, the highest first.
    """

    def __init__(self, layers: Sequence[str]) -> None:
        self._open = contextlib.ExitStack()
        with contextlib.ExitStack() as guard:
            guard.callback(self._open.close)
            self._root = [self._kept(os.open(path, DIRECTORY)) for path in layers]
            guard.pop_all()

    def __enter__(self) -> OverlayView:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def look_up(self, path: str) -> Found | None:
        """What is at an absolute path, links followed in the image; None if nothing is.

        Raises:
            ImageError: too many links.
        """
        return self._walk(path)[0]

    def listed(self, path: str) -> list[Found]:
        """What is in the directory at an absolute path, in order of names, links as such; nothing if it is none.

        Raises:
            ImageError: too many links.
        """
        there, _, directories = self._walk(path)
        if there is None or not there.is_directory:
            return []
        found: dict[str, Found] = {}
        for directory in directories:
            for name in os.listdir(directory):
                if name not in found:
                    found[name] = Found(directory, name, os.stat(name, dir_fd=directory, follow_symlinks=False))
        return [each for _, each in sorted(found.items()) if not _is_whiteout(each.stat)]

    def canonical(self, path: str) -> str:
        """An absolute path without links, as far as it leads; the rest of what is missing is taken as it is written.

        Raises:
            ImageError: too many links.
        """
        return "/" + "/".join(self._walk(path)[1])

    def _walk(self, path: str) -> tuple[Found | None, list[str], list[int]]:
        """The file; its path without links; and for a directory, the directories it is merged from."""
        above: list[list[int]] = [self._root]
        led: list[str] = []
        names = _names(path)
        found: Found | None = None
        links = 0
        while names:
            name = names.pop()
            if name == ".":  # what is before it is a directory, or we would not be here
                continue
            if name == "..":
                above = above[:-1] or above
                found = None
                del led[-1:]
                continue
            found, below = self._step(above[-1], name)
            if found is None:
                rest = posixpath.normpath("/".join(["", *led, name, *reversed(names)])).split("/")[1:]
                return None, rest, []
            if stat.S_ISLNK(found.stat.st_mode):
                links += 1
                if links > LINKS_MAX:
                    raise ImageError(f"{path!a} in the image: too many symbolic links")
                target = os.readlink(found.name, dir_fd=found.parent)
                names += _names(target)
                above, led = ([self._root], []) if target.startswith("/") else (above, led)
                continue
            led.append(name)
            if below:
                above.append(below)
            elif names:
                return None, [*led, *reversed(names)], []
        if found is None or stat.S_ISLNK(found.stat.st_mode):
            top = above[-1][0]
            return Found(top, ".", os.fstat(top)), led, above[-1]
        return found, led, above[-1]

    def read(self, path: str, limit: int) -> bytes:
        """A regular file; b"" if there is none.

        Args:
            limit: the largest size that is believed, in bytes.
        Raises:
            ImageError: it is larger, or no regular file (CVE-2024-5154, CVE-2026-47262).
        """
        found = self.look_up(path)
        if found is None:
            return b""
        if not stat.S_ISREG(found.stat.st_mode):
            raise ImageError(f"{path} in the image is not a regular file; it cannot be read")
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        with os.fdopen(os.open(found.name, flags, dir_fd=found.parent), "rb") as file:
            content: bytes = file.read(limit + 1)
        if len(content) > limit:
            raise ImageError(f"{path} in the image is larger than {limit >> 10} KiB; no honest one is")
        return content

    def _kept(self, fd: int) -> int:
        self._open.callback(os.close, fd)
        return fd

    def _step(self, directories: list[int], name: str) -> tuple[Found | None, list[int]]:
        """`name` in a merged directory: the file, and for a directory, the directories it is merged from."""
        merged: list[int] = []
        first: Found | None = None
        for directory in directories:
            try:
                told = os.stat(name, dir_fd=directory, follow_symlinks=False)
            except OSError as e:
                if e.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
                    raise
                continue  # it is not there; what a link calls may be longer than any name
            if _is_whiteout(told):
                break
            if not stat.S_ISDIR(told.st_mode):
                first = first or Found(directory, name, told)
                break
            first = first or Found(directory, name, told)
            below = self._kept(os.open(name, DIRECTORY, dir_fd=directory))
            merged.append(below)
            if is_opaque(below):
                break
        return first, merged


def _is_whiteout(told: os.stat_result) -> bool:
    return stat.S_ISCHR(told.st_mode) and told.st_rdev == 0


def _names(path: str) -> list[str]:
    """The names of a path, the last first. A slash at the end asks for a directory, as "." does (path_resolution(7))."""
    return [name for name in reversed(f"{path}.".split("/") if path.endswith("/") else path.split("/")) if name]


def is_opaque(fd: int) -> bool:
    """Whether a directory of a tree in overlayfs form hides what is below it."""
    return any(attribute in OPAQUE for attribute in os.listxattr(fd))
