"""Writes an OCI image layout of one layer, the same bytes each time for the same files.

Source: OCI image-spec 1.1, image-layout.md, manifest.md, config.md, layer.md.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import shutil
import stat
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
INDEX = "application/vnd.oci.image.index.v1+json"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
EPOCH = "1970-01-01T00:00:00Z"


def write(
    rootfs: Path, layout: Path, name: str, run: dict[str, Any], owners: Mapping[str, tuple[int, int, int]] | None = None
) -> str:
    """Write the image layout of `rootfs` to the folder `layout`, made anew.

    Args:
        name: the image's name in the index (org.opencontainers.image.ref.name).
        run: the image config's `config` object: Entrypoint, Cmd, Env, User, WorkingDir, ...
        owners: path in the root to uid, gid and mode, where they are to be others than in `rootfs`.
    Returns:
        the manifest's digest, `sha256:...`.
    """
    shutil.rmtree(layout, ignore_errors=True)
    blobs = layout / "blobs/sha256"
    blobs.mkdir(parents=True)
    tar = layer_tar(rootfs, owners)
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=6, mtime=0, filename="") as file:
        file.write(tar)
    layer = _blob(blobs, LAYER, packed.getvalue())
    config = _blob(
        blobs,
        CONFIG,
        _json(
            {
                "created": EPOCH,
                "architecture": ARCHITECTURES[platform.machine()],
                "os": "linux",
                "config": run,
                "rootfs": {"type": "layers", "diff_ids": [_digest(tar)]},
                "history": [{"created": EPOCH, "created_by": f"bundles/{name}"}],
            }
        ),
    )
    manifest = _blob(
        blobs, MANIFEST, _json({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]})
    )
    named = {**manifest, "annotations": {"org.opencontainers.image.ref.name": name}}
    (layout / "index.json").write_bytes(_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": [named]}))
    (layout / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))
    return str(manifest["digest"])


def layer_tar(rootfs: Path, owners: Mapping[str, tuple[int, int, int]] | None = None) -> bytes:
    """The tar of `rootfs`: entries sorted by name, times at the epoch, owners as numbers, no user names."""
    others = owners or {}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(rootfs.rglob("*"), key=lambda path: path.relative_to(rootfs).parts):
            info = tarfile.TarInfo(str(path.relative_to(rootfs)))
            found = path.lstat()
            info.mode = stat.S_IMODE(found.st_mode)
            info.uid, info.gid = found.st_uid, found.st_gid
            info.uid, info.gid, info.mode = others.get(f"/{info.name}", (info.uid, info.gid, info.mode))
            if stat.S_ISDIR(found.st_mode):
                info.type = tarfile.DIRTYPE
                tar.addfile(info)
            elif stat.S_ISLNK(found.st_mode):
                info.type, info.linkname = tarfile.SYMTYPE, str(path.readlink())
                tar.addfile(info)
            else:
                info.size = found.st_size
                with path.open("rb") as file:
                    tar.addfile(info, file)
    return out.getvalue()


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _blob(blobs: Path, kind: str, data: bytes) -> dict[str, Any]:
    """Store a blob under its digest; returns its descriptor."""
    digest = _digest(data)
    (blobs / digest.removeprefix("sha256:")).write_bytes(data)
    return {"mediaType": kind, "digest": digest, "size": len(data)}
