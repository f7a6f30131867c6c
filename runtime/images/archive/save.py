"""Write an image out, byte for byte as it is in the store: as an OCI layout, an archive of one, or docker's archive."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import stat
from collections.abc import Iterator
from typing import Any

from runtime.errors import HostError
from runtime.host.files import replace, temporary, write_all
from runtime.host.trees import open_dir
from runtime.images import model
from runtime.images.archive import tar
from runtime.images.model import Descriptor, ImageError
from runtime.images.progress import Progress, short
from runtime.images.references import ArchiveReference
from runtime.images.store.contents import LAYOUT
from runtime.images.store.store import NAME_ANNOTATION, ImageStore

PIECE = 1 << 20
INDEX_MAX = 16 << 20
KERNEL = ("/dev/", "/proc/")


def export_image(
    store: ImageStore, descriptor: dict[str, Any], name: str, place: ArchiveReference, progress: Progress
) -> None:
    """Write an image out.

    Args:
        name: what the image is called in what is written.
    Raises:
        ImageError: the store does not have all of it. HostError: the place cannot be written.
    """
    try:
        if place.transport == "oci":
            _to_layout(store, descriptor, place.name or name, place.path, progress)
        elif place.transport == "oci-archive":
            with _file(place.path) as fd:
                _to_archive(store, descriptor, place.name or name, fd, progress)
        else:
            with _file(place.path) as fd:
                _to_docker(store, descriptor, place.name or name, fd, progress)
    except OSError as e:
        raise HostError(f"{place}: cannot write it: {e.strerror}", e.errno or 0) from None


def _blobs(store: ImageStore, descriptor: dict[str, Any]) -> list[Descriptor]:
    """Manifest, config and layers, each once; all are there."""
    manifest = store.manifest(descriptor)
    told = model.parse_descriptor(descriptor, "image")
    found = {blob.digest: blob for blob in (told, manifest.config, *manifest.layers)}
    for blob in found.values():
        if store.blob_size(blob.digest) != blob.size:
            raise ImageError(f"blob {blob.digest}: it has not its {blob.size} bytes; `stele image verify` tells more")
    return list(found.values())


def _pieces(store: ImageStore, blob: Descriptor, progress: Progress) -> Iterator[bytes]:
    fd, name, there = store.open_blob(blob.digest), short(blob.digest), 0
    try:
        while data := os.read(fd, PIECE):
            yield data
            there += len(data)
            progress.advance(name, there, blob.size)
    finally:
        os.close(fd)
    progress.done(name, blob.size)


def _entry(descriptor: dict[str, Any], name: str) -> dict[str, Any]:
    """The image's entry of index.json."""
    return {**descriptor, "annotations": {NAME_ANNOTATION: name}}


