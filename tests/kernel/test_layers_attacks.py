"""Hostile layers: each published way out of an unpacker ends in a clear error, and leaves nothing on disk.

The numbers are those of the published vulnerabilities whose root cause is attacked. What is harmless but looks like an
attack is unpacked, and stays inside: that is asserted too.
"""

from __future__ import annotations

import gzip
import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import SteleError
from runtime.host.unpack import Budget
from runtime.images import model
from runtime.images.model import ImageError
from runtime.images.store import layers
from runtime.images.store.gc import collect
from runtime.images.store.store import ImageStore
from runtime.images.store.verify import verify_store
from tests.harness.layers import (
    add_image,
    base256,
    entry,
    folder,
    hardlink,
    layer,
    pax,
    record,
    sha256,
    symlink,
    tree,
)  # fmt: skip

SMALL = Budget(bytes=8 << 20, entries=500, header=64 << 10, file=1 << 30)


class Victim:
    """A store and an empty directory, and beside them files that no layer may reach."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.outside = place / "outside"
        (self.outside / "etc").mkdir(parents=True)
        (self.outside / "etc/passwd").write_text("root:x:0:0\n")
        (self.outside / "tool").write_text("#!/bin/sh\n")
        (self.outside / "tool").chmod(0o755)
        self.before = tree(self.outside)
        self.store = ImageStore(str(place / "store"))

    def unpack(self, *archives: bytes, flat: bool, budget: Budget = SMALL, **image: Any) -> list[Path]:
        """Unpack an image of these layers; where its files are then."""
        return self.unpack_manifest(add_image(self.store, *archives, **image), flat=flat, budget=budget)

    def unpack_manifest(self, descriptor: dict[str, Any], *, flat: bool = False, budget: Budget = SMALL) -> list[Path]:
        manifest = self.store.manifest(descriptor)
        if not flat:
            return [Path(path) for path in layers.unpack_image(self.store, manifest, budget=budget)]
        target = self.place / "rootfs"
        target.mkdir()
        fd = os.open(target, os.O_RDONLY)
        try:
            layers.unpack_to(self.store, manifest, fd, budget=budget)
        finally:
            os.close(fd)
        return [target]

    def untouched(self) -> bool:
        return tree(self.outside) == self.before

    def traces(self) -> list[str]:
        """What a failed unpacking left."""
        found = [str(path) for path in (self.place / "store/layers").glob("sha256/*")]
        return found + [str(path) for path in (self.place / "rootfs").glob("*")]


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Victim]:
    made = Victim(tmp_path)
    yield made
    assert made.untouched()
    made.store.close()


@pytest.fixture(params=["tree", "flat"])
def flat(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "flat")


def fails(victim: Victim, flat: bool, words: str, *archives: bytes, **more: Any) -> None:
    with pytest.raises(ImageError, match=words):
        victim.unpack(*archives, flat=flat, **more)
    assert victim.traces() == []
    assert victim.untouched()


UP = "../" * 12


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        # D1: CVE-2014-9357, CVE-2018-15664, CVE-2019-10152, CVE-2026-17106, CVE-2007-4559, CVE-2025-4517
        pytest.param(lambda out: [hardlink("a", f"{UP}outside/etc/passwd")], "hard link to what no earlier entry made", id="hardlink-dotdot"),
        pytest.param(lambda out: [hardlink("a", "/outside/etc/passwd")], "hard link to what no earlier entry made", id="hardlink-absolute"),
        pytest.param(lambda out: [symlink("a", f"{out}/etc"), hardlink("b", "a/passwd")], "hard link to what no earlier", id="hardlink-through-link"
        ),
        pytest.param(lambda out: [symlink("a", "a"), entry("a/b")], "ELOOP|symbolic links", id="link-loop"),
        pytest.param(lambda out: [entry("a"), entry("a/b")], "leads through something that is not a directory", id="file-as-folder"),
        pytest.param(lambda out: [folder("a"), hardlink("b", "a")], "hard link to a directory", id="hardlink-to-folder"),
        # D4: CVE-2021-29136
        pytest.param(lambda out: [symlink(".", out)], "the root must be a directory", id="root-is-link"),
        pytest.param(lambda out: [symlink("/", out)], "the root must be a directory", id="root-is-link-slash"),
        pytest.param(lambda out: [hardlink("./.", out)], "the root must be a directory", id="root-is-hardlink"),
        # D5
        pytest.param(lambda out: [folder("a"), entry("a/.wh...")], "whiteout of nothing", id="whiteout-of-parent"),
        pytest.param(lambda out: [folder("a"), entry("a/.wh..")], "whiteout of nothing", id="whiteout-of-itself"),
        pytest.param(lambda out: [entry(".wh.")], "whiteout of nothing", id="whiteout-of-nothing"),
        pytest.param(lambda out: [folder(".wh.a"), entry(".wh.a/b")], "through a whiteout", id="whiteout-folder"),
        # D7: CVE-2021-3493, CVE-2023-0386
        pytest.param(lambda out: [entry("a", b"3")], "the device 0:0", id="covert-whiteout"),
        # D9: CVE-2025-62518, node-tar's of 2026; the reader's own tests have the rest
        pytest.param(lambda out: [pax({"size": "0"}), entry("a", data=entry("b"))], "tell different sizes", id="size-desync"),
        pytest.param(lambda out: [pax({"path": "a\0../b"}), entry("a")], "has a NUL in it", id="nul"),
        pytest.param(lambda out: [pax({"linkpath": f"{UP}etc/passwd"}), hardlink("a", "b")], "hard link to what no earlier entry made", id="pax-linkpath"),
        pytest.param(lambda out: [pax({"uid": "4294967296"}), entry("a")], "uid 4294967296 is out of range", id="uid-wraps"),
        pytest.param(lambda out: [entry("a", size=base256(-1024, 12))], "size is negative", id="negative-size"),
        # D11
        pytest.param(lambda out: [entry(f"f{i}") for i in range(600)], "more than the 500 entries", id="entries"),
        pytest.param(lambda out: [entry("a", data=b"\0" * (9 << 20))], "more than the 8388608 bytes", id="bytes"),
        pytest.param(lambda out: [pax({"comment": "c" * (70 << 10)}), entry("a")], "more than the 65536 allowed", id="pax-header"),
        pytest.param(lambda out: [entry("x", b"L", b"a" * (70 << 10)), entry("a")], "more than the 65536 allowed", id="long-name-bomb"),
        pytest.param(lambda out: [pax({"GNU.sparse.size": str(1 << 40), "GNU.sparse.map": "0,0"}), entry("a")], "does not fit", id="sparse-bomb"
        ),
        pytest.param(lambda out: [pax({"path": "/".join("d" * 2000)}), entry("a")], "more than the 500 entries", id="implied-folders"
        ),
        pytest.param(lambda out: [entry("x", b"x", b"".join(record(f"SCHILY.xattr.user.{i}", b"1") for i in range(600))), entry("a")],
            "more than 512 attributes", id="xattrs",
        ),
        pytest.param(lambda out: [entry("a", b"M")], "unknown type", id="multi-volume"),
    ],
)  # fmt: skip
def test_refused(victim: Victim, flat: bool, entries: Callable[[str], list[bytes]], words: str) -> None:
    """Each hostile entry, with a good one before and one behind it: the sentence names it; nothing is left of any."""
    hostile = entries(str(victim.outside))
    fails(victim, flat, words, layer(entry("good", data=b"x"), *hostile, entry("after")))


def test_the_sentence_names_layer_and_entry(victim: Victim) -> None:
    """One sentence: the layer, the entry, escaped, and what is wrong with it."""
    archive = layer(entry("x/\033[31m"), hardlink("x/\033[31m../../y", "z"))
    fails(
        victim,
        False,
        rf"^layer {sha256(archive)}: entry 'x/\\x1b\[31m\.\./\.\./y': it is a hard link to what no earlier entry made$",
        archive,
    )


@pytest.mark.parametrize(
    ("entries", "path"),
    [
        # D1, D9: CVE-2007-4559 and its kin. All readers of layers count ".." from the root at most.
        pytest.param([entry("../../outside/tool", data=b"evil")], "outside/tool", id="dotdot"),
        pytest.param([folder("a"), entry("a/../../x", data=b"evil")], "x", id="dotdot-inside"),
        pytest.param([entry("/../tool", data=b"evil")], "tool", id="dotdot-absolute"),
        pytest.param([pax({"path": "../../outside/tool"}), entry("a", data=b"evil")], "outside/tool", id="pax-path"),
        pytest.param(
            [entry("x", b"L", b"../../outside/tool\0"), entry("a", data=b"evil")], "outside/tool", id="long-name"
        ),
        pytest.param([symlink("a", UP + "nowhere"), entry("a/b", data=b"evil")], "nowhere/b", id="dangling"),
        pytest.param([symlink("a/b", "../../q/r"), entry("a/b/c", data=b"evil")], "q/r/c", id="dangling-up"),
    ],
)
def test_names_that_lead_up_stay_inside(victim: Victim, flat: bool, entries: list[bytes], path: str) -> None:
    """ ".." above the root is the root; what a link of the layer leads to is made inside."""
    (root,) = victim.unpack(layer(*entries), flat=flat)
    assert (root / path).read_bytes() == b"evil"


def test_a_folder_becomes_a_link(victim: Victim, flat: bool) -> None:
    """D1: the later of two entries counts; what comes below it then is made inside."""
    out = str(victim.outside)
    (root,) = victim.unpack(
        layer(folder("a"), entry("a/b/c"), symlink("a", out), entry("a/d", data=b"evil")), flat=flat
    )
    assert (root / "a").readlink() == victim.outside
    assert (root / out.removeprefix("/") / "d").read_bytes() == b"evil"


def test_removing_what_an_entry_replaces_follows_no_link(victim: Victim, flat: bool) -> None:
    """D1: a directory with links out, and deeper than a path may be, gives way to a file."""
    deep = "/".join(["d" * 200] * 19)
    parts = [folder("a"), symlink("a/out", str(victim.outside)), pax({"path": f"a/{deep}"}), folder("x")]
    parts += [symlink("l", f"a/{deep}"), pax({"path": f"l/{deep[:3000]}"}), folder("x")]
    (root,) = victim.unpack(layer(*parts, entry("a", data=b"now a file")), flat=flat)
    assert (root / "a").read_bytes() == b"now a file"
    assert sorted(os.listdir(root)) == ["a", "l"]


@pytest.mark.parametrize(
    "name",
    [
        f"{prefix}.overlay.{key}"
        for prefix, keys in (("trusted", "redirect metacopy origin opaque overlay.opaque"), ("user", "redirect opaque"))
        for key in keys.split()
    ],
)
def test_overlay_attributes_are_left_out(victim: Victim, flat: bool, name: str) -> None:
    """D7, CVE-2021-3493, CVE-2023-0386: a layer does not steer overlayfs; the rest of it is unpacked."""
    attributes = {f"SCHILY.xattr.{name}": "/etc", "SCHILY.xattr.user.kept": "1"}
    (root,) = victim.unpack(layer(pax(attributes), folder("a"), pax(attributes), entry("a/b", data=b"x")), flat=flat)
    assert [os.listxattr(path) for path in (root / "a", root / "a/b")] == [["user.kept"]] * 2


@pytest.mark.parametrize("make", [symlink, hardlink, lambda name, _: folder(name), lambda name, _: entry(name, b"3")])
def test_a_whiteout_of_any_type(victim: Victim, make: Callable[[str, str], bytes]) -> None:
    """D5: the name makes it a whiteout; nothing is made of what else the entry says."""
    lower = layer(folder("d"), entry("d/x"), entry("a"), entry("b"))
    upper = layer(make(".wh.a", "b"), make("d/.wh..wh..opq", "b"), entry("d/y"))
    (root,) = victim.unpack(lower, upper, flat=True)
    assert sorted(str(path.relative_to(root)) for path in root.rglob("*")) == ["b", "d", "d/y"]


LINKS: list[tuple[str, Callable[[str], list[bytes]]]] = [
    ("link", lambda out: [symlink("a", out)]),
    ("link-up", lambda out: [symlink("a", UP + out)]),
    ("two-links", lambda out: [symlink("b", out), symlink("a", "b")]),
    ("link-in-folder", lambda out: [folder("f"), symlink("f/b", UP + out), symlink("a", "f/b")]),
    ("proc", lambda out: [symlink("a", "/proc/self/cwd" + out)]),
]  # fmt: skip


@pytest.mark.parametrize("links", [pytest.param(make, id=name) for name, make in LINKS])
def test_entries_behind_links_stay_inside(victim: Victim, flat: bool, links: Callable[[str], list[bytes]]) -> None:
    """D1: an entry whose path leads through a link that points out is either made inside the root, or refused."""
    archive = layer(*links(str(victim.outside)), entry("a/etc/passwd", data=b"evil"), entry("a/tool", mode=0o4777))
    try:
        victim.unpack(archive, flat=flat)
    except ImageError:
        assert victim.traces() == []


@pytest.mark.parametrize("links", [pytest.param(make, id=name) for name, make in LINKS])
def test_links_of_a_lower_layer_lead_nowhere(victim: Victim, links: Callable[[str], list[bytes]]) -> None:
    """D1, across layers: a layer's entry below the name of a lower layer's link is this layer's own directory."""
    (root,) = victim.unpack(
        layer(*links(str(victim.outside))), layer(entry("a/tool", data=b"evil"), entry("a/.wh.etc")), flat=True
    )
    assert (root / "a/tool").read_bytes() == b"evil"
    assert stat.S_ISDIR((root / "a").lstat().st_mode)


