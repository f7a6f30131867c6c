"""The smallest image that runs: one layer with a busybox called sleep."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path


def tar(files: dict[str, bytes]) -> bytes:
    """An archive of executable files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def docker_archive() -> bytes:
    """The image as `docker save` writes it."""
    layer = tar({"sleep": Path("/bin/busybox").read_bytes()})
    ids = {"rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]}}
    config = {"architecture": "amd64", "os": "linux", "config": {}, **ids}
    manifest = [{"Config": "config.json", "RepoTags": ["tiny:latest"], "Layers": ["layer.tar"]}]
    documents = {"config.json": config, "manifest.json": manifest}
    return tar({"layer.tar": layer, **{name: json.dumps(value).encode() for name, value in documents.items()}})
