"""Get an image from a registry or its mirrors into the store: manifest first, then what is missing of it.

An image gets its name when all of it is there and verified. What an interrupted pull has fetched is kept, and the next
pull resumes there.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace

from runtime.errors import SteleError
from runtime.images import model
from runtime.images.config_fields import check_depths
from runtime.images.model import Descriptor, ImageError, Manifest
from runtime.images.platforms import Platform, choose
from runtime.images.policy.policy import Policy
from runtime.images.policy.policy import load as load_policy
from runtime.images.progress import Progress, short
from runtime.images.references import Reference
from runtime.images.registries_conf import Registries
from runtime.images.registry.credentials import Credentials
from runtime.images.registry.credentials import find as find_credentials
from runtime.images.registry.http import Unreachable
from runtime.images.registry.repository import ATTEMPTS, Access, Document, Repository, Unresumable
from runtime.images.registry.signatures import fetch
from runtime.images.store.store import ImageStore
from runtime.oci.load import parse_document

PARALLEL = 4
LOOK_SECONDS = 0.2
"""How often the main thread looks for signals: one that arrives just before a lock is waited for does not end the wait."""


@dataclass(frozen=True, slots=True)
class PullOptions:
    """How to pull. credentials: given by the user; else those of the auth files are used, for each source its own.

    policy: which images may come in, asked before a blob is fetched; the host's if none is given.
    """

    platform: Platform
    plain_http: bool = False
    verify: bool = True
    credentials: Credentials | None = None
    authfile: str = ""
    policy: Policy | None = None


@dataclass(frozen=True, slots=True)
class Pulled:
    """descriptor: of the image's manifest, as it is named in the store. fetched: bytes that came over the network."""

    name: str
    descriptor: Descriptor
    manifest: Manifest
    source: str
    fetched: int


def pull(
    store: ImageStore, reference: Reference, registries: Registries, options: PullOptions, progress: Progress
) -> Pulled:
    """Get an image and name it. The mirrors are asked first, then the registry itself.

    Raises:
        SteleError: no source has it, or one of them sent something else; nothing is named then.
    """
    failed: list[str] = []
    sources = registries.sources(reference)
    for number, source in enumerate(sources):
        credentials = options.credentials if source.reference.registry == reference.registry else None
        if credentials is None:
            credentials = find_credentials(source.reference.registry, source.reference.repository, options.authfile)
        access = Access(options.plain_http, options.verify and not source.insecure, credentials)
        try:
            return _Pull(store, reference, source.reference, access, options, progress).run()
        except SteleError as e:
            failed.append(str(e))
            if len(sources) == 1:
                raise
            if number + 1 == len(sources):
                raise SteleError("; before that, ".join([failed[-1], *failed[:-1]])) from None
            progress.note(f"{e}; asking the next source")
    raise AssertionError


