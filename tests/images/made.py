"""Small images made from nothing but the standard library, the same each time."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BIG = 3 << 20


@dataclass
class Made:
    """An OCI layout. images: name in it to the digests of its manifest, config and layers."""

    path: Path
    images: dict[str, list[str]] = field(default_factory=dict)
    index: str = ""


def layer(files: dict[str, bytes]) -> bytes:
    """A plain tar."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def noise(seed: str, size: int) -> bytes:
    """Bytes that do not pack."""
    return b"".join(hashlib.sha256(f"{seed}{i}".encode()).digest() for i in range(size // 32))


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Layout:
    """Writes an OCI layout."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "blobs/sha256").mkdir(parents=True)
        (path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        self.entries: list[dict[str, Any]] = []

    def blob(self, data: bytes, media_type: str) -> dict[str, Any]:
        digest = digest_of(data)
        (self.path / "blobs/sha256" / digest[7:]).write_bytes(data)
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def document(self, document: Any, media_type: str) -> dict[str, Any]:
        return self.blob(json.dumps(document, sort_keys=True).encode(), media_type)

    def image(self, layers: list[bytes], platform: dict[str, str], **run: Any) -> tuple[dict[str, Any], list[str]]:
        config = self.document(
            {
                **platform,
                "created": "2026-01-02T03:04:05Z",
                "config": {"Cmd": ["/bin/sh"], **run},
                "rootfs": {"type": "layers", "diff_ids": [digest_of(plain) for plain in layers]},
                "history": [
                    {"created": "2026-01-02T03:04:05Z", "created_by": "base"},
                    {"created_by": "ENV", "empty_layer": True},
                ]
                + [{"created_by": "more"}] * (len(layers) - 1),
            },
            "application/vnd.oci.image.config.v1+json",
        )
        packed = [
            self.blob(gzip.compress(plain, 1, mtime=0), "application/vnd.oci.image.layer.v1.tar+gzip")
            for plain in layers
        ]
        kind = "application/vnd.oci.image.manifest.v1+json"
        manifest = self.document({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": packed}, kind)
        return manifest, [d["digest"] for d in (manifest, config, *packed)]

    def name(self, descriptor: dict[str, Any], name: str) -> None:
        self.entries.append({**descriptor, "annotations": {"org.opencontainers.image.ref.name": name}})
        index = {"schemaVersion": 2, "manifests": self.entries}
        (self.path / "index.json").write_text(json.dumps(index))


def make_layout(path: Path) -> Made:
    """ "index" for amd64 and arm64, "amd64" alone, and "other", which shares its lowest layer with amd64."""
    layout, made = Layout(path), Made(path)
    base = layer({"bin/tool": noise("base", BIG), "etc/name": b"base\n"})
    arm = layer({"bin/tool": noise("arm", 4096)})
    amd64, made.images["amd64"] = layout.image(
        [base, layer({"etc/own": b"amd64\n"})], {"os": "linux", "architecture": "amd64"}
    )
    arm64, made.images["arm64"] = layout.image([arm], {"os": "linux", "architecture": "arm64", "variant": "v8"})
    other, made.images["other"] = layout.image(
        [base, layer({"etc/own": b"other\n"})], {"os": "linux", "architecture": "amd64"}
    )
    kind = "application/vnd.oci.image.index.v1+json"
    platforms = [
        {**amd64, "platform": {"os": "linux", "architecture": "amd64"}},
        {**arm64, "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"}},
        {**arm64, "platform": {"os": "unknown", "architecture": "unknown"}},
    ]
    index = layout.document({"schemaVersion": 2, "mediaType": kind, "manifests": platforms}, kind)
    made.index = index["digest"]
    layout.name(index, "index")
    layout.name(amd64, "amd64")
    layout.name(other, "other")
    return made