def test_modes_and_owners_do_not_follow_links(victim: Victim, flat: bool) -> None:
    """D2, CVE-2021-32760: neither through a symbolic link, nor through a hard link to one."""
    target = str(victim.outside / "tool")
    (root,) = victim.unpack(
        layer(
            symlink("a", target, mode=0o4777, uid=5, gid=5, mtime=99),
            hardlink("b", "a", mode=0o4777, uid=6, gid=6, mtime=99),
            entry("a", data=b"now a file", mode=0o600),
        ),
        flat=flat,
    )
    assert (root / "a").read_bytes() == b"now a file"
    assert (root / "b").readlink() == Path(target)
    assert (root / "b").lstat().st_uid == 5


def test_parallel_layers_do_not_meet(victim: Victim) -> None:
    """D3, CVE-2025-47290: a link of one layer is not there for the entries of another that is unpacked meanwhile."""
    many = [
        layer(
            *(
                [symlink("d", str(victim.outside))]
                if number % 2
                else [folder("d"), *(entry(f"d/{i}") for i in range(50))]
            )
        )
        for number in range(12)
    ]
    many = [plain + b"\0" * 512 * number for number, plain in enumerate(many)]  # layers of their own
    trees = victim.unpack(*many, flat=False)
    assert len({str(path) for path in trees}) == 12
    for number, path in enumerate(trees):
        assert (path / "d").is_symlink() == bool(number % 2)


