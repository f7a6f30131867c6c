"""A whole image as one file: an erofs file system of its merged layers, mounted straight from the file.

<store>/erofs/<hex>.erofs, and beside it <hex>.json with what it must be: digest, size, and the fs-verity digest where
the store's file system has that. <hex> is of the layers' diff_ids, so images with the same layers share one.
With fs-verity the kernel checks each block as it is read; without it the whole file is hashed before its first mount
after a boot. Source: mkfs.erofs(1), Linux Documentation/filesystems/{erofs,fsverity}.rst.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass

from runtime.host import verity
from runtime.host.hashing import Sha256
from runtime.host.trees import remove_tree
from runtime.images.model import ImageConfig, ImageError
from runtime.images.store.files import locked
from runtime.images.store.store import ImageStore

PLACE = "erofs"
PIECE = 1 << 20
RECORD_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Sealed:
    """One such file. digest: `sha256:...` of its bytes; verity: what FS_IOC_MEASURE_VERITY says, "" for none."""

    path: str
    digest: str
    size: int
    verity: str


def name_of(config: ImageConfig) -> str:
    """The hex name that the layers of an image give."""
    return Sha256(" ".join(config.diff_ids).encode()).hexdigest()


def sealed(store: ImageStore, config: ImageConfig) -> Sealed | None:
    """The file that stands for an image's layers, if there is one.

    Raises:
        ImageError: its record is damaged.
    """
    path = f"{store.path}/{PLACE}/{name_of(config)}"
    try:
        with open(f"{path}.json", "rb") as file:
            content = json.loads(file.read(RECORD_MAX).decode("utf-8"))
        return Sealed(f"{path}.erofs", str(content["digest"]), int(content["size"]), str(content["verity"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise ImageError(f"{path}.json is damaged; remove it, and the image is made again") from None


def existing(store: ImageStore, config: ImageConfig) -> Sealed | None:
    """Return the file that stands for an image's layers, waiting for whoever makes or removes one; None if there is none.

    Raises:
        ImageError: its record is damaged.
    """
    if store.read_only():
        return sealed(store, config)
    with locked(store.directory(PLACE), "lock", stoppable=True):
        known = sealed(store, config)
        return known if known and os.path.exists(known.path) else None


def check(found: Sealed, cache: str) -> None:
    """See that the file is what was recorded: by its fs-verity digest when it is mounted, else by hashing it here.

    Args:
        cache: a directory that is new after each boot: a file that was hashed and has not changed since is believed.
    Raises:
        ImageError: it is another.
    """
    if found.verity:
        return
    with open(found.path, "rb", buffering=0) as file:
        now = os.fstat(file.fileno())
        seen = f"{now.st_dev} {now.st_ino} {now.st_size} {now.st_mtime_ns} {now.st_ctime_ns} {found.digest}"
        mark = f"{cache}/erofs-{found.digest.removeprefix('sha256:')}"
        with contextlib.suppress(OSError), open(mark, "rb") as known:
            if known.read(RECORD_MAX) == seen.encode():
                return
        if now.st_size != found.size or hash_file(file.fileno()) != found.digest:
            raise ImageError(f"{found.path} is not what was made: its digest differs from {found.digest}; remove it")
    os.makedirs(cache, mode=0o700, exist_ok=True)
    with open(f"{mark}.{os.getpid()}", "wb") as new:
        new.write(seen.encode())
    os.rename(f"{mark}.{os.getpid()}", mark)


def collect(store: ImageStore, keep: set[str], limit: float) -> int:
    """Remove the files of images that need a layer which nobody needs any more; what has one mounted keeps it.

    Args:
        keep: digests that are needed. limit: younger ones stay, seconds since the epoch.
    Returns:
        bytes.
    """
    place = store.directory(PLACE)
    size = 0
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(locked(place, "lock", wait=False))
        except BlockingIOError:
            return 0  # somebody makes one, which takes long; the store, which gc has locked, is not to stand still meanwhile
        names = os.listdir(place)
        for name in [n for n in names if n.startswith(".")]:
            remove_tree(place, name)  # of a maker who was killed: the lock is ours
        for name in [n.removesuffix(".json") for n in names if n.endswith(".json") and not n.startswith(".")]:
            with open(f"{store.path}/{PLACE}/{name}.json", "rb") as file:
                old = os.fstat(file.fileno()).st_mtime < limit
                layers = _layers(file.read(RECORD_MAX))
            if not old or (layers and keep.issuperset(layers)):
                continue
            os.unlink(f"{name}.json", dir_fd=place)
            with contextlib.suppress(FileNotFoundError):
                size += os.stat(f"{name}.erofs", dir_fd=place).st_size
                os.unlink(f"{name}.erofs", dir_fd=place)
    return size


def faults(store: ImageStore, config: ImageConfig | None = None) -> list[tuple[str, str]]:
    """Hash every file again, or that of one image: of those that are not what was made, the recorded digest and words."""
    found = []
    for name in sorted(n.removesuffix(".json") for n in store.entries(PLACE) if n.endswith(".json") and n[0] != "."):
        if config is not None and name != name_of(config):
            continue
        path = f"{store.path}/{PLACE}/{name}"
        try:
            with open(f"{path}.json", "rb") as record, open(f"{path}.erofs", "rb", buffering=0) as file:
                content = json.loads(record.read(RECORD_MAX).decode("utf-8"))
                digest = str(content["digest"])
                if hash_file(file.fileno()) == digest and verity.measure(file.fileno()) == content["verity"]:
                    continue
        except (OSError, ValueError, KeyError, TypeError):
            digest = ""
        found.append((digest, f"{path}.erofs is not what was made; remove it and its .json, and it is made again"))
    return found


def _layers(record: bytes) -> list[str]:
    """The diff_ids that a record names; [] for a damaged one."""
    try:
        return [str(digest) for digest in json.loads(record.decode("utf-8"))["layers"]]
    except (ValueError, KeyError, TypeError):
        return []


def hash_file(fd: int) -> str:
    found = Sha256()
    at = 0
    while piece := os.pread(fd, PIECE, at):
        found.update(piece)
        at += len(piece)
    return "sha256:" + found.hexdigest()
