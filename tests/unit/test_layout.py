"""The OCI image layouts that recipes make."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

from bundles import layout


def files(folder: Path) -> dict[str, bytes]:
    """Every file under `folder` with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rootfs(folder: Path) -> Path:
    """A small root file system; the files' times differ from call to call."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/tool").write_bytes(b"\x7fELF")
    (folder / "bin/tool").chmod(0o755)
    (folder / "sh").symlink_to("bin/tool")
    (folder / "tmp").mkdir()
    (folder / "tmp").chmod(0o1777)
    return folder


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    """Two builds at two times agree in every blob and in the digest."""
    run = {"Cmd": ["/sh"]}
    first = layout.write(rootfs(tmp_path / "a"), tmp_path / "x", "demo", run)
    second = layout.write(rootfs(tmp_path / "b"), tmp_path / "y", "demo", run)
    assert first == second
    assert files(tmp_path / "x") == files(tmp_path / "y")


def test_the_layout_is_whole(tmp_path: Path) -> None:
    """index -> manifest -> config and layer: each blob has the digest and size that its descriptor tells."""
    out = tmp_path / "x"
    digest = layout.write(rootfs(tmp_path / "a"), out, "demo", {"Cmd": ["/sh"]})
    blobs = {
        f"sha256:{name.rpartition('/')[2]}": data for name, data in files(out).items() if name.startswith("blobs/")
    }
    assert all("sha256:" + hashlib.sha256(data).hexdigest() == name for name, data in blobs.items())
    index = json.loads((out / "index.json").read_bytes())
    assert [entry["digest"] for entry in index["manifests"]] == [digest]
    assert index["manifests"][0]["annotations"] == {"org.opencontainers.image.ref.name": "demo"}
    manifest = json.loads(blobs[digest])
    for descriptor in (index["manifests"][0], manifest["config"], *manifest["layers"]):
        assert descriptor["size"] == len(blobs[descriptor["digest"]])
    tar = gzip.decompress(blobs[manifest["layers"][0]["digest"]])
    config = json.loads(blobs[manifest["config"]["digest"]])
    assert config["rootfs"]["diff_ids"] == ["sha256:" + hashlib.sha256(tar).hexdigest()]
    assert config["config"] == {"Cmd": ["/sh"]}


def test_the_layer_keeps_modes_and_links(tmp_path: Path) -> None:
    """Folders come before what is in them; no times, no user names."""
    with tarfile.open(fileobj=io.BytesIO(layout.layer_tar(rootfs(tmp_path / "a")))) as tar:
        entries = tar.getmembers()
    found = [(entry.name, entry.type, entry.mode, entry.linkname) for entry in entries]
    assert found == [
        ("bin", tarfile.DIRTYPE, 0o755, ""),
        ("bin/tool", tarfile.REGTYPE, 0o755, ""),
        ("sh", tarfile.SYMTYPE, 0o777, "bin/tool"),
        ("tmp", tarfile.DIRTYPE, 0o1777, ""),
    ]
    assert {(entry.mtime, entry.uname, entry.gname) for entry in entries} == {(0, "", "")}
