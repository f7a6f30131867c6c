"""Named volumes: directories below <store>/volumes that `--volume NAME:DST` makes, and that nobody but the user removes."""

from __future__ import annotations

import os
from dataclasses import dataclass

from runtime.errors import SteleError
from runtime.images.collect import uses
from runtime.images.files import locked, remove_tree
from runtime.images.model import ImageError
from runtime.images.overrides import VOLUME_NAME
from runtime.images.store import ImageStore
from runtime.oci.load import load_document

PLACE = "volumes"
GONE = ".gone-"


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
        try:
            config = load_document(f"{use['root']}/{use['id']}/bundle/config.json", advice="")
        except SteleError:
            continue  # the container is gone, as after a reboot, or it is not made yet
        for mount in config.get("mounts", ()):
            folder, _, name = str(mount.get("source", "")).rpartition("/")
            if folder and os.path.realpath(folder) == place:
                found.setdefault(name, []).append(use["id"])
    return found
