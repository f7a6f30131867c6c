"""Make the erofs file of an image (runtime.images.store.erofs) with the host's mkfs.erofs."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator

from runtime.errors import HostError
from runtime.host import verity
from runtime.host.files import replace
from runtime.host.processes import ask
from runtime.host.trees import open_dir, remove_tree
from runtime.images.model import ImageConfig, ImageError, Manifest
from runtime.images.store.erofs import PLACE, Sealed, hash_file, name_of, sealed
from runtime.images.store.files import locked
from runtime.images.store.layers import unpack_to
from runtime.images.store.limits import load
from runtime.images.store.store import ImageStore

ENTRY_MAX, SLACK = 16 << 10, 64 << 20
"""Bytes of one entry's inode, name and attributes, and of what else such a file system has, generously."""
MKFS = ("/usr/bin/mkfs.erofs", "/usr/sbin/mkfs.erofs", "/sbin/mkfs.erofs")


def seal(store: ImageStore, manifest: Manifest, config: ImageConfig) -> Sealed:
    """The file that stands for an image's layers, made if there is none.

    It is named by the diff_ids, so the caller has checked that the image's blobs have them (`layers.unpack_image`).

    Raises:
        HostError: mkfs.erofs is missing or failed, or the disk is full; nothing of it is left. ImageError: a layer
        is broken.
    """
    store.check_writable()
    place = store.directory(PLACE)
    with locked(place, "lock", stoppable=True):
        known = sealed(store, config)
        if known and os.path.exists(known.path):
            return known
        name = name_of(config)
        with _flat(store, place, manifest, name) as folder:
            temporary = f".{name}.new"
            remove_tree(place, temporary)
            try:
                _make(folder, f"{store.path}/{PLACE}/{temporary}", name, load(store.path).bytes)
                made = _finish(place, temporary, f"{store.path}/{PLACE}/{name}.erofs")
                os.rename(temporary, f"{name}.erofs", src_dir_fd=place, dst_dir_fd=place)
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=place)
                raise
        record = {"digest": made.digest, "size": made.size, "verity": made.verity, "layers": config.diff_ids}
        replace(place, f"{name}.json", json.dumps(record).encode())
        return made


@contextlib.contextmanager
def _flat(store: ImageStore, place: int, manifest: Manifest, name: str) -> Iterator[str]:
    """The image's merged tree in a folder of its own, gone afterwards; its path."""
    folder = f".{name}.tree"
    remove_tree(place, folder)
    os.mkdir(folder, 0o755, dir_fd=place)
    try:
        fd = open_dir(folder, place)
        try:
            unpack_to(store, manifest, fd)
        finally:
            os.close(fd)
        yield f"{store.path}/{PLACE}/{folder}"
    finally:
        remove_tree(place, folder)


def _apparent(folder: str, limit: int) -> tuple[int, int]:
    """Bytes of all files, holes included, and how many entries there are.

    mkfs.erofs writes holes out, so a small archive can become any size.
    Raises:
        ImageError: more than the limit. OSError: the tree cannot be read.
    """

    def fail(error: OSError) -> None:
        raise error

    size, entries, seen = 0, 0, set[int]()
    for path, folders, files in os.walk(folder, onerror=fail):
        entries += len(folders) + len(files)
        for name in files:
            told = os.lstat(f"{path}/{name}")
            if told.st_ino not in seen:
                size += told.st_size
            if told.st_nlink > 1:
                seen.add(told.st_ino)
    if size > limit:
        raise ImageError(
            f"the image's files have {size} bytes, holes included, and one file system of at most {limit} is made; "
            "use --rootfs overlay, or raise bytes in the store's limits.json"
        )
    return size, entries


def _make(folder: str, target: str, name: str, limit: int) -> None:
    """Run mkfs.erofs. Uncompressed: its pages are shared and read like any file's.

    It ends with us, however we end, and cannot write more than such a file system may need.
    """
    program = next(filter(os.path.exists, MKFS), "")
    if not program:
        raise HostError("mkfs.erofs is missing on this host; install it (package erofs-utils), or use --rootfs overlay")
    size, entries = _apparent(folder, limit)
    most = 2 * size + entries * ENTRY_MAX + SLACK
    uuid = f"{name[:8]}-{name[8:12]}-{name[12:16]}-{name[16:20]}-{name[20:32]}"
    command = [program, "--quiet", "--preserve-mtime", f"-U{uuid}", target, folder]
    status, out, _ = ask(command, env={}, together=True, file_max=most)
    if status:
        said = out.decode("utf-8", "replace").strip()
        raise HostError(f"mkfs.erofs failed (exit status {status}): {said[-300:] or 'it says nothing'}")


def _finish(place: int, name: str, path: str) -> Sealed:
    """Make it durable, hash it, and let the kernel guard it where it can."""
    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=place)
    try:
        os.fchmod(fd, 0o400)
        os.fsync(fd)
        digest = hash_file(fd)
        return Sealed(path, digest, os.fstat(fd).st_size, verity.enable(fd))
    finally:
        os.close(fd)
