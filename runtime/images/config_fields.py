"""Fields of an image's config that containers are made from, checked for type and size."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from runtime.images.model import ImageConfig, ImageError

VOLUMES_MAX, PATH_MAX, NAME_MAX = 1000, 4095, 255
DEPTH_MAX = 64
"""Directories in a path: each volume below another, and each working directory, is made one by one."""
WORDS_MAX = 65536
ENTRY_MAX = 131072
"""Bytes of one argument or variable that the kernel takes (execve(2), MAX_ARG_STRLEN)."""


def check_depths(image: ImageConfig) -> None:
    """Raises: ImageError: a path of the image is so deep, or there are so many, that no container could be made."""
    working_directory(image)
    volume_paths(image)


def working_directory(image: ImageConfig) -> str:
    """Return an absolute path; a relative one counts from the root.

    Raises:
        ImageError: it is too deep.
    """
    return _shallow(absolute(text(image, "WorkingDir")), "WorkingDir")


def volume_paths(image: ImageConfig) -> tuple[str, ...]:
    """Where the image wants volumes: absolute paths, sorted.

    Raises:
        ImageError: one is not a path, or too deep, or there are too many.
    """
    volumes = image.run.get("Volumes") or {}
    if not isinstance(volumes, Mapping):
        raise wrong("Volumes", volumes)
    if len(volumes) > VOLUMES_MAX:
        raise ImageError(f"the image's config: Volumes: it has {len(volumes)}; at most {VOLUMES_MAX} are made")
    found = {absolute(path) for path in volumes}
    for path in found:
        raw = path.encode("utf-8", "replace")
        if path == "/" or "\0" in path or len(raw) > PATH_MAX or max(map(len, raw.split(b"/"))) > NAME_MAX:
            raise no_place(path)
        _shallow(path, "Volumes")
    return tuple(sorted(found))


def absolute(path: str) -> str:
    return posixpath.normpath("/" + path.lstrip("/"))


def _shallow(path: str, key: str) -> str:
    if path.count("/") > DEPTH_MAX:
        raise ImageError(
            f"the image's config: {key}: {ascii(path)[:120]} is {path.count('/')} directories deep; at most {DEPTH_MAX} "
            "are made"
        )
    return path


def no_place(path: str) -> ImageError:
    return ImageError(f"the image's config: Volumes: {ascii(path)[:120]} is not a valid path for a volume")


def text(image: ImageConfig, key: str) -> str:
    value = image.run.get(key) or ""
    if not isinstance(value, str) or len(value) > ENTRY_MAX:
        raise wrong(key, value)
    return value


def words(image: ImageConfig, key: str) -> tuple[str, ...]:
    """Return a list of words; null in it is an empty word. As in Docker, a command may also be one text."""
    value = image.run.get(key) or []
    if isinstance(value, str) and key in ("Cmd", "Entrypoint"):
        value = [value]
    value = ["" if word is None else word for word in value] if isinstance(value, list) else value
    if (
        not isinstance(value, list)
        or len(value) > WORDS_MAX
        or not all(isinstance(word, str) and len(word) < ENTRY_MAX for word in value)
    ):
        raise wrong(key, value)
    return tuple(value)


def wrong(key: str, value: object) -> ImageError:
    return ImageError(f"the image's config: {key}: {ascii(value)[:120]} is not what it must be; the image is broken")
