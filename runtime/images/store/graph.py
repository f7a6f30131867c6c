"""What an image consists of: the documents and blobs that its manifest or index leads to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from runtime.images import model
from runtime.images.model import ImageError
from runtime.images.store.contents import Contents
from runtime.oci.load import parse_document

NESTED_MAX = 3


def documents(store: Contents, digest: str, media_type: str, *, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """The digests that an image needs, itself first, each with its parsed form or None; what is missing is raised.

    Manifests of an index that are not there are left out: one platform's is enough.
    """
    if depth > NESTED_MAX:
        raise ImageError(f"index {digest}: it is nested more than {NESTED_MAX} deep; no honest index is")
    data = parse_document(store.read_bytes(digest), digest)
    kind = model.kind_of(data, media_type, digest)
    if kind in model.INDEXES:
        index = model.parse_index(data, media_type, digest)
        yield digest, index
        for child in index.manifests:
            if child.media_type in (*model.INDEXES, *model.MANIFESTS) and is_there(store, child.digest):
                yield from documents(store, child.digest, child.media_type, depth=depth + 1)
        return
    manifest = model.parse_manifest(data, media_type, digest)
    yield digest, manifest
    config = store.config(manifest)
    yield manifest.config.digest, config
    for layer in manifest.layers:
        yield layer.digest, None


def check_whole(store: Contents, digest: str, media_type: str) -> None:
    """Raises: ImageError: a part of an image is not there."""
    for part, _ in documents(store, digest, media_type):
        if not is_there(store, part):
            raise ImageError(f"blob {part} is not in the store {store.path}; pull or import its image again")


def is_there(store: Contents, digest: str) -> bool:
    return os.path.exists(f"{store.path}/blobs/sha256/{digest.removeprefix('sha256:')}")
