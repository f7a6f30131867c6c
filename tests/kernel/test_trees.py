"""`image verify --deep`: whatever is changed in an unpacked layer is found, and nothing else is told."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.images import model
from runtime.images.model import ImageError
from runtime.images.store import layers, verify_layers
from runtime.images.store.store import ImageStore
from tests.harness.layers import add_image, entry, folder, hardlink, layer, pax, sha256, symlink
from tests.harness.runtime import Runtime

LAYER = layer(
    folder("etc", mode=0o755, mtime=1000),
    entry("etc/passwd", data=b"root:x:0:0\n", mtime=1000),
    entry("etc/shadow", data=b"root:*\n", mode=0o600, mtime=1000),
    entry("etc/empty", mtime=1000),
    symlink("etc/link", "passwd"),
    pax({"SCHILY.xattr.user.note": "this"}),
    entry("tool", data=b"#!/bin/sh\n" * 5000, mode=0o4755, mtime=1000),
    hardlink("tool2", "tool"),
    pax({"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "1000000000", "GNU.sparse.name": "holes"}),
    entry("x", data=b"1\n0\n4096\n".ljust(512, b"\0") + b"a" * 4096),
    entry("disk", b"4", major=8, minor=1),
    entry("pipe", b"6"),
    entry(".wh.gone"),
    folder("fresh"),
    entry("fresh/.wh..wh..opq"),
)  # fmt: skip


@pytest.fixture
def unpacked(tmp_path: Path) -> tuple[ImageStore, str, Path]:
    """A store with an image "x", its manifest's digest, and the tree of its only layer."""
    store = ImageStore(str(tmp_path / "store"))
    told = add_image(store, LAYER)
    store.tag("x", told)
    (tree,) = layers.unpack_image(store, store.manifest(told))
    return store, str(told["digest"]), Path(tree)


def patch(tree: Path, name: str, data: bytes, at: int = 0) -> None:
    """Other bytes in the place of a file's own; its times are kept."""
    told = (tree / name).lstat()
    with (tree / name).open("r+b") as file:
        file.seek(at)
        file.write(data)
    os.utime(tree / name, ns=(told.st_atime_ns, told.st_mtime_ns))


def copied(tree: Path) -> None:
    """A hard link becomes a file of its own, all else as it was."""
    told, data = (tree / "tool").lstat(), (tree / "tool").read_bytes()
    root = tree.stat()
    (tree / "tool2").unlink()
    (tree / "tool2").write_bytes(data)
    (tree / "tool2").chmod(told.st_mode & 0o7777)
    os.setxattr(tree / "tool2", "user.note", b"this")
    os.utime(tree / "tool2", ns=(told.st_atime_ns, told.st_mtime_ns))
    os.utime(tree, ns=(root.st_atime_ns, root.st_mtime_ns))


def relinked(tree: Path) -> None:
    """Another target of the same length."""
    told = (tree / "etc").stat()
    (tree / "etc/link").unlink()
    (tree / "etc/link").symlink_to("shadow")
    os.utime(tree / "etc/link", ns=(0, 0), follow_symlinks=False)
    os.utime(tree / "etc", ns=(told.st_atime_ns, told.st_mtime_ns))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(lambda t: patch(t, "etc/passwd", b"rOot"), "'etc/passwd': it has another content", id="byte"),
        pytest.param(lambda t: patch(t, "tool", b"X", 49_999), "'tool': it has another content", id="last-byte"),
        pytest.param(lambda t: patch(t, "holes", b"X", 999_999_999), "'holes': it has another content", id="in-a-hole"),
        pytest.param(lambda t: patch(t, "etc/empty", b"X"), "'etc/empty': it has another size", id="size"),
        pytest.param(lambda t: (t / "tool").chmod(0o755), "'tool': it has another mode", id="setuid-lost"),
        pytest.param(lambda t: (t / "etc").chmod(0o777), "'etc': it has another mode", id="mode-of-folder"),
        pytest.param(lambda t: t.chmod(0o777), "'.': it has another mode", id="mode-of-root"),
        pytest.param(lambda t: os.chown(t / "etc/shadow", 1, 0), "'etc/shadow': it has another owner", id="owner"),
        pytest.param(lambda t: os.chown(t / "etc/link", 1, 0, follow_symlinks=False), "'etc/link': it has another owner", id="of-link"),
        pytest.param(lambda t: os.utime(t / "etc/passwd", (1, 1)), "'etc/passwd': it has another time", id="time"),
        pytest.param(lambda t: os.setxattr(t / "etc/passwd", "user.a", b""), "'etc/passwd': it has another attribute", id="xattr-new"),
        pytest.param(lambda t: os.setxattr(t / "tool", "user.note", b"that"), "'tool': it has another attribute", id="xattr"),
        pytest.param(lambda t: os.removexattr(t / "tool", "user.note"), "'tool': it has another attribute", id="xattr-gone"),
        pytest.param(
            lambda t: os.setxattr(t / "etc/passwd", "security.capability", bytes.fromhex("0100000200040000000000000000000000000000")),
            "'etc/passwd': it has another attribute", id="capability",
        ),
        pytest.param(lambda t: os.removexattr(t / "fresh", "trusted.overlay.opaque"), "'fresh': it has another attr", id="opaque"),
        pytest.param(lambda t: os.setxattr(t / "etc", "trusted.overlay.redirect", b"/fresh"), "'etc': it has another", id="redirect"),
        pytest.param(lambda t: (t / "fresh/evil").write_text("x"), "'fresh/evil' is not in the layer", id="added"),
        pytest.param(lambda t: (t / "etc/shadow").unlink(), "'etc/shadow' is missing", id="removed"),
        pytest.param(lambda t: (t / "gone").unlink(), "'gone' is missing", id="whiteout-removed"),
        pytest.param(relinked, "'etc/link': it has another target", id="target"),
        pytest.param(copied, "'tool2': it has other hard links", id="copied"),
        pytest.param(lambda t: os.link(t / "tool", t.parent / "outside"), "'tool': it has other hard links", id="linked-elsewhere"),
    ],
)  # fmt: skip
def test_each_change_is_found(
    unpacked: tuple[ImageStore, str, Path], change: Callable[[Path], object], words: str
) -> None:
    store, image, tree = unpacked
    assert verify_layers.faults(store, [image]) == []
    change(tree)
    faults = verify_layers.faults(store, [image])
    assert any(words in fault.problem for fault in faults), faults
    assert {fault.digest for fault in faults} == {f"sha256:{tree.parent.name}"}
    record = tree.parent.name  # of its blob, which is not packed
    assert set(os.listdir(tree.parent)) - {"outside"} == {"tree", "implied", record}


