"""Take images in from OCI layouts (folder or archive) and from docker's archives.

Source: image-spec image-layout.md; Docker's "image spec v1.2" (manifest.json of `docker save`). Every file is copied
under the digest that its manifest gives, and believed only if it has it.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from runtime.errors import UsageError
from runtime.host.unpack import Budget, LayerError, unpacked
from runtime.images import model
from runtime.images.archive.sources import Archive, Folder, Source, read
from runtime.images.config_fields import check_depths
from runtime.images.model import DOCUMENT_MAX, Descriptor, ImageError, Manifest
from runtime.images.platforms import Platform
from runtime.images.policy.policy import Policy
from runtime.images.policy.policy import load as load_policy
from runtime.images.progress import Progress, short
from runtime.images.references import ArchiveReference
from runtime.images.registry.pull import pick
from runtime.images.store.limits import load as load_budget
from runtime.images.store.names import name_of
from runtime.images.store.store import NAME_ANNOTATION, ImageStore
from runtime.oci.load import parse_document

NAMES = (NAME_ANNOTATION, "io.containerd.image.name")
INDEX_MAX = 16 << 20
DEPTH_MAX = 3


@dataclass(frozen=True, slots=True)
class Imported:
    """An image that came in. descriptor: of its manifest."""

    name: str
    descriptor: Descriptor
    manifest: Manifest


def import_images(
    store: ImageStore,
    place: ArchiveReference,
    name: str,
    platform: Platform,
    progress: Progress,
    policy: Policy | None = None,
    *,
    named: bool = True,
) -> list[Imported]:
    """Take in the image that a place names, or all that it holds.

    Args:
        name: in the store, for one image; "" for what the place calls it.
        policy: which images may come in; the host's if none is given.
        named: False to store no names, as they are whatever the place's author chose.
    Raises:
        ImageError, HostError, UsageError: it holds none, several where one is wanted, or damaged ones; nothing is named.
    """
    policy = policy or load_policy()
    source: Source = (
        Folder(place.path)
        if place.transport == "oci"
        else Archive(place.path, store.directory("ingest"), load_budget(store.path))
    )
    try:
        if place.transport == "docker-archive":
            found = list(_from_docker(store, source, place, progress, policy))
        else:
            found = list(_from_layout(store, source, place, platform, progress, policy))
        if name and len(found) > 1:
            known = ", ".join(sorted({image.name for image in found}))
            raise UsageError(f"{place} holds several images; write which after its path and a colon: {known}")
        for image in found if named else ():
            store.tag(name or image.name, image.descriptor.document())
        return [Imported(name or image.name, image.descriptor, image.manifest) for image in found]
    finally:
        source.close()


# ---- OCI layouts ----


def _from_layout(
    store: ImageStore,
    source: Source,
    place: ArchiveReference,
    platform: Platform,
    progress: Progress,
    policy: Policy | None,
) -> Iterator[Imported]:
    if not source.has("oci-layout"):
        docker = source.has("manifest.json")
        advice = f"; it is docker's: docker-archive:{place.path}" if docker else ""
        raise ImageError(f'{source.what}: it has no "oci-layout"; it is not an OCI image layout{advice}')
    layout = parse_document(read(source, "oci-layout", DOCUMENT_MAX).strip() or b"{}", source.what)
    version = layout.get("imageLayoutVersion", "1.0.0")
    if not isinstance(version, str) or not version.startswith("1."):
        raise ImageError(
            f"{source.what}: oci-layout: its imageLayoutVersion {ascii(version)[:40]} is not known; 1.0.0 is"
        )
    index = model.parse_index(
        {"mediaType": model.OCI_INDEX, **parse_document(read(source, "index.json", INDEX_MAX), source.what)},
        "",
        f"{source.what}: index.json",
    )
    chosen = [m for m in index.manifests if not place.name or place.name in _names_of(m)]
    if not chosen:
        known = ", ".join(sorted({n for m in index.manifests for n in _names_of(m)})) or "none with a name"
        raise ImageError(
            f'{place}: it holds no image "{place.name}", but {known}' if place.name else f"{place}: it is empty"
        )
    kinds = (*model.MANIFESTS, *model.INDEXES)
    images = [m for m in chosen if m.media_type in kinds]
    if len(images) > 1 and all(m.media_type in model.MANIFESTS and not _names_of(m) for m in images):
        images = [pick(images, platform, str(place))]  # one image for several platforms, without an index of its own
    if not images:
        raise ImageError(f"{place}: it holds no images, but {chosen[0].media_type}")
    for found in images:
        names = _names_of(found)
        name = name_of(names[-1] if names else "", place.path, docker=False)
        yield _one(store, source, place, name, found, platform, progress, policy)


def _names_of(found: Descriptor) -> list[str]:
    return [text for key in NAMES if (text := found.annotations.get(key))]


def _one(
    store: ImageStore,
    source: Source,
    place: ArchiveReference,
    name: str,
    found: Descriptor,
    platform: Platform,
    progress: Progress,
    policy: Policy | None,
) -> Imported:
    data = b""
    for _ in range(DEPTH_MAX):
        data = _document(source, found)
        if found.media_type in model.MANIFESTS:
            break
        where = f"{place}: index {found.digest}"
        index = model.parse_index(parse_document(data, where), found.media_type, where)
        nested = [m for m in index.manifests if m.media_type in model.INDEXES]
        found = nested[0] if nested and len(index.manifests) == 1 else pick(index.manifests, platform, where)
    where = f"{place}: manifest {found.digest}"
    manifest = model.parse_manifest(parse_document(data, where), found.media_type, where)
    if policy is not None:
        policy.check(place, [], list)
    for blob in dict.fromkeys((manifest.config.digest, *(layer.digest for layer in manifest.layers))):
        size = next(d.size for d in (manifest.config, *manifest.layers) if d.digest == blob)
        _copy(store, source, _blob(blob), blob, size, progress)
    check_depths(store.config(manifest))
    store.add_bytes(data)
    descriptor = Descriptor(manifest.media_type, found.digest, len(data), {}, found.platform)
    return Imported(name, descriptor, manifest)


def _blob(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _document(source: Source, found: Descriptor) -> bytes:
    data = read(source, _blob(found.digest), DOCUMENT_MAX)
    if "sha256:" + hashlib.sha256(data).hexdigest() != found.digest or len(data) != found.size:
        raise ImageError(f"{source.what}: {_blob(found.digest)} is not what its digest and size say; it is damaged")
    return data


def _copy(store: ImageStore, source: Source, file: str, digest: str, size: int, progress: Progress) -> None:
    name = short(digest)
    if source.size(file) != size:
        raise ImageError(f'{source.what}: "{file}" has {source.size(file)} bytes, its manifest says {size}')
    with store.writer(digest, size) as writer:
        if not writer.present:
            writer.restart()
            for piece in source.pieces(file):
                writer.write(piece)
                progress.advance(name, writer.offset, size)
            writer.commit()
    progress.done(name, size)


# ---- docker's archives ----


def _unpacks_to(store: ImageStore, digest: str, budget: Budget) -> str:
    """The digest of a packed layer's plain tar, which is all that such an archive says of it."""
    found = hashlib.sha256()
    fd = store.open_blob(digest)
    try:
        for piece in unpacked(fd, budget):
            found.update(piece)
    except LayerError as e:
        raise ImageError(f"layer {digest}: {e}") from None
    finally:
        os.close(fd)
    return "sha256:" + found.hexdigest()


