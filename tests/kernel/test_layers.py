"""Layers unpacked: exact in all that a file has, the same by overlayfs and flat, and the same as by umoci and Podman."""

from __future__ import annotations

import contextlib
import ctypes
import gzip
import json
import os
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.errors import HostError, SteleError
from runtime.host.unpack import OVERLAY, Budget, Unpacking
from runtime.images.model import ImageError, Manifest
from runtime.images.store import layers
from runtime.images.store.gc import collect
from runtime.images.store.store import ImageStore
from tests.harness.layers import (
    add_image,
    entry,
    folder,
    hardlink,
    layer,
    pax,
    symlink,
    tree,
)  # fmt: skip
from tests.harness.runtime import REPO
from tests.kernel.conftest import Built

CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
"""security.capability, version 2: cap_net_bind_service=ep (linux/capability.h)."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ImageStore]:
    made = ImageStore(str(tmp_path / "store"))
    yield made
    made.close()


def unpack_flat(store: ImageStore, manifest: Manifest, target: Path) -> Path:
    target.mkdir()
    fd = os.open(target, os.O_RDONLY)
    try:
        layers.unpack_to(store, manifest, fd)
    finally:
        os.close(fd)
    return target


def mount_overlay(trees: list[str], target: Path) -> None:
    """Mount trees, lowest first, read-only."""
    target.mkdir()
    lower = ":".join(reversed(trees)) if len(trees) > 1 else f"{trees[0]}:{trees[0]}"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"overlay", os.fsencode(target), b"overlay", 1, f"lowerdir={lower}".encode()) != 0:
        raise OSError(ctypes.get_errno(), "mount")


def umount(target: Path) -> None:
    if ctypes.CDLL(None, use_errno=True).umount2(os.fsencode(target), 0) != 0:
        raise OSError(ctypes.get_errno(), "umount")


def rich(attribute: str = "trusted.own") -> bytes:
    """A layer with one of everything."""
    return layer(
        folder("./", mode=0o755, mtime=1000),
        folder("bin", mode=0o755, mtime=1001),
        entry("bin/tool", data=b"#!/bin/sh\n" * 100, mode=0o4755, mtime=1002),
        pax({"mtime": "1003.123456789", "SCHILY.xattr.user.note": b"a\0b=c\n"}),
        entry("bin/noted", data=b"x", uid=1000, gid=2000, mode=0o640),
        pax({"SCHILY.xattr.security.capability": CAPABILITY}),
        entry("bin/web", data=b"elf", uid=3, mode=0o755, mtime=1004),
        pax({"SCHILY.xattr.security.capability": CAPABILITY}),
        hardlink("bin/again", "./bin/web", uid=3, mode=0o755, mtime=1004),
        symlink("bin/sh", "/bin/tool", uid=5, gid=6, mtime=1005),
        folder("tmp", mode=0o1777, mtime=1006),
        folder("closed", mode=0o000, uid=7, gid=8, mtime=1007),
        entry("closed/inside", data=b"y", mode=0o000, mtime=1008),
        entry("dev/null", b"3", major=1, minor=3, mode=0o666, mtime=1009),
        entry("dev/loop", b"4", major=7, minor=200, mode=0o660, mtime=1010),
        entry("dev/pipe", b"6", mode=0o600, uid=9, mtime=1011),
        pax({"path": "long/" + "n" * 200 + "/" + "é" * 90}),
        entry("x", data=b"z" * 100_000, mtime=-5 % 2**31),
        pax(
            {
                "GNU.sparse.size": str(1 << 24),
                "GNU.sparse.numblocks": "2",
                "GNU.sparse.map": "0,5,8388608,5",
                "GNU.sparse.name": "holes",
            }
        ),
        entry("h", data=b"helloworld", mtime=1012),
        pax({f"SCHILY.xattr.{attribute}": "1"}),
        folder("attributed", mode=0o2750, mtime=1013),
        entry("empty", mtime=0),
    )


RICH = rich()


def test_everything_a_file_has(store: ImageStore, tmp_path: Path) -> None:
    """Types, modes, owners, times to the nanosecond, attributes, capabilities, holes, names and hard links are exact."""
    manifest = store.manifest(add_image(store, RICH))
    found = tree(unpack_flat(store, manifest, tmp_path / "rootfs"))
    second = 10**9
    assert found["/"]["mtime"] == 1000 * second
    assert (found["/bin"]["mode"], found["/bin"]["mtime"]) == ("0o755", 1001 * second)
    assert found["/bin/tool"]["mode"] == "0o4755"
    assert found["/bin/noted"]["mtime"] == 1003_123456789
    assert found["/bin/noted"]["xattrs"] == {"user.note": b"a\0b=c\n"}
    assert found["/bin/noted"]["owner"] == (1000, 2000)
    assert found["/bin/web"]["xattrs"] == {"security.capability": CAPABILITY}
    assert found["/bin/web"]["names"] == ["/bin/again", "/bin/web"]
    assert (found["/bin/sh"]["target"], found["/bin/sh"]["owner"]) == ("/bin/tool", (5, 6))
    assert found["/bin/sh"]["mtime"] == 1005 * second
    assert found["/tmp"]["mode"] == "0o1777"
    assert (found["/closed"]["mode"], found["/closed"]["mtime"]) == ("0o0", 1007 * second)
    assert found["/dev/null"]["device"] == (1, 3)
    assert (found["/dev/loop"]["type"], found["/dev/loop"]["device"]) == (stat.S_IFBLK, (7, 200))
    assert (found["/dev/pipe"]["type"], found["/dev/pipe"]["owner"]) == (stat.S_IFIFO, (9, 0))
    assert (found["/dev"]["mode"], found["/dev"]["mtime"]) == ("0o755", 0)  # implied
    assert found["/long/" + "n" * 200 + "/" + "é" * 90]["content"][0] == 100_000
    assert found["/attributed"]["mode"] == "0o2750"
    assert found["/attributed"]["xattrs"] == {"trusted.own": b"1"}
    holes = tmp_path / "rootfs/holes"
    assert holes.stat().st_size == 1 << 24
    assert holes.stat().st_blocks * 512 < 1 << 20
    assert holes.read_bytes()[8388608:8388613] == b"world"


def zstd(data: bytes, *options: str) -> bytes:
    return subprocess.run(["zstd", "-qc", *options], input=data, stdout=subprocess.PIPE, check=True).stdout


@pytest.mark.parametrize(
    "packed",
    [
        pytest.param(lambda data: data, id="plain"),
        pytest.param(gzip.compress, id="gzip"),
        pytest.param(lambda data: gzip.compress(data[:1000]) + gzip.compress(data[1000:]), id="gzip-members"),
        pytest.param(zstd, id="zstd"),
        pytest.param(lambda data: zstd(data, "-19", "--long=27"), id="zstd-long"),
        pytest.param(
            lambda data: zstd(data[:1000]) + b"\x50\x2a\x4d\x18\x04\0\0\0skip" + zstd(data[1000:]), id="zstd-frames"
        ),
    ],
)
def test_each_way_of_packing(store: ImageStore, tmp_path: Path, packed: Any) -> None:
    """The tree does not depend on how the layer was packed."""
    wanted = tree(unpack_flat(store, store.manifest(add_image(store, RICH)), tmp_path / "plain"))
    manifest = store.manifest(add_image(store, (RICH, packed(RICH))))
    assert tree(unpack_flat(store, manifest, tmp_path / "rootfs")) == wanted


def test_nothing_inherits_an_acl(store: ImageStore, tmp_path: Path) -> None:
    """A directory's default ACL is for what is made in it later: not for what its layer has there; nor is the store's."""
    entries = ((1, 7, -1), (4, 5, -1), (8, 7, 33), (16, 7, -1), (32, 5, -1))  # acl(5): user 33 may write
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *one) for one in entries)
    os.makedirs(store.path)
    os.setxattr(store.path, "system.posix_acl_default", acl)
    inside = (folder("d/sub"), entry("d/file", mode=0o640))
    image = add_image(store, layer(pax({"SCHILY.xattr.system.posix_acl_default": acl}), folder("d"), *inside))
    manifest = store.manifest(image)
    (path,) = layers.unpack_image(store, manifest)
    os.setxattr(tmp_path, "system.posix_acl_default", acl)
    for found in (tree(Path(path)), tree(unpack_flat(store, manifest, tmp_path / "rootfs"))):
        assert {name: told["xattrs"] for name, told in found.items() if told["xattrs"]} == {
            "/d": {"system.posix_acl_default": acl}
        }
        assert found["/d/file"]["mode"] == "0o640"


def test_whiteouts_in_overlay_form(store: ImageStore) -> None:
    """A layer's tree hides by 0:0 devices and the opaque attribute, also where an entry comes before its whiteout."""
    archive = layer(
        entry("gone/.wh.a"),
        folder("opaque"),
        entry("opaque/new"),
        entry("opaque/.wh..wh..opq"),
        entry(".wh.file"),
        entry("file", data=b"new"),
        entry("other", data=b"new"),
        entry(".wh.other"),
        entry(".wh.folder"),
        entry("folder/inside"),
        folder("late"),
        entry(".wh.late"),
        entry(".wh..wh.aufs"),
        folder(".wh..wh.plnk"),
        entry(".wh..wh.plnk/1.2"),
    )
    (path,) = layers.unpack_image(store, store.manifest(add_image(store, archive)))
    found = tree(Path(path))
    assert found["/gone/a"]["device"] == (0, 0)
    assert found["/opaque"]["xattrs"] == {"trusted.overlay.opaque": b"y"}
    assert found["/file"]["content"][0] == found["/other"]["content"][0] == 3
    assert found["/folder"]["xattrs"] == found["/late"]["xattrs"] == {"trusted.overlay.opaque": b"y"}
    assert not [name for name in found if ".wh." in name]


