"""One repository of one registry, by the OCI distribution spec 1.1: its manifests and blobs.

Source: distribution-spec "Pull"; RFC 9110 section 14 for ranges.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote

from runtime.errors import SteleError
from runtime.images.model import DOCUMENT_MAX, INDEXES, MANIFESTS, ImageError
from runtime.images.references import DOCKER_HUB, Reference
from runtime.images.registry.credentials import Credentials
from runtime.images.registry.http import (
    BUSY,
    Answer,
    Missing,
    Transport,
    Unreachable,
    Untrusted,
    is_loopback,
    no_authorities,
    origin,
    pieces,
    read,
)
from runtime.images.registry.tokens import AGENT, TOKEN_MAX, authorization, words
from runtime.oci.numbers import decimal

ATTEMPTS = 5  # without any progress
ATTEMPTS_AT_NOBODY = 2
WAIT_MAX = 30.0  # seconds between two attempts
ACCEPT = ", ".join((*MANIFESTS, *INDEXES))


class Unresumable(Unreachable):
    """The registry does not go on with a blob where it stopped: it must be had from its beginning."""


@dataclass(frozen=True, slots=True)
class Access:
    """How registries are reached. credentials: what to show to the one that was named; None: as nobody.

    plain_http: no TLS. verify: TLS must prove who it is; without it, http is tried where there is no TLS.
    """

    plain_http: bool = False
    verify: bool = True
    credentials: Credentials | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest or index as it came: its bytes are what the digest is of. media_type: as the registry said, or ""."""

    media_type: str
    data: bytes
    digest: str


