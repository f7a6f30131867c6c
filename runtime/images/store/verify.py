"""Whether what is in the store is sound: each blob has its digest, and each named image is whole."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runtime.errors import SteleError
from runtime.images.model import DIGEST, ImageError
from runtime.images.store import erofs
from runtime.images.store.graph import documents, is_there
from runtime.images.store.store import ImageStore


@dataclass(frozen=True, slots=True)
class Fault:
    """Something of a store that is not as it should be. digest: of the blob at fault."""

    digest: str
    problem: str


def verify_store(store: ImageStore) -> list[Fault]:
    """Return the faults of all blobs and erofs files, and what named images lack."""
    faults = []
    for name in sorted(store.entries("blobs/sha256")):
        faults += verify_blob(store, f"sha256:{name}")
    bad = {fault.digest for fault in faults}
    for name, image in store.names().items():
        try:
            for part, _ in documents(store, image["digest"], image["mediaType"]):
                if not is_there(store, part):
                    faults.append(Fault(part, f'image "{name}" needs it, and it is not there; pull the image again'))
        except SteleError as e:
            if image["digest"] not in bad:
                faults.append(Fault(image["digest"], f'image "{name}": {e}'))
    return [*faults, *(Fault(digest, problem) for digest, problem in erofs.faults(store))]


def verify_image(store: ImageStore, descriptor: Mapping[str, Any]) -> list[Fault]:
    """Return the faults of one image: its manifest, config, layers and, if it exists, its erofs file."""
    faults = verify_blob(store, str(descriptor["digest"]))
    if not faults:
        manifest = store.manifest(descriptor)
        for blob in dict.fromkeys(d.digest for d in (manifest.config, *manifest.layers)):
            faults += verify_blob(store, blob)
        with contextlib.suppress(SteleError):  # a damaged config is already reported
            faults += [Fault(digest, problem) for digest, problem in erofs.faults(store, store.config(manifest))]
    return faults


def verify_blob(store: ImageStore, digest: str) -> list[Fault]:
    """Hash a blob again; return why it is not what its digest says, or []."""
    if not DIGEST.fullmatch(digest):
        return [Fault(digest, f"{store.path}/blobs/sha256 has a file that is not a blob; remove it")]
    try:
        found = store.hash_blob(digest)
    except ImageError as e:
        return [Fault(digest, str(e))]
    if found != digest:
        return [Fault(digest, f"its content is {found}; remove the images that use it and pull them again")]
    return []