def processor_time() -> float:
    """Of this process and of the children that unpack for it."""
    return sum(os.times()[:4])


def test_opaque_whiteouts_are_not_quadratic(victim: Victim) -> None:
    """D6, CVE-2026-95838: 2000 opaque whiteouts over 2000 files cost about as much as those files."""
    budget = Budget(entries=20_000)
    files = [entry(f"d/f{i}") for i in range(2000)]
    start = processor_time()
    victim.unpack(layer(folder("d"), *files), flat=False, budget=budget)
    plain = processor_time() - start
    opaque = [entry("d/.wh..wh..opq")] * 2000
    start = processor_time()
    victim.unpack(layer(folder("d"), *files), layer(folder("d"), *opaque, *files), flat=True, budget=budget)
    assert processor_time() - start < 3 * plain + 2
    assert len(os.listdir(victim.place / "rootfs/d")) == 2000


def test_devices_and_fifos(victim: Victim, flat: bool) -> None:
    """D8: nodes are made, never opened: a fifo does not hang, a device is only as good as the mount lets it be."""
    (root,) = victim.unpack(
        layer(
            entry("sda", b"4", major=8, minor=0, mode=0o600), entry("pipe", b"6"), entry("null", b"3", major=1, minor=3)
        ),
        flat=flat,
    )
    told = (root / "sda").lstat()
    assert stat.S_ISBLK(told.st_mode)
    assert told.st_rdev == os.makedev(8, 0)
    assert stat.S_ISFIFO((root / "pipe").lstat().st_mode)


