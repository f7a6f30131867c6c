"""Which images may come in: policy.json, as Podman and CRI-O read it.

Source: containers-policy.json(5). Understood: insecureAcceptAnything, reject, and sigstoreSigned with keys (ECDSA and
Ed25519, as cosign makes them). What is not understood refuses the image: signedBy (GPG needs programs of the host),
Fulcio and Rekor. Without any policy.json all images may come in.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runtime.errors import ConfigError, SteleError
from runtime.host.files import read_settings
from runtime.images.policy.signatures import Signature, verified
from runtime.images.references import ArchiveReference, Reference

SYSTEM = "/etc/containers/policy.json"
KEYS_MAX = 64


@dataclass(frozen=True, slots=True)
class Requirement:
    """One thing that an image must satisfy. keys: PEM; identity: the signedIdentity object, or the default."""

    kind: str
    where: str
    keys: tuple[bytes, ...] = ()
    identity: Mapping[str, Any] | None = None
    unknown: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """requirements by transport ("docker", "oci", ...) and scope; default: where none fits."""

    path: str
    default: tuple[Requirement, ...]
    transports: Mapping[str, Mapping[str, tuple[Requirement, ...]]]

    def find(self, image: Reference | ArchiveReference) -> tuple[Requirement, ...]:
        """What an image must satisfy: of the narrowest scope that it is in."""
        transport = "docker" if isinstance(image, Reference) else image.transport
        scopes = self.transports.get(transport, {})
        for scope in scopes_of(image):
            if scope in scopes:
                return scopes[scope]
        return self.default

    def check(
        self, image: Reference | ArchiveReference, digests: Sequence[str], signatures: Callable[[], Sequence[Signature]]
    ) -> None:
        """Let an image in, or not.

        Args:
            digests: of its manifest, and of the index that it was taken from.
            signatures: called if signatures are wanted.
        Raises:
            SteleError: it may not come in, and by which requirement.
        """
        for requirement in self.find(image):
            where = f'image "{image}": {self.path}: {requirement.where}'
            if requirement.kind == "insecureAcceptAnything":
                continue
            if requirement.kind == "reject":
                raise SteleError(f"{where} rejects it")
            if requirement.unknown:
                raise SteleError(f"{where} wants {requirement.unknown}, which stele cannot check; it is not let in")
            if not isinstance(image, Reference):
                raise SteleError(f"{where} wants a signature, which only an image of a registry can have")
            why = verified(image, digests, signatures(), requirement.keys, requirement.identity or {})
            if why:
                raise SteleError(f"{where} wants a signature: {why}")


def scopes_of(image: Reference | ArchiveReference) -> list[str]:
    """The names of scopes that an image is in, the narrowest first."""
    if isinstance(image, Reference):
        exact = [f"{image.name}@{image.digest}"] if image.digest else [f"{image.name}:{image.tag}"]
        parts = image.name.split("/")
        names = ["/".join(parts[:n]) for n in range(len(parts), 0, -1)]
        labels = image.registry.partition(":")[0].split(".")
        return [*exact, *names, *(f"*.{'.'.join(labels[n:])}" for n in range(1, len(labels))), ""]
    if image.transport == "docker-archive":
        return [""]
    path = os.path.realpath(image.path)
    found = [f"{path}:{image.name}"] if image.name else []
    while path != "/":
        found.append(path)
        path = os.path.dirname(path)
    return [*found, "/", ""]


def load(path: str = "") -> Policy:
    """The host's policy, or that of a file. Raises: ConfigError, HostError."""
    own = os.path.expanduser("~/.config/containers/policy.json")
    usual = [own, SYSTEM] if os.geteuid() else [SYSTEM]
    file = path or next((p for p in usual if os.path.lexists(p)), "")
    if not file:
        return Policy("no policy.json", (Requirement("insecureAcceptAnything", "default"),), {})
    try:
        document = json.loads(read_settings(file, "signature policy"), object_pairs_hook=_once)
    except (ValueError, RecursionError) as e:
        raise ConfigError(file, f"it is not JSON: {e}") from None
    return parse(document, file)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def parse(document: Any, path: str) -> Policy:
    """A policy from its document; unknown keys are faults, as a rule that is not obeyed is worse than none."""
    top = _object(document, path, ("default", "transports"))
    if "default" not in top:
        raise ConfigError(f"{path}: default", "it is missing")
    transports = {}
    for transport, scopes in _object(top.get("transports", {}), f"{path}: transports").items():
        where = f"transports.{transport}"
        transports[transport] = {
            scope: _requirements(listed, path, f'{where}["{scope}"]')
            for scope, listed in _object(scopes, f"{path}: {where}").items()
        }
    return Policy(path, _requirements(top["default"], path, "default"), transports)


def _requirements(listed: Any, path: str, where: str) -> tuple[Requirement, ...]:
    if not isinstance(listed, list) or not listed:
        raise ConfigError(f"{path}: {where}", "it must be a list of at least one requirement")
    return tuple(_requirement(item, path, f"{where}[{number}]") for number, item in enumerate(listed))


def _requirement(requirement: Any, path: str, where: str) -> Requirement:
    kind = _object(requirement, f"{path}: {where}").get("type")
    if kind in ("insecureAcceptAnything", "reject"):
        _object(requirement, f"{path}: {where}", ("type",))
        return Requirement(kind, where)
    if kind == "signedBy":
        return Requirement(kind, where, unknown="a GPG signature (signedBy)")
    if kind != "sigstoreSigned":
        raise ConfigError(f"{path}: {where}.type", f"{ascii(kind)[:80]} is not a type of requirement")
    for key in (
        "fulcio",
        "pki",
        "rekorPublicKeyPath",
        "rekorPublicKeyPaths",
        "rekorPublicKeyData",
        "rekorPublicKeyDatas",
    ):
        if key in requirement:
            return Requirement(kind, where, unknown=f"a sigstore signature with {key}")
    known = ("type", "keyPath", "keyPaths", "keyData", "keyDatas", "signedIdentity")
    _object(requirement, f"{path}: {where}", known)
    keys = [key for key in known[1:5] if key in requirement]
    if len(keys) != 1:
        raise ConfigError(f"{path}: {where}", "it needs one of keyPath, keyPaths, keyData, keyDatas")
    given = requirement[keys[0]] if keys[0].endswith("s") else [requirement[keys[0]]]
    if not isinstance(given, list) or not 0 < len(given) <= KEYS_MAX or not all(isinstance(k, str) for k in given):
        raise ConfigError(f"{path}: {where}.{keys[0]}", "it must be text, or a list of texts")
    read = _key_file if keys[0].startswith("keyPath") else _key_data
    pems = tuple(read(text, f"{path}: {where}.{keys[0]}") for text in given)
    identity = requirement.get("signedIdentity", {"type": "matchRepoDigestOrExact"})
    return Requirement(kind, where, pems, _object(identity, f"{path}: {where}.signedIdentity"))


def _key_file(path: str, where: str) -> bytes:
    return read_settings(path, f"{where}: key")


def _key_data(text: str, where: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError(where, "it is not base64") from None


def _object(value: Any, where: str, known: Sequence[str] | None = None) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(where, "it must be an object")
    for key in value:
        if known is not None and key not in known:
            raise ConfigError(where, f'"{key[:80]}" is not known here; correct it or take it out')
    return value
