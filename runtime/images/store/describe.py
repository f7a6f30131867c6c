"""What an image is, in a form for programs and one for people: names, config, layers, and how it was made."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from runtime.images.model import Descriptor, ImageConfig, Manifest
from runtime.images.progress import human, short
from runtime.images.store import erofs
from runtime.images.store.store import ImageStore
from runtime.printable import visible


def describe(store: ImageStore, descriptor: Mapping[str, Any]) -> dict[str, Any]:
    """An image for programs. Raises: ImageError: it is not whole."""
    manifest = store.manifest(descriptor)
    config = store.config(manifest)
    digest = str(descriptor["digest"])
    return {
        "digest": digest,
        "mediaType": manifest.media_type,
        "names": sorted(name for name, image in store.names().items() if image["digest"] == digest),
        "platform": {"os": config.os, "architecture": config.architecture, "variant": config.variant},
        "created": config.created,
        "size": manifest.config.size + sum(layer.size for layer in manifest.layers),
        "annotations": dict(manifest.annotations),
        "configDigest": manifest.config.digest,
        "config": dict(config.run),
        "layers": list(_layers(store, manifest, config)),
        **_erofs(store, config),
        "history": list(_history(manifest, config)),
    }


def _erofs(store: ImageStore, config: ImageConfig) -> dict[str, Any]:
    """The one file that stands for all layers (`run --rootfs erofs`), if there is one."""
    found = erofs.sealed(store, config)
    if found is None:
        return {}
    return {"erofs": {"path": found.path, "digest": found.digest, "size": found.size, "verity": found.verity}}


def _layers(store: ImageStore, manifest: Manifest, config: ImageConfig) -> Iterator[dict[str, Any]]:
    for layer, diff_id in zip(manifest.layers, config.diff_ids, strict=True):
        unpacked = os.path.isdir(store.tree(diff_id))
        yield {**layer.document(), "diffId": diff_id, "unpacked": unpacked}


def _history(manifest: Manifest, config: ImageConfig) -> Iterator[dict[str, Any]]:
    """The steps of the config's history, lowest first, each with the layer that it made, if it made one."""
    made: Iterator[Descriptor] = iter(manifest.layers)
    for step in config.history:
        layer = None if step.get("empty_layer") is True else next(made, None)
        kept = {key: step[key] for key in ("created", "created_by", "author", "comment") if key in step}
        yield {**kept, **({"layer": layer.digest, "size": layer.size} if layer else {"emptyLayer": True})}


def table(image: Mapping[str, Any]) -> str:
    """The same for people; strangers wrote most of it."""
    platform = "/".join(part for part in image["platform"].values() if part)
    lines = [
        f"names     {', '.join(image['names']) or '-'}",
        f"digest    {image['digest']}",
        f"platform  {platform}",
        f"created   {image['created'] or '-'}",
        f"size      {human(image['size'])} packed, {len(image['layers'])} layers",
    ]
    run = image["config"]
    for key, name in (("Entrypoint", "entry"), ("Cmd", "command"), ("Env", "env"), ("Volumes", "volumes")):
        value = run.get(key)
        if isinstance(value, list | dict) and value:
            lines.append(f"{name:9} {' '.join(map(str, value))}")
    for key, name in (("User", "user"), ("WorkingDir", "workdir"), ("StopSignal", "stop")):
        if run.get(key):
            lines.append(f"{name:9} {run[key]}")
    if "erofs" in image:
        whole = image["erofs"]
        guard = f"fs-verity {short(whole['verity'])}" if whole["verity"] else "no fs-verity"
        lines.append(f"erofs     {short(whole['digest'])}, {human(whole['size'])}, {guard}")
    lines.append("history")
    for step in image["history"]:
        size = human(step["size"]) if "size" in step else "-"
        layer = short(step["layer"]) if "layer" in step else "-"
        made = visible(str(step.get("created_by") or step.get("comment") or ""))
        lines.append(f"  {visible(str(step.get('created', '')))[:10]:10}  {layer:12}  {size:>10}  {made[:100]}")
    return "\n".join(map(visible, lines))