def test_a_fifo_is_replaced_without_being_opened(victim: Victim) -> None:
    """D8: an entry of the same name as a fifo or device takes its place."""
    (root,) = victim.unpack(
        layer(entry("p", b"6"), entry("p", data=b"1"), entry("d", b"4", major=8), entry("d", data=b"2")), flat=True
    )
    assert [(root / "p").read_bytes(), (root / "d").read_bytes()] == [b"1", b"2"]


def test_the_store_is_closed_to_others(victim: Victim) -> None:
    """CVE-2021-41103: a set-user-ID file of an image cannot be reached by a user of the host."""
    (root,) = victim.unpack(layer(entry("su", data=b"x", mode=0o4755)), flat=False)
    assert (root / "su").stat().st_mode & 0o4000
    reading, writing = os.pipe()
    place = os.open(victim.place, os.O_PATH | os.O_DIRECTORY)  # what is above is closed, too, and must not help
    victim.place.chmod(0o711)
    pid = os.fork()
    if pid == 0:
        os.fchdir(place)
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        os.write(writing, str(int(os.access((root / "su").relative_to(victim.place), os.R_OK))).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(place)
    assert os.read(reading, 1) == b"0"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(gzip.compress(b"\0" * (100 << 20)), "tighter than 500 to 1|more than the", id="zeros"),
        pytest.param(gzip.compress(layer(entry("a", data=b"\0" * (100 << 20)))), "tighter than 500 to 1", id="file"),
    ],
)
def test_compression_bombs(victim: Victim, flat: bool, data: bytes, words: str) -> None:
    """D11: little that becomes much is stopped on the way."""
    plain = gzip.decompress(data)
    fails(victim, flat, words, (plain, data), budget=Budget())  # type: ignore[arg-type]