NAMES = ["a", "b", "c", "a/a", "a/b", "b/a", "b/b", "a/a/a", "a/b/a", "a/b/b", "c/a/b"]
steps = st.lists(
    st.tuples(
        st.sampled_from(["file", "folder", "link", "whiteout", "opaque"]),
        st.sampled_from(NAMES),
        st.sampled_from([0o600, 0o755]),
        st.integers(0, 2**31),
    ),
    min_size=1,
    max_size=10,
)


def layer_of(number: int, wanted: list[tuple[str, str, int, int]]) -> bytes:
    """A layer whose entries make sense together: no name is a directory and something else."""
    made: dict[str, tuple[str, bytes]] = {}

    def is_folder(path: str) -> bool:
        return made.get(path, ("folder",))[0] == "folder"

    for kind, path, mode, mtime in wanted:
        parents = ["/".join(path.split("/")[:n]) for n in range(1, path.count("/") + 1)]
        if not all(is_folder(parent) for parent in parents):
            continue
        if kind in ("file", "link", "folder") and (path in made or any(other.startswith(f"{path}/") for other in made)):
            continue
        if kind == "opaque" and not is_folder(path):
            continue
        for parent in parents:
            made.setdefault(parent, ("folder", folder(parent, mode=0o700 + number, mtime=number)))
        head, _, last = path.rpartition("/")
        if kind == "file":
            made[path] = kind, entry(path, data=f"{number} {path}".encode(), mode=mode, mtime=mtime, uid=number)
        elif kind == "link":
            made[path] = kind, symlink(path, last, mtime=mtime)
        elif kind == "folder":
            made[path] = kind, folder(path, mode=mode, mtime=mtime)
        elif kind == "whiteout":
            hidden = f"{head}/.wh.{last}".removeprefix("/")
            made[hidden] = kind, entry(hidden)
        else:
            made.setdefault(path, ("folder", folder(path, mode=mode, mtime=mtime)))
            made[f"{path}/.wh..wh..opq"] = kind, entry(f"{path}/.wh..wh..opq")
    return layer(folder("./", mtime=number), *(data for _, data in made.values()), b"\0" * 512 * number)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(wanted=st.lists(steps, min_size=2, max_size=4))
