"""Remove what no name and no container needs."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from dataclasses import dataclass

from runtime.errors import SteleError
from runtime.images import model
from runtime.images.store import erofs, layers, make_stack
from runtime.images.store.contents import stack_id
from runtime.images.store.graph import documents, is_there
from runtime.images.store.store import ImageStore
from runtime.images.store.uses import used_below, uses


@dataclass(frozen=True, slots=True)
class GcReport:
    """What `gc` removed. bytes: of blobs and transfers; a layer's files are not counted."""

    blobs: tuple[str, ...]
    layers: tuple[str, ...]
    transfers: int
    uses: int
    bytes: int


def collect(store: ImageStore, grace_seconds: float = 3600, root: str = "") -> GcReport:
    """Remove what no name and no container uses and nobody has asked for within the grace period.

    Args:
        root: the --root whose containers may use what they got when the store was read-only.
    """
    with store.locked():
        limit = time.time() - grace_seconds
        dropped = _drop_stale_uses(store, limit)
        keep = needed(store) | (used_below(root, store.path) if root else set())
        blobs, size = _collect_blobs(store, keep, limit)
        layers_gone = _collect_layers(store, keep, limit)
        make_stack.collect(store, keep, limit)
        size += erofs.collect(store, keep, limit)
        transfers, more = _collect_transfers(store, limit)
        return GcReport(blobs, layers_gone, transfers, dropped, size + more)


def needed(store: ImageStore) -> set[str]:
    """Digests of blobs and layers that names and containers use."""
    found: set[str] = set()
    for image in store.names().values():
        found |= _closure(store, image["digest"], image["mediaType"])
    for use in uses(store).values():
        for digest in use["chain"]:
            found |= _closure(store, digest, "") if is_there(store, digest) else {digest}
    return found


def _closure(store: ImageStore, digest: str, media_type: str) -> set[str]:
    """What an image needs, as far as it is there and sound: a broken image keeps the rest."""
    found = {digest}
    try:
        for name, parsed in documents(store, digest, media_type):
            found.add(name)
            if isinstance(parsed, model.ImageConfig):
                found.update((*parsed.diff_ids, stack_id(parsed.diff_ids)))
            if isinstance(parsed, model.Manifest):
                found.add(parsed.config.digest)
                found.update(layer.digest for layer in parsed.layers)
    except SteleError:
        pass  # not a manifest, or a damaged one: `verify` reports it
    return found


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
    gone = []
    for digest in layers.unpacked(store):
        if digest not in keep and layers.remove(store, digest, older_than=limit):
            gone.append(digest)
    return tuple(sorted(gone))


def _collect_transfers(store: ImageStore, limit: float) -> tuple[int, int]:
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