class Repository:
    """A repository to pull from. Safe for threads.

    Args:
        stop: when it is set, no further attempt is made.
    """

    def __init__(self, reference: Reference, access: Access, stop: threading.Event | None = None) -> None:
        self.reference, self.access = reference, access
        self.server = "registry-1.docker.io" if reference.registry == DOCKER_HUB else reference.registry
        self._stop = stop or threading.Event()
        self._transport = Transport(reference.registry, verify=access.verify)
        self._lock = threading.Lock()
        self._base = ""
        self._authorization = ""

    def close(self) -> None:
        self._transport.close()

    def ping(self) -> None:
        """Raise SteleError unless the registry answers, and takes the credentials."""
        read(self._get("/v2/", {}, f'registry "{self.reference.registry}"'), TOKEN_MAX, "its answer")

    def manifest(self, wanted: str, *, size: int | None = None) -> Document:
        """A manifest or index, by tag or digest.

        Args:
            size: bytes, as its descriptor says.
        Raises:
            SteleError: there is none, it may not be had, or no answer comes.
            ImageError: it is not what was asked for.
        """
        attempt = 0
        while True:
            attempt += 1
            try:
                return self._manifest(wanted, size)
            except Unreachable as e:
                if attempt == (ATTEMPTS_AT_NOBODY if e.nobody else ATTEMPTS):
                    raise
                self.pause(attempt, e)

    def _manifest(self, wanted: str, size: int | None) -> Document:
        what = f'image "{self.reference.name}{"@" if ":" in wanted else ":"}{wanted}"'
        path = f"/v2/{self.reference.repository}/manifests/{quote(wanted, safe=':')}"
        answer = self._get(path, {"Accept": ACCEPT}, what)
        kind = answer.headers.get("Content-Type", "").partition(";")[0].strip()
        promised = answer.headers.get("Docker-Content-Digest", "")
        data = read(answer, DOCUMENT_MAX, "the manifest")
        found = "sha256:" + hashlib.sha256(data).hexdigest()
        asked = wanted if ":" in wanted else promised if promised.startswith("sha256:") else found
        if found != asked:
            raise ImageError(f"{what}: the registry sent {found} for {asked[:80]}; do not trust it")
        if size is not None and size != len(data):
            raise ImageError(f"{what}: it has {len(data)} bytes, its index says {size}")
        return Document(kind if kind in (*MANIFESTS, *INDEXES) or "docker" in kind else "", data, found)

    @contextmanager
    def blob(self, digest: str, offset: int) -> Iterator[tuple[int, Iterator[bytes]]]:
        """A blob from a place in it, one attempt: (where what comes begins: offset or 0, its pieces).

        Raises:
            Unreachable: no answer, or it ends before its time. Unresumable. SteleError: it cannot be had.
        """
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        where = f"{self.reference.name}@{digest}"
        answer = self._get(f"/v2/{self.reference.repository}/blobs/{digest}", headers, f'blob "{where}"')
        try:
            begins = 0
            if answer.status == 206:
                given = re.match(r"bytes (\d{1,19})-", answer.headers.get("Content-Range", ""))
                begins = int(given[1]) if given else -1
                if begins != offset:
                    raise Unresumable(f"{origin(answer.url)}: asked for {where} from {offset}, it gave another part")
            yield begins, pieces(answer)
        finally:
            answer.response.close()

    def pause(self, attempt: int, error: Unreachable) -> None:
        """Wait before attempt + 1: twice as long each time, or as long as the registry says. Raises: the error."""
        wait = error.after or 0.25 * 2**attempt
        if self._stop.wait(min(WAIT_MAX, wait) * (0.75 + os.urandom(1)[0] / 512)):
            raise error

    # ---- requests ----

    def _get(self, path: str, headers: Mapping[str, str], what: str) -> Answer:
        """A GET that succeeded; its body is the caller's to close."""
        base = self._connected()
        renewed = False
        while True:
            shown = self._authorization
            sent = {"Accept-Encoding": "identity", **AGENT, **headers}
            if shown:
                sent["Authorization"] = shown
            answer = self._transport.request("GET", base + path, sent, downgrade=not self.access.verify)
            if answer.status in (200, 206):
                return answer
            body = read(answer, TOKEN_MAX, "its answer")
            if answer.status != 401 or renewed:
                raise self._refused(answer, body, what)
            with self._lock:
                if self._authorization == shown:  # else another thread has got a new one
                    self._prove(base, answer)
            renewed = True

    def _refused(self, answer: Answer, body: bytes, what: str) -> SteleError:
        said = words(body)
        server = origin(answer.url)
        if answer.status in BUSY:
            after = answer.headers.get("Retry-After", "")
            seconds = min(float(decimal(after, 99_999) or 0), WAIT_MAX)
            return Unreachable(f"{what}: {server} is not able now ({answer.status}{said})", seconds)
        if answer.status == 416:
            return Unresumable(f"{what}: {server} does not go on with it ({answer.status}{said})")
        if answer.status == 404:
            return Missing(f"{what}: {server} does not have it{said}")
        if answer.status in (401, 403):
            known = self.access.credentials is not None
            advice = "these credentials do not suffice" if known else "log in first, or give --creds"
            return SteleError(f"{what}: {server} refuses it ({answer.status}{said}); {advice}")
        return SteleError(f"{what}: {server} answered {answer.status}{said}")

    # ---- the connection ----

    def _connected(self) -> str:
        """scheme://host, once it is known which scheme it speaks."""
        with self._lock:
            if not self._base:
                self._base = self._find_scheme()
            return self._base

    def _find_scheme(self) -> str:
        host = re.sub(r":\d+$", "", self.server)
        schemes = ["http"] if self.access.plain_http else ["https"]
        if not self.access.plain_http and (is_loopback(host) or not self.access.verify):
            schemes.append("http")
        failed: list[SteleError] = []
        for scheme in schemes:
            base = f"{scheme}://{self.server}"
            try:
                answer = self._transport.request("GET", f"{base}/v2/", AGENT, downgrade=not self.access.verify)
                read(answer, TOKEN_MAX, "its answer")
            except (Unreachable, Untrusted) as e:
                failed.append(e)
                if isinstance(e, Untrusted) and not e.plain:
                    break
                continue
            if answer.status == 401:
                self._prove(base, answer)
            return base
        if isinstance(failed[0], Untrusted) and self.access.verify and no_authorities():
            raise Untrusted(f"{failed[0]}; this host has no certificates of authorities where they are usual")
        # Where http was tried because there is no TLS, what it said is the reason.
        raise failed[-1] if isinstance(failed[0], Untrusted) else failed[0]

    def _prove(self, base: str, answer: Answer) -> None:
        """Answer a challenge, under the lock."""
        self._authorization = authorization(
            self._transport,
            base,
            self.reference.repository,
            answer.headers.getlist("WWW-Authenticate"),
            self.access.credentials,
            refused=self._authorization,
            downgrade=not self.access.verify,
        )
