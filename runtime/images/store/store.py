"""The image store: blobs by digest, names for them, unpacked layers, and what containers use of it.

Its directory is an OCI image layout, so that other tools can read it, and has besides:
  ingest/<hex>              the beginning of a blob (runtime.images.store.blobs)
  layers/sha256/<hex>/tree  a layer's files, by the digest of its plain tar (runtime.images.store.layers)
  stacks/<hex>              what is mounted of an image, by its layers (runtime.images.store.make_stack)
  uses/<name>               what one container uses
  lock                      taken by all who change names or uses, and by gc
Everything below is 0700: an image's setuid files cannot be reached by users of the host (CVE-2021-41103).
On a read-only file system, as part of a host's own image, it is read and run from; nothing in it can go, so what a
container uses is recorded in the container's own state alone, for a store that can be written again later.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from runtime.images import model
from runtime.images.model import DIGEST, ImageError
from runtime.images.store.contents import Contents
from runtime.images.store.graph import check_whole
from runtime.oci.load import parse_document

INDEX_MAX = 64 << 20
NAME_ANNOTATION = "org.opencontainers.image.ref.name"
NAME_MAX = 512


class ImageStore(Contents):
    """The images below one --store: its contents and the names for them."""

    __slots__ = ()

    def tag(self, name: str, descriptor: Mapping[str, Any]) -> None:
        """Give a manifest or index a name; what had it loses it.

        Args:
            descriptor: mediaType, digest and size, as in OCI documents.
        Raises:
            ImageError: the name is too long or not printable, or the image is not whole, as after a gc meanwhile.
        """
        _check_name(name)
        image = model.parse_descriptor(dict(descriptor), f'name "{name}"')
        with self.locked():
            if not self.has_blob(image.digest):
                raise ImageError(f'name "{name}": {image.digest} is not in the store {self.path}')
            if image.media_type in model.MANIFESTS:
                check_whole(self, image.digest, image.media_type)
            known = self._names()
            known[name] = image.document()
            self._write_names(known)

    def untag(self, name: str) -> None:
        """Take a name away; blobs go when `gc` finds them unused.

        Raises:
            ImageError: no image has this name.
        """
        with self.locked():
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
            known: what `names` returned a moment ago.
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
        for image in parsed:
            name = image.annotations.get(NAME_ANNOTATION)
            if name:
                rest = {key: text for key, text in image.annotations.items() if key != NAME_ANNOTATION}
                known[name] = model.Descriptor(
                    image.media_type, image.digest, image.size, rest, image.platform
                ).document()
        return known

    def _write_names(self, known: Mapping[str, Mapping[str, Any]]) -> None:
        manifests = [
            {**image, "annotations": {**image.get("annotations", {}), NAME_ANNOTATION: name}}
            for name, image in sorted(known.items())
        ]
        index = {"schemaVersion": 2, "mediaType": model.OCI_INDEX, "manifests": manifests}
        self.replace("", "index.json", json.dumps(index, indent=1).encode())


def _check_name(name: str) -> None:
    if not name or len(name) > NAME_MAX or not name.isprintable() or any(c.isspace() for c in name):
        raise ImageError(f"image name {name[:NAME_MAX]!r}: use 1 to {NAME_MAX} printable characters without spaces")
