"""Named volumes: directories below <store>/volumes that `--volume NAME:DST` makes, and that nobody but the user removes."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from runtime.errors import HostError, SteleError
from runtime.host.trees import open_dir, remove_tree
from runtime.images.model import ImageError
from runtime.images.references import VOLUME_NAME
from runtime.images.store.files import locked
from runtime.images.store.store import ImageStore
from runtime.images.store.uses import uses

PLACE = "volumes"
GONE, NEW = ".gone-", ".new-"


@dataclass(frozen=True, slots=True)
class Kept:
    """A volume that is kept. path: absolute. containers: the ids of those that have it, running or not, sorted."""

    name: str
    path: str
    containers: tuple[str, ...]


def kept(store: ImageStore) -> list[Kept]:
    """All volumes, sorted by name. Raises: ImageError: it cannot be known what a container uses."""
    users = _users(store)
    names = [name for name in store.entries(PLACE) if VOLUME_NAME.fullmatch(name)]
    return [Kept(name, f"{store.path}/{PLACE}/{name}", tuple(users.get(name, ()))) for name in sorted(names)]


def make(store: ImageStore, name: str, uid: int, gid: int, mode: int) -> None:
    """Make a volume, unless it is there. It has its name only once it has its owner and mode.

    The caller holds the store's lock until it is written down who uses the volume: nobody removes it in between.

    Raises:
        HostError: it cannot be made.
    """
    try:
        _make(store, name, uid, gid, mode)
    except OSError as e:
        raise HostError(
            f'volume "{name}": cannot make it in {store.path}/{PLACE}: {os.strerror(e.errno or 0)}', e.errno or 0
        ) from None


def _make(store: ImageStore, name: str, uid: int, gid: int, mode: int) -> None:
    place = store.directory(PLACE)
    if os.path.isdir(f"{store.path}/{PLACE}/{name}"):
        return
    remove_tree(place, f"{NEW}{name}")  # of one who was killed
    os.mkdir(f"{NEW}{name}", 0o700, dir_fd=place)
    fd = open_dir(f"{NEW}{name}", place)
    try:
        os.fchown(fd, uid, gid)
        os.fchmod(fd, mode)
    finally:
        os.close(fd)
    os.rename(f"{NEW}{name}", name, src_dir_fd=place, dst_dir_fd=place)


def remove(store: ImageStore, name: str) -> None:
    """Remove a volume, with all that is in it.

    Raises:
        ImageError: there is none of this name. SteleError: a container has it.
    """
    store.check_writable()
    place = store.directory(PLACE)
    with locked(store.directory(), "lock"):
        found = next((volume for volume in kept(store) if volume.name == name), None)
        if found is None:
            raise ImageError(
                f"volume {name!a} is not in the store {store.path}; `stele volume list` shows those that are"
            )
        if found.containers:
            raise SteleError(f'volume "{name}": container "{found.containers[0]}" has it; delete that first')
        remove_tree(place, f"{GONE}{name}")  # of one who was killed
        os.rename(name, f"{GONE}{name}", src_dir_fd=place, dst_dir_fd=place)
        remove_tree(place, f"{GONE}{name}")


def _users(store: ImageStore) -> dict[str, list[str]]:
    """Volumes to the ids of the containers that have them."""
    found: dict[str, list[str]] = {}
    place = os.path.realpath(f"{store.path}/{PLACE}")
    for use in sorted(uses(store).values(), key=lambda use: str(use["id"])):
        state = f"{use['root']}/{use['id']}"
        # The use is written before the container has its config.json, and may be there still after a reboot.
        names = set(use.get("volumes", ())) if os.path.lexists(state) else set()
        for mount in _mounts(f"{state}/bundle/config.json"):
            folder, _, name = str(mount.get("source", "")).rpartition("/")
            if folder and os.path.realpath(folder) == place:
                names.add(name)
        for name in names:
            found.setdefault(name, []).append(use["id"])
    return found


def _mounts(path: str) -> Iterator[dict[str, Any]]:
    """Those of a container's config.json, which is as stele wrote it: bytes that are no UTF-8 stand in it as surrogates.

    Raises:
        ImageError: it cannot be read, so what the container has is not known.
    """
    # Else the container is gone, as after a reboot, or it is not made yet.
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        try:
            with open(path, "rb") as file:
                yield from json.load(file)["mounts"]
        except (ValueError, KeyError, TypeError):
            raise ImageError(
                f"{path} is damaged, so it is not known what volumes its container has; delete that container"
            ) from None
