"""The image store: what is in it is verified and whole, whoever else writes, dies or cleans up."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import select
import signal
import subprocess
import tarfile
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runtime.errors import HostError
from runtime.host import files
from runtime.host.trees import remove_tree
from runtime.images import model
from runtime.images.archive.save import export_image
from runtime.images.model import ImageError
from runtime.images.progress import Progress
from runtime.images.references import ArchiveReference, Transport
from runtime.images.run.hold import hold, release
from runtime.images.store import erofs, layers
from runtime.images.store.files import locked
from runtime.images.store.gc import collect
from runtime.images.store.store import NAME_ANNOTATION, ImageStore
from runtime.images.store.verify import verify_blob, verify_store
from tests.harness.layers import add_image, entry, layer, sha256


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
    assert verify_blob(store, digest) == []


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
    with pytest.raises(ImageError, match=r'^image "web:1" is not in the store .* `stele image pull web:1` gets it$'):
        store.resolve("web:1")


def test_gc_keeps_what_is_named_or_used(store: ImageStore, tmp_path: Path) -> None:
    """gc removes an image when neither a name nor a container needs it, and not before its grace is over."""
    image = add_image(store, b"\0" * 1024)
    store.tag("web:1", image)
    manifest = store.manifest(image)
    assert collect(store, -1).blobs == ()
    config = store.config(manifest)
    (tmp_path / "run" / "c1").mkdir(parents=True)
    hold(store.path, "c1", str(tmp_path / "run"), [image["digest"], *config.diff_ids])
    store.untag("web:1")
    assert collect(store, -1).blobs == ()
    release(store.path, "c1", str(tmp_path / "run"))
    assert collect(store, 3600).blobs == ()
    report = collect(store, -1)
    assert len(report.blobs) == 3
    assert os.listdir(store.directory("blobs/sha256")) == []


def test_a_blob_that_is_not_what_it_says(store: ImageStore) -> None:
    """Other bytes, or more of them, are not kept; the next try begins anew."""
    data = b"x" * 1000
    digest = sha256(data)
    with store.writer(digest, 1000) as writer:
        writer.write(b"y" * 1000)
        with pytest.raises(ImageError, match=rf"^blob {digest}: what came is sha256:[0-9a-f]+; it was damaged or exch"):
            writer.commit()
    with store.writer(digest, 1000) as writer:
        assert writer.offset == 0
        with pytest.raises(ImageError, match="more than its 1000 bytes came"):
            writer.write(b"x" * 1001)
    assert os.listdir(store.directory("ingest")) == []
    with store.writer(digest, None) as writer:
        writer.write(data)
        writer.commit()
    assert store.read_bytes(digest) == data


@pytest.mark.parametrize("digest", ["sha256:../../x", "sha256:" + "A" * 64, "sha512:" + "a" * 128, "", "x" * 5000])
def test_a_digest_is_no_path(store: ImageStore, digest: str) -> None:
    """What is not a digest never becomes a file's name (CVE-2024-3727)."""
    for use in (store.open_blob, store.has_blob, lambda bad: store.writer(bad, 1), store.read_json):
        with pytest.raises(ImageError, match="is not a digest"):
            use(digest)


def test_rot_is_seen(store: ImageStore) -> None:
    """verify reports a changed blob, a missing one, and a file that is not a blob; reading a document finds them, too."""
    image = add_image(store, b"\0" * 1024)
    store.tag("web:1", image)
    assert verify_store(store) == []
    manifest = store.manifest(image)
    blobs = Path(store.path) / "blobs/sha256"
    config = blobs / manifest.config.digest.removeprefix("sha256:")
    config.chmod(0o600)
    config.write_bytes(config.read_bytes().replace(b"amd64", b"arm64"))
    (blobs / manifest.layers[0].digest.removeprefix("sha256:")).unlink()
    (blobs / "junk").write_text("x")
    problems = {fault.digest: fault.problem for fault in verify_store(store)}
    assert "its content is sha256:" in problems[manifest.config.digest]
    assert "a file that is not a blob" in problems["sha256:junk"]
    with pytest.raises(ImageError, match="damaged on disk"):
        store.config(manifest)
    config.write_bytes(config.read_bytes().replace(b"arm64", b"amd64"))
    problems = {fault.digest: fault.problem for fault in verify_store(store)}
    assert problems[manifest.layers[0].digest] == 'image "web:1" needs it, and it is not there; pull the image again'


