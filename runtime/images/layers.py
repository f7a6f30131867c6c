"""Layers become trees of files: <store>/layers/sha256/<hex of diff_id>/tree, each unpacked once for all images.

The directory <hex> is the layer's lock. Its `new` is a tree that is being made or removed, and is never believed;
`tree` is whole, durable, and verified against the diff_id while it was made.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from runtime.images.files import open_dir, remove_tree
from runtime.images.model import Descriptor, ImageError, Manifest

if TYPE_CHECKING:
    from runtime.images.store import ImageStore

PLACE = "layers/sha256"
TREE, NEW = "tree", "new"


def unpack_image(store: ImageStore, manifest: Manifest) -> list[str]:
    """The trees of an image's layers in overlayfs form, lowest first; those that are missing are unpacked.

    Returns:
        absolute paths. `gc` leaves them for its grace period, and as long as `store.hold` names their diff_ids.
    Raises:
        ImageError: a layer is not there, damaged, hostile or beyond the budget; nothing of it is left.
    """
    diff_ids = store.config(manifest).diff_ids
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        layers = dict(zip(diff_ids, manifest.layers, strict=True))
        waiting = [pool.submit(_ensure, store, layer, diff_id) for diff_id, layer in layers.items()]
        for done in waiting:
            done.result()
    return [tree_path(store, diff_id) for diff_id in diff_ids]


def unpack_to(store: ImageStore, manifest: Manifest, directory: int) -> None:
    """Unpack an image flat into an empty directory, whiteouts applied.

    Args:
        directory: its fd, which stays the caller's.
    Raises:
        ImageError: as `unpack_image`; what is in the directory then is the caller's to remove.
    """
    for layer in manifest.layers:
        _apply(store, layer, directory)


def tree_path(store: ImageStore, diff_id: str) -> str:
    """Where a layer's tree is, or will be."""
    return f"{store.path}/{PLACE}/{diff_id.removeprefix('sha256:')}/{TREE}"


def unpacked(store: ImageStore) -> list[str]:
    """The diff_ids of all layers that have a place in the store."""
    return [f"sha256:{name}" for name in sorted(os.listdir(store.directory(PLACE)))]


def remove(store: ImageStore, diff_id: str, *, older_than: float) -> bool:
    """Remove a layer's tree unless it was wanted since, or is being unpacked.

    Args:
        older_than: seconds since the epoch.
    Returns:
        whether it is gone.
    """
    place, name = store.directory(PLACE), diff_id.removeprefix("sha256:")
    try:
        lock = open_dir(name, place)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(lock).st_mtime >= older_than:
            return False
        remove_tree(lock, NEW)
        with contextlib.suppress(FileNotFoundError):
            os.rename(TREE, NEW, src_dir_fd=lock, dst_dir_fd=lock)  # from here on it is not believed
        remove_tree(lock, NEW)
        os.rmdir(name, dir_fd=place)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True


@contextlib.contextmanager
def _locked(store: ImageStore, diff_id: str) -> Iterator[int]:
    """The place of a layer, locked; its fd."""
    place, name = store.directory(PLACE), diff_id.removeprefix("sha256:")
    while True:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=place)
        try:
            lock = open_dir(name, place)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if os.fstat(lock).st_nlink:  # else it was removed while we waited
                yield lock
                return
        finally:
            os.close(lock)


def _ensure(store: ImageStore, layer: Descriptor, diff_id: str) -> None:
    with _locked(store, diff_id) as lock:
        os.utime(lock)
        if os.path.isdir(tree_path(store, diff_id)):
            return
        remove_tree(lock, NEW)
        try:
            os.mkdir(NEW, 0o755, dir_fd=lock)
            tree = open_dir(NEW, lock)
            try:
                _apply(store, layer, tree)
            finally:
                os.close(tree)
            os.rename(NEW, TREE, src_dir_fd=lock, dst_dir_fd=lock)
            os.fsync(lock)
        except BaseException:
            remove_tree(lock, NEW)
            raise


def _apply(store: ImageStore, layer: Descriptor, directory: int) -> None:
    blob = store.open_blob(layer.digest)
    try:
        packed = {b"\x1f\x8b": "--gzip", b"\x28\xb5": "--zstd"}.get(os.pread(blob, 2, 0))
        done = subprocess.run(
            [
                "tar",
                "-x",
                "--numeric-owner",
                "--xattrs",
                "-C",
                f"/proc/self/fd/{directory}",
                *([packed] if packed else []),
            ],
            stdin=blob,
            pass_fds=[directory],
            capture_output=True,
        )
        if done.returncode != 0:
            raise ImageError(f"layer {layer.digest}: {done.stderr.decode('utf-8', 'replace')[:200]}")
    finally:
        os.close(blob)
