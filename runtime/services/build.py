"""From the files of a host's services to the content of a generation: nothing on the host is changed here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from runtime.errors import SteleError
from runtime.services.generations import Generation
from runtime.services.quadlet import Fault, ServiceFaults
from runtime.services.service import Service
from runtime.services.sources import Source, read_services
from runtime.services.translate import translate, volume_name
from runtime.services.units import command_line, expanded, unit_text


@dataclass(frozen=True, slots=True)
class Resolved:
    """An image that is in the store. chain: all digests that a container of it needs."""

    name: str
    digest: str
    chain: tuple[str, ...]
    stop_signal: str


class Images(Protocol):
    """What a generation needs of images and of planning; the command line provides it."""

    program: str
    """Path of stele."""

    store: str
    """Path of the image store."""

    def resolve(self, name: str, pull: str) -> Resolved:
        """Return the image, pulled and unpacked as `pull` says ("always", "missing", "never" or "newer")."""

    def plan(self, arguments: Sequence[str]) -> Mapping[str, Any]:
        """Return the plan, as `stele plan --json` prints it, of a command line of `stele`."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the files ask for, translated but not resolved."""

    services: tuple[Service, ...]
    sources: tuple[Source, ...]

    @property
    def texts(self) -> dict[str, bytes]:
        return {name: text.encode() for source in self.sources for name, text in source.texts}


@dataclass(frozen=True, slots=True)
class Draft:
    """The content of a generation that is not written yet."""

    manifest: Mapping[str, Any]
    sources: Mapping[str, bytes]
    units: Mapping[str, bytes]

    @property
    def services(self) -> Mapping[str, Mapping[str, Any]]:
        found: Mapping[str, Mapping[str, Any]] = self.manifest["services"]
        return found


def wanted(folders: Sequence[str]) -> Wanted:
    """Read and translate the files.

    Raises:
        ServiceFaults: all that is wrong in any of them.
    """
    faults: list[Fault] = []
    sources = read_services(folders, faults)
    volumes = {source.name: volume_name(source, faults) for source in sources if source.kind == "volume"}
    for source in sources:
        if source.kind == "network":
            faults.append(Fault(source.path, 0, "", "stele makes no networks; use Network=host or none, and remove it"))
    services = [translate(source, volumes, faults) for source in sources if source.kind == "container"]
    ids: dict[str, Service] = {}
    for service in services:
        other = ids.setdefault(service.container_id, service)
        if other is not service:
            faults.append(
                Fault(
                    service.source.path, 0, "", f"has the container name {service.container_id} of {other.source.path}"
                )
            )
    if faults:
        raise ServiceFaults(faults)
    return Wanted(tuple(services), tuple(sources))


def unchanged(wanted: Wanted, generation: Generation | None, images: Images) -> bool:
    """Whether a generation was made of exactly these files, by this stele, and no image is to be pulled anew."""
    if generation is None or any(service.pull == "always" for service in wanted.services):
        return False
    made = generation.manifest
    return (made["files"], made["program"]) == (fingerprint(wanted.texts), images.program)


def fingerprint(texts: Mapping[str, bytes]) -> dict[str, str]:
    """Return the SHA-256 of each file."""
    return {name: hashlib.sha256(text).hexdigest() for name, text in texts.items()}


def build(wanted: Wanted, images: Images, *, pull: str = "", origin: str = "") -> Draft:
    """Resolve every image and plan every container.

    Args:
        pull: in place of each service's Pull=, if given.
        origin: where the files come from, for `history`.
    Raises:
        ServiceFaults: an image or a plan failed; all of them are reported.
    """
    faults: list[Fault] = []
    entries: dict[str, Any] = {}
    units: dict[str, bytes] = {}
    resolved: dict[tuple[str, str], Resolved] = {}
    for service in wanted.services:
        policy = pull if pull and service.pull != "never" else service.pull
        try:
            if (service.image, policy) not in resolved:
                resolved[service.image, policy] = images.resolve(service.image, policy)
            image = resolved[service.image, policy]
            signal = service.stop_signal or image.stop_signal
            text = unit_text(service, images.program, images.store, image.digest, signal).encode()
            entries[service.name] = _entry(service, image, images, text)
            units[service.unit] = text
        except SteleError as e:
            faults.append(Fault(service.source.path, 0, "", str(e)))
    if faults:
        raise ServiceFaults(faults)
    texts = wanted.texts
    manifest = {"files": fingerprint(texts), "program": images.program, "origin": origin, "services": entries}
    return Draft(manifest, texts, units)


def _entry(service: Service, image: Resolved, images: Images, text: bytes) -> dict[str, Any]:
    line = command_line(service, images.program, images.store, image.digest)
    name = f"{service.name}instance" if service.source.is_template else service.name
    plan = images.plan([expanded(word, name) for word in line[1:]])
    return {
        "image": image.name,
        "digest": image.digest,
        "chain": list(image.chain),
        "command": line,
        "container": service.container_id,
        "critical": service.critical,
        "settle": service.settle,
        "links": list(service.links),
        "plan": hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest(),
        "unit": hashlib.sha256(text).hexdigest(),
        "template": service.source.is_template,
        "files": [file for file, _ in service.source.texts],
    }


def combined(base: Generation, other: Generation, only: str) -> Draft:
    """Return the content of `base` with one service as it was in `other`.

    Raises:
        SteleError: neither has the service.
    """
    if only not in base.services and only not in other.services:
        raise SteleError(f'service "{only}" is in neither generation {base.number} nor {other.number}')
    entries = {name: entry for name, entry in base.services.items() if name != only}
    units = {name: text for name, text in base.unit_texts().items() if name != f"{only}.service"}
    if only in other.services:
        entries[only] = other.services[only]
        units[f"{only}.service"] = other.unit_texts()[f"{only}.service"]
    manifest = {**base.manifest, "files": {}, "origin": f"{only} of generation {other.number}", "services": entries}
    return Draft(manifest, {}, units)


def copied(generation: Generation) -> Draft:
    """Return the content of a generation, for a newer one that equals it."""
    sources: dict[str, bytes] = {}
    for name in generation.manifest["files"]:
        with open(f"{generation.path}/sources/{name}", "rb") as file:
            sources[name] = file.read()
    manifest = {**generation.manifest, "origin": f"generation {generation.number}"}
    return Draft(manifest, sources, generation.unit_texts())


EMPTY = Draft({"files": {}, "program": "", "origin": "nothing", "services": {}}, {}, {})
"""A host without services."""
