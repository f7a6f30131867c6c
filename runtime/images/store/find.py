"""From what a person writes to an image of the store that runs on this machine."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.images import model
from runtime.images.model import Descriptor, ImageConfig, ImageError, Manifest
from runtime.images.platforms import Platform, choose, host_platform
from runtime.images.store.names import stored_name
from runtime.images.store.store import ImageStore


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is in the store. name: as the store has it; digest: of its manifest."""

    name: str
    digest: str
    manifest: Manifest
    config: ImageConfig

    @property
    def platform(self) -> Platform:
        """What its config says that it is for."""
        return Platform(self.config.os, self.config.architecture, self.config.variant)

    @property
    def chain(self) -> tuple[str, ...]:
        """All digests that a container of it needs kept."""
        return (self.digest, self.manifest.config.digest, *self.config.diff_ids)


def find(store: ImageStore, text: str, platform: Platform | None = None) -> Image:
    """An image by its name, as written or made whole (debian:12 is docker.io/library/debian:12), or by its digest.

    Raises:
        ImageError: it is not in the store, or not for this machine. UsageError: the name is malformed, or ambiguous.
    """
    known = store.names()
    name = stored_name(known, text)
    descriptor = model.parse_descriptor(store.resolve(name, known), f"image {name}")
    if descriptor.media_type in model.INDEXES:
        descriptor = _of_index(store, name, descriptor, platform or host_platform())
    manifest = store.manifest(descriptor.document())
    return Image(name, descriptor.digest, manifest, store.config(manifest))


def _of_index(store: ImageStore, name: str, descriptor: Descriptor, wanted: Platform, depth: int = 0) -> Descriptor:
    index = model.parse_index(store.read_json(descriptor.digest), descriptor.media_type, f"index {descriptor.digest}")
    offers = [_platform(child) if store.has_blob(child.digest) else None for child in index.manifests]
    chosen = choose(wanted, offers)
    if chosen is None and len(index.manifests) == 1 and not index.manifests[0].platform:
        chosen = 0
    if chosen is None or depth > 3:
        raise ImageError(
            f'image "{name}": the store has none of its images that is for {wanted}; pull it for this platform'
        )
    child = index.manifests[chosen]
    return _of_index(store, name, child, wanted, depth + 1) if child.media_type in model.INDEXES else child


def _platform(child: Descriptor) -> Platform | None:
    platform = child.platform
    return (
        Platform(platform.get("os", ""), platform.get("architecture", ""), platform.get("variant", ""))
        if platform
        else None
    )
