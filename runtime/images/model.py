"""Manifests, indexes and configs of images, as values: parsed strictly, because all of it comes from strangers.

Source: OCI image-spec 1.1 (descriptor.md, manifest.md, image-index.md, config.md, media-types.md) and Docker's
distribution "Image Manifest V 2, Schema 2", whose media types mean the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runtime.errors import SteleError

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
MEDIA_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}")
DOCUMENT_MAX = 4 << 20
"""Bytes of a manifest, index or config; what registries hold to."""
LAYERS_MAX = 500
"""The kernel takes 500 lower directories of an overlay (fs/overlayfs/params.h, OVL_MAX_STACK)."""
SIZE_MAX = 1 << 62

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
MANIFESTS = (OCI_MANIFEST, DOCKER_MANIFEST)
INDEXES = (OCI_INDEX, DOCKER_LIST)
CONFIGS = (OCI_CONFIG, DOCKER_CONFIG)
CORRUPTED = (None, "", "application/octet-stream", "application/json", "text/html", "text/plain")
# Those that may not be passed on are layers like others where they are; "urls" of other places are not asked.
KEPT_LAYER = "application/vnd.oci.image.layer.nondistributable.v1.tar"
FOREIGN_LAYER = "application/vnd.docker.image.rootfs.foreign.diff.tar"
LAYERS = frozenset(
    f"{plain}{mark}{packed}"
    for plain, mark in ((OCI_LAYER, "+"), (KEPT_LAYER, "+"), (DOCKER_LAYER, "."), (FOREIGN_LAYER, "."))
    for packed in ("gzip", "zstd")
) | {OCI_LAYER, KEPT_LAYER, DOCKER_LAYER, FOREIGN_LAYER}


class ImageError(SteleError):
    """An image, or what the store has of it, is not what it should be: which part, what is wrong, what to do."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What is known of a blob before it is read.

    digest: `sha256:` and 64 hex digits. size: bytes. platform: os, architecture, variant as the index gives them.
    """

    media_type: str
    digest: str
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    platform: Mapping[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """As JSON has it: `parse_descriptor(d.document(), "") == d`."""
        document: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.annotations:
            document["annotations"] = dict(self.annotations)
        if self.platform:
            document["platform"] = dict(self.platform)
        return document


@dataclass(frozen=True, slots=True)
class Manifest:
    """One image for one platform; layers lowest first."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Index:
    """Manifests for several platforms."""

    media_type: str
    manifests: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What an image says of itself.

    diff_ids: digests of the layers' plain tars, lowest first. run: the `config` object (Env, Entrypoint, Cmd, User,
    WorkingDir, Volumes, Labels, StopSignal, ...), an object but otherwise unchecked. history: as in the document.
    """

    architecture: str
    os: str
    variant: str
    created: str
    diff_ids: tuple[str, ...]
    run: Mapping[str, Any]
    history: tuple[Mapping[str, Any], ...]


def check_digest(value: object, where: str) -> str:
    """A digest that may become a file's name.

    Raises:
        ImageError: it is anything but `sha256:` and 64 lower-case hex digits.
    """
    if not isinstance(value, str) or not DIGEST.fullmatch(value):
        raise ImageError(f"{where}: {_shown(value)} is not a digest; it must be sha256: and 64 lower-case hex digits")
    return value


def parse_descriptor(value: object, where: str) -> Descriptor:
    """A descriptor object.

    Args:
        where: what is parsed, for the sentence, as `manifest sha256:…: layers[3]`.
    Raises:
        ImageError: a field is missing, of the wrong type or out of range.
    """
    document = _object(value, where)
    media_type = document.get("mediaType")
    if not isinstance(media_type, str) or not MEDIA_TYPE.fullmatch(media_type):
        raise ImageError(f"{where}.mediaType: {_shown(media_type)} is not a media type")
    size = document.get("size")
    if type(size) is not int or not 0 <= size < SIZE_MAX:
        raise ImageError(f"{where}.size: {_shown(size)} is not a number of bytes")
    return Descriptor(
        media_type,
        check_digest(document.get("digest"), f"{where}.digest"),
        size,
        _strings(document.get("annotations"), f"{where}.annotations"),
        {
            key: _text(text, f"{where}.platform.{key}")
            for key, text in _object(document.get("platform") or {}, f"{where}.platform").items()
            if key in ("os", "architecture", "variant", "os.version")
        },
    )


def kind_of(document: Mapping[str, Any], media_type: str, where: str) -> str:
    """The media type of a manifest or index, which its sender, itself and its keys must agree on.

    CVE-2021-41190: one document could be read as a manifest and as an index, with two different meanings.

    Args:
        media_type: what the sender or the descriptor said, "" if nothing.
    Raises:
        ImageError: they do not agree, or it is not a kind of document known here.
    """
    own = document.get("mediaType", "")
    if not isinstance(own, str) or (own and media_type and own != media_type):
        raise ImageError(f"{where}: it calls itself {_shown(own)}, but was given as {_shown(media_type)}")
    kind = own or media_type
    # The specification asks for it; what has a media type is read without it by all.
    version = document.get("schemaVersion", 2 if kind else None)
    if version != 2 or type(version) is not int:
        raise ImageError(f"{where}.schemaVersion: it must be 2; older manifests have no digests that can be checked")
    if not kind:
        kind = OCI_INDEX if "manifests" in document else OCI_MANIFEST
    if kind in MANIFESTS:
        foreign: tuple[str, ...] = ("manifests", "fsLayers")
    elif kind in INDEXES:
        foreign = ("config", "layers", "fsLayers")
    else:
        raise ImageError(f"{where}: {_shown(kind)} is neither an image manifest nor an index")
    for key in foreign:
        if key in document:
            raise ImageError(f'{where}: it is given as {kind}, but has "{key}", which belongs to another kind')
    return kind


def parse_manifest(value: object, media_type: str, where: str) -> Manifest:
    """An image manifest.

    Raises:
        ImageError: it is none.
    """
    document = _object(value, where)
    kind = kind_of(document, media_type, where)
    if kind not in MANIFESTS:
        raise ImageError(f"{where}: {kind} is an index, where the manifest of one platform is needed")
    config = _config_descriptor(document.get("config"), kind, f"{where}: config")
    if config.media_type not in CONFIGS:
        raise ImageError(
            f"{where}: config.mediaType: {_shown(config.media_type)} is not an image's; it is another artifact"
        )
    layers = tuple(
        parse_descriptor(item, f"{where}: layers[{number}]")
        for number, item in enumerate(_list(document.get("layers") or [], f"{where}: layers", LAYERS_MAX))
    )
    for number, layer in enumerate(layers):
        if layer.media_type not in LAYERS:
            raise ImageError(
                f"{where}: layers[{number}].mediaType: {_shown(layer.media_type)} cannot be unpacked here; "
                "it must be a tar, plain or packed by gzip or zstd"
            )
    return Manifest(kind, config, layers, _strings(document.get("annotations"), f"{where}: annotations"))


def _config_descriptor(value: object, kind: str, where: str) -> Descriptor:
    """A config's descriptor; what registries once made of the media type in Docker's manifests counts as Docker's."""
    document = _object(value, where)
    if kind == DOCKER_MANIFEST and document.get("mediaType") in CORRUPTED:
        document = {**document, "mediaType": DOCKER_CONFIG}
    return parse_descriptor(document, where)


