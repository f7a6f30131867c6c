"""What of a store is still needed, what can go, and whether what is there is sound."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runtime.errors import SteleError
from runtime.images import model
from runtime.images.model import DIGEST, ImageError
from runtime.oci.load import parse_document

if TYPE_CHECKING:
    from runtime.images.store.store import ImageStore


NESTED_MAX = 3
USE = "bundle/use.json"
"""Of a container's state: what it uses of a store that was read-only when it was created."""


@dataclass(frozen=True, slots=True)
class GcReport:
    """What `gc` removed. bytes: of blobs and transfers; a layer's files are not counted."""

    blobs: tuple[str, ...]
    layers: tuple[str, ...]
    transfers: int
    uses: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Fault:
    """Something of a store that is not as it should be. digest: of the blob at fault."""

    digest: str
    problem: str


def documents(store: ImageStore, digest: str, media_type: str, *, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """The digests that an image needs, itself first, each with its parsed form or None; what is missing is raised.

    Manifests of an index that are not there are left out: one platform's is enough.
    """
    if depth > NESTED_MAX:
        raise ImageError(f"index {digest}: it is nested more than {NESTED_MAX} deep; no honest index is")
    data = parse_document(store.read_bytes(digest), digest)
    kind = model.kind_of(data, media_type, digest)
    if kind in model.INDEXES:
        index = model.parse_index(data, media_type, digest)
        yield digest, index
        for child in index.manifests:
            if child.media_type in (*model.INDEXES, *model.MANIFESTS) and _there(store, child.digest):
                yield from documents(store, child.digest, child.media_type, depth=depth + 1)
        return
    manifest = model.parse_manifest(data, media_type, digest)
    yield digest, manifest
    config = store.config(manifest)
    yield manifest.config.digest, config
    for layer in manifest.layers:
        yield layer.digest, None


def check_whole(store: ImageStore, digest: str, media_type: str) -> None:
    """Raises: ImageError: a part of an image is not there."""
    for part, _ in documents(store, digest, media_type):
        if not _there(store, part):
            raise ImageError(f"blob {part} is not in the store {store.path}; pull or import its image again")


def needed(store: ImageStore) -> set[str]:
    """Digests of blobs and layers that names and containers use."""
    found: set[str] = set()
    for told in store.names().values():
        found |= _closure(store, told["digest"], told["mediaType"])
    for use in uses(store).values():
        for digest in use["chain"]:
            found |= _closure(store, digest, "") if _there(store, digest) else {digest}
    return found


def uses(store: ImageStore) -> dict[str, dict[str, Any]]:
    """File name to content of each container's use. A damaged one is an error: what it held is not known."""
    names = [name for name in store.entries("uses") if not name.startswith(".")]
    return {name: _use(f"{store.path}/uses/{name}") for name in names}


def used_below(root: str, store: str) -> set[str]:
    """Digests that the containers of a --root use of a store which was read-only when they were created."""
    found: set[str] = set()
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(root):
            path = f"{root}/{name}/{USE}"
            if os.path.exists(path) and (use := _use(path))["store"] == store:
                found.update(use["chain"])
    return found


def _use(path: str) -> dict[str, Any]:
    try:
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), "rb") as file:
            use: dict[str, Any] = json.loads(file.read().decode("utf-8"))
        if not all(DIGEST.fullmatch(digest) for digest in use["chain"]):
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise ImageError(f"{path} is damaged; if its container is gone, remove the file") from None
    return use


def collect(store: ImageStore, grace: float, root: str) -> GcReport:
    """Remove what is not needed; the store's lock is held. root: see ImageStore.gc."""
    from runtime.images.store import erofs

    limit = time.time() - grace
    dropped = _drop_stale_uses(store, limit)
    keep = needed(store) | (used_below(root, store.path) if root else set())
    blobs, size = _collect_blobs(store, keep, limit)
    layers = _collect_layers(store, keep, limit)
    size += erofs.collect(store, keep, limit)
    transfers, more = _collect_transfers(store, limit)
    return GcReport(blobs, layers, transfers, dropped, size + more)


