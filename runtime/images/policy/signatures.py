"""Signatures of images as cosign makes them: a small JSON text about an image, signed by a key.

Source: containers/image "signature protocols" (atomic container signature, simple signing); cosign SIGNATURE_SPEC.md:
the signatures of sha256:X are the layers of the image with the tag sha256-X.sig in the same repository.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runtime.errors import ConfigError, SteleError
from runtime.images import references
from runtime.images.references import Reference

TYPES = ("cosign container image signature", "atomic container signature")


@dataclass(frozen=True, slots=True)
class Signature:
    """payload: what was signed. signature: over its SHA-256; ASN.1 (RFC 3279) for ECDSA."""

    payload: bytes
    signature: bytes


def verified(
    image: Reference,
    digests: Sequence[str],
    signatures: Sequence[Signature],
    keys: Sequence[bytes],
    identity: Mapping[str, Any],
) -> str:
    """Whether one of the signatures is by one of the keys, of one of the digests, and for this image.

    Returns:
        "", or why not.
    Raises:
        ConfigError: a key or the identity is none that is known here.
    """
    wanted = _identity(image, identity)
    if not signatures:
        return "it has none"
    why = "none of its signatures is by a key that the policy names"
    for signature in signatures:
        if not any(_signed(signature, key) for key in keys):
            continue
        try:
            critical = json.loads(signature.payload)["critical"]
            kind, digest = critical["type"], critical["image"]["docker-manifest-digest"]
            name = critical["identity"]["docker-reference"]
        except (ValueError, KeyError, TypeError, RecursionError):
            why = "what was signed is not an image's signature"
            continue
        if kind not in TYPES or digest not in digests:
            why = "what was signed is another image"
            continue
        try:
            signed = references.parse(name)
        except (SteleError, TypeError, AttributeError):
            why = "what was signed names no image"
            continue
        if _matches(signed, ":" in str(name).rpartition("/")[2], wanted, str(identity.get("type", ""))):
            return ""
        why = f"it was signed as {ascii(str(name))[:200]}, which is not this image by signedIdentity"
    return why


def _signed(signature: Signature, key: bytes) -> bool:
    """Raises: ConfigError: the key is none that can be read."""
    from ecdsa import BadSignatureError, VerifyingKey
    from ecdsa.util import MalformedSignature, sigdecode_der

    try:
        verifier = VerifyingKey.from_pem(key.decode())
    except Exception as e:  # the library raises many
        raise ConfigError("policy.json: key", f"it is not a public key of ECDSA or Ed25519 in PEM: {e}") from None
    try:
        if verifier.curve.name.startswith("Ed"):
            return bool(verifier.verify(signature.signature, signature.payload))
        return bool(
            verifier.verify(signature.signature, signature.payload, hashfunc=hashlib.sha256, sigdecode=sigdecode_der)
        )
    except (BadSignatureError, MalformedSignature, ValueError):
        return False


def _identity(image: Reference, identity: Mapping[str, Any]) -> Reference:
    """The image that must have been signed."""
    kind = identity.get("type", "matchRepoDigestOrExact")
    if kind in ("matchRepoDigestOrExact", "matchRepository", "matchExact"):
        return image
    try:
        if kind == "exactReference":
            return references.parse(identity["dockerReference"])
        if kind == "exactRepository":
            return references.parse(identity["dockerRepository"])
        if kind == "remapIdentity":
            prefix, signed = identity["prefix"], identity["signedPrefix"]
            if image.name == prefix or image.name.startswith(f"{prefix}/"):
                mapped = references.parse(signed + image.name.removeprefix(prefix))
                return Reference(mapped.registry, mapped.repository, image.tag, image.digest)
            return image
    except (KeyError, TypeError, AttributeError):
        raise ConfigError("policy.json: signedIdentity", f"{kind}: a field of it is missing") from None
    raise ConfigError("policy.json: signedIdentity.type", f"{ascii(kind)[:80]} is not known")


def _matches(signed: Reference, tagged: bool, wanted: Reference, kind: str) -> bool:
    if signed.name != wanted.name:
        return False
    if kind in ("matchRepository", "exactRepository"):
        return True
    if kind in ("", "matchRepoDigestOrExact", "remapIdentity") and wanted.digest:
        return True
    return tagged and signed.tag == wanted.tag and signed.digest == wanted.digest