def test_damaged_names(store: ImageStore) -> None:
    """index.json that is not an index is told and left as it is."""
    store.tag("web:1", add_image(store, b"\0" * 1024))
    index = Path(store.path) / "index.json"
    for content in (b"", b"{", b"[]", b'{"manifests": [{"digest": "x"}]}', b"\xff"):
        index.write_bytes(content)
        with pytest.raises(ImageError, match=r"index\.json is damaged"):
            store.names()
        with pytest.raises(ImageError, match=r"index\.json is damaged"):
            collect(store, -1)
    assert len(os.listdir(store.directory("blobs/sha256"))) == 3


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "x" * 513, "\033[31m"])
def test_names_are_bounded(store: ImageStore, name: str) -> None:
    """A name is printable, without spaces, and not long."""
    with pytest.raises(ImageError, match="use 1 to 512 printable characters"):
        store.tag(name, add_image(store, b"\0" * 1024))


def in_processes(work: Callable[[int], None], count: int) -> None:
    """Run `work` in so many processes at once; all must end well."""
    ready, go = os.pipe()
    children = []
    for number in range(count):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.close(go)
                os.read(ready, 1)
                work(number)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        children.append(pid)
    os.close(ready)
    os.close(go)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * count


def test_many_writers_do_the_work_once(tmp_path: Path) -> None:
    """Of eight who bring the same blob one writes; the others wait, and find it there."""
    data = os.urandom(200_000)
    digest = sha256(data)
    wrote = tmp_path / "wrote"
    wrote.touch()

    def work(number: int) -> None:
        store = ImageStore(str(tmp_path / "store"))
        with store.writer(digest, len(data)) as writer:
            if writer.present:
                return
            for start in range(0, len(data), 10_000):
                writer.write(data[start : start + 10_000])
            with wrote.open("a") as file:
                file.write(f"{number}\n")
            writer.commit()

    in_processes(work, 8)
    assert len(wrote.read_text().splitlines()) == 1
    assert verify_store(ImageStore(str(tmp_path / "store"))) == []


def test_many_names_at_once(tmp_path: Path) -> None:
    """No name is lost when many are given and taken at the same time."""
    store = ImageStore(str(tmp_path / "store"))
    image = add_image(store, b"\0" * 1024)

    def work(number: int) -> None:
        mine = ImageStore(store.path)
        for each in range(10):
            mine.tag(f"n{number}:{each}", image)
            if each % 2:
                mine.untag(f"n{number}:{each}")

    in_processes(work, 6)
    assert sorted(store.names()) == sorted(f"n{number}:{each}" for number in range(6) for each in range(0, 10, 2))


def test_gc_beside_writers(tmp_path: Path) -> None:
    """While images come and get their names, gc without mercy for what nobody needs takes nothing that is needed."""
    store = ImageStore(str(tmp_path / "store"))

    def work(number: int) -> None:
        mine = ImageStore(store.path)
        for each in range(8):
            if number == 0:
                collect(mine, 60)
            else:
                content = f"{number} {each}".encode().ljust(512, b"\0") * 2
                mine.tag(f"n{number}:{each}", add_image(mine, content))

    in_processes(work, 4)
    assert len(store.names()) == 24
    assert verify_store(store) == []
    assert collect(store, -1).blobs == ()