def test_many_changes_are_told_shortly(unpacked: tuple[ImageStore, str, Path]) -> None:
    store, image, tree = unpacked
    for number in range(50):
        (tree / f"f{number}").write_text("")
    assert len(verify_layers.faults(store, [image])) == verify_layers.REPORTED_MAX


def test_by_the_command(stele: Runtime, unpacked: tuple[ImageStore, str, Path]) -> None:
    """Without --deep blobs alone are hashed; with it the image, or all, is refused, and after the advice is well again."""
    store, _, tree = unpacked
    call = ("--store", store.path, "image", "verify")
    assert "all contents match their digests, and so do the unpacked files" in stele.ok(*call, "--deep", "x")
    patch(tree, "etc/passwd", b"evil")
    stele.ok(*call)
    for words in (["--deep"], ["--deep", "x"]):
        done = stele(*call, *words)
        assert done.returncode == 1
        assert "'etc/passwd': it has another content; remove this folder, and it is unpacked again" in done.stderr
    subprocess.run(["rm", "-r", tree.parent], check=True)
    stele.ok(*call, "--deep")
    layers.unpack_image(store, store.manifest(store.resolve("x")))
    stele.ok(*call, "--deep")


def test_a_blob_that_claims_the_tree_of_another(unpacked: tuple[ImageStore, str, Path]) -> None:
    """Whichever of two images is looked at first, the one that lies is reported; the other's tree is right."""
    store, honest, tree = unpacked
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [sha256(LAYER)]}}
    blobs = {"config": json.dumps(config).encode(), "layers": b"junk"}
    told = {
        key: {
            "mediaType": model.OCI_CONFIG if key == "config" else model.OCI_LAYER,
            "digest": store.add_bytes(data),
            "size": len(data),
        }
        for key, data in blobs.items()
    }
    document = {
        "schemaVersion": 2,
        "mediaType": model.OCI_MANIFEST,
        "config": told["config"],
        "layers": [told["layers"]],
    }
    liar = store.add_bytes(json.dumps(document).encode())
    for images in ([honest, liar], [liar, honest], [liar]):
        (fault,) = verify_layers.faults(store, images)
        assert fault.digest == sha256(b"junk")
    with pytest.raises(ImageError, match=f"layer {sha256(b'junk')}: "):
        layers.unpack_image(store, store.manifest({**told["config"], "mediaType": model.OCI_MANIFEST, "digest": liar}))
    assert verify_layers.faults(store, [honest]) == []
    shutil.rmtree(tree.parent)
    (fault,) = verify_layers.faults(store, [honest, liar])  # also where nothing is unpacked
    assert fault.digest == sha256(b"junk")


def test_a_blob_that_is_damaged_is_not_compared_with(stele: Runtime, unpacked: tuple[ImageStore, str, Path]) -> None:
    """The blob's own fault is told, once."""
    store, _, _ = unpacked
    blob = Path(store.path) / "blobs/sha256" / store.manifest(store.resolve("x")).layers[0].digest[7:]
    blob.chmod(0o600)
    blob.write_bytes(blob.read_bytes()[:-512] + b"x" * 512)
    done = stele("--store", store.path, "image", "verify", "--deep")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 2 and "1 fault in" in done.stderr