def test_flat_is_what_overlayfs_shows(memory: Path, wanted: list[list[tuple[str, str, int, int]]]) -> None:
    """For any layers, with whiteouts and changes of type, the flat root and the mounted one are the same, to the time."""
    place = memory / os.urandom(8).hex()
    store = ImageStore(str(place / "store"))
    manifest = store.manifest(add_image(store, *(layer_of(number, each) for number, each in enumerate(wanted))))
    flat = tree(unpack_flat(store, manifest, place / "flat"))
    mount_overlay(layers.unpack_image(store, manifest), place / "mounted")
    try:
        mounted = tree(place / "mounted")
    finally:
        umount(place / "mounted")
    assert flat == mounted
    store.close()
    shutil.rmtree(place)


def test_many_files_and_layers(store: ImageStore) -> None:
    """Layers go in parallel, each is unpacked once though three ask for it at the same time."""
    many = [
        layer(*(entry(f"d{i % 7}/f{i}", data=os.urandom(2000), mtime=i) for i in range(400)), b"\0" * 512)
        for _ in range(6)
    ]
    manifest = store.manifest(add_image(store, *many))
    results: list[list[str]] = []
    threads = [threading.Thread(target=lambda: results.append(layers.unpack_image(store, manifest))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3
    assert results[0] == results[1] == results[2]
    inodes = {os.stat(path).st_ino for path in results[0]}
    assert {os.stat(path).st_ino for path in layers.unpack_image(store, manifest)} == inodes
    assert all(len(list(Path(path).rglob("f*"))) == 400 for path in results[0])


def test_a_layer_is_shared_by_images(store: ImageStore) -> None:
    """Two images with the same lowest layer, packed in two ways, have one tree of it."""
    base = layer(entry("base"))
    first = layers.unpack_image(store, store.manifest(add_image(store, base, layer(entry("a")))))
    second = layers.unpack_image(
        store, store.manifest(add_image(store, (base, gzip.compress(base)), layer(entry("b"))))
    )
    assert first[0] == second[0]
    assert len(layers.unpacked(store)) == 3


def test_a_tree_without_its_record(store: ImageStore) -> None:
    """A tree of stele 0.1.0: the blob is hashed once, its digest is recorded, and the tree is not unpacked again."""
    plain = layer(entry("base"))
    packed = gzip.compress(plain)
    manifest = store.manifest(add_image(store, (plain, packed)))
    (tree,) = layers.unpack_image(store, manifest)
    (record,) = store.proven(manifest, store.config(manifest))
    inode = os.stat(tree).st_ino
    os.unlink(record)
    assert layers.unpack_image(store, manifest) == [tree]
    assert os.path.isdir(record) and os.stat(tree).st_ino == inode
    assert layers.remove(store, layers.unpacked(store)[0], older_than=time.time() + 1)
    assert os.listdir(store.directory("layers/sha256")) == []


def test_gc_keeps_a_layer_for_its_grace(store: ImageStore) -> None:
    """A tree that no image needs any more is kept while somebody may just be about to use it."""
    image = add_image(store, layer(entry("base")))
    (tree,) = layers.unpack_image(store, store.manifest(image))
    assert collect(store, 3600).layers == ()
    assert os.path.isdir(tree)
    (digest,) = collect(store, -1).layers
    assert digest in tree.replace("layers/sha256/", "sha256:") and not os.path.exists(tree)


def test_nothing_is_unpacked_into_a_file_system_mounted_in_the_tree(store: ImageStore, tmp_path: Path) -> None:
    """Whatever is mounted where a layer is unpacked is not part of it: the entry fails, and nothing is written there."""
    other = tmp_path / "tree/there"
    other.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "stele-test", other], check=True)
    fd = os.open(tmp_path / "tree", os.O_RDONLY | os.O_DIRECTORY)
    try:
        with tempfile.TemporaryFile() as blob:
            blob.write(layer(entry("there/file")))
            blob.seek(0)
            with pytest.raises(HostError, match=r"there/file.*EXDEV"):
                Unpacking(blob.fileno(), fd, OVERLAY, Budget(), durable=False).run()
        assert os.listdir(other) == []
    finally:
        os.close(fd)
        subprocess.run(["umount", other], check=True)


