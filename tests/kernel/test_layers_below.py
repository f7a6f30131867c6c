"""What a layer says without an entry of its own, and what it hides, over the layers below: flat, and by overlayfs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.images.run.hold import hold, release
from runtime.images.store import layers
from runtime.images.store.contents import stack_id
from runtime.images.store.gc import collect
from runtime.images.store.store import ImageStore
from tests.harness.layers import add_image, entry, folder, layer, pax, symlink, tree
from tests.kernel.test_layers import by_umoci, mount_overlay, umount, unpack_flat


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ImageStore]:
    made = ImageStore(str(tmp_path / "store"))
    yield made
    made.close()


Seen = dict[str, dict[str, Any]]
Unpack = Callable[[ImageStore, dict[str, Any], Path], Seen]


def flat(store: ImageStore, image: dict[str, Any], place: Path) -> Seen:
    return tree(unpack_flat(store, store.manifest(image), place / "flat"))


def mounted(store: ImageStore, image: dict[str, Any], place: Path) -> Seen:
    (place / "nothing").mkdir()  # overlayfs wants two
    mount_overlay([str(place / "nothing"), *layers.unpack_image(store, store.manifest(image))], place / "mounted")
    try:
        return tree(place / "mounted")
    finally:
        umount(place / "mounted")


unpacked = pytest.mark.parametrize("unpack", [flat, mounted])

SECOND = 10**9
TMP = folder("tmp", mode=0o1777, uid=3, gid=4, mtime=9)


def told(seen: Seen, path: str) -> tuple[object, ...]:
    one = seen[path]
    return one["mode"], one["owner"], one["mtime"] // SECOND, one["xattrs"]


@unpacked
@pytest.mark.parametrize(
    ("archives", "path", "wanted"),
    [
        pytest.param([layer(TMP), layer(entry("tmp/x"))], "/tmp", ("0o1777", (3, 4), 9, {}), id="file"),
        pytest.param([layer(TMP), layer(folder("tmp/x"))], "/tmp", ("0o1777", (3, 4), 9, {}), id="folder"),
        pytest.param([layer(TMP), layer(symlink("tmp/x", "y"))], "/tmp", ("0o1777", (3, 4), 9, {}), id="link"),
        pytest.param([layer(TMP), layer(entry("tmp/x", b"6"))], "/tmp", ("0o1777", (3, 4), 9, {}), id="fifo"),
        pytest.param([layer(TMP, entry("tmp/x")), layer(entry("tmp/.wh.x"))], "/tmp", ("0o1777", (3, 4), 9, {}), id="whiteout"),
        pytest.param([layer(TMP, entry("tmp/x")), layer(entry("tmp/.wh..wh..opq"))], "/tmp", ("0o1777", (3, 4), 9, {}), id="opaque"),
        pytest.param(
            [layer(TMP), layer(entry("tmp/x")), layer(entry("tmp/y"))], "/tmp", ("0o1777", (3, 4), 9, {}), id="two-layers"
        ),
        pytest.param(
            [layer(TMP), layer(entry("a")), layer(entry("tmp/x")), layer(entry("b"))], "/tmp", ("0o1777", (3, 4), 9, {}), id="between"
        ),
        pytest.param([layer(folder("a", mode=0o750), folder("a/b", mode=0o2711, uid=7)), layer(entry("a/b/c/d"))],
                     "/a/b", ("0o2711", (7, 0), 0, {}), id="deep"),
        pytest.param([layer(folder("a", mode=0o750), folder("a/b", mode=0o2711, uid=7)), layer(entry("a/b/c/d"))],
                     "/a", ("0o750", (0, 0), 0, {}), id="deep-above"),
        pytest.param([layer(pax({"SCHILY.xattr.user.k": "v"}), folder("a", mode=0o750)), layer(entry("a/x"))],
                     "/a", ("0o750", (0, 0), 0, {"user.k": b"v"}), id="attribute"),
        pytest.param([layer(folder("./", mode=0o711, uid=1, mtime=3)), layer(entry("x"))], "/", ("0o711", (1, 0), 3, {}), id="root"),
        pytest.param([layer(TMP), layer(entry("tmp/x"), folder("tmp", mode=0o700, mtime=5))], "/tmp", ("0o700", (0, 0), 5, {}), id="described-later"),
        pytest.param([layer(TMP), layer(entry("tmp/x")), layer(folder("tmp", mode=0o700, mtime=5))],
                     "/tmp", ("0o700", (0, 0), 5, {}), id="described-above"),
        pytest.param([layer(TMP), layer(folder("tmp", mode=0o755))], "/tmp", ("0o755", (0, 0), 0, {}), id="described-as-if-implied"),
        pytest.param([layer(TMP), layer(entry(".wh.tmp"), entry("tmp/x"))], "/tmp", ("0o755", (0, 0), 0, {}), id="hidden-first"),
        pytest.param([layer(TMP), layer(entry("tmp/x"), entry(".wh.tmp"))], "/tmp", ("0o755", (0, 0), 0, {}), id="hidden-then"),
        pytest.param([layer(TMP), layer(entry(".wh.tmp")), layer(entry("tmp/x"))], "/tmp", ("0o755", (0, 0), 0, {}), id="hidden-between"),
        pytest.param([layer(TMP), layer(entry("tmp")), layer(entry("tmp/x"))], "/tmp", ("0o755", (0, 0), 0, {}), id="a-file-between"),
        pytest.param([layer(folder("a"), folder("a/b", mode=0o700)), layer(entry("a/.wh..wh..opq"), entry("a/b/c"))],
                     "/a/b", ("0o755", (0, 0), 0, {}), id="in-an-opaque-one"),
        pytest.param([layer(folder("a"), folder("a/b", mode=0o700)), layer(entry(".wh.a"), entry("a/b/c"))],
                     "/a/b", ("0o755", (0, 0), 0, {}), id="in-a-hidden-one"),
        pytest.param([layer(entry("q")), layer(entry("tmp/x"))], "/tmp", ("0o755", (0, 0), 0, {}), id="nowhere-else"),
        pytest.param([layer(folder("./"), TMP), layer(entry(".wh..wh..opq"), entry("tmp/x"))], "/tmp", ("0o755", (0, 0), 0, {}), id="in-an-opaque-root"),
        pytest.param([layer(folder("./", mode=0o711, mtime=4), TMP), layer(entry(".wh..wh..opq"), entry("x"))],
                     "/", ("0o711", (0, 0), 4, {}), id="opaque-root-itself"),
    ],
)  # fmt: skip
def test_a_directory_that_only_a_path_implies(
    store: ImageStore, tmp_path: Path, unpack: Unpack, archives: list[bytes], path: str, wanted: tuple[object, ...]
) -> None:
    """It is the lower layers' one, with mode, owner, time and attributes; root's, 0755, where none has it."""
    assert told(unpack(store, add_image(store, *archives), tmp_path), path) == wanted


@unpacked
@pytest.mark.parametrize(
    ("upper", "left"),
    [
        pytest.param([entry(".wh..wh..opq"), entry("n")], ["/", "/n"], id="root"),
        pytest.param([entry("n"), entry(".wh..wh..opq")], ["/", "/n"], id="root-after"),
        pytest.param([folder("./"), folder("d"), entry("d/.wh..wh..opq")], ["/", "/a", "/d"], id="folder"),
        pytest.param([entry("d/n"), entry("d/.wh..wh..opq")], ["/", "/a", "/d", "/d/n"], id="folder-after"),
        pytest.param([entry("d/e/.wh..wh..opq")], ["/", "/a", "/d", "/d/b", "/d/e"], id="deeper"),
        pytest.param([entry(".wh.d"), entry("d", data=b"f")], ["/", "/a", "/d"], id="hidden-then-file"),
        pytest.param([entry("d/.wh.b"), entry("d/e/.wh.c"), symlink("d", "a")], ["/", "/a", "/d"], id="hidden-below-then-link"),
        pytest.param([entry("d/.wh.b"), entry("d", data=b"f")], ["/", "/a", "/d"], id="hidden-below-then-file"),
        pytest.param([entry("d/n"), entry("d", data=b"f")], ["/", "/a", "/d"], id="folder-then-file"),
        pytest.param([entry("d", data=b"f"), folder("d"), entry("d/n")], ["/", "/a", "/d", "/d/n"], id="file-then-folder"),
        pytest.param([entry("d", data=b"f"), entry(".wh.d")], ["/", "/a", "/d"], id="file-then-hidden"),
        pytest.param([entry("d/n"), entry(".wh.d")], ["/", "/a", "/d", "/d/n"], id="folder-then-hidden"),
        pytest.param([symlink("z", "d"), entry("z/.wh.b")], ["/", "/a", "/d", "/d/e", "/d/e/c", "/z"], id="through-a-link"),
        pytest.param([symlink("z", "/d"), entry("z/e/n")], ["/", "/a", "/d", "/d/b", "/d/e", "/d/e/c", "/d/e/n", "/z"], id="entry-through-a-link"),
    ],
)  # fmt: skip
def test_what_a_layer_hides(
    store: ImageStore, tmp_path: Path, unpack: Unpack, upper: list[bytes], left: list[str]
) -> None:
    """At every depth and in every order; the same that umoci leaves."""
    lower = layer(folder("./"), entry("a"), folder("d"), entry("d/b"), folder("d/e"), entry("d/e/c"))
    image = add_image(store, lower, layer(*upper))
    store.tag("image", image)
    assert sorted(unpack(store, image, tmp_path)) == sorted(by_umoci(store, "image", tmp_path)) == left


@unpacked
def test_no_layers(store: ImageStore, tmp_path: Path, unpack: Unpack) -> None:
    """An image of nothing is an empty root."""
    seen = unpack(store, add_image(store), tmp_path)
    assert list(seen) == ["/"]
    assert seen["/"]["mode"] == "0o755"


def test_attributes_that_cannot_be_here(store: ImageStore, tmp_path: Path) -> None:
    """Attributes of other systems, and of links, are left out; one warning covers a whole layer."""
    foreign = pax(
        {"SCHILY.xattr.com.apple.quarantine": "1", "SCHILY.xattr.btrfs.compression": "zstd", "SCHILY.xattr.user.k": "v"}
    )
    archive = layer(foreign, entry("a"), foreign, folder("d"), pax({"SCHILY.xattr.user.k": "v"}), symlink("l", "a"))
    said: list[str] = []
    manifest = store.manifest(add_image(store, archive))
    (path,) = layers.unpack_image(store, manifest, warn=said.append)
    found = {name: one["xattrs"] for name, one in tree(Path(path)).items()}
    assert found == {"/": {}, "/a": {"user.k": b"v"}, "/d": {"user.k": b"v"}, "/l": {}}
    assert said == [
        f"layer {manifest.layers[0].digest}: entry 'a': the extended attribute com.apple.quarantine and 4 more left out; "
        "this system has no such attribute, or keeps it for itself"
    ]
    layers.unpack_image(store, manifest, warn=said.append)
    assert len(said) == 1


def test_a_stack_is_made_once_and_goes_with_its_image(store: ImageStore) -> None:
    """It is found again without looking at the layers; gc removes it when nothing needs it, and not before."""
    image = add_image(store, layer(TMP), layer(entry("tmp/x")))
    store.tag("image", image)
    manifest = store.manifest(image)
    config = store.config(manifest)
    trees = layers.unpack_image(store, manifest)
    assert len(trees) == 3
    assert store.stack(config) == trees
    inode = os.stat(trees[2]).st_ino
    assert layers.unpack_image(store, manifest) == trees
    assert os.stat(trees[2]).st_ino == inode
    collect(store, -1)
    assert os.path.isdir(trees[2])
    hold(store.path, "c", "/nowhere", (image["digest"], *config.diff_ids, stack_id(config.diff_ids)))
    store.untag("image")
    collect(store, 3600)
    assert os.path.isdir(trees[2])
    release(store.path, "c")
    collect(store, -1)
    assert os.listdir(f"{store.path}/stacks") == []
