"""The image store: what is in it is verified and whole, whoever else writes, dies or cleans up."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.images.model import ImageError
from runtime.images.store import ImageStore
from tests.harness.layers import add_image, sha256


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ImageStore]:
    made = ImageStore(str(tmp_path / "store"))
    yield made
    made.close()


def test_a_blob_is_kept_under_its_digest(store: ImageStore) -> None:
    """Written in pieces, read back; nothing of the transfer is left; a second writer finds it there."""
    data = os.urandom(3_000_000)
    digest = sha256(data)
    assert not store.has_blob(digest)
    with store.writer(digest, len(data)) as writer:
        assert (writer.offset, writer.present) == (0, False)
        writer.write(data[:1_000_000])
        writer.write(data[1_000_000:])
        writer.commit()
    assert store.has_blob(digest)
    assert store.blob_size(digest) == len(data)
    fd = store.open_blob(digest)
    with os.fdopen(fd, "rb") as file:
        assert file.read() == data
    assert os.listdir(store.directory("ingest")) == []
    with store.writer(digest, len(data)) as writer:
        assert (writer.offset, writer.present) == (len(data), True)


def test_an_interrupted_transfer_goes_on(store: ImageStore) -> None:
    """What came before is kept, but not believed; the rest makes it whole."""
    data = os.urandom(2_500_000)
    digest = sha256(data)
    with store.writer(digest, len(data)) as writer:
        writer.write(data[:1_700_000])
    assert not store.has_blob(digest)
    with store.writer(digest, len(data)) as writer:
        assert writer.offset == 1_700_000
        with pytest.raises(ImageError, match=r"only 1700000 of its 2500000 bytes came"):
            writer.commit()
        writer.write(data[1_700_000:])
        writer.commit()
    assert store.verify(digest) == []


def test_names(store: ImageStore) -> None:
    """A name stands for its descriptor until it is moved or taken away."""
    image = add_image(store, b"\0" * 1024)
    store.tag("web:1", image)
    assert store.names() == {"web:1": image}
    assert store.resolve("web:1") == store.resolve(image["digest"]) == image
    assert [layer.size for layer in store.manifest(image).layers] == [1024]
    store.untag("web:1")
    assert store.names() == {}
    with pytest.raises(ImageError, match=r'^image "web:1" is not in the store'):
        store.untag("web:1")
    with pytest.raises(ImageError, match=r'^image "web:1" is not in the store .* `stele image pull` gets it$'):
        store.resolve("web:1")


def test_gc_keeps_what_is_named_or_used(store: ImageStore, tmp_path: Path) -> None:
    """gc removes an image when neither a name nor a container needs it, and not before its grace is over."""
    image = add_image(store, b"\0" * 1024)
    store.tag("web:1", image)
    manifest = store.manifest(image)
    assert store.gc(-1).blobs == ()
    config = store.config(manifest)
    (tmp_path / "run" / "c1").mkdir(parents=True)
    store.hold("c1", str(tmp_path / "run"), [image["digest"], *config.diff_ids])
    store.untag("web:1")
    assert store.gc(-1).blobs == ()
    store.release("c1", str(tmp_path / "run"))
    assert store.gc(3600).blobs == ()
    report = store.gc(-1)
    assert len(report.blobs) == 3
    assert os.listdir(store.directory("blobs/sha256")) == []