def parse_index(value: object, media_type: str, where: str) -> Index:
    """An image index (manifest list).

    Raises:
        ImageError: it is none.
    """
    document = _object(value, where)
    kind = kind_of(document, media_type, where)
    if kind not in INDEXES:
        raise ImageError(f"{where}: {kind} is not an index")
    manifests = tuple(
        parse_descriptor(item, f"{where}: manifests[{number}]")
        for number, item in enumerate(_list(document.get("manifests") or [], f"{where}: manifests", 1000))
    )
    return Index(kind, manifests, _strings(document.get("annotations"), f"{where}: annotations"))


def parse_config(value: object, where: str) -> ImageConfig:
    """An image config.

    Raises:
        ImageError: it is none.
    """
    document = _object(value, where)
    rootfs = _object(document.get("rootfs") or {}, f"{where}: rootfs")
    if rootfs.get("type") not in ("layers", "", None):
        raise ImageError(f'{where}: rootfs.type: {_shown(rootfs.get("type"))}; it must be "layers"')
    diff_ids = tuple(
        check_digest(item, f"{where}: rootfs.diff_ids[{number}]")
        for number, item in enumerate(_list(rootfs.get("diff_ids") or [], f"{where}: rootfs.diff_ids", LAYERS_MAX))
    )
    history = tuple(
        _object(item or {}, f"{where}: history[{number}]")
        for number, item in enumerate(_list(document.get("history") or [], f"{where}: history", 10_000))
    )
    return ImageConfig(
        architecture=_text(document.get("architecture", ""), f"{where}: architecture"),
        os=_text(document.get("os", ""), f"{where}: os"),
        variant=_text(document.get("variant", ""), f"{where}: variant"),
        created=_text(document.get("created") or "", f"{where}: created"),
        diff_ids=diff_ids,
        run=_object(document.get("config") or {}, f"{where}: config"),
        history=history,
    )


def _shown(value: object) -> str:
    """A stranger's value for a sentence: quoted, escaped, short."""
    text = ascii(value)
    return text if len(text) <= 120 else text[:117] + "..."


def _object(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ImageError(f"{where}: {_shown(value)} is not an object")
    return value


def _list(value: object, where: str, most: int) -> list[Any]:
    if not isinstance(value, list):
        raise ImageError(f"{where}: {_shown(value)} is not a list")
    if len(value) > most:
        raise ImageError(f"{where}: it has {len(value)} items; at most {most} are taken")
    return value


def _text(value: object, where: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > 4096 or "\0" in value:
        raise ImageError(f"{where}: {_shown(value)} is not text of at most 4096 characters")
    return value


def _strings(value: object, where: str) -> dict[str, str]:
    document = {key: "" if text is None else text for key, text in _object(value or {}, where).items()}
    for key, text in document.items():
        if not isinstance(text, str):
            raise ImageError(f"{where}[{_shown(key)}]: {_shown(text)} is not text")
    return document
