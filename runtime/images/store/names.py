"""The names of images in the store: what a person means by a short one, and what an imported image is called."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from runtime.errors import SteleError, UsageError
from runtime.images import references
from runtime.images.model import DIGEST
from runtime.images.references import DOCKER_HUB, REPOSITORY, TAG, Reference

LOCAL = "localhost"
_SHORT = re.compile(r"[0-9a-f]{8,64}", re.ASCII)


def stored_name(names: Mapping[str, Mapping[str, Any]], text: str) -> str:
    """The name in the store that a person means: as written, in full, short, or a digest.

    A short name that fits one image of the store means that one, wherever it came from; the host's rules are consulted only
    if none or several fit.
    Args:
        names: the store's.
    Returns:
        a name or digest for `store.resolve`, which tells whether it is there.
    Raises:
        UsageError: it is not a name.
    """
    if text in names or DIGEST.fullmatch(text):
        return text
    if _SHORT.fullmatch(text):
        digests = {str(image["digest"]) for image in names.values() if image["digest"].startswith(f"sha256:{text}")}
        if len(digests) == 1:
            return digests.pop()
    whole = text if ":" in text.rpartition("/")[2] or "@" in text else f"{text}:{references.DEFAULT_TAG}"
    short = [name for name in names if _is_short(name, whole)]
    if len(short) == 1:
        return short[0]
    from runtime.images import registries_conf

    return str(registries_conf.load().parse(text))


def short_name(name: str) -> str:
    """Return the shortest form of a full name that means the same: debian:12 for docker.io/library/debian:12."""
    for prefix in (f"{DOCKER_HUB}/library/", f"{DOCKER_HUB}/"):
        name = name.removeprefix(prefix)
    return name.removesuffix(f":{references.DEFAULT_TAG}")


def _is_short(name: str, text: str) -> bool:
    registry, _, rest = name.partition("/")
    return rest == text or (registry == DOCKER_HUB and rest == f"library/{text}")


def given_name(text: str) -> Reference:
    """A name to give to an image: with a tag, without a digest. Raises: UsageError."""
    from runtime.images import registries_conf

    name = registries_conf.load().parse(text)
    if name.digest:
        raise UsageError(f'"{text}" names a digest; write a name with a tag')
    return name


def name_of(given: str, place: str, *, docker: bool) -> str:
    """What to call an image from a file.

    Args:
        given: what its file calls it: a full name, name:tag, a tag alone, or "".
        place: path of the file or folder, whose name stands for a missing one.
        docker: names without a host are Docker Hub's, as in docker's own archives; else this machine's.
    """
    file = place.rstrip("/").rpartition("/")[2].lower()
    base = re.sub(r"(\.(tar|tgz|txz|gz|zst|xz|oci|docker))+$", "", file)
    base = re.sub(r"[^a-z0-9]+", "-", base).strip("-") or "image"
    if not given or (given == base and not docker):
        return f"{LOCAL}/{base}:{references.DEFAULT_TAG}"
    if "/" not in given and ":" not in given and TAG.fullmatch(given) and not docker:
        return f"{LOCAL}/{base}:{given}"
    try:
        return str(references.parse(given, search=(references.DOCKER_HUB if docker else LOCAL,)))
    except SteleError:
        tag = given if TAG.fullmatch(given) else references.DEFAULT_TAG
        repository = base if REPOSITORY.fullmatch(base) else "image"
        return f"{LOCAL}/{repository}:{tag}"
