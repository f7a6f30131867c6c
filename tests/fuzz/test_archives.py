"""Archives and folders that images come in: refused in a sentence, or what came in is as its digests say."""

from __future__ import annotations

import hashlib
import json
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import SteleError
from runtime.images import model
from runtime.images.archive import load, tar
from runtime.images.platforms import Platform
from runtime.images.policy import policy
from runtime.images.progress import Progress
from runtime.images.references import ArchiveReference
from runtime.images.store.store import ImageStore
from runtime.images.store.verify import verify_store
from tests.fuzz import LONG, SECONDS, going_on
from tests.fuzz.mutate import mutated
from tests.fuzz.test_images import CONFIG, MANIFEST
from tests.harness.layers import entry, hardlink, layer, pax, symlink


class Files:
    """A source in memory (runtime.images.archive.sources.Source)."""

    what = "archive"

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    def has(self, name: str) -> bool:
        return name in self.files

    def size(self, name: str) -> int:
        if name not in self.files:
            raise model.ImageError(f"it has no {name}")
        return len(self.files[name])

    def pieces(self, name: str) -> Iterator[bytes]:
        yield self.files[name]

    def close(self) -> None:
        pass


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def docker_archive(rng: random.Random) -> Files:
    """What `docker save` writes, its documents bent."""
    plain = layer(entry("a", data=b"a"))
    config = json.dumps({**CONFIG, "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256(plain)}"]}}).encode()
    listed = mutated(rng, [[{"Config": "c.json", "RepoTags": ["app:1"], "Layers": ["l.tar"]}]])
    return Files({"manifest.json": listed, "c.json": config, "l.tar": plain})


def oci_layout(rng: random.Random) -> Files:
    """An image layout, one of its documents bent; what names that one knows its new digest."""
    plain = layer(entry("a", data=b"a"))
    files = {"oci-layout": b"{}", f"blobs/sha256/{sha256(plain)}": plain}
    bent = rng.randrange(3)

    def add(document: Any, number: int, kind: str) -> dict[str, Any]:
        data = mutated(rng, [document]) if bent == number else json.dumps(document).encode()
        files[f"blobs/sha256/{sha256(data)}"] = data
        return {"mediaType": kind, "digest": f"sha256:{sha256(data)}", "size": len(data)}

    rootfs = {"type": "layers", "diff_ids": [f"sha256:{sha256(plain)}"]}
    config = add({**CONFIG, "rootfs": rootfs}, 0, model.OCI_CONFIG)
    own = {"mediaType": model.OCI_LAYER, "digest": f"sha256:{sha256(plain)}", "size": len(plain)}
    manifest = add({**MANIFEST, "config": config, "layers": [own]}, 1, model.OCI_MANIFEST)
    index = {"schemaVersion": 2, "manifests": [manifest]}
    files["index.json"] = mutated(rng, [index]) if bent == 2 else json.dumps(index).encode()
    if rng.randrange(4) == 0:  # what no digest knows
        name = rng.choice(list(files))
        files[name] = files[name].replace(b"a", b"b", 1)
    return Files(files)


ARCHIVES: dict[str, tuple[Callable[[random.Random], Files], ArchiveReference]] = {
    "docker": (docker_archive, ArchiveReference("docker-archive", "/x.tar")),
    "oci": (oci_layout, ArchiveReference("oci", "/x")),
}
ANY = policy.Policy("p", (policy.Requirement("insecureAcceptAnything", "default"),), {})


def taken_in(kind: str, store: ImageStore, seconds: float) -> int:
    """Import bent archives; how many came in, each whole and as its digests say."""
    make, place = ARCHIVES[kind]
    seed = random.randrange(1 << 30)
    rng, begin, came = random.Random(seed), time.monotonic(), 0
    while going_on(begin, seconds, came):
        source = make(rng)
        try:
            if kind == "docker":
                found = list(load._from_docker(store, source, place, Progress(None), ANY))
            else:
                found = list(
                    load._from_layout(store, source, place, Platform("linux", "amd64", ""), Progress(None), ANY)
                )
            for told in found:
                store.tag(told.name, told.descriptor.document())
                came += 1
            assert verify_store(store) == [], "what came in is not what its digest says"
        except SteleError as e:
            assert str(e) and "Traceback" not in str(e)
        except Exception as e:
            raise AssertionError(f"seed {seed}: {type(e).__name__}: {e}\n{source.files}"[:6000]) from e
    return came