def _closure(store: ImageStore, digest: str, media_type: str) -> set[str]:
    """What an image needs; as much of it as is there and sound, for a broken image keeps what it has."""
    found = {digest}
    try:
        for name, parsed in documents(store, digest, media_type):
            found.add(name)
            if isinstance(parsed, model.ImageConfig):
                found.update(parsed.diff_ids)
            if isinstance(parsed, model.Manifest):
                found.add(parsed.config.digest)
                found.update(layer.digest for layer in parsed.layers)
    except SteleError:
        pass  # not a manifest, or a damaged one: `verify` tells
    return found


def _there(store: ImageStore, digest: str) -> bool:
    return os.path.exists(f"{store.path}/blobs/sha256/{digest.removeprefix('sha256:')}")


def _drop_stale_uses(store: ImageStore, limit: float) -> int:
    """Forget containers whose state is gone, as after a reboot."""
    directory = store.directory("uses")
    count = 0
    for name in os.listdir(directory):
        if name.startswith("."):
            os.unlink(name, dir_fd=directory)  # of a writer who was killed: the lock is ours
    for name, use in uses(store).items():
        old = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mtime < limit
        if old and not os.path.lexists(f"{use['root']}/{use['id']}"):
            os.unlink(name, dir_fd=directory)
            count += 1
    return count


def _collect_blobs(store: ImageStore, keep: set[str], limit: float) -> tuple[tuple[str, ...], int]:
    directory = store.directory("blobs/sha256")
    gone, size = [], 0
    for name in os.listdir(directory):
        if f"sha256:{name}" in keep:
            continue
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if found.st_mtime < limit:
            os.unlink(name, dir_fd=directory)
            gone.append(f"sha256:{name}")
            size += found.st_size
    return tuple(sorted(gone)), size


def _collect_layers(store: ImageStore, keep: set[str], limit: float) -> tuple[str, ...]:
    from runtime.images.store import layers

    gone = []
    for digest in layers.unpacked(store):
        if digest not in keep and layers.remove(store, digest, older_than=limit):
            gone.append(digest)
    return tuple(sorted(gone))


def _collect_transfers(store: ImageStore, limit: float) -> tuple[int, int]:
    import fcntl

    directory = store.directory("ingest")
    count = size = 0
    for name in os.listdir(directory):
        with contextlib.suppress(BlockingIOError, FileNotFoundError):  # somebody writes it, or has just finished it
            fd = os.open(name, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=directory)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                found = os.fstat(fd)
                there = os.stat(name, dir_fd=directory, follow_symlinks=False)
                if found.st_mtime < limit and there.st_ino == found.st_ino:  # else it is a later writer's
                    os.unlink(name, dir_fd=directory)
                    count += 1
                    size += found.st_size
            finally:
                os.close(fd)
    return count, size


def verify(store: ImageStore, digest: str | None) -> list[Fault]:
    """See ImageStore.verify."""
    if digest is not None:
        return _verify_blob(store, digest)
    faults = []
    for name in sorted(store.entries("blobs/sha256")):
        faults += _verify_blob(store, f"sha256:{name}")
    bad = {fault.digest for fault in faults}
    for image, told in store.names().items():
        try:
            for part, _ in documents(store, told["digest"], told["mediaType"]):
                if not _there(store, part):
                    faults.append(Fault(part, f'image "{image}" needs it, and it is not there; pull the image again'))
        except SteleError as e:
            if told["digest"] not in bad:
                faults.append(Fault(told["digest"], f'image "{image}": {e}'))
    from runtime.images.store import erofs

    return [*faults, *(Fault(digest, problem) for digest, problem in erofs.faults(store))]


def _verify_blob(store: ImageStore, digest: str) -> list[Fault]:
    if not DIGEST.fullmatch(digest):
        return [Fault(digest, f"{store.path}/blobs/sha256 has a file that is no blob; remove it")]
    try:
        found = store.hash_blob(digest)
    except ImageError as e:
        return [Fault(digest, str(e))]
    if found != digest:
        return [Fault(digest, f"its content is {found}; remove the images that use it and pull them again")]
    return []
