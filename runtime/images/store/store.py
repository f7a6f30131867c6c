"""The image store: blobs by digest, names for them, unpacked layers, and what containers use of it.

Its directory is an OCI image layout, so that other tools can read it, and has besides:
  ingest/<hex>              the beginning of a blob (runtime.images.store.blobs)
  layers/sha256/<hex>/tree  a layer's files, by the digest of its plain tar (runtime.images.store.layers)
  uses/<name>               what one container uses
  lock                      taken by all who change names or uses, and by gc
Everything below is 0700: an image's setuid files cannot be reached by users of the host (CVE-2021-41103).
On a read-only file system, as part of a host's own image, it is read and run from; nothing in it can go, so what a
container uses is only told in the container's own state, for a store that can be written again later.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from runtime.errors import HostError
from runtime.host.files import replace
from runtime.host.hashing import Sha256
from runtime.images import model
from runtime.images.model import DIGEST, DOCUMENT_MAX, ImageError, check_digest
from runtime.images.store import collect
from runtime.images.store.blobs import PIECE, BlobWriter
from runtime.images.store.collect import GcReport
from runtime.images.store.files import locked, make_dirs, touch
from runtime.oci.load import parse_document

DEFAULT = "/var/lib/stele"
INDEX_MAX = 64 << 20
NAME_ANNOTATION = "org.opencontainers.image.ref.name"
NAME_MAX = 512
LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


class ImageStore:
    """The images below one --store.

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
            ImageError: as `read_bytes`. ConfigError: it is no JSON object.
        """
        return parse_document(self.read_bytes(digest, limit), digest)

    # ---- names ----

    def tag(self, name: str, descriptor: Mapping[str, Any]) -> None:
        """Give a manifest or index a name; what had it loses it.

        Args:
            descriptor: mediaType, digest and size, as in OCI documents.
        Raises:
            ImageError: the name is too long or not printable, or the image is not whole, as after a gc meanwhile.
        """
        _check_name(name)
        told = model.parse_descriptor(dict(descriptor), f'name "{name}"')
        with self._locked():
            if not self.has_blob(told.digest):
                raise ImageError(f'name "{name}": {told.digest} is not in the store {self.path}')
            if told.media_type in model.MANIFESTS:
                collect.check_whole(self, told.digest, told.media_type)
            known = self._names()
            known[name] = told.document()
            self._write_names(known)

    def untag(self, name: str) -> None:
        """Take a name away; blobs go when `gc` finds them unused.

        Raises:
            ImageError: no image has this name.
        """
        with self._locked():
            known = self._names()
            if known.pop(name, None) is None:
                raise ImageError(
                    f'image "{name}" is not in the store {self.path}; `stele image list` shows those that are'
                )
            self._write_names(known)

    def names(self) -> dict[str, dict[str, Any]]:
        """Name to descriptor of all images."""
        return self._names()

    def resolve(self, name_or_digest: str, known: Mapping[str, dict[str, Any]] | None = None) -> dict[str, Any]:
        """The descriptor that a name, or the digest of a manifest or index in the store, stands for.

        Args:
            known: what `names` told a moment ago.
        Raises:
            ImageError: there is none.
        """
        known = self._names() if known is None else known
        if name_or_digest in known:
            return known[name_or_digest]
        if DIGEST.fullmatch(name_or_digest) and self.has_blob(name_or_digest):
            data = self.read_bytes(name_or_digest)
            kind = model.kind_of(parse_document(data, name_or_digest), "", name_or_digest)
            return {"mediaType": kind, "digest": name_or_digest, "size": len(data)}
        from runtime.images.store.names import short_name

        raise ImageError(
            f'image "{name_or_digest}" is not in the store {self.path}; `stele image list` shows those that are'
            + ("" if DIGEST.fullmatch(name_or_digest) else f", `stele image pull {name_or_digest}` gets it"),
            given=short_name(name_or_digest),
            choices=map(short_name, known),
        )

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

    def trees(self, config: model.ImageConfig) -> list[str]:
        """Where the trees of an image's layers are, or will be (`layers.unpack_image`): absolute paths, lowest first."""
        return [f"{self.path}/layers/sha256/{diff_id.removeprefix('sha256:')}/tree" for diff_id in config.diff_ids]

    def proven(self, manifest: model.Manifest, config: model.ImageConfig) -> list[str]:
        """Per layer, a path that is a directory only if the tree exists and the layer's blob was seen to unpack to it.

        A config may name any diff_id, so a tree alone says nothing about the blob (see `layers.unpack_image`).
        """
        return [
            f"{self.path}/layers/sha256/{diff_id.removeprefix('sha256:')}/{layer.digest.removeprefix('sha256:')}"
            for diff_id, layer in zip(config.diff_ids, manifest.layers, strict=True)
        ]

    # ---- uses ----

    def hold(
        self,
        container_id: str,
        root: str,
        chain: Sequence[str],
        volumes: Mapping[str, tuple[int, int, int]] | None = None,
    ) -> bytes:
        """Write down what a container uses; `gc` leaves it until `release`, or until the container's state is gone.

        Args:
            root: the --root that has the container's state, at <root>/<container_id>.
            chain: digests of manifest, config, and diff_ids of layers.
            volumes: names to owner, group and mode; those that are not there are made.
        Returns:
            what is to be kept as `collect.USE` of the container's state, because the store is read-only; else b"".
        Raises:
            ImageError: one of them is neither a blob nor an unpacked layer here any more.
        """
        use: dict[str, Any] = {"id": container_id, "root": os.path.abspath(root), "chain": list(chain)}
        if volumes:
            from runtime.images.store.volumes import make

            use["volumes"] = list(volumes)
        if self.read_only():
            self._check_chain(container_id, chain)
            for name in volumes or ():
                if not os.path.isdir(f"{self.path}/volumes/{name}"):
                    self.check_writable()
            return json.dumps({**use, "store": self.path}).encode()
        with self._locked(stoppable=True):
            self._check_chain(container_id, chain)
            for name, (uid, gid, mode) in (volumes or {}).items():
                make(self, name, uid, gid, mode)
            # A container does not outlive the host's crash, so neither need this; an fsync would be the half of a start.
            data = json.dumps(use).encode()
            self._replace("uses", _use_name(container_id, root), data, durable=False)
            return b""

    def _check_chain(self, container_id: str, chain: Sequence[str]) -> None:
        for digest in chain:
            name = check_digest(digest, f"container {container_id}").removeprefix("sha256:")
            if not self.has_blob(digest) and not os.path.isdir(f"{self.path}/layers/sha256/{name}/tree"):
                raise ImageError(f"{digest} is not in the store {self.path} any more; create the container again")

    def release(self, container_id: str, root: str | None = None) -> None:
        """Forget what a container uses; nothing if nothing is known of it.

        Args:
            root: its --root; None for the containers of this id below any.
        """
        if self.read_only() or not os.path.isdir(f"{self.path}/uses"):  # as where its disk is not mounted any more
            return
        uses = self.directory("uses")
        with self._locked():
            if root is not None:
                wanted = [_use_name(container_id, root)]
            else:
                wanted = [name for name in os.listdir(uses) if name.rpartition("@")[0] == container_id]
            for name in wanted:
                try:
                    os.unlink(name, dir_fd=uses)
                except FileNotFoundError:
                    pass

    # ---- care ----

    def gc(self, grace_seconds: float = 3600, root: str = "") -> GcReport:
        """Remove what no name and no container uses and nobody has asked for within the grace period.

        Args:
            root: the --root whose containers may use what they got when the store was read-only.
        """
        with self._locked():
            return collect.collect(self, grace_seconds, root)

    def verify(self, digest: str | None = None) -> list[collect.Fault]:
        """Hash again one blob, or all, and see that every named image is whole.

        Returns:
            what is wrong; [] if nothing is.
        """
        return collect.verify(self, digest)

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

    def _locked(self, *, stoppable: bool = False) -> Any:
        self.check_writable()
        return locked(self.directory(), "lock", stoppable=stoppable)

    def _names(self) -> dict[str, dict[str, Any]]:
        try:
            with open(f"{self.path}/index.json", "rb", buffering=0) as file:
                data = file.read(INDEX_MAX)
        except FileNotFoundError:
            return {}
        damaged = f"{self.path}/index.json is damaged: the names of the images are in it; restore it or remove it"
        try:
            manifests = json.loads(data.decode("utf-8"))["manifests"]
            parsed = [model.parse_descriptor(item, "index.json") for item in manifests]
        except (ValueError, KeyError, TypeError, ImageError):
            raise ImageError(damaged) from None
        known = {}
        for told in parsed:
            name = told.annotations.get(NAME_ANNOTATION)
            if name:
                rest = {key: text for key, text in told.annotations.items() if key != NAME_ANNOTATION}
                known[name] = model.Descriptor(told.media_type, told.digest, told.size, rest, told.platform).document()
        return known

    def _write_names(self, known: Mapping[str, Mapping[str, Any]]) -> None:
        manifests = [
            {**told, "annotations": {**told.get("annotations", {}), NAME_ANNOTATION: name}}
            for name, told in sorted(known.items())
        ]
        index = {"schemaVersion": 2, "mediaType": model.OCI_INDEX, "manifests": manifests}
        self._replace("", "index.json", json.dumps(index, indent=1).encode())

    def _replace(self, path: str, name: str, data: bytes, *, durable: bool = True) -> None:
        """Write a file of a directory of the store. Raises: HostError: the disk refuses."""
        try:
            replace(self.directory(path), name, data, durable=durable)
        except OSError as e:
            raise HostError(
                f"--store {self.path}: cannot write {path or name} there: {os.strerror(e.errno or 0)}", e.errno or 0
            ) from e


def _check_name(name: str) -> None:
    if not name or len(name) > NAME_MAX or not name.isprintable() or any(c.isspace() for c in name):
        raise ImageError(f"image name {name[:NAME_MAX]!r}: use 1 to {NAME_MAX} printable characters without spaces")


def _use_name(container_id: str, root: str) -> str:
    """A file name: container ids have no "@" and no "/"."""
    return f"{container_id}@{Sha256(os.path.abspath(root).encode()).hexdigest()[:16]}"
