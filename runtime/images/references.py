"""What a person writes to name an image: parsed strictly, once.

Two kinds: an image of a registry (`debian:12`, `host:5000/team/app@sha256:...`), and one in a file or folder
(`oci:DIR[:NAME]`, `oci-archive:FILE[:NAME]`, `docker-archive:FILE[:NAME]`).
Source: distribution-spec "Pulling manifests" (name and tag), image-spec descriptor.md (digest); how a host is told from
the first part of a path, and the names of transports, are what Docker and skopeo made usual.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from runtime.errors import UsageError
from runtime.images.model import DIGEST
from runtime.printable import without_user

DOCKER_HUB = "docker.io"
DEFAULT_TAG = "latest"
NAME_MAX = 255  # bytes of registry and repository together
TEXT_MAX = 4096  # of any reference

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]+\])(?::([0-9]{{1,5}}))?", re.ASCII)

Transport = Literal["oci", "oci-archive", "docker-archive"]
TRANSPORTS: tuple[Transport, ...] = ("oci", "oci-archive", "docker-archive")
VOLUME_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", re.ASCII)
_NOT_OFFERED = (
    "atomic", "containers-storage", "dir", "docker-daemon", "ostree", "sif", "tarball", "http", "https", "ftp",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reference:
    """An image of a registry. Law: `parse(str(reference)) == reference`.

    registry: host or host:port. tag, digest: "" where not given; a digest decides, a tag beside it is only a name.
    """

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """Registry and repository, without tag and digest."""
        return f"{self.registry}/{self.repository}"

    @property
    def wanted(self) -> str:
        """What the registry is asked for: the digest, else the tag."""
        return self.digest or self.tag

    def __str__(self) -> str:
        tag, digest = f":{self.tag}" if self.tag else "", f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"


@dataclass(frozen=True, slots=True)
class ArchiveReference:
    """An image in a file or folder. name: which of the images in it, "" if it may hold but one."""

    transport: Transport
    path: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.transport}:{self.path}" + (f":{self.name}" if self.name else "")


def parse(text: str, *, search: Sequence[str] = (DOCKER_HUB,), aliases: Mapping[str, str] | None = None) -> Reference:
    """An image of a registry, as a person names it.

    Args:
        search: the registries in which a name without a host is looked for; one of them, else the name is ambiguous.
        aliases: full names ("host/repository") of short names.
    Raises:
        UsageError: what is malformed, or ambiguous.
    """
    rest = _plain(text.removeprefix("docker://"))
    rest, at, digest = rest.partition("@")
    if at and not DIGEST.fullmatch(digest):
        raise _wrong(text, f'"{_cut(digest)}" is not a digest; write sha256: and 64 digits 0-9a-f')
    slash = rest.rfind("/")
    colon = rest.rfind(":")
    tag = ""
    if colon > slash:
        rest, tag = rest[:colon], rest[colon + 1 :]
        if not TAG.fullmatch(tag):
            raise _wrong(text, f'"{_cut(tag)}" is not a tag; use at most 128 of A-Z a-z 0-9 _ . - and no . or - first')
    first, slashed, path = rest.partition("/")
    if slashed and ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        found = _reference(text, first, path)
    elif aliases and rest in aliases:
        found = parse(aliases[rest])
    elif len(search) == 1:
        found = _reference(text, search[0], rest)
    else:
        _reference(text, DOCKER_HUB, rest)
        choice = ", ".join(f"{registry}/{rest}" for registry in search)
        raise _wrong(text, f"it names no registry; write one of {choice}" if search else "it names no registry")
    if not tag and not digest:
        tag = found.tag or DEFAULT_TAG
    return replace(found, tag=tag, digest=digest)


def parse_archive(text: str) -> ArchiveReference | None:
    """A file or folder with an image, or None if the text names none by its first word.

    The path may not hold a colon, as usual for these transports: what is behind one is the name of the image in it.
    Raises: UsageError.
    """
    transport, colon, rest = _plain(text).partition(":")
    if colon and transport in _NOT_OFFERED and (transport not in ("http", "https", "ftp") or rest.startswith("//")):
        advice = (
            "write the name without it, as host/repository:tag"
            if rest.startswith("//")
            else f"copy it with skopeo to {', '.join(TRANSPORTS[:2])} or {TRANSPORTS[2]}"
        )
        raise UsageError(f'image "{_cut(without_user(text))}": {transport}: is not read by stele; {advice}')
    for known in TRANSPORTS:
        if colon and transport == known:
            path, _, name = rest.partition(":")
            if not path:
                raise UsageError(f'image "{_cut(text)}": no path stands behind {known}:')
            return ArchiveReference(known, path, name)
    return None


def _reference(text: str, registry: str, path: str) -> Reference:
    host = HOST.fullmatch(registry)
    if not host or (host[1] and not 0 < int(host[1]) < 65536):
        raise _wrong(text, f'"{_cut(registry)}" is not a host or host:port')
    if "." in registry or ":" in registry or registry.lower() == "localhost":
        registry = registry.lower()  # another is known for a registry by its capitals only, so it keeps them
    if registry in ("index.docker.io", "registry-1.docker.io"):
        registry = DOCKER_HUB
    if registry == DOCKER_HUB and path and "/" not in path:
        path = f"library/{path}"
    if not REPOSITORY.fullmatch(path):
        why = "it is empty" if not path else "use a-z 0-9 with . _ - between them, and / between parts"
        raise _wrong(text, f'"{_cut(path)}" is not a repository: {why}')
    if len(registry) + 1 + len(path) > NAME_MAX:
        raise _wrong(text, f"it is longer than {NAME_MAX} characters")
    return Reference(registry, path)


def _plain(text: str) -> str:
    if not text:
        raise UsageError("image: the name is empty; write one such as debian:12")
    if len(text) > TEXT_MAX:
        raise UsageError(f'image "{_cut(text)}": the name is longer than {TEXT_MAX} characters')
    if not text.isprintable():
        raise UsageError(f"image {_cut(ascii(text))}: the name holds characters that cannot be printed")
    return text


def _cut(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:97]}..."


def _wrong(text: str, why: str) -> UsageError:
    return UsageError(f'image "{_cut(text)}": {why}')
