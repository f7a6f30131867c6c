"""The `stele image` commands."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from typing import Any

from runtime.cli.columns import print_table
from runtime.cli.context import Globals
from runtime.cli.image_table import Collect, Export, Import, Inspect, ListImages, Pull, RemoveImages, Tag, Verify
from runtime.errors import SteleError, UsageError
from runtime.images.progress import Progress, human, short, to_stderr
from runtime.images.store import gc
from runtime.images.store.names import given_name, stored_name
from runtime.images.store.store import ImageStore
from runtime.images.store.uses import uses
from runtime.images.store.verify import verify_image, verify_store
from runtime.printable import visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.images.references import Reference
    from runtime.images.registries_conf import Registries
    from runtime.images.registry import pull as registry_pull

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def store_of(context: Globals) -> ImageStore:
    return ImageStore(context.images)


def pull(context: Globals, options: Pull) -> int:
    from runtime.images import registries_conf
    from runtime.images.platforms import host_platform, parse_platform
    from runtime.images.policy import policy
    from runtime.images.references import ArchiveReference
    from runtime.images.registry import credentials
    from runtime.images.registry.pull import PullOptions
    from runtime.images.store.layers import unpack_image

    rules = registries_conf.load(options.registries_conf)
    reference = registries_conf.checked(options.image, rules)
    if isinstance(reference, ArchiveReference):
        raise UsageError(f'image "{reference}": it is not in a registry; import it: stele image import {reference}')
    how = PullOptions(
        platform=parse_platform(options.platform) if options.platform else host_platform(),
        plain_http=options.plain_http,
        verify=options.tls_verify == "true",
        credentials=credentials.from_option(options.creds) if options.creds else None,
        authfile=options.authfile,
        policy=policy.load(options.signature_policy),
    )
    store = store_of(context)
    progress = to_stderr(quiet=options.quiet)
    try:
        done = fetched(store, reference, rules, how, progress)
        if options.unpack:
            unpack_image(store, done.manifest, warn=context.log.warning)
    finally:
        progress.close()
    size = done.manifest.config.size + sum(layer.size for layer in done.manifest.layers)
    image = {
        "name": done.name,
        "digest": done.descriptor.digest,
        "mediaType": done.descriptor.media_type,
        "source": done.source,
        "platform": dict(done.descriptor.platform),
        "layers": [layer.document() for layer in done.manifest.layers],
        "size": size,
        "fetched": done.fetched,
    }
    if options.format == "json":
        print(json.dumps(image, indent=2))
    elif options.quiet:
        print(done.descriptor.digest)
    else:
        print(f"{done.name}\n{done.descriptor.digest}  {human(size)}, {human(done.fetched)} fetched")
    return 0


def fetched(
    store: ImageStore, image: Reference, rules: Registries, how: registry_pull.PullOptions, progress: Progress
) -> registry_pull.Pulled:
    """Pull an image, also for `run`; signals end the process at once, leaving only partial blobs to resume."""
    from runtime.images.registry.pull import pull as fetch

    store.check_writable()
    ways: dict[signal.Signals, Any] = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGHUP: signal.SIG_DFL,
    }
    before = {n: signal.signal(n, way) for n, way in ways.items() if signal.getsignal(n) is not signal.SIG_IGN}
    try:
        return fetch(store, image, rules, how, progress)
    except KeyboardInterrupt:
        progress.close()
        print("interrupted; the next pull resumes here", file=sys.stderr, flush=True)
        os._exit(130)  # do not join threads: one may be waiting for a silent server
    finally:
        for number, way in before.items():
            signal.signal(number, way)


def import_image(context: Globals, options: Import) -> int:
    from runtime.images.archive.load import import_images
    from runtime.images.platforms import host_platform, parse_platform
    from runtime.images.policy import policy
    from runtime.images.references import TRANSPORTS, parse_archive
    from runtime.images.store.layers import unpack_image

    place = parse_archive(options.source)
    if place is None:
        raise UsageError(
            f'image import "{options.source}": write {", ".join(f"{t}:" for t in TRANSPORTS)} before the path; '
            "to fetch an image from a registry, use `stele image pull`"
        )
    platform = parse_platform(options.platform) if options.platform else host_platform()
    name = str(given_name(options.name)) if options.name else ""
    store = store_of(context)
    store.check_writable()
    before = store.names()
    progress = to_stderr(quiet=options.quiet)
    try:
        rules = policy.load(options.signature_policy)
        found = import_images(store, place, name, platform, progress, rules)
        for image in found if options.unpack else ():
            unpack_image(store, image.manifest, warn=context.log.warning)
    finally:
        progress.close()
    for image in found:
        had = before.get(image.name, {}).get("digest", image.descriptor.digest)
        if not name and had != image.descriptor.digest:
            context.log.warning(f'image "{image.name}" was {had}; the name now refers to the image from {place}')
    if options.format == "json":
        print(json.dumps([{"name": image.name, **image.descriptor.document()} for image in found], indent=2))
    for image in found if options.format == "table" else ():
        print(image.descriptor.digest if options.quiet else f"{image.name}\n{image.descriptor.digest}")
    return 0


def _meant(store: ImageStore, text: str) -> dict[str, Any]:
    """Look up the descriptor of a stored image by what the user typed."""
    known = store.names()
    return store.resolve(stored_name(known, text), known)


def export(context: Globals, options: Export) -> int:
    from runtime.images.archive.save import export_image
    from runtime.images.references import TRANSPORTS, parse_archive

    place = parse_archive(options.target)
    if place is None:
        kinds = ", ".join(f"{t}:" for t in TRANSPORTS)
        raise UsageError(f'image export: write {kinds} before the path "{options.target}"')
    store = store_of(context)
    name = stored_name(store.names(), options.image)
    progress = to_stderr(quiet=options.quiet)
    try:
        export_image(store, store.resolve(name), "" if name.startswith("sha256:") else name, place, progress)
    finally:
        progress.close()
    return 0


def inspect(context: Globals, options: Inspect) -> int:
    from runtime.images.references import TRANSPORTS
    from runtime.images.store.describe import describe, table

    store = store_of(context)
    if options.image.startswith(tuple(f"{transport}:" for transport in TRANSPORTS)):
        from runtime.cli.archive_image import image_at

        found = store.resolve(image_at(store, options.image, "").digest)
    else:
        found = _meant(store, options.image)
    image = describe(store, found)
    print(json.dumps(image, indent=2) if options.format == "json" else table(image))
    return 0


def listing(context: Globals, options: ListImages) -> int:
    store = store_of(context)
    rows: list[dict[str, Any]] = []
    for name, image in sorted(store.names().items()):
        row: dict[str, Any] = {"name": name, "digest": image["digest"], "size": None, "platform": "", "created": ""}
        try:
            manifest = store.manifest(image)
            config = store.config(manifest)
        except SteleError as e:
            row["fault"] = str(e)
        else:
            row["size"] = manifest.config.size + sum(layer.size for layer in manifest.layers)
            row["platform"] = "/".join(p for p in (config.os, config.architecture, config.variant) if p)
            row["created"] = config.created
        rows.append(row)
    if options.quiet:
        for row in rows:
            print(row["name"])
    elif options.format == "json":
        print(json.dumps(rows))
    else:
        cells = [
            [
                row["name"],
                short(row["digest"]),
                row["platform"] or "damaged",
                row["created"].partition("T")[0],
                human(row["size"]) if row["size"] is not None else "-",
            ]
            for row in rows
        ]
        print_table(["NAME", "DIGEST", "PLATFORM", "CREATED", "SIZE"], cells)
    return 0


def verify(context: Globals, options: Verify) -> int:
    store = store_of(context)
    if options.image:
        image = _meant(store, options.image)
        faults, images = verify_image(store, image), [image["digest"]]
    else:
        faults = verify_store(store)
        images = [image["digest"] for image in store.names().values()] + [
            use["chain"][0] for use in uses(store).values()
        ]
    if options.deep:
        from runtime.images.store import verify_layers

        faults += verify_layers.faults(store, dict.fromkeys(images), [fault.digest for fault in faults])
    if options.format == "json":
        print(json.dumps([{"digest": fault.digest, "problem": fault.problem} for fault in faults]))
    for fault in faults:
        print(visible(f"{fault.digest}: {fault.problem}"), file=sys.stderr)
    if faults:
        raise SteleError(f"{len(faults)} fault{'s' if len(faults) > 1 else ''} in {options.image or store.path}")
    if options.format != "json":
        unpacked = ", and so do the unpacked files" if options.deep else "; --deep also checks the unpacked files"
        print(f"{options.image or store.path}: all contents match their digests{unpacked}")
    return 0


def tag(context: Globals, options: Tag) -> int:
    store = store_of(context)
    store.tag(str(given_name(options.name)), _meant(store, options.image))
    return 0


def remove(context: Globals, options: RemoveImages) -> int:
    store = store_of(context)
    for text in (options.image, *options.more):
        name = stored_name(store.names(), text)
        if name.startswith("sha256:"):
            names = [known for known, image in store.names().items() if image["digest"] == name]
            if not names:
                store.resolve(name)
                raise SteleError(f"image {name}: it has no name; `stele image gc` removes it once it is unused")
            for known in names:
                store.untag(known)
                print(known)
        else:
            store.untag(name)
            print(name)
    return 0


def collect(context: Globals, options: Collect) -> int:
    report = gc.collect(store_of(context), _seconds(options.grace_period), context.root)
    collected = {
        "blobs": list(report.blobs),
        "layers": list(report.layers),
        "transfers": report.transfers,
        "uses": report.uses,
        "bytes": report.bytes,
    }
    if options.format == "json":
        print(json.dumps(collected))
    else:
        print(f"{len(report.blobs)} blobs ({human(report.bytes)}), {len(report.layers)} unpacked layers removed")
    return 0


def _seconds(text: str) -> float:
    match = re.fullmatch(r"([0-9]{1,9})([smhd]?)", text)
    if not match:
        raise UsageError(f'--grace-period "{text[:40]}": write a number followed by s, m, h or d, such as 24h')
    return float(int(match[1]) * SECONDS.get(match[2], 1))