def test_the_disk_is_full(memory: Path) -> None:
    """ENOSPC is told with the entry it met; nothing is left, and the store serves again when there is room."""
    store = ImageStore(str(memory))
    archive = layer(entry("small", data=b"x"), entry("big", data=b"\1" * (80 << 20)))
    manifest = store.manifest(add_image(store, (archive, gzip.compress(archive))))
    with pytest.raises(HostError, match=r"entry 'big': cannot make it: No space left on device \(ENOSPC\)$"):
        layers.unpack_image(store, manifest)
    assert os.listdir(store.directory("layers/sha256")) == []
    layers.unpack_image(store, store.manifest(add_image(store, layer(entry("fits", data=b"x" * 100_000)))))
    store.close()


INTERRUPTED = """
import sys
sys.path.insert(0, sys.argv[1])
from runtime.images.store import layers
from runtime.images.store.store import ImageStore
store = ImageStore(sys.argv[2])
manifest = store.manifest(store.resolve(sys.argv[3]))
print("go", flush=True)
layers.unpack_image(store, manifest)
"""


def files_below(place: Path) -> int:
    """Counted while others make and rename them."""
    found = 0
    for path in (*place.glob("*/new"), *place.glob("*/tree")):
        with contextlib.suppress(FileNotFoundError):
            found += len(os.listdir(path))
    return found


