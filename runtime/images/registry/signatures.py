"""Fetch the signatures that a registry has of an image.

Source: cosign SIGNATURE_SPEC.md: the signatures of sha256:X are the layers of the image with the tag sha256-X.sig in the
same repository.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from typing import Any

from runtime.errors import SteleError
from runtime.images.model import DIGEST
from runtime.images.policy.signatures import Signature
from runtime.images.registry.http import Missing
from runtime.images.registry.repository import Repository

ANNOTATION = "dev.cosignproject.cosign/signature"
SIGNATURES_MAX = 32
PAYLOAD_MAX = 64 << 10


def fetch(repository: Repository, digests: Sequence[str]) -> list[Signature]:
    """The signatures of manifests that their repository has. Raises: SteleError: the registry gives no answer."""
    found: list[Signature] = []
    for digest in digests:
        try:
            document = repository.manifest(f"{digest.replace(':', '-')}.sig")
        except Missing:
            continue
        try:
            layers = json.loads(document.data)["layers"]
            wanted = [
                (one["digest"], one["annotations"][ANNOTATION]) for one in layers if ANNOTATION in one["annotations"]
            ]
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
        for blob, text in wanted[:SIGNATURES_MAX]:
            if DIGEST.fullmatch(str(blob)):
                found.append(Signature(_payload(repository, blob), _decoded(text)))
    return found


def _payload(repository: Repository, digest: str) -> bytes:
    data = b""
    with repository.blob(digest, 0) as (_, pieces):
        for piece in pieces:
            data += piece
            if len(data) > PAYLOAD_MAX:
                raise SteleError(f"signature {digest}: what it signs is larger than {PAYLOAD_MAX >> 10} KiB")
    if f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
        raise SteleError(f"signature {digest}: the registry sent something else")
    return data


def _decoded(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError):
        return b""