@pytest.mark.parametrize("moment", ["listed", "opened"])
def test_gc_meets_a_transfer_that_ends(store: ImageStore, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """One that ends once gc has listed it is not a fault of gc's; one of its name that has begun since is not gc's to take."""
    data = b"all of it"
    digest = sha256(data)
    with store.writer(digest, len(data)) as writer:
        writer.write(data[:3])
    ingest, plain_open = store.directory("ingest"), os.open

    def finish() -> None:
        with store.writer(digest, len(data)) as writer:
            writer.write(data[3:])
            writer.commit()
        if moment == "opened":
            os.unlink(digest.removeprefix("sha256:"), dir_fd=store.directory("blobs/sha256"))
            with store.writer(digest, len(data)) as writer:
                writer.write(data[:5])

    def open_late(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if dir_fd != ingest:
            return plain_open(path, flags, mode, dir_fd=dir_fd)
        monkeypatch.setattr(os, "open", plain_open)
        if moment == "listed":
            finish()
        fd = plain_open(path, flags, mode, dir_fd=dir_fd)
        if moment == "opened":
            finish()
        return fd

    monkeypatch.setattr(os, "open", open_late)
    assert collect(store, -1).transfers == 0
    left = {"listed": [], "opened": [digest.removeprefix("sha256:")]}
    assert os.listdir(ingest) == left[moment]


def test_gc_does_not_wait_for_a_maker(store: ImageStore) -> None:
    """An erofs image takes long to make; gc, for which all who start containers wait, leaves such images alone then."""
    place = store.directory(erofs.PLACE)
    with locked(place, "lock"):
        gc = threading.Thread(target=collect, args=(store, -1), daemon=True)
        gc.start()
        gc.join(20)
        assert not gc.is_alive()


def test_a_name_is_for_what_is_whole(store: ImageStore) -> None:
    """A gc without grace may have taken a part of an image before it gets its name."""
    image = add_image(store, layer(entry("a")), layer(entry("b")))
    manifest = store.manifest(image)
    for part in (manifest.layers[0], manifest.config):
        os.unlink(part.digest.removeprefix("sha256:"), dir_fd=store.directory("blobs/sha256"))
        with pytest.raises(ImageError, match=rf"^blob {part.digest} is not in the store .*; pull or import its image"):
            store.tag("web:1", image)
    assert store.names() == {}


def test_a_full_disk_is_told_by_its_store(memory: Path) -> None:
    """Of two disks, the store's and the containers', it is told which; what was there is as it was."""
    store = ImageStore(str(memory / "store"))
    image = add_image(store, layer(entry("a")))
    store.tag("web:1", image)
    store.directory("uses")
    with open(memory / "fill", "wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    with pytest.raises(HostError, match=rf"^--store {store.path}: cannot write uses there: No space left on device"):
        hold(store.path, "c1", "/run/x", [image["digest"]])
    with pytest.raises(HostError, match=rf"^--store {store.path}: cannot write index.json there: No space left on"):
        store.tag("web:2", image)
    assert store.names() == {"web:1": image}
    os.unlink(memory / "fill")
    hold(store.path, "c1", "/run/x", [image["digest"]])
    store.close()


def test_a_store_that_is_gone_is_not_made_again(store: ImageStore, tmp_path: Path) -> None:
    """A container can be deleted where the disk with its store is not mounted any more; nothing is written there."""
    gone = ImageStore(str(tmp_path / "gone"))
    release(gone.path, "c1", str(tmp_path))
    assert not os.path.exists(gone.path)


def test_killed_while_writing(tmp_path: Path) -> None:
    """kill -9 at any byte: nothing is believed, what came is used again, and no lock stays."""
    data = os.urandom(1_000_000)
    digest = sha256(data)
    for attempt in range(20):
        store = ImageStore(str(tmp_path / f"store{attempt}"))
        at = len(data) * attempt // 19
        pid = os.fork()
        if pid == 0:
            with store.writer(digest, len(data)) as writer:
                writer.write(data[:at])
                os.kill(os.getpid(), signal.SIGKILL)
        assert os.waitpid(pid, 0)[1] == signal.SIGKILL
        assert not store.has_blob(digest)
        with store.writer(digest, len(data)) as writer:
            assert writer.offset == at
            writer.write(data[at:])
            writer.commit()
        assert verify_store(store) == []
        store.close()


def test_a_damaged_beginning(store: ImageStore) -> None:
    """A beginning that a crash of the host has damaged is found out at the end, and the next try is whole."""
    data = os.urandom(100_000)
    digest = sha256(data)
    with store.writer(digest, len(data)) as writer:
        writer.write(data[:50_000])
    begun = Path(store.path) / "ingest" / digest.removeprefix("sha256:")
    begun.write_bytes(b"\0" * 50_000)
    with store.writer(digest, len(data)) as writer:
        writer.write(data[writer.offset :])
        with pytest.raises(ImageError, match="what came is"):
            writer.commit()
    with store.writer(digest, len(data)) as writer:
        assert writer.offset == 0
        writer.write(data)
        writer.commit()


def test_uses(store: ImageStore, tmp_path: Path) -> None:
    """A container's layers stay while it is there, whatever its names do; a stale use goes with its state."""
    image = add_image(store, layer(entry("a")), layer(entry("b")))
    manifest = store.manifest(image)
    diff_ids = store.config(manifest).diff_ids
    trees = layers.unpack_image(store, manifest)
    root = tmp_path / "run"
    (root / "c1").mkdir(parents=True)
    hold(store.path, "c1", str(root), diff_ids)
    hold(store.path, "c1", str(tmp_path / "other"), diff_ids)
    report = collect(store, -1)
    assert (len(report.blobs), report.layers, report.uses) == (2, (), 1)  # the other root has no such container
    assert [os.listdir(tree) for tree in trees] == [["a"], ["b"]]
    release(store.path, "c1")
    assert sorted(collect(store, -1).layers) == sorted(diff_ids)
    assert not any(os.path.exists(tree) for tree in trees)
    with pytest.raises(ImageError, match=r"is not in the store .* any more; create the container again"):
        hold(store.path, "c1", str(root), diff_ids)


def test_a_damaged_use_is_not_guessed(store: ImageStore) -> None:
    """What a damaged record held is not known, so nothing is removed."""
    add_image(store, b"\0" * 1024)
    (Path(store.path) / "uses").mkdir(exist_ok=True)
    (Path(store.path) / "uses/c1@0").write_text("{")
    with pytest.raises(ImageError, match="uses/c1@0 is damaged; if its container is gone, remove the file"):
        collect(store, -1)
    assert len(os.listdir(store.directory("blobs/sha256"))) == 3


def test_an_index_keeps_the_platforms_that_are_here(store: ImageStore) -> None:
    """gc follows an index to the manifests that were pulled; a missing one is not a fault."""
    image = add_image(store, b"\0" * 1024)
    other = {**image, "digest": "sha256:" + "b" * 64, "platform": {"os": "linux", "architecture": "arm64"}}
    data = json.dumps({"schemaVersion": 2, "mediaType": model.OCI_INDEX, "manifests": [image, other]}).encode()
    store.tag("web:1", {"mediaType": model.OCI_INDEX, "digest": store.add_bytes(data), "size": len(data)})
    assert collect(store, -1).blobs == ()
    assert verify_store(store) == []


def test_indexes_that_nest_without_end(store: ImageStore) -> None:
    """A chain of indexes ends in a sentence, not in the interpreter's stack."""
    inner = add_image(store, b"\0" * 1024)
    for _ in range(50):
        data = json.dumps({"schemaVersion": 2, "mediaType": model.OCI_INDEX, "manifests": [inner]}).encode()
        inner = {"mediaType": model.OCI_INDEX, "digest": store.add_bytes(data), "size": len(data)}
    store.tag("deep", inner)
    assert any("nested more than" in fault.problem for fault in verify_store(store))


def test_a_store_that_cannot_be_written(tmp_path: Path) -> None:
    """The sentence names the store and what to do."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(HostError, match=r"^--store .*/file/store: cannot write there: Not a directory; choose another"):
        ImageStore(str(tmp_path / "file/store")).add_bytes(b"x")


@pytest.mark.parametrize("depth", [1, 5, 3000])
def test_removing_deep_trees(memory: Path, depth: int) -> None:
    """However deep: neither the stack, nor open files, nor the length of a path is a limit; links are not followed."""
    (memory / "kept").mkdir()
    (memory / "kept/file").write_text("x")
    at = os.open(memory, os.O_RDONLY)
    top = os.dup(at)
    for number in range(depth):
        name = "top" if number == 0 else "d"
        os.mkdir(name, dir_fd=at)
        below = os.open(name, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
        os.symlink(str(memory / "kept"), "link", dir_fd=at)
        os.mkdir(".1", dir_fd=at)
    os.close(at)
    remove_tree(top, "top")
    remove_tree(top, "top")
    os.close(top)
    assert sorted(os.listdir(memory)) == ["kept"]
    assert os.listdir(memory / "kept") == ["file"]


def test_other_tools_read_the_store(store: ImageStore) -> None:
    """The store is an OCI image layout."""
    plain = layer(entry("a", data=b"x"))
    store.tag("web:1", add_image(store, (plain, gzip.compress(plain))))
    told = subprocess.run(["skopeo", "inspect", f"oci:{store.path}:web:1"], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["Architecture"] == "amd64"


@pytest.mark.parametrize("kind", ["oci", "oci-archive"])
def test_export_writes_to_no_link_of_others(store: ImageStore, tmp_path: Path, kind: Transport) -> None:
    """In somebody else's folder a temporary name may be a hard link to any file of the same file system."""
    told = add_image(store, b"\0" * 1024)
    (tmp_path / "out/blobs/sha256").mkdir(parents=True)
    (tmp_path / "victim").write_text("kept")
    target = tmp_path / ("out" if kind == "oci" else "out/image.tar")
    for digest in (told["digest"], store.manifest(told).layers[0].digest):
        os.link(tmp_path / "victim", tmp_path / f"out/blobs/sha256/.{digest[7:]}.new")
    os.link(tmp_path / "victim", tmp_path / "out" / files.temporary("image.tar"))
    if kind == "oci":
        (tmp_path / "out" / files.temporary("image.tar")).unlink()
        for name in ("index.json", "oci-layout"):
            os.link(tmp_path / "victim", tmp_path / "out" / files.temporary(name))
        index = {"schemaVersion": 2, "manifests": [{**told, "annotations": {NAME_ANNOTATION: "other"}}]}
        (target / "index.json").write_text(json.dumps(index))
    export_image(store, told, "name", ArchiveReference(kind, str(target)), Progress(None))
    assert (tmp_path / "victim").read_text() == "kept"
    if kind == "oci":
        assert (tmp_path / "victim").stat().st_nlink == 1
        assert len(json.loads((target / "index.json").read_text())["manifests"]) == 2
        assert [(target / name).stat().st_mode & 0o777 for name in ("index.json", "oci-layout")] == [0o644] * 2


@pytest.mark.parametrize("name", ["index.json", "blobs", "blobs/sha256"])
def test_export_goes_through_no_link_of_others(store: ImageStore, tmp_path: Path, name: str) -> None:
    """What is elsewhere is neither read into the folder nor written."""
    told = add_image(store, b"\0" * 1024)
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (out / name).parent.mkdir(parents=True)
    (elsewhere / "index.json").write_text('{"manifests": [{"secret": 1}]}')
    (out / name).symlink_to(elsewhere / "index.json" if name == "index.json" else elsewhere)
    with pytest.raises(HostError, match="cannot write it"):
        export_image(store, told, "name", ArchiveReference("oci", str(out)), Progress(None))
    assert os.listdir(elsewhere) == ["index.json"]
    assert not (out / "oci-layout").exists()


@pytest.mark.parametrize("kind", ["oci-archive", "docker-archive"])
def test_an_archive_replaces_a_link_that_leads_to_a_device(store: ImageStore, tmp_path: Path, kind: Transport) -> None:
    """A FIFO stands for the disk. One that is named itself gets the archive, and so does one behind /dev/fd."""
    told = add_image(store, b"\0" * 1024)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "image.tar").symlink_to("fifo")
    fd = os.open(tmp_path / "fifo", os.O_RDWR | os.O_NONBLOCK)
    try:
        for path, written in ((f"{tmp_path}/image.tar", False), (f"{tmp_path}/fifo", True), (f"/dev/fd/{fd}", True)):
            export_image(store, told, "name", ArchiveReference(kind, path), Progress(None))
            assert bool(select.select([fd], [], [], 0)[0]) == written
            while written and select.select([fd], [], [], 0)[0]:
                os.read(fd, 1 << 16)
    finally:
        os.close(fd)
    assert tarfile.is_tarfile(tmp_path / "image.tar") and not (tmp_path / "image.tar").is_symlink()


def test_a_blob_cannot_be_opened_for_writing_by_mistake(store: ImageStore) -> None:
    told = add_image(store, b"\0" * 1024)
    blobs = [f"{store.path}/blobs/sha256/{blob.digest[7:]}" for blob in store.manifest(told).layers]
    assert [os.stat(path).st_mode & 0o777 for path in blobs] == [0o400]
