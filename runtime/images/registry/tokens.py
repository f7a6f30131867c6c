"""Proving to a registry who we are: basic, or a token from where it sends us.

Source: Docker's registry "Token Authentication Specification" and "OAuth2 Token Authentication"; RFC 9110 section 11.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import SplitResult, urlencode, urlsplit

from runtime.errors import SteleError
from runtime.images.registry.credentials import Credentials
from runtime.images.registry.http import BUSY, Transport, Unreachable, check_url, origin, read
from runtime.oci.numbers import decimal

TOKEN_MAX = 1 << 20
AGENT = {"User-Agent": "stele"}
# A scheme's name, or one of its parameters, quoted or not.
_PART = re.compile(r'(?:^|,)\s*([a-z][a-z0-9-]*)(?=[\s,]|$)|([a-z_]+)="([^"]*)"|([a-z_]+)=([^\s,"]+)', re.I | re.ASCII)
HEADER_MAX = 8192


def authorization(
    transport: Transport,
    base: str,
    repository: str,
    headers: Sequence[str],
    credentials: Credentials | None,
    *,
    refused: str = "",
    downgrade: bool = False,
) -> str:
    """The Authorization header that a registry wants for pulling from a repository.

    Args:
        base: scheme://host of the registry. headers: its WWW-Authenticate.
        refused: the Authorization that it did not take.
        downgrade: a registry with TLS may send for a token to a server without.
    Raises:
        SteleError: it wants what we have not. Unreachable: the server of tokens gives no answer.
    """
    schemes = challenges(headers)
    if "bearer" in schemes:
        return "Bearer " + _token(transport, base, repository, schemes["bearer"], credentials, downgrade=downgrade)
    if "basic" not in schemes:
        raise SteleError(f"{base}: it wants a proof that is not known here; basic and bearer are")
    if credentials is None or credentials.identity_token:
        raise SteleError(f"{base}: it wants a user and password; log in first, or give --creds")
    if refused == credentials.basic:
        raise SteleError(f"{base}: it refuses this user and password")
    return credentials.basic


def _token(
    transport: Transport,
    base: str,
    repository: str,
    challenge: Mapping[str, str],
    credentials: Credentials | None,
    *,
    downgrade: bool,
) -> str:
    realm = challenge.get("realm", "")
    check_url(realm, f"{base} sends for a token")
    if urlsplit(base).scheme == "https" and urlsplit(realm).scheme != "https" and not downgrade:
        raise SteleError(f"{base} sends for a token to {origin(realm)}, which has no TLS; it is not asked")
    scope = f"repository:{repository}:pull" if repository else ""
    fields = {"service": challenge.get("service", ""), "scope": scope}
    fields = {name: text for name, text in fields.items() if text}
    headers = {"Accept": "application/json", **AGENT}
    known = credentials if credentials and may_know(urlsplit(base), urlsplit(realm)) else None
    if credentials and not known and not repository:  # a login, which a token for anybody would seem to confirm
        raise SteleError(
            f"{base} sends for a token to {origin(realm)}, of another domain; the password is not sent there"
        )
    if known and known.identity_token:
        form = {**fields, "grant_type": "refresh_token", "refresh_token": known.identity_token, "client_id": "stele"}
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        answer = transport.request("POST", realm, headers, body=urlencode(form).encode())
    else:
        if known:
            headers["Authorization"] = known.basic
        answer = transport.request("GET", f"{realm}{'&' if urlsplit(realm).query else '?'}{urlencode(fields)}", headers)
    data = read(answer, TOKEN_MAX, "the token")
    if answer.status in BUSY:
        raise Unreachable(f"{origin(realm)}: it gives no token now ({answer.status}{words(data)})")
    if answer.status != 200:
        why = f"; credentials for {urlsplit(base).hostname} are not shown to it" if credentials and not known else ""
        why = why or ("; these credentials do not suffice" if known else "; log in first, or give --creds")
        raise SteleError(f"{origin(realm)}: it gives no token ({answer.status}{words(data)}){why}")
    try:
        document = json.loads(data)
        token = document.get("token") or document.get("access_token")
    except (ValueError, AttributeError, RecursionError):
        token = None
    if not isinstance(token, str) or not re.fullmatch(r"[\x21-\x7e]{1,65536}", token):
        raise SteleError(f"{origin(realm)}: its answer holds no token")
    return token


def challenges(headers: Sequence[str]) -> dict[str, dict[str, str]]:
    """WWW-Authenticate headers, each of one or several schemes: the parameters of each, all names in lower case."""
    found: dict[str, dict[str, str]] = {}
    for header in headers:
        fields: dict[str, str] = {}
        for part in _PART.finditer(header.strip()[:HEADER_MAX]):
            scheme, quoted, text, plain, word = part.groups()
            if scheme:
                fields = {}
                found.setdefault(scheme.lower(), fields)
            else:
                fields[(quoted or plain).lower()] = text if quoted else word
    return found


def may_know(registry: SplitResult, realm: SplitResult) -> bool:
    """Whether a registry's credentials may be shown to the server of tokens it names: itself, or one of its domain.

    Others get an anonymous request: a registry, or who answers in its place, cannot send a password elsewhere.
    """
    if (registry.hostname, registry.port) == (realm.hostname, realm.port):
        return True
    mine, its = (registry.hostname or "").split("."), realm.hostname or ""
    domain = mine[1:]
    if len(domain) < 2 or all(decimal(part, 255) is not None for part in mine):
        return False
    if len(domain) == 2 and len(domain[1]) == 2 and domain[0] in ("ac", "co", "com", "edu", "gov", "net", "org"):
        return False  # a public suffix such as co.uk, not one owner's domain
    return its == ".".join(domain) or its.endswith("." + ".".join(domain))


def words(body: bytes) -> str:
    """What a registry's error says, made harmless: distribution-spec "Error Codes"."""
    try:
        first: Any = json.loads(body)["errors"][0]
        text = f"{first.get('code', '')}: {first.get('message', '')}".strip(": ")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return ""
    return f", {ascii(text)[1:-1][:200]}" if text else ""