def test_layers_that_are_no_tar(victim: Victim, flat: bool) -> None:
    """D11, CVE-2021-20291: what is not an archive ends at once, though other layers are on their way."""
    good = layer(*(entry(f"f{i}", data=b"x" * 1000) for i in range(300)))
    bad = b"no tar at all, " * 100
    with pytest.raises(ImageError, match="checksum"):
        victim.unpack(good, bad, flat=flat)
    # The good layer may have been whole before: then it stays, as any image may use it.
    assert [path for path in victim.traces() if not path.endswith(sha256(good).removeprefix("sha256:"))] == []


def test_deeper_than_a_path(victim: Victim, flat: bool) -> None:
    """D11: links let entries nest deeper than PATH_MAX; the failure behind them still removes everything."""
    deep = "/".join(["d" * 200] * 19)
    parts = [pax({"path": deep}), folder("x"), symlink("l1", deep)]
    for number in range(1, 5):
        parts += [pax({"path": f"l{number}/{deep[:3000]}"}), folder("x")]
        parts += [symlink(f"l{number + 1}", f"l{number}/{deep[:3000]}")]
    fails(victim, flat, "the root must be", layer(*parts, symlink(".", "x")))
    if not flat:
        victim.unpack(layer(*parts), flat=False)
        assert len(collect(victim.store, -1).layers) == 1
        assert victim.traces() == []


# D10: paths that are one thing for who computes them, and another for the kernel

LETTERS = "abcdefghijklmnop"
DEEP = "/".join(["d" * 247] * len(LETTERS))


def overflowing(out: str) -> list[bytes]:
    """CVE-2025-4517: short links to folders nested almost to PATH_MAX, and a link behind them whose own path is longer, up
    which an escape goes that realpath(3) gives up on."""
    parts = []
    for number, letter in enumerate(LETTERS):
        path = DEEP[: 248 * number]
        parts += [pax({"path": f"{path}{'d' * 247}"}), folder("x")]
        parts += [pax({"path": f"{path}{letter}"}), symlink("x", "d" * 247)]
    long = f"{'/'.join(LETTERS)}/{'l' * 254}"
    return [*parts, pax({"path": long}), symlink("x", UP * 2), symlink("escape", f"{long}/{UP}{out}")]