def _from_docker(
    store: ImageStore, source: Source, place: ArchiveReference, progress: Progress, policy: Policy | None
) -> Iterator[Imported]:
    if not source.has("manifest.json"):
        layout = source.has("oci-layout")
        advice = f"; it is an OCI layout: oci-archive:{place.path}" if layout else ""
        raise ImageError(f'{source.what}: it has no "manifest.json"; it is not an archive of docker save{advice}')
    try:
        entries = json.loads(read(source, "manifest.json", DOCUMENT_MAX))
    except (ValueError, RecursionError) as e:
        raise ImageError(f"{source.what}: manifest.json is not JSON: {e}") from None
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries) or not entries:
        raise ImageError(f"{source.what}: manifest.json must be a list of images")
    for number, entry in enumerate(entries):
        if not all(isinstance(entry.get(key) or [], list) for key in ("RepoTags", "Layers")):
            raise ImageError(f"{source.what}: manifest.json[{number}]: RepoTags and Layers must be lists")
    chosen = 0
    for number, entry in enumerate(entries):
        tags = [t for t in entry.get("RepoTags") or [] if isinstance(t, str)]
        full = [name_of(tag, place.path, docker=True) for tag in tags]
        if place.name and name_of(place.name, place.path, docker=True) not in full and place.name != f"@{number}":
            continue
        chosen += 1
        made = _docker_image(store, source, entry, f"{source.what}: manifest.json[{number}]", place, progress, policy)
        names = [name_of(place.name, place.path, docker=True)] if place.name and full else full
        for name in names or [name_of("", place.path, docker=True)]:
            yield Imported(name, *made)
    if not chosen:
        raise ImageError(f'{place}: it holds no image "{place.name}"')