def _file_of(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


# ---- a folder ----


def _to_layout(store: ImageStore, descriptor: dict[str, Any], name: str, path: str, progress: Progress) -> None:
    """Make a layout, or add to one: the image that had the name there loses it."""
    os.makedirs(path, exist_ok=True)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # a network's file system may have no locks for a folder
            fcntl.flock(fd, fcntl.LOCK_EX)  # two who add to its index at once would each leave the other's image out
        kept = _others(fd, path, name)
        outer = _directory(fd, "blobs")
        try:
            blobs = _directory(outer, "sha256")
        finally:
            os.close(outer)
        try:
            for blob in _blobs(store, descriptor):
                _blob_to(blobs, store, blob, progress)
            os.fsync(blobs)
        finally:
            os.close(blobs)
        replace(fd, "oci-layout", LAYOUT, mode=0o644)
        index = {"schemaVersion": 2, "mediaType": model.OCI_INDEX, "manifests": [*kept, _entry(descriptor, name)]}
        replace(fd, "index.json", json.dumps(index, indent=2).encode(), mode=0o644)
    finally:
        os.close(fd)


def _others(directory: int, path: str, name: str) -> list[Any]:
    """What a layout's index has under other names; [] for an empty folder."""
    try:
        # The folder may be somebody else's: nothing is opened through its links, and no pipe in it is waited for.
        fd = os.open("index.json", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    except FileNotFoundError:
        if set(os.listdir(directory)) - {"blobs"}:
            raise ImageError(f'"{path}" is neither empty nor an image layout; name a new folder') from None
        return []
    with open(fd, "rb") as file:
        try:
            kept = json.loads(file.read(INDEX_MAX))["manifests"]
            return [m for m in kept if (m.get("annotations") or {}).get(NAME_ANNOTATION) != name]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise ImageError(f'"{path}": its index.json is damaged; write to another folder') from None


def _directory(parent: int, name: str) -> int:
    """A directory in the folder, made if it is not there; no link to one."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, dir_fd=parent)
    return open_dir(name, parent)


def _blob_to(directory: int, store: ImageStore, blob: Descriptor, progress: Progress) -> None:
    name = blob.digest.removeprefix("sha256:")
    try:
        if os.stat(name, dir_fd=directory, follow_symlinks=False).st_size == blob.size:
            progress.done(short(blob.digest), blob.size, "already there")
            return
    except FileNotFoundError:
        pass
    fresh = f".{name}.new"
    # The folder may be somebody else's, whose hard link or link of this name is not written to.
    with contextlib.suppress(FileNotFoundError):
        os.unlink(fresh, dir_fd=directory)
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=directory)
    try:
        for piece in _pieces(store, blob, progress):
            write_all(fd, piece)
        os.fsync(fd)
        os.rename(fresh, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        os.unlink(fresh, dir_fd=directory)
        raise
    finally:
        os.close(fd)


# ---- archives ----


@contextlib.contextmanager
def _file(path: str) -> Iterator[int]:
    """A file to be written whole or not at all; a pipe or terminal is written as it is.

    Only the kernel's own links lead to one, such as /dev/stdout: another is replaced, as it may be of whoever owns the
    folder and lead to a disk.
    """
    follow = path.startswith(KERNEL)
    try:
        special = not stat.S_ISREG(mode := os.stat(path, follow_symlinks=follow).st_mode) and not stat.S_ISLNK(mode)
    except FileNotFoundError:
        special = False
    fresh = path if special else os.path.join(os.path.dirname(path), temporary(os.path.basename(path)))
    if not special:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(fresh)
    flags = os.O_WRONLY | os.O_CLOEXEC | (0 if special else os.O_CREAT | os.O_EXCL) | (0 if follow else os.O_NOFOLLOW)
    fd = os.open(fresh, flags, 0o644)
    try:
        if special and stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.ESTALE, "it was exchanged for a file", path)
        yield fd
        if not special:
            os.fsync(fd)
            os.rename(fresh, path)
    except BaseException:
        if not special:
            os.unlink(fresh)
        raise
    finally:
        os.close(fd)


def _put(fd: int, name: str, size: int, pieces: Iterator[bytes]) -> None:
    write_all(fd, tar.header(name, size))
    for piece in pieces:
        write_all(fd, piece)
    write_all(fd, tar.padding(size))


def _to_archive(store: ImageStore, descriptor: dict[str, Any], name: str, fd: int, progress: Progress) -> None:
    blobs = _blobs(store, descriptor)
    index = {"schemaVersion": 2, "mediaType": model.OCI_INDEX, "manifests": [_entry(descriptor, name)]}
    text = json.dumps(index).encode()
    _put(fd, "oci-layout", len(LAYOUT), iter([LAYOUT]))
    _put(fd, "index.json", len(text), iter([text]))
    write_all(fd, tar.header("blobs/", 0) + tar.header("blobs/sha256/", 0))
    for blob in blobs:
        _put(fd, _file_of(blob.digest), blob.size, _pieces(store, blob, progress))
    write_all(fd, bytes(2 * tar.BLOCK))


def _to_docker(store: ImageStore, descriptor: dict[str, Any], name: str, fd: int, progress: Progress) -> None:
    """As `docker save` writes it, but layers as they are packed in the store; who reads such archives takes both."""
    manifest = store.manifest(descriptor)
    blobs = _blobs(store, descriptor)[1:]
    config = manifest.config.digest.removeprefix("sha256:") + ".json"
    layers = [f"{layer.digest.removeprefix('sha256:')}.tar" for layer in manifest.layers]
    text = json.dumps([{"Config": config, "RepoTags": [name] if name else None, "Layers": layers}]).encode()
    for blob in blobs:
        file = config if blob.digest == manifest.config.digest else f"{blob.digest.removeprefix('sha256:')}.tar"
        _put(fd, file, blob.size, _pieces(store, blob, progress))
    _put(fd, "manifest.json", len(text), iter([text]))
    write_all(fd, bytes(2 * tar.BLOCK))