PATHS: dict[str, Callable[[str], list[bytes]]] = {
    "overflow-entry": lambda out: [*overflowing(out), entry("escape/tool", data=b"evil")],
    "overflow-hard": lambda out: [*overflowing(out), hardlink("a", "escape/tool"), entry("a", data=b"evil", mode=0o4777)],
    "overflow-deep": lambda out: [
        pax({"path": f"{DEEP}/out"}), symlink("x", out), pax({"path": f"{DEEP}/out/tool"}), entry("x", data=b"evil"),
    ],
    "overflow-deep-hard": lambda out: [
        pax({"path": f"{DEEP}/out"}), symlink("x", out), pax({"linkpath": f"{DEEP}/out/tool"}), hardlink("a", "x"),
        entry("a", data=b"evil", mode=0o4777),
    ],
}  # fmt: skip


@pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in PATHS.items()])
def test_long_ways_out_stay_inside(victim: Victim, flat: bool, make: Callable[[str], list[bytes]]) -> None:
    """D10: what is made is made inside the root, or refused."""
    try:
        victim.unpack(layer(*make(str(victim.outside))), flat=flat)
    except ImageError:
        assert victim.traces() == []


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        pytest.param([pax({"path": "/".join(["d" * 99] * 41)}), entry("x")], "4095", id="path"),
        pytest.param([pax({"linkpath": "/".join(["d" * 99] * 41)}), symlink("x", "y")], "4095", id="target"),
        pytest.param([pax({"path": "d" * 256}), entry("x")], "ENAMETOOLONG", id="name"),
    ],
)
def test_paths_are_never_cut(victim: Victim, flat: bool, entries: list[bytes], words: str) -> None:
    """D10: a path that is too long is an error, not another path."""
    with pytest.raises(SteleError, match=words):
        victim.unpack(layer(entry("good"), *entries), flat=flat)
    assert victim.traces() == []


# D14: file systems that strangers made are never the kernel's to read


@pytest.mark.parametrize(
    "kind",
    [
        "application/vnd.erofs.layer.v1",
        "application/vnd.oci.image.layer.v1.erofs",
        "application/vnd.oci.image.layer.v1.ext4+zstd",
        "application/vnd.sylabs.sif.layer.v1.sif",
        "application/vnd.containers.squashfs",
    ],
)
def test_file_systems_are_no_layers(victim: Victim, kind: str) -> None:
    """By what they are called."""
    image = add_image(victim.store, layer(entry("a")))
    document = victim.store.read_json(image["digest"])
    document["layers"][0]["mediaType"] = kind
    data = json.dumps(document).encode()
    with pytest.raises(ImageError, match="cannot be unpacked here; it must be a tar"):
        victim.unpack_manifest({**image, "digest": victim.store.add_bytes(data), "size": len(data)})
    assert victim.traces() == []


@pytest.mark.parametrize(("place", "magic"), [(1024, "e2e1f5e0"), (1080, "53ef"), (0, "68737173")])
def test_bytes_of_file_systems_are_no_layer(victim: Victim, flat: bool, place: int, magic: str) -> None:
    """By what they are, whatever they are called: erofs, ext4, squashfs."""
    bytes_ = b"\0" * place + bytes.fromhex(magic)
    fails(victim, flat, "checksum|something behind its end", bytes_ + b"\1" * (8192 - len(bytes_)))


# D12: documents and digests


def manifest_of(**changes: Any) -> dict[str, Any]:
    digest = "sha256:" + "a" * 64
    return {
        "schemaVersion": 2,
        "mediaType": model.OCI_MANIFEST,
        "config": {"mediaType": model.OCI_CONFIG, "digest": digest, "size": 2},
        "layers": [{"mediaType": model.OCI_LAYER, "digest": digest, "size": 1}],
        **changes,
    }


def one_layer(**changes: Any) -> dict[str, Any]:
    return manifest_of(layers=[{**manifest_of()["layers"][0], **changes}])