@pytest.mark.parametrize("kind", ARCHIVES)
def test_random_archives(kind: str, tmp_path: Path) -> None:
    """Some come in."""
    store = ImageStore(str(tmp_path / "store"))
    assert taken_in(kind, store, SECONDS / 3) > 0
    store.close()


def test_finds_blobs_that_are_not_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept under the name that the archive gives them: it must be seen."""

    def copied(store: ImageStore, source: Files, file: str, digest: str, *rest: object) -> None:
        blob = Path(store.path) / file
        blob.unlink(missing_ok=True)
        blob.write_bytes(source.files[file])

    monkeypatch.setattr(load, "_copy", copied)
    store = ImageStore(str(tmp_path / "store"))
    with pytest.raises(AssertionError, match="seed"):
        taken_in("oci", store, LONG)
    store.close()


# ---- the archive that an image comes in ----

WHOLE = layer(
    entry("oci-layout", data=b"{}"),
    pax({"path": "blobs/sha256/x", "size": "3"}),
    entry("p", data=b"abc"),
    symlink("latest", "oci-layout"),
    hardlink("again", "oci-layout"),
)
BENT = (
    b"-77777\0",
    b"-0000001",
    b"0_000017",
    b" 7777777",
    b"\x80\0\0\0\0\0\0\1",
    b"\xff" * 8,
    b"size=-1",
    b"size=\xd9\xa3",
)


def checked(archive: bytearray) -> None:
    """Give each header its checksum, or nothing behind it would be reached."""
    for at in range(0, len(archive) - 511, 512):
        if archive[at + 257 : at + 262] == b"ustar":
            archive[at + 148 : at + 156] = b"        "
            archive[at + 148 : at + 156] = b"%06o\0 " % sum(archive[at : at + 512])


def indexed(fd: int, seconds: float) -> int:
    """Read bent archives; how many were read. What is found is within the archive."""
    seed = random.randrange(1 << 30)
    rng, begin, came = random.Random(seed), time.monotonic(), 0
    while going_on(begin, seconds, came):
        archive = bytearray(WHOLE)
        for _ in range(rng.randint(1, 4)):
            at, what = rng.randrange(len(archive)), rng.choice((*BENT, bytes([rng.randrange(256)])))
            if rng.randrange(3) == 0:
                at = at // 512 * 512 + 124  # a size
            archive[at : at + len(what)] = what
        checked(archive)
        os.ftruncate(fd, 0)
        os.pwrite(fd, archive, 0)
        try:
            found = tar.index(fd, "a")
            for member in found.values():
                assert 0 < member.offset <= member.offset + member.size <= len(archive), member
                assert sum(map(len, tar.pieces(fd, member))) == member.size
            came += 1
        except SteleError as e:
            assert str(e)
        except Exception as e:
            raise AssertionError(f"seed {seed}: {type(e).__name__}: {e}\n{bytes(archive)!r}"[:6000]) from e
    return came


@pytest.fixture
def fd() -> Iterator[int]:
    made = os.memfd_create("archive")
    yield made
    os.close(made)


def test_random_archives_of_files(fd: int) -> None:
    assert indexed(fd, SECONDS / 3) > 0


def test_finds_sizes_that_are_not_checked(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Python's int() takes them, with signs and underscores."""
    monkeypatch.setattr(tar, "_number", lambda field, what: int(field.strip(b" \0") or b"0", 8))
    with pytest.raises(AssertionError, match="seed"):
        indexed(fd, LONG)
