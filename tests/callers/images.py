"""Images as the one kind of archive that `ctr`, Podman, Docker and buildah all read: what `docker save` writes.

Source: moby, image/spec/v1.2.md ("Combined Image JSON + Filesystem Changeset Format").
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any


def archive(layout: Path, name: str, command: tuple[str, ...] = ()) -> bytes:
    """An OCI image layout of one image with one layer, as such an archive that names it `name`.

    `command` is what it runs, in place of what the image says.
    """

    def blob(descriptor: dict[str, Any]) -> bytes:
        digest: str = descriptor["digest"]
        return (layout / "blobs" / digest.replace(":", "/")).read_bytes()

    index = json.loads((layout / "index.json").read_text())
    manifest = json.loads(blob(index["manifests"][0]))
    (layer,) = manifest["layers"]
    config = blob(manifest["config"])
    if command:
        changed = json.loads(config)
        changed["config"].update(Entrypoint=list(command), Cmd=None)
        config = json.dumps(changed).encode()
    contents = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    files = {
        "manifest.json": json.dumps(contents).encode(),
        "config.json": config,
        "layer.tar": gzip.decompress(blob(layer)),
    }
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, content in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()