def test_killed_at_any_moment(memory: Path) -> None:
    """Killed while layers are unpacked: a half-made tree is never believed, and the next process makes it whole.

    The moment is when so many files are there: then how busy the machine is does not matter. The next process starts at
    once, and waits for the children of the killed one, which may still live for a moment.
    """
    archives = [
        layer(*(entry(f"f{i}", data=os.urandom(3000)) for i in range(600)), b"\0" * 512 * n) for n in range(1, 4)
    ]
    killed = 0
    for attempt in range(13):
        store = ImageStore(str(memory / f"store{attempt}"))
        image = add_image(store, *archives)
        place = memory / f"store{attempt}/layers/sha256"
        words = [str(REPO), store.path, image["digest"]]
        with subprocess.Popen([sys.executable, "-c", INTERRUPTED, *words], stdout=subprocess.PIPE) as process:
            assert process.stdout
            assert process.stdout.readline() == b"go\n"
            while process.poll() is None and files_below(place) < 1800 * attempt / 13:
                pass
            process.kill()
        assert process.returncode in (0, -signal.SIGKILL)
        killed += process.returncode < 0
        for path in place.glob("*/tree"):
            assert len(list(path.iterdir())) == 600
        paths = layers.unpack_image(store, store.manifest(image))
        assert [len(os.listdir(path)) for path in paths] == [600] * 3
        assert not list(place.glob("*/new"))
        store.close()
        shutil.rmtree(store.path)
    assert killed >= 6


def test_interrupted(tmp_path: Path) -> None:
    """Ctrl-C ends unpacking soon, in order, and takes back what was begun."""
    store = ImageStore(str(tmp_path / "store"))
    image = add_image(store, layer(*(entry(f"f{i}", data=os.urandom(100)) for i in range(60_000))))
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(REPO), store.path, image["digest"]],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout
    assert process.stdout.readline() == b"go\n"
    place = tmp_path / "store/layers/sha256"
    while not any((path / "new/f0").exists() for path in place.glob("*")):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert out == b""
    assert b"KeyboardInterrupt" in err
    assert list(place.iterdir()) == []
    store.close()


