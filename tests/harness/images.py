"""Images for tests, put into a store without any command's help: a layout as bundles/ makes them, or a few files."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bundles import layout
from runtime.images.store.store import ImageStore


def add_layout(store: Path, folder: Path, name: str) -> str:
    """Copy every blob of a layout into the store and name its only manifest; returns the manifest's digest."""
    images = ImageStore(str(store))
    for blob in sorted((folder / "blobs/sha256").iterdir()):
        assert images.add_bytes(blob.read_bytes()) == f"sha256:{blob.name}"
    [manifest] = json.loads((folder / "index.json").read_text())["manifests"]
    images.tag(name, {key: manifest[key] for key in ("mediaType", "digest", "size")})
    images.close()
    return str(manifest["digest"])


def layer(files: Mapping[str, str | bytes | tuple[str, int, int, int] | None]) -> bytes:
    """A plain tar: path to content; None for a directory, (content, mode, uid, gid) for more of it.

    A content that begins with "-> " makes a symbolic link.
    """
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, told in files.items():
            content, mode, uid, gid = told if isinstance(told, tuple) else (told, 0o755, 0, 0)
            info = tarfile.TarInfo(path)
            info.mode, info.uid, info.gid = mode, uid, gid
            data = content.encode() if isinstance(content, str) else content or b""
            if content is None or path.endswith("/"):
                info.type = tarfile.DIRTYPE
            elif data.startswith(b"-> "):
                info.type, info.linkname = tarfile.SYMTYPE, data[3:].decode()
            else:
                info.size = len(data)
            tar.addfile(info, io.BytesIO(data) if info.isreg() else None)
    return out.getvalue()


def add_image(
    store: Path, name: str, layers: Sequence[bytes], run: Mapping[str, Any], *, diff_ids_of: Sequence[bytes] = ()
) -> str:
    """An image of plain tars, the lowest first; returns the manifest's digest.

    diff_ids_of: other tars, whose digests the config claims for the layers.
    """
    images = ImageStore(str(store))

    def add(kind: str, data: bytes) -> dict[str, Any]:
        return {"mediaType": kind, "digest": images.add_bytes(data), "size": len(data)}

    config = {
        "architecture": layout.ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": dict(run),
        "rootfs": {
            "type": "layers",
            "diff_ids": [f"sha256:{hashlib.sha256(data).hexdigest()}" for data in diff_ids_of or layers],
        },
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": layout.MANIFEST,
        "config": add(layout.CONFIG, json.dumps(config).encode()),
        "layers": [add("application/vnd.oci.image.layer.v1.tar", data) for data in layers],
    }
    told = add(layout.MANIFEST, json.dumps(manifest).encode())
    images.tag(name, told)
    images.close()
    return str(told["digest"])
