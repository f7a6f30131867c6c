"""The names of images in the store: what a person means by a short one, and what an imported image is called."""

from __future__ import annotations

import re
from typing import Any

from runtime.errors import SteleError, UsageError
from runtime.images import references, registries
from runtime.images.references import DIGEST, REPOSITORY, TAG, Reference
from runtime.images.store import ImageStore

LOCAL = "localhost"
_SHORT = re.compile(r"[0-9a-f]{8,64}", re.ASCII)


def stored_name(store: ImageStore, text: str) -> str:
    """The name in the store that a person means: as written, in full, one imported from a file, or a digest.

    Returns:
        a name or digest for `store.resolve`, which tells whether it is there.
    Raises:
        UsageError: it is no name.
    """
    names = store.names()
    if text in names or DIGEST.fullmatch(text):
        return text
    if _SHORT.fullmatch(text):
        digests = {str(told["digest"]) for told in names.values() if told["digest"].startswith(f"sha256:{text}")}
        if len(digests) == 1:
            return digests.pop()
    local = local_name(text)
    if local is not None and str(local) in names:
        return str(local)
    return str(registries.load().parse(text))


def find(store: ImageStore, text: str) -> dict[str, Any]:
    """The descriptor of an image, as a person names it. Raises: UsageError, ImageError: it is not there."""
    return store.resolve(stored_name(store, text))


def given_name(text: str) -> Reference:
    """A name to give to an image: with a tag, without a digest. Raises: UsageError."""
    name = registries.load().parse(text)
    if name.digest:
        raise UsageError(f'"{text}" names a digest; write a name with a tag')
    return name


def local_name(text: str) -> Reference | None:
    """name[:tag] as one of this machine, localhost/name:tag; None if it is no such name or has a host already."""
    try:
        return references.parse(text, search=(LOCAL,))
    except UsageError:
        return None


def name_of(told: str, place: str, *, docker: bool) -> str:
    """What to call an image from a file.

    Args:
        told: what its file calls it: a full name, name:tag, a tag alone, or "".
        place: path of the file or folder, whose name stands for one that is not told.
        docker: names without a host are Docker Hub's, as in docker's own archives; else this machine's.
    """
    file = place.rstrip("/").rpartition("/")[2].lower()
    base = re.sub(r"(\.(tar|tgz|gz|oci|docker))+$", "", file)
    base = re.sub(r"[^a-z0-9]+", "-", base).strip("-") or "image"
    if not told or (told == base and not docker):
        return f"{LOCAL}/{base}:{references.DEFAULT_TAG}"
    if "/" not in told and ":" not in told and TAG.fullmatch(told) and not docker:
        return f"{LOCAL}/{base}:{told}"
    try:
        return str(references.parse(told, search=(references.DOCKER_HUB if docker else LOCAL,)))
    except SteleError:
        tag = told if TAG.fullmatch(told) else references.DEFAULT_TAG
        repository = base if REPOSITORY.fullmatch(base) else "image"
        return f"{LOCAL}/{repository}:{tag}"