def test_unpacking_into_a_directory_with_something_in_it(store: ImageStore, tmp_path: Path) -> None:
    """What is there is the user's: it is refused and kept."""
    (tmp_path / "kept").write_text("x")
    fd = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(HostError, match="is not empty; unpack into a new directory"):
        layers.unpack_to(store, store.manifest(add_image(store, RICH)), fd)
    os.close(fd)
    assert (tmp_path / "kept").read_text() == "x"


def test_budgets_are_configurable(store: ImageStore) -> None:
    """limits.json in the store changes the defaults for all commands."""
    manifest = store.manifest(add_image(store, layer(*(entry(f"f{i}") for i in range(20)))))
    limits = Path(store.path) / "limits.json"
    limits.write_text('{"entries": 10}')
    with pytest.raises(ImageError, match="more than the 10 entries allowed"):
        layers.unpack_image(store, manifest)
    limits.write_text('{"entries": 19}')
    with pytest.raises(ImageError, match="more than the 19 entries allowed"):
        layers.unpack_image(store, manifest)
    limits.write_text('{"entries": 20}')
    layers.unpack_image(store, manifest)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"entry": 10}', "'entry' is not a limit; there are bytes, ratio, entries, header, file"),
        ('{"entries": 0}', "entries: 0 is not a number above zero"),
        ('{"entries": true}', "entries: True is not a number above zero"),
        ('{"bytes": 1e30}', "bytes: 1e[+]30 is not a number above zero"),
        ('{"bytes": "9"}', "bytes: '9' is not a number above zero"),
        ("{", "JSON"),
    ],
)
def test_limits_that_are_none(store: ImageStore, content: str, words: str) -> None:
    """A mistake in limits.json is told; the default does not take its place."""
    manifest = store.manifest(add_image(store, layer(entry("a"))))
    (Path(store.path) / "limits.json").write_text(content)
    with pytest.raises(SteleError, match=words):
        layers.unpack_image(store, manifest)


IN_A_NAMESPACE = """
import ctypes, os, sys
sys.path.insert(0, sys.argv[1])
from runtime.images.store import layers
from runtime.images.store.store import ImageStore
store = ImageStore(sys.argv[2])
trees = layers.unpack_image(store, store.manifest(store.resolve(sys.argv[3])))
print(*(f"{name}={os.getxattr(f'{trees[1]}/{name}', 'user.overlay.opaque')}" for name in ("opaque",)))
target = f"{sys.argv[2]}/mounted"
os.mkdir(target)
libc = ctypes.CDLL(None, use_errno=True)
options = f"userxattr,lowerdir={trees[1]}:{trees[0]}".encode()
assert libc.mount(b"overlay", target.encode(), b"overlay", 1, options) == 0, os.strerror(ctypes.get_errno())
print(*sorted(os.listdir(target)), *sorted(os.listdir(f"{target}/opaque")))
"""


def test_in_a_user_namespace(memory: Path) -> None:
    """Where trusted.* is out of reach, user.overlay.* does it; device nodes, which may not be made there, are left out."""
    store = ImageStore(str(memory / "store"))
    lower = layer(entry("kept"), entry("gone"), entry("opaque/old"), entry("null", b"3", major=1, minor=3))
    upper = layer(entry(".wh.gone"), entry("opaque/.wh..wh..opq"), entry("opaque/new"))
    image = add_image(store, lower, upper)
    store.close()
    arguments = [str(REPO), store.path, image["digest"]]
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-c", IN_A_NAMESPACE, *arguments],
        capture_output=True,
        text=True,
    )
    assert done.stdout == "opaque=b'y'\nkept opaque new\n", done.stderr


# ---- the same as others ----


