"""The directory of the image store and what it holds by digest: blobs, documents, and where unpacked layers are."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from runtime.errors import HostError
from runtime.host.files import replace
from runtime.host.hashing import Sha256
from runtime.images import model
from runtime.images.model import DOCUMENT_MAX, ImageError, check_digest
from runtime.images.store.blobs import PIECE, BlobWriter
from runtime.images.store.files import locked, make_dirs, touch
from runtime.oci.load import parse_document

DEFAULT = "/var/lib/stele"
LAYERS, TREE = "layers/sha256", "tree"
STACKS, RECORD = "stacks", "layers"
LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


class Contents:
    """The blobs and layers below one --store.

    Args:
        path: directory, made (0700) when something is first put there.
    """

    __slots__ = ("_fds", "path")

    def __init__(self, path: str = DEFAULT) -> None:
        self.path = os.path.abspath(path)
        self._fds: dict[str, int] = {}

    def close(self) -> None:
        """Close what is held open; the store can be used again."""
        while self._fds:
            os.close(self._fds.popitem()[1])

    def directory(self, path: str = "") -> int:
        """A directory of the store, made if it is missing; the fd stays the store's.

        Raises:
            HostError: the store cannot be written.
        """
        if path not in self._fds:
            try:
                if path:
                    self._fds[path] = make_dirs(self.directory(), path)
                else:
                    self._open()
            except OSError as e:
                self.check_writable()
                raise HostError(
                    f"--store {self.path}: cannot write there: {os.strerror(e.errno or 0)}; choose another with --store",
                    e.errno or 0,
                ) from e
        return self._fds[path]

    def read_only(self) -> bool:
        """Whether it is on a read-only file system."""
        try:
            return bool(os.statvfs(self.path).f_flag & os.ST_RDONLY)
        except OSError:  # who opens it will tell
            return False

    def check_writable(self) -> None:
        """Raises: HostError: it is on a read-only file system."""
        if self.read_only():
            raise HostError(
                f"--store {self.path}: it is read-only, as its file system is: nothing can be added, renamed or removed "
                "there; choose another with --store",
                errno.EROFS,
            )

    def entries(self, path: str) -> list[str]:
        """The names in a directory of the store; none if it is missing."""
        try:
            return os.listdir(f"{self.path}/{path}")
        except FileNotFoundError:
            return []

    def _open(self) -> None:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        try:
            own = os.open(self.path, flags)
        except FileNotFoundError:
            os.makedirs(self.path, mode=0o700, exist_ok=True)
            own = os.open(self.path, flags)
        self._fds[""] = own
        layout = f"{self.path}/oci-layout"
        if not os.path.exists(layout):
            with locked(own, "lock"):
                if not os.path.exists(layout):
                    replace(own, "oci-layout", LAYOUT)

    # ---- blobs ----

    def open_blob(self, digest: str) -> int:
        """A blob for reading; the fd is the caller's.

        Raises:
            ImageError: the store does not have it.
        """
        name = check_digest(digest, "blob").removeprefix("sha256:")
        try:
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
            return os.open(name, flags, dir_fd=self.directory("blobs/sha256"))
        except FileNotFoundError:
            raise ImageError(f"blob {digest} is not in the store {self.path}; pull or import its image again") from None

    def has_blob(self, digest: str) -> bool:
        """Whether a blob is there, whole. Who asks means to use it: `gc` then leaves it for its grace period."""
        name = check_digest(digest, "blob").removeprefix("sha256:")
        try:
            touch(name, self.directory("blobs/sha256"))
        except FileNotFoundError:
            return False
        return True

    def blob_size(self, digest: str) -> int:
        """Bytes of a blob.

        Raises:
            ImageError: the store does not have it.
        """
        fd = self.open_blob(digest)
        try:
            return os.fstat(fd).st_size
        finally:
            os.close(fd)

    def writer(self, digest: str, size: int | None) -> BlobWriter:
        """A blob to be written, in a with statement; see BlobWriter. Waits for another writer of the same blob.

        Args:
            size: bytes, or None if unknown.
        """
        return BlobWriter(self.directory("blobs/sha256"), self.directory("ingest"), digest, size)

    def add_bytes(self, data: bytes) -> str:
        """Keep a small blob; its digest."""
        digest = "sha256:" + Sha256(data).hexdigest()
        with self.writer(digest, len(data)) as writer:
            if not writer.present:
                writer.restart()
                writer.write(data)
                writer.commit()
        return digest

    def read_bytes(self, digest: str, limit: int = DOCUMENT_MAX) -> bytes:
        """A small blob, verified again.

        Raises:
            ImageError: it is not there, larger than `limit` bytes, or damaged.
        """
        fd = self.open_blob(digest)
        with os.fdopen(fd, "rb", buffering=0) as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise ImageError(f"blob {digest}: it is larger than {limit} bytes; no honest document is")
        if "sha256:" + Sha256(data).hexdigest() != digest:
            raise ImageError(f"blob {digest}: it is damaged on disk; remove and pull its image again")
        return data

    def read_json(self, digest: str, limit: int = DOCUMENT_MAX) -> dict[str, Any]:
        """A document, verified again.

        Raises:
            ImageError: as `read_bytes`. ConfigError: it is not a JSON object.
        """
        return parse_document(self.read_bytes(digest, limit), digest)

    def hash_blob(self, digest: str) -> str:
        """What a blob's content really hashes to.

        Raises:
            ImageError: the store does not have it.
        """
        found = Sha256()
        fd = self.open_blob(digest)
        try:
            while piece := os.read(fd, PIECE):
                found.update(piece)
        finally:
            os.close(fd)
        return "sha256:" + found.hexdigest()

    # ---- documents and layers ----

    def manifest(self, descriptor: Mapping[str, Any]) -> model.Manifest:
        """The manifest that a descriptor of one platform's image stands for.

        Raises:
            ImageError: it is not there, or no manifest.
        """
        told = model.parse_descriptor(dict(descriptor), "image")
        document = self.read_json(told.digest)
        return model.parse_manifest(document, told.media_type, f"manifest {told.digest}")

    def config(self, manifest: model.Manifest) -> model.ImageConfig:
        """The config of a manifest.

        Raises:
            ImageError: it is not there, or does not fit the manifest's layers.
        """
        where = f"config {manifest.config.digest}"
        config = model.parse_config(self.read_json(manifest.config.digest), where)
        if len(config.diff_ids) != len(manifest.layers):
            raise ImageError(
                f"{where}: it has {len(config.diff_ids)} diff_ids, its manifest {len(manifest.layers)} layers; "
                "the image is broken"
            )
        return config

    def tree(self, diff_id: str) -> str:
        """Return the path of a layer's tree, which exists once the layer is unpacked (`layers.unpack_image`)."""
        return f"{self.path}/{LAYERS}/{diff_id.removeprefix('sha256:')}/{TREE}"

    def proof(self, diff_id: str, digest: str) -> str:
        """Return the path of a link to the tree, which exists once the blob `digest` was seen to have this diff_id.

        A config may name any diff_id, so a tree alone says nothing about the blob.
        """
        return f"{self.path}/{LAYERS}/{diff_id.removeprefix('sha256:')}/{digest.removeprefix('sha256:')}"

    def trees(self, config: model.ImageConfig) -> list[str]:
        """Return the paths of the trees of an image's layers, lowest first; see `tree`."""
        return [self.tree(diff_id) for diff_id in config.diff_ids]

    def proven(self, manifest: model.Manifest, config: model.ImageConfig) -> list[str]:
        """Return a path for each layer, a directory only if its tree exists and is proven; see `proof`."""
        pairs = zip(config.diff_ids, manifest.layers, strict=True)
        return [self.proof(diff_id, layer.digest) for diff_id, layer in pairs]

    def stack(self, config: model.ImageConfig) -> list[str] | None:
        """Return what overlayfs mounts of an image, lowest first; None if it is not made yet (`make_stack`)."""
        path, trees = self.stack_path(config.diff_ids), self.trees(config)
        try:
            with open(f"{path}/{RECORD}", "rb", buffering=0) as file:
                count = file.read(8)
        except FileNotFoundError:
            return None
        if not count.isdigit() or int(count) > len(trees):
            raise ImageError(f"{path}/{RECORD} is damaged; remove this folder, and it is made again")
        above = [f"{path}/{TREE}"] if os.path.isdir(f"{path}/{TREE}") else []
        return [*trees[len(trees) - int(count) :], *above]

    def stack_path(self, diff_ids: Iterable[str]) -> str:
        """Return the path of an image's stack, which exists once that is made."""
        return f"{self.path}/{STACKS}/{stack_id(diff_ids).removeprefix('sha256:')}"

    def locked(self, *, stoppable: bool = False) -> AbstractContextManager[None]:
        """Hold the store's lock, which whoever changes names or uses takes. Raises: HostError: the store is read-only."""
        self.check_writable()
        return locked(self.directory(), "lock", stoppable=stoppable)

    def replace(self, path: str, name: str, data: bytes, *, durable: bool = True) -> None:
        """Write a file of a directory of the store. Raises: HostError: the disk refuses."""
        try:
            replace(self.directory(path), name, data, durable=durable)
        except OSError as e:
            raise HostError(
                f"--store {self.path}: cannot write {path or name} there: {os.strerror(e.errno or 0)}", e.errno or 0
            ) from e


def stack_id(diff_ids: Iterable[str]) -> str:
    """The name of an image's stack, written as a digest."""
    return "sha256:" + Sha256("\n".join(["stele stack", *diff_ids]).encode()).hexdigest()