class _Pull:
    """One image from one source."""

    def __init__(
        self,
        store: ImageStore,
        name: Reference,
        source: Reference,
        access: Access,
        options: PullOptions,
        progress: Progress,
    ) -> None:
        self.store, self.name, self.source, self.options, self.progress = store, name, source, options, progress
        self.stop = threading.Event()
        self.repository = Repository(source, access, self.stop)
        self.fetched = 0
        self.indexes: list[str] = []
        self._count = threading.Lock()

    def run(self) -> Pulled:
        try:
            document, platform = self._document()
            where = f'image "{self.name}"'
            manifest = model.parse_manifest(parse_document(document.data, where), document.media_type, where)
            digests = list(dict.fromkeys((document.digest, *self.indexes)))
            policy = self.options.policy or load_policy()
            policy.check(self.name, digests, lambda: fetch(self.repository, digests))
            self._blobs([manifest.config])
            config = self.store.config(manifest)
            check_depths(config)
            found = Platform(config.os, config.architecture, config.variant)
            if not platform and choose(self.options.platform, [found]) is None:
                self.progress.note(f"warning: {where} is for {found}, not for {self.options.platform}")
            self._blobs(manifest.layers)
            # What came first may be gone: it is older than a gc's grace period if the rest took long.
            parts = (manifest.config, *manifest.layers)
            self._blobs([blob for blob in parts if not self.store.has_blob(blob.digest)])
            self.store.add_bytes(document.data)
            descriptor = Descriptor(manifest.media_type, document.digest, len(document.data), {}, platform)
            self.store.tag(str(self.name), descriptor.document())
            return Pulled(str(self.name), descriptor, manifest, str(self.source), self.fetched)
        finally:
            self.stop.set()
            self.repository.close()

    def _document(self) -> tuple[Document, dict[str, str]]:
        """The manifest for the platform, and how the index calls that; {} if there is no index."""
        document = self.repository.manifest(self.source.wanted)
        where = f'image "{self.name}"'
        parsed = parse_document(document.data, where)
        kind = model.kind_of(parsed, document.media_type, where)
        if kind not in model.INDEXES:
            return replace(document, media_type=kind), {}
        self.indexes.append(document.digest)
        index = model.parse_index(parsed, kind, where)
        chosen = pick(index.manifests, self.options.platform, where)
        found = self.repository.manifest(chosen.digest, size=chosen.size)
        if found.media_type not in ("", chosen.media_type):
            raise ImageError(f"{where}: its index calls {chosen.digest} {chosen.media_type}, it is {found.media_type}")
        self.store.add_bytes(document.data)
        return replace(found, media_type=chosen.media_type), dict(chosen.platform)

    def _blobs(self, wanted: Iterable[Descriptor]) -> None:
        """Fetch what is not there, several at a time; the first failure ends all."""
        unique = list({blob.digest: blob for blob in wanted}.values())
        pool = ThreadPoolExecutor(PARALLEL, "pull")
        try:
            waiting = [pool.submit(self._blob, blob) for blob in unique]
            done, left = wait(waiting, LOOK_SECONDS, FIRST_EXCEPTION)
            while left and not any(future.exception() for future in done):
                done, left = wait(waiting, LOOK_SECONDS, FIRST_EXCEPTION)
            if left or any(future.exception() for future in done):
                self.stop.set()
                done, _ = wait(waiting)
        except BaseException:
            self.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)  # one may wait for a server that is silent
            raise
        pool.shutdown()
        for future in sorted(done, key=lambda f: isinstance(f.exception(), _Stopped)):
            future.result()

    def _blob(self, blob: Descriptor) -> None:
        name = short(blob.digest)
        if self.store.has_blob(blob.digest):
            if self.store.blob_size(blob.digest) != blob.size:
                raise ImageError(f"blob {blob.digest}: its manifest says {blob.size} bytes, which it has not")
            self.progress.done(name, blob.size, "already there")
            return
        with self.store.writer(blob.digest, blob.size) as writer:
            if writer.present:
                self.progress.done(name, blob.size, "already there")
                return
            attempt = 0
            while writer.offset < blob.size:
                attempt += 1
                before = writer.offset
                try:
                    with self.repository.blob(blob.digest, writer.offset) as (begins, pieces):
                        if begins != writer.offset:
                            writer.restart()
                        for piece in pieces:
                            if self.stop.is_set():
                                raise _Stopped(f"blob {blob.digest}: stopped")
                            writer.write(piece)
                            with self._count:
                                self.fetched += len(piece)
                            self.progress.advance(name, writer.offset, blob.size)
                    if writer.offset < blob.size:
                        raise Unreachable(f"blob {blob.digest}: it ended after {writer.offset} of {blob.size} bytes")
                except Unreachable as e:
                    if isinstance(e, Unresumable):
                        writer.restart()
                    attempt = 1 if writer.offset > before else attempt
                    if attempt >= ATTEMPTS:
                        raise
                    self.repository.pause(attempt, e)
            writer.commit()
        self.progress.done(name, blob.size)


class _Stopped(SteleError):
    """Another blob failed; that error is the one to tell."""


def pick(manifests: Iterable[Descriptor], wanted: Platform, where: str) -> Descriptor:
    """The manifest of an index for a platform. Raises: ImageError: there is none; the error lists those there are."""
    offered = [m for m in manifests if m.media_type in model.MANIFESTS]
    platforms = [
        Platform(m.platform["os"], m.platform["architecture"], m.platform.get("variant", ""))
        if m.platform.get("os") and m.platform.get("architecture")
        else None
        for m in offered
    ]
    place = choose(wanted, platforms)
    if place is None and len(offered) == 1 and platforms[0] is None:
        place = 0  # an index of one image that names no platform
    if place is None:
        known = ", ".join(sorted({str(p) for p in platforms if p is not None and p.os != "unknown"})) or "none"
        raise ImageError(f"{where}: it has no image for {wanted}; --platform can choose one of: {known}")
    return offered[place]