@pytest.mark.parametrize(
    ("document", "media_type", "words"),
    [
        pytest.param(manifest_of(manifests=[]), model.OCI_MANIFEST, '"manifests", which belongs', id="CVE-2021-41190"),
        pytest.param(manifest_of(), model.OCI_INDEX, "calls itself", id="other-type"),
        pytest.param(manifest_of(mediaType="text/html"), "", "neither an image manifest nor", id="html"),
        pytest.param(manifest_of(schemaVersion=1), model.OCI_MANIFEST, "must be 2", id="schema1"),
        pytest.param(manifest_of(schemaVersion=True), model.OCI_MANIFEST, "must be 2", id="schema-true"),
        pytest.param(one_layer(digest="sha256:../../../etc/passwd"), "", "is not a digest", id="CVE-2024-3727"),
        pytest.param(one_layer(digest="sha256:" + "A" * 64), "", "is not a digest", id="upper-case"),
        pytest.param(one_layer(digest="sha512:" + "a" * 128), "", "is not a digest", id="sha512"),
        pytest.param(one_layer(digest=["x"]), "", "is not a digest", id="list"),
        pytest.param(one_layer(size=-1), "", "is not a number of bytes", id="negative"),
        pytest.param(one_layer(size=True), "", "is not a number of bytes", id="true"),
        pytest.param(one_layer(size=1e30), "", "is not a number of bytes", id="float"),
        pytest.param(one_layer(mediaType="application/x-sh"), "", "cannot be unpacked here", id="script"),
        pytest.param(manifest_of(layers=[manifest_of()["layers"][0]] * 501), "", "at most 500", id="layers"),
        pytest.param(manifest_of(layers="x"), "", "is not a list", id="text-for-list"),
        pytest.param(manifest_of(config=None), "", "is not an object", id="no-config"),
        pytest.param(
            manifest_of(config={**manifest_of()["config"], "mediaType": "application/vnd.oci.empty.v1+json"}), "", "another artifact",
            id="artifact",
        ),
    ],
)  # fmt: skip
def test_documents(document: dict[str, Any], media_type: str, words: str) -> None:
    """D12: one document has one meaning, and a digest is nothing else."""
    with pytest.raises(ImageError, match=words):
        model.parse_manifest(document, media_type, "manifest")


def test_a_layer_of_another_diff_id(victim: Victim, flat: bool) -> None:
    """D12: what unpacks to something else than the config says is not kept."""
    fails(victim, flat, "it unpacks to sha256:.*, but the image's config has", (layer(entry("a")), layer(entry("b"))))  # type: ignore[arg-type]


def test_diff_ids_and_layers_must_be_as_many(victim: Victim, flat: bool) -> None:
    """D12: a config for other layers is refused."""
    image = add_image(victim.store, layer(entry("a")))
    document = victim.store.read_json(image["digest"])
    document["layers"] *= 2
    data = json.dumps(document).encode()
    manifest = victim.store.manifest({**image, "digest": victim.store.add_bytes(data), "size": len(data)})
    with pytest.raises(ImageError, match="1 diff_ids, its manifest 2 layers"):
        layers.unpack_image(victim.store, manifest)


def test_a_blob_that_changed_on_disk(victim: Victim, flat: bool) -> None:
    """D12: bytes that rot in the store are seen when the layer is unpacked, and by verify."""
    plain = layer(entry("a", data=b"x" * 5000))
    packed = gzip.compress(plain)
    manifest = victim.store.manifest(add_image(victim.store, (plain, packed)))
    blob = victim.place / "store/blobs/sha256" / manifest.layers[0].digest.removeprefix("sha256:")
    blob.chmod(0o600)
    blob.write_bytes(gzip.compress(layer(entry("a", data=b"y" * 5000))))
    with pytest.raises(ImageError, match="it unpacks to"):
        layers.unpack_image(victim.store, manifest)
    assert [fault.digest for fault in verify_store(victim.store)] == [manifest.layers[0].digest]


def test_trailing_archive(victim: Victim, flat: bool) -> None:
    """D12: what is behind the end is not a part of the tree for any reader, but of the digest."""
    whole = layer(entry("a")) + layer(entry("b")) + b"tail"
    (root,) = victim.unpack(whole, flat=flat)
    assert os.listdir(root) == ["a"]
    with pytest.raises(ImageError, match="it unpacks to"):
        victim.unpack((layer(entry("a"), entry("c")), whole), flat=False)  # type: ignore[arg-type]