def import_layout(store: ImageStore, layout: Path, name: str) -> Manifest:
    (descriptor,) = json.loads((layout / "index.json").read_text())["manifests"]
    for blob in (layout / "blobs/sha256").iterdir():
        assert store.add_bytes(blob.read_bytes()) == f"sha256:{blob.name}"
    descriptor.pop("annotations", None)
    store.tag(name, descriptor)
    return store.manifest(descriptor)


def call(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def by_umoci(store: ImageStore, name: str, place: Path) -> dict[str, dict[str, Any]]:
    call("umoci", "unpack", "--image", f"{store.path}:{name}", place / "umoci")
    return tree(place / "umoci/rootfs")


def by_podman(store: ImageStore, name: str, place: Path) -> dict[str, dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="stele-") as short:  # Podman takes no runroot of more than 50 characters
        podman = ("podman", "--root", place / "podman", "--runroot", short, "--storage-driver", "vfs")
        image = call(*podman, "pull", "-q", f"oci:{store.path}:{name}")
        mounted = call(*podman, "image", "mount", image)
        try:
            return tree(Path(mounted))
        finally:
            call(*podman, "image", "unmount", image)


def differences(ours: dict[str, dict[str, Any]], theirs: dict[str, dict[str, Any]]) -> dict[str, tuple[Any, Any]]:
    """ "path field" to what we and they have."""
    found = {}
    for path in ours.keys() | theirs.keys():
        a, b = ours.get(path, {}), theirs.get(path, {})
        for key in a.keys() | b.keys():
            if a.get(key) != b.get(key):
                found[f"{path} {key}"] = (a.get(key), b.get(key))
    return found


@pytest.mark.parametrize("image", ["redis", "web", "python"])
def test_real_images_are_the_same_as_by_umoci_and_podman(
    store: ImageStore, built: Built, image: str, tmp_path: Path
) -> None:
    """File by file: type, mode, owner, time, attributes, content, hard links.

    The one difference, explained: no entry describes the root itself. Here it has the time of the epoch, so that it is the same
    each time; with them it has the time of unpacking, and Podman gives it a mode of its own.
    """
    manifest = import_layout(store, built(image)[1], image)
    ours = tree(unpack_flat(store, manifest, tmp_path / "rootfs"))
    assert len(ours) > 30
    for theirs in (by_umoci(store, image, tmp_path), by_podman(store, image, tmp_path)):
        assert set(differences(ours, theirs)) <= {"/ mtime", "/ mode"}


def test_a_rich_image_is_the_same_as_by_umoci_and_podman(store: ImageStore, tmp_path: Path) -> None:
    """Attributes, capabilities, devices, hard links, whiteouts and opaque directories over two layers.

    The differences, explained: directories that no entry describes have the time of the epoch here, so that they are the same
    each time; with the others they have the time of unpacking, and with Podman the root has it always.
    """
    upper = layer(
        folder("./", mode=0o755, mtime=2000),
        folder("bin", mode=0o711, mtime=2001),
        entry("bin/.wh.noted"),
        entry("bin/tool", data=b"new", mode=0o700, mtime=2002),
        folder("closed", mode=0o500, mtime=2003),
        entry("closed/.wh..wh..opq"),
        entry("closed/new", mtime=2004),
        entry(".wh.tmp"),
        symlink("attributed", "bin", mtime=2005),
    )
    store.tag("rich", add_image(store, rich("user.own"), (upper, gzip.compress(upper))))  # umoci leaves trusted.* out
    ours = tree(unpack_flat(store, store.manifest(store.resolve("rich")), tmp_path / "rootfs"))
    assert "/tmp" not in ours
    assert "/closed/new" in ours
    assert "/closed/inside" not in ours
    implied = {f"{path} mtime" for path in ("/dev", "/long", "/long/" + "n" * 200)}
    assert set(differences(ours, by_umoci(store, "rich", tmp_path))) == implied
    assert set(differences(ours, by_podman(store, "rich", tmp_path))) == {*implied, "/ mtime"}