def _inside(file: object, where: str) -> str:
    """A file's name as the archive's index has it: "./x" and "/x" are "x". Raises: ImageError: it leads out."""
    name = posixpath.normpath(file.lstrip("/")) if isinstance(file, str) and file.strip("/") else ".."
    if name == "." or name.split("/")[0] == "..":
        raise ImageError(f"{where}: Config and Layers must be names of files in it, not {ascii(file)[:100]}")
    return name


def _docker_image(
    store: ImageStore,
    source: Source,
    entry: Mapping[str, Any],
    where: str,
    place: ArchiveReference,
    progress: Progress,
    policy: Policy | None,
) -> tuple[Descriptor, Manifest]:
    """Store an image of docker's archive, under a manifest of our making: such an archive has none."""
    files = [_inside(file, where) for file in (entry.get("Config"), *(entry.get("Layers") or []))]
    config_data = read(source, files[0], DOCUMENT_MAX)
    config = model.parse_config(parse_document(config_data, f"{where}: Config"), f"{where}: Config")
    if len(config.diff_ids) != len(files) - 1:
        raise ImageError(f"{where}: it has {len(files) - 1} layers, its config {len(config.diff_ids)} diff_ids")
    check_depths(config)
    layers = []
    for file, diff_id in zip(files[1:], config.diff_ids, strict=True):
        size, first, found = source.size(file), b"", hashlib.sha256()
        for piece in source.pieces(file):
            first = first or piece[:4]
            found.update(piece)
        packed = {b"\x1f\x8b": ".gzip", b"\x28\xb5": ".zstd"}.get(first[:2], "")
        digest = "sha256:" + found.hexdigest()
        if not packed and digest != diff_id:
            raise ImageError(f'{where}: layer "{file}" is {digest}, its config says {diff_id}; it is damaged')
        layers.append((file, Descriptor(model.DOCKER_LAYER + packed, digest, size)))
    config_digest = "sha256:" + hashlib.sha256(config_data).hexdigest()
    manifest = Manifest(
        model.DOCKER_MANIFEST,
        Descriptor(model.DOCKER_CONFIG, config_digest, len(config_data)),
        tuple(layer for _, layer in layers),
    )
    document = {
        "schemaVersion": 2,
        "mediaType": manifest.media_type,
        "config": manifest.config.document(),
        "layers": [layer.document() for layer in manifest.layers],
    }
    data = json.dumps(document, separators=(",", ":"), sort_keys=True).encode()
    if policy is not None:
        policy.check(place, [], list)
    budget = load_budget(store.path)
    for (file, layer), diff_id in zip(layers, config.diff_ids, strict=True):
        _copy(store, source, file, layer.digest, layer.size, progress)
        plain = diff_id if layer.media_type == model.DOCKER_LAYER else _unpacks_to(store, layer.digest, budget)
        if plain != diff_id:
            raise ImageError(f'{where}: layer "{file}" unpacks to {plain}, its config says {diff_id}; it is damaged')
    store.add_bytes(config_data)
    digest = store.add_bytes(data)
    return Descriptor(manifest.media_type, digest, len(data)), manifest
