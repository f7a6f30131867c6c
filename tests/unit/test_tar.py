"""The reader of archives: it sees what Python's tarfile wrote, and refuses what two readers could read in two ways."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import os
import tarfile
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.host.shim import ffi, lib
from runtime.host.unpack import Budget, LayerError, told
from runtime.images.archive import tar as image_tar
from runtime.images.model import ImageError
from tests.harness.layers import END, base256, entry, folder, hardlink, header, layer, padded, pax, record, symlink

BUDGET = Budget(bytes=64 << 20, file=1 << 40)


def listed(archive: bytes, budget: Budget = BUDGET) -> list[dict[str, Any]]:
    """The entries of an archive as the C reader sees them, with the bytes that are stored of each."""
    fd = os.memfd_create("layer", os.MFD_CLOEXEC)
    try:
        os.write(fd, archive)
        tar = lib.stele_tar_open(fd, ffi.new("struct stele_tar_limits *", budget.limits()))
        if tar == ffi.NULL:
            raise LayerError(told(errno.EPROTONOSUPPORT, "", budget))
        try:
            return list(_entries(tar, budget))
        finally:
            lib.stele_tar_close(tar)
    finally:
        os.close(fd)


def _entries(tar: Any, budget: Budget) -> Iterator[dict[str, Any]]:
    entry, at = ffi.new("struct stele_entry **"), ffi.new("uint8_t **")
    while (result := lib.stele_tar_next(tar, entry)) == 1:
        one = _described(entry[0])
        while (result := lib.stele_tar_data(tar, at)) > 0:
            one["data"] += bytes(ffi.buffer(at[0], result))
        if result < 0:
            break
        yield one
    if result < 0:
        raise LayerError(told(-result, ffi.string(lib.stele_tar_problem(tar)).decode(), budget))


def _described(one: Any) -> dict[str, Any]:
    return {
        "type": chr(one.type),
        "path": bytes(ffi.string(one.path)),
        "link": bytes(ffi.string(one.link)),
        "mode": one.mode,
        "uid": one.uid,
        "gid": one.gid,
        "mtime": (one.mtime, one.mtime_ns),
        "device": (one.major, one.minor),
        "size": one.size,
        "sparse": [(one.regions[i].offset, one.regions[i].size) for i in range(one.n_regions)],
        "xattrs": {
            bytes(ffi.string(one.xattrs[i].name)): bytes(ffi.buffer(one.xattrs[i].value, one.xattrs[i].size))
            for i in range(one.n_xattrs)
        },
        "data": b"",
    }


part = st.text(
    st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="/"), min_size=1, max_size=60
).filter(lambda text: text not in (".", ".."))
path = st.lists(part, min_size=1, max_size=6).map("/".join)
kinds = st.sampled_from(
    [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
)


@st.composite
def members(draw: st.DrawFn) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(draw(path))
    info.type = draw(kinds)
    info.mode = draw(st.integers(0, 0o7777))
    info.uid, info.gid = draw(st.integers(0, 2**32 - 2)), draw(st.integers(0, 2**32 - 2))
    info.mtime = draw(st.integers(0, 2**40))
    if info.type in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        info.linkname = draw(path)
    if info.type == tarfile.CHRTYPE:
        info.devmajor, info.devminor = draw(st.integers(0, 0xFFF)), draw(st.integers(0, 0xFFFFF))
    data = draw(st.binary(max_size=2000)) if info.type == tarfile.REGTYPE else b""
    info.size = len(data)
    return info, data


@settings(max_examples=150)
@given(
    st.lists(members(), max_size=8),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
    st.dictionaries(st.sampled_from(["user.a", "user.b.c", "security.capability"]), st.text(max_size=30), max_size=3),
    st.booleans(),
)
def test_what_tarfile_wrote_is_read(
    wanted: list[tuple[tarfile.TarInfo, bytes]], form: int, xattrs: dict[str, str], packed: bool
) -> None:
    """Names, numbers, links, data and attributes are those of the writer, whichever format it chose."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for info, data in wanted:
            if form == tarfile.PAX_FORMAT:
                info.pax_headers = {f"SCHILY.xattr.{key}": text for key, text in xattrs.items()}
            tar.addfile(info, io.BytesIO(data))
    archive = out.getvalue()
    found = listed(gzip.compress(archive) if packed else archive)
    assert len(found) == len(wanted)
    for one, (info, data) in zip(found, wanted, strict=True):
        assert one["type"] == info.type.decode()
        assert one["path"].rstrip(b"/") == info.name.encode()
        assert one["link"] == info.linkname.encode()
        assert (one["mode"], one["uid"], one["gid"]) == (info.mode, info.uid, info.gid)
        assert one["mtime"] == (info.mtime, 0)
        assert one["data"] == data
        assert one["xattrs"] == (
            {key.encode(): text.encode() for key, text in xattrs.items()} if form == tarfile.PAX_FORMAT else {}
        )
        if info.type == tarfile.CHRTYPE:
            assert one["device"] == (info.devmajor, info.devminor)


SOUND = layer(
    pax({"comment": "for all", "mtime": "1.5"}, b"g"),
    folder("a"),
    pax({"path": "a/b", "SCHILY.xattr.user.x": "1\0002", "uid": "7"}),
    entry("x", data=b"b" * 700),
    pax({"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "a/s", "GNU.sparse.realsize": "9000"}),
    entry("GNUSparseFile.0/s", data=b"2\n0\n5\n8192\n5\n".ljust(512, b"\0") + b"helloworld"),
    hardlink("c", "a/b"),
    symlink("d", "/a"),
    entry("././@LongLink", b"L", b"l" * 300 + b"\0"),
    entry("l" * 100),
    entry("dev", b"3", major=1, minor=3),
)


def test_the_sound_archive_is_sound() -> None:
    """What the next test damages is read to its end."""
    found = listed(SOUND)
    assert [one["path"] for one in found] == [b"a", b"a/b", b"a/s", b"c", b"d", b"l" * 300, b"dev"]
    assert found[0]["mtime"] == (1, 500_000_000)
    assert found[1]["uid"] == 7
    assert found[1]["xattrs"] == {b"user.x": b"1\x002"}
    assert (found[2]["sparse"], found[2]["size"], found[2]["data"]) == ([(0, 5), (8192, 5)], 9000, b"helloworld")


@settings(max_examples=400)
@given(st.lists(st.tuples(st.integers(0, len(SOUND) - 1), st.integers(0, 255)), min_size=1, max_size=8), st.data())
def test_damage_is_refused_or_harmless(changes: list[tuple[int, int]], data: st.DataObject) -> None:
    """Whatever bytes change, or where the archive is cut, the reader ends in order. ASan watches in test-sanitized."""
    damaged = bytearray(SOUND)
    for at, value in changes:
        damaged[at] = value
    for start in range(0, len(damaged), 512):  # half of the time with right checksums, to get further
        block = damaged[start : start + 512]
        if data.draw(st.booleans()) and any(block):
            block[148:156] = b" " * 8
            damaged[start + 148 : start + 156] = f"{sum(block):06o}\0 ".encode()
    cut = data.draw(st.integers(0, len(damaged)))
    for archive in (bytes(damaged), bytes(damaged[:cut])):
        try:
            listed(archive)
        except LayerError as e:
            assert str(e)


@settings(max_examples=200)
@given(st.binary(max_size=3000))
def test_any_bytes(data: bytes) -> None:
    """Whatever a file holds, plain or behind each magic number, ends in a sentence or in entries."""
    for archive in (data, b"\x1f\x8b" + data, b"\x28\xb5\x2f\xfd" + data):
        try:
            listed(archive)
        except LayerError as e:
            assert str(e)


def old_sparse(pairs: list[tuple[int, int]], real: int, data: bytes) -> bytes:
    made = bytearray(header(b"s", b"S", size=len(data), magic=b"ustar  \0"))
    made[345:512] = b"\0" * 167
    for i, (offset, size) in enumerate(pairs[:4]):
        made[386 + 24 * i : 410 + 24 * i] = f"{offset:011o}\0{size:011o}\0".encode()
    made[482] = len(pairs) > 4
    made[483:495] = f"{real:011o}\0".encode()
    made[148:156] = b" " * 8
    made[148:156] = f"{sum(made):06o}\0 ".encode()
    more = b"".join(f"{offset:011o}\0{size:011o}\0".encode() for offset, size in pairs[4:]).ljust(512, b"\0")
    return bytes(made) + (more if len(pairs) > 4 else b"") + data.ljust(-(-len(data) // 512) * 512, b"\0")


@pytest.mark.parametrize(
    "archive",
    [
        pytest.param(layer(old_sparse([(0, 5), (4096, 5), (9000, 0)], 9000, b"helloworld")), id="old-gnu"),
        pytest.param(
            layer(old_sparse([(0, 5), (4096, 1), (4097, 1), (4098, 1), (4099, 2), (9000, 0)], 9000, b"helloworld")),
            id="old-gnu-extended",
        ),
        pytest.param(
            layer(
                entry(
                    "x",
                    b"x",
                    record("GNU.sparse.size", b"9000")
                    + record("GNU.sparse.offset", b"0")
                    + record("GNU.sparse.numbytes", b"5")
                    + record("GNU.sparse.offset", b"4096")
                    + record("GNU.sparse.numbytes", b"5"),
                ),
                entry("s", data=b"helloworld"),
            ),
            id="pax-0.0",
        ),
        pytest.param(
            layer(
                pax({"GNU.sparse.size": "9000", "GNU.sparse.map": "0,5,4096,5", "GNU.sparse.name": "s"}),
                entry("GNUSparseFile.1/s", data=b"helloworld"),
            ),
            id="pax-0.1",
        ),
    ],
)
def test_sparse_formats(archive: bytes) -> None:
    """Each of GNU tar's formats tells the same file."""
    (one,) = listed(archive)
    assert (one["path"], one["size"], one["data"]) == (b"s", 9000, b"helloworld")
    whole = bytearray(9000)
    at = 0
    for offset, size in one["sparse"]:
        whole[offset : offset + size] = one["data"][at : at + size]
        at += size
    assert bytes(whole) == b"hello".ljust(4096, b"\0") + b"world".ljust(9000 - 4096, b"\0")


def star(name: bytes, prefix: bytes) -> bytes:
    """A header of Schilling's star: two times behind a shorter prefix, and a magic at the end."""
    made = bytearray(header(name, prefix=prefix + b"00000000017 00000000017 "))
    made[508:512] = b"tar\0"
    made[148:156] = b" " * 8
    made[148:156] = f"{sum(made):06o}\0 ".encode()
    return bytes(made)


def refused(*entries: bytes) -> bytes:
    return layer(*entries, entry("after"))


@pytest.mark.parametrize(
    ("archive", "words"),
    [
        pytest.param(
            refused(pax({"size": "0"}), entry("a", data=b"x" * 512)), "tell different sizes", id="size-desync"
        ),
        pytest.param(refused(pax({"size": "512"}), entry("a")), "tell different sizes", id="size-desync-other-way"),
        pytest.param(refused(entry("a", size=base256(-512, 12))), "size is negative", id="negative-size"),
        pytest.param(refused(entry("a", size=b"\x80" + b"\xff" * 11)), "size is out of range", id="huge-size"),
        pytest.param(refused(entry("a", size=base256(1 << 50, 12))), "more than the", id="file-budget"),
        pytest.param(refused(entry("a", size=b"12x")), "size is not an octal number", id="size-no-number"),
        pytest.param(
            refused(entry("a", uid=base256(2**32 - 1, 8))), "uid 4294967295 is out of range", id="uid-minus-one"
        ),
        pytest.param(refused(pax({"uid": "4294967296"}), entry("a")), "uid 4294967296 is out", id="uid-wraps-to-0"),
        pytest.param(refused(entry("a", gid=base256(-1, 8))), "gid -1 is out of range", id="gid-negative"),
        pytest.param(refused(pax({"path": "a\0b"}), entry("a")), "name has a NUL", id="nul-in-path"),
        pytest.param(refused(pax({"linkpath": "a\0b"}), symlink("a", "b")), "target has a NUL", id="nul-in-linkpath"),
        pytest.param(refused(pax({"path": "a" * 4096}), entry("a")), "longer than 4095", id="long-path"),
        pytest.param(
            refused(pax({"path": "evil"}, b"g"), entry("a")), "global header has the record path", id="global-path"
        ),
        pytest.param(
            refused(pax({"size": "0"}, b"g"), entry("a")), "global header has the record size", id="global-size"
        ),
        pytest.param(
            refused(pax({"SCHILY.xattr.user.a": "1"}, b"g"), entry("a")), "global header has ext", id="global-xattr"
        ),
        pytest.param(
            refused(pax({"GNU.sparse.offset": "1"}, b"g"), entry("a")),
            "global header has the record",
            id="global-sparse",
        ),
        pytest.param(refused(entry("")), "name is empty", id="empty-name"),
        pytest.param(refused(pax({"path": "a"}), pax({"path": "b"}), entry("c")), "two PAX headers", id="two-pax"),
        pytest.param(
            refused(entry("x", b"x", record("GNU.sparse.size", b"9") * 2), entry("c")),
            "two PAX records",
            id="two-sparse",
        ),
        pytest.param(
            refused(entry("x", b"L", b"a\0"), entry("x", b"L", b"b\0"), entry("c")),
            "different names",
            id="two-long-names",
        ),
        pytest.param(
            refused(pax({"path": "a"}), entry("x", b"L", b"b\0"), entry("c")), "different names", id="pax-and-gnu"
        ),
        pytest.param(
            refused(entry("x", b"x", b"9 path=a"), entry("c")), "length name=value", id="record-without-newline"
        ),
        pytest.param(refused(entry("x", b"x", b"99 path=a\n"), entry("c")), "length name=value", id="record-too-long"),
        pytest.param(refused(entry("x", b"x", b"0 path=a\n"), entry("c")), "length name=value", id="record-of-nothing"),
        pytest.param(refused(entry("x", b"x", b"9 =12345\n"), entry("c")), "no name", id="record-without-name"),
        pytest.param(refused(pax({"mtime": "1e9"}), entry("c")), "mtime is not a number", id="mtime"),
        pytest.param(refused(pax({"mtime": "9" * 30}), entry("c")), "mtime is not a number", id="mtime-out-of-range"),
        pytest.param(refused(entry("a", b"3", major=b"7777777")), "device number", id="major"),
        pytest.param(refused(entry("a", b"M")), "unknown type 0x4d", id="multi-volume"),
        pytest.param(refused(entry("a", checksum=b"0000000\0")), "checksum is wrong", id="checksum"),
        pytest.param(refused(folder("a", size=512), b"\0" * 512), "single block of zeros", id="folder-with-data"),
        pytest.param(refused(symlink("a", "b", size=9), padded(b"x")), "checksum", id="link-with-data"),
        pytest.param(refused(hardlink("a", "b", size=9), padded(b"x")), "checksum", id="hardlink-with-data-of-no-pax"),
        pytest.param(
            refused(entry("a"), pax({"uid": "1"}), hardlink("b", "a", size=1024), b"\0" * 1024),
            "something behind its end",
            id="hardlink-with-zeros",
        ),
        pytest.param(entry("a") + b"\0" * 512 + entry("b") + END, "single block of zeros", id="one-zero-block"),
        pytest.param(END + b"junk", "something behind its end", id="no-entry-and-junk"),
        pytest.param(entry("a") + b"\0" * 512 + b"b", "single block of zeros", id="one-zero-block-and-a-byte"),
        pytest.param(entry("a", data=b"x" * 600)[:-600], "ends in the middle", id="cut-in-data"),
        pytest.param(entry("a")[:400], "ends in the middle", id="cut-in-header"),
        pytest.param(refused(pax({"SCHILY.realsize": "9"}), entry("a")), "star", id="star-sparse"),
        pytest.param(
            refused(pax({"GNU.sparse.size": "9", "GNU.sparse.map": "0,5,3,5"}), entry("s", data=b"helloworld")),
            "overlaps",
            id="sparse-overlap",
        ),
        pytest.param(
            refused(pax({"GNU.sparse.size": "99", "GNU.sparse.map": "0,5"}), entry("s", data=b"helloworld")),
            "does not fit",
            id="sparse-too-short",
        ),
        pytest.param(
            refused(
                pax({"GNU.sparse.size": "99", "GNU.sparse.map": f"{2**63 - 1},{2**63 - 1}"}), entry("s", data=b"x")
            ),
            "overlaps or leads out",
            id="sparse-overflow",
        ),
        pytest.param(
            refused(pax({"GNU.sparse.size": "99", "GNU.sparse.map": "0,5,7"}), entry("s", data=b"hello")),
            "middle of a pair",
            id="sparse-odd",
        ),
        pytest.param(
            refused(pax({"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}), entry("s", data=b"9" * 5000)),
            "not a number",
            id="sparse-map-without-lines",
        ),
        pytest.param(
            refused(pax({"GNU.sparse.major": "2", "GNU.sparse.minor": "0"}), entry("s")), "not known", id="sparse-2.0"
        ),
        pytest.param(refused(pax({"GNU.sparse.size": "9"}), folder("s")), "but is not a file", id="sparse-folder"),
        pytest.param(b"BZh9" + b"x" * 1000, "bzip2 or xz", id="bzip2"),
        pytest.param(b"\xfd7zXZ\0" + b"x" * 1000, "bzip2 or xz", id="xz"),
        pytest.param(gzip.compress(SOUND)[:-20], "ends too early", id="gzip-cut"),
        pytest.param(gzip.compress(SOUND) + b"more", "something behind its end", id="gzip-trailing"),
        pytest.param(gzip.compress(SOUND) + b"\0" * 9 + b"more", "something behind", id="gzip-zeros-and-more"),
        pytest.param(gzip.compress(SOUND)[:100] + b"\xff" * 50, "damaged", id="gzip-damaged"),
        pytest.param(b"not a tar" * 100, "checksum", id="text"),
    ],
)
def test_refused(archive: bytes, words: str) -> None:
    """What two readers could read in two ways, or none can, is an error that says what is wrong."""
    with pytest.raises(LayerError, match=words):
        listed(archive)


def test_a_file_with_holes_is_as_large_as_the_budget_and_no_larger() -> None:
    def archive(size: int) -> bytes:
        return refused(pax({"GNU.sparse.size": str(size), "GNU.sparse.map": "0,5"}), entry("s", data=b"hello"))

    assert {one["path"]: one["size"] for one in listed(archive(BUDGET.file))}[b"s"] == BUDGET.file
    with pytest.raises(LayerError, match="does not fit"):
        listed(archive(BUDGET.file + 1))


A, B = entry("a", data=b"x"), entry("b", data=b"yy")
LONG = "././@LongLink"


@pytest.mark.parametrize(
    ("archive", "names"),
    [
        # A size where no data can be: old tar-stream, tar-rs and Java writers leave the file's there.
        *(
            pytest.param(layer(made, B), ["x", "b"], id=f"size-of-{name}")
            for name, made in {
                "folder": folder("x", size=512),
                "folder-base256": folder("x", size=base256(1 << 40, 12)),
                "symlink": symlink("x", "y", size=700),
                "hardlink": hardlink("x", "y", size=1),
                "fifo": entry("x", b"6", size=9),
                "device": entry("x", b"3", major=1, minor=3, size=77),
                "block": entry("x", b"4", major=1, minor=3, size=77),
                "pax-folder": pax({"size": "9"}) + folder("x"),
                "pax-symlink": pax({"size": "9"}) + symlink("x", "y", size=4),
            }.items()
        ),
        pytest.param(layer(A, pax({"uid": "1"}), hardlink("h", "a", size=1), B), ["a", "h", "b"], id="pax-link-without-data"),
        pytest.param(layer(A, pax({"uid": "1"}), hardlink("h", "a", size=1), padded(b"x"), B), ["a", "h", "b"], id="pax-link-with-data"),
        pytest.param(layer(A, pax({"uid": "1"}), hardlink("h", "a", size=1500), padded(b"x" * 1500), B), ["a", "h", "b"], id="pax-link-with-blocks"),
        pytest.param(layer(A, pax({"uid": "1"}), hardlink("h", "a", size=1500)), ["a", "h"], id="pax-link-at-the-end"),
        # Where an archive ends.
        pytest.param(layer(A)[:513], ["a"], id="no-padding"),
        pytest.param(layer(A)[:700], ["a"], id="half-the-padding"),
        pytest.param(A, ["a"], id="no-end"),
        pytest.param(layer(A)[:-512], ["a"], id="one-zero-block-at-the-end"),
        pytest.param(layer(A)[:-700], ["a"], id="cut-in-the-first-zero-block"),
        pytest.param(layer(A)[:-100], ["a"], id="cut-in-the-second-zero-block"),
        pytest.param(layer(A) + b"junk" * 5000, ["a"], id="junk-behind"),
        pytest.param(layer(A) + layer(B), ["a"], id="archive-behind"),
        pytest.param(layer(A, pax({"path": "b"})), ["a"], id="pax-and-end"),
        pytest.param(A + entry(LONG, b"L", b"name\0"), ["a"], id="long-name-and-no-end"),
        pytest.param(b"", [], id="nothing"),
        pytest.param(END, [], id="only-the-end"),
        pytest.param(END[:512], [], id="half-the-end"),
        pytest.param(gzip.compress(b""), [], id="gzip-of-nothing"),
        pytest.param(gzip.compress(layer(A)) + b"\0" * 5000, ["a"], id="gzip-and-zeros"),
        pytest.param(gzip.compress(layer(A)) + gzip.compress(layer(B)), ["a"], id="gzip-of-archive-and-archive"),
        # Names told twice, or not.
        pytest.param(layer(entry(LONG, b"L", b"l\0"), pax({"uid": "5"}), A), ["l"], id="gnu-and-pax"),
        pytest.param(layer(pax({"uid": "5"}), entry(LONG, b"L", b"l\0"), A), ["l"], id="pax-and-gnu"),
        pytest.param(layer(pax({"path": "l"}), entry(LONG, b"L", b"l\0"), A), ["l"], id="pax-and-gnu-alike"),
        pytest.param(layer(entry(LONG, b"L", b"l\0"), entry(LONG, b"L", b"l\0\0"), A), ["l"], id="gnu-twice-alike"),
        pytest.param(layer(entry(LONG, b"L", b"l\0ater\0"), A), ["l"], id="gnu-with-more-behind-its-nul"),
        pytest.param(layer(entry(LONG, b"L", b"l" * 200), A), ["l" * 200], id="gnu-without-nul"),
        pytest.param(layer(entry("x", b"x", record("path", b"p") + record("path", b"q")), A), ["q"], id="two-paths"),
        pytest.param(layer(pax({"path": ""}), A), ["a"], id="empty-path"),
        pytest.param(layer(entry("x", b"x", record("path", b"p") + record("path", b"")), A), ["a"], id="deleted-path"),
        pytest.param(layer(pax({"size": ""}), A, B), ["a", "b"], id="empty-size"),
        pytest.param(layer(pax({"comment": "c", "path": "", "charset": "BINARY", "uname": "u"}, b"g"), A), ["a"], id="global-of-git"),
        # Headers of other times.
        pytest.param(layer(entry("a", b"\0", data=b"x", magic=b"\0" * 8)), ["a"], id="v7"),
        pytest.param(layer(entry("a/", b"\0", magic=b"\0" * 8)), ["a/"], id="v7-folder"),
        pytest.param(layer(entry("a", magic=b"\0" * 8, prefix=b"p")), ["a"], id="v7-has-no-prefix"),
        pytest.param(layer(entry("a", prefix=b"p/q")), ["p/q/a"], id="ustar-prefix"),
        pytest.param(layer(entry("a", prefix=b"p" * 155)), ["p" * 155 + "/a"], id="ustar-prefix-full"),
        pytest.param(layer(entry("n" * 100, prefix=b"p")), ["p/" + "n" * 100], id="name-full"),
        pytest.param(layer(entry("a", magic=b"ustar  \0", prefix=b"p/q")), ["p/q/a"], id="old-go-prefix"),
        pytest.param(layer(entry("a", magic=b"ustar  \0", prefix=b"00000000017\000000000017\0")), ["a"], id="gnu-times"),
        pytest.param(layer(entry("a", magic=b"ustar  \0", prefix="\u00e9".encode())), ["a"], id="gnu-odd-bytes"),
        pytest.param(layer(star(b"a", b"p" * 131)), ["p" * 131 + "/a"], id="star-prefix"),
        pytest.param(layer(entry("a/", data=b"x")), ["a/"], id="file-with-slash"),
        pytest.param(layer(entry("a", b"7", data=b"x")), ["a"], id="contiguous"),
    ],
)  # fmt: skip
def test_taken(archive: bytes, names: list[str]) -> None:
    """What careful readers of layers all take is taken."""
    assert [one["path"].decode() for one in listed(archive)] == names


@pytest.mark.parametrize(
    "digits", [b"755", b"   755 \0", bytes(2) + b"755", b"0000755\0", b"755\0zz", b"755 \0z", b"0000755 ", b" 0000755"]
)
def test_odd_numbers(digits: bytes) -> None:
    """Blanks and NULs stand before, between and behind octal digits; behind a NUL there may be anything."""
    (one,) = listed(layer(entry("a", mode=digits, uid=digits, gid=digits, mtime=digits.ljust(12, b"\0"))))
    assert (one["mode"], one["uid"], one["gid"], one["mtime"]) == (0o755, 0o755, 0o755, (0o755, 0))


@pytest.mark.parametrize("digits", [b"7 5", b"75x", b"x", b"-7", b"+7", b"8"])
def test_numbers_that_are_none(digits: bytes) -> None:
    """Two readers could read two numbers."""
    with pytest.raises(LayerError, match="its uid is not an octal number"):
        listed(layer(entry("a", uid=digits)))


def test_a_record_without_a_value_leaves_the_header_s() -> None:
    """POSIX: it deletes what other headers said, a global one too."""
    told = pax({"uid": "5", "gid": "6", "mtime": "7.5"}, b"g")
    records = record("uid", b"8") + record("uid", b"") + record("gid", b"") + record("mtime", b"")
    plain, deleted = listed(layer(told, entry("a"), entry("x", b"x", records), entry("b", uid=1, gid=2, mtime=3)))
    assert (plain["uid"], plain["gid"], plain["mtime"]) == (5, 6, (7, 500_000_000))
    assert (deleted["uid"], deleted["gid"], deleted["mtime"]) == (1, 2, (3, 0))


def test_a_later_global_header_takes_an_earlier_one_back() -> None:
    """POSIX: an empty value in a global header ends what an earlier one said."""
    found = listed(layer(pax({"uid": "5"}, b"g"), entry("a"), pax({"uid": ""}, b"g"), entry("b", uid=1)))
    assert [one["uid"] for one in found] == [5, 1]


def test_behind_the_end_is_hashed() -> None:
    """A layer's diff_id is the digest of all bytes."""
    fd = os.memfd_create("layer", os.MFD_CLOEXEC)
    data = layer(A) + b"junk" * 200_000
    try:
        os.write(fd, data)
        tar = lib.stele_tar_open(fd, ffi.new("struct stele_tar_limits *", BUDGET.limits()))
        entry_at, digest = ffi.new("struct stele_entry **"), ffi.new("uint8_t[32]")
        while lib.stele_tar_next(tar, entry_at) == 1:
            pass
        lib.stele_tar_digest(tar, digest)
        lib.stele_tar_close(tar)
        assert bytes(digest) == hashlib.sha256(data).digest()
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        pytest.param(Budget(bytes=1 << 20), "more than the 1048576 bytes", id="bytes"),
        pytest.param(Budget(ratio=100), "tighter than 100 to 1", id="ratio"),
        pytest.param(Budget(header=400), "a header of 500 bytes is more than the 400 allowed", id="header"),
    ],
)
def test_budgets(budget: Budget, words: str) -> None:
    """A bomb goes off in a sentence."""
    bomb = gzip.compress(entry("zeros", data=b"\0" * (80 << 20)) + END)
    header_bomb = layer(entry("x", b"x", record("comment", b"c" * 487)), entry("a"))
    with pytest.raises(LayerError, match=words):
        listed(header_bomb if budget.header == 400 else bomb, budget)


@pytest.mark.parametrize(
    ("told", "read"),
    [
        ("0", (0, 0)), ("1.5", (1, 500_000_000)), ("-1", (-1, 0)), ("-1.25", (-2, 750_000_000)),
        ("1.0000000019", (1, 1)), ("-0.0000000001", (-1, 999_999_999)),
    ],
)  # fmt: skip
def test_times(told: str, read: tuple[int, int]) -> None:
    """A time may be before the epoch; what is finer than a nanosecond goes towards the past."""
    (one,) = listed(layer(pax({"mtime": told}), entry("a")))
    assert one["mtime"] == read


def test_several_packed_pieces_are_one_layer() -> None:
    """gzip members one behind the other unpack as one stream."""
    data = layer(entry("a", data=b"x" * 100_000))
    assert listed(gzip.compress(data[:70_000]) + gzip.compress(data[70_000:])) == listed(data)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([pax({"size": "3"}), entry("a", data=b"abc")], ""),
        ([pax({"size": "0"}), entry("a", data=entry("b"))], "tell different sizes, 512 and 0"),
        ([pax({"size": "512"}), entry("a"), entry("b")], "tell different sizes, 0 and 512"),
        ([pax({"size": "-1"}), entry("a")], "its PAX record size is '-1', no number in range"),
        ([pax({"size": ""}), entry("a", data=b"abc")], ""),
        ([pax({"size": "0x3"}), entry("a", data=b"abc")], "its PAX record size is '0x3'"),
        ([pax({"size": "٣"}), entry("a", data=b"abc")], "no number in range"),
        ([pax({"size": "9" * 30}), entry("a")], "no number in range"),
        ([pax({"size": str(8 << 30)}), entry("a")], "cut short"),
        ([entry("x", b"x", record("size", b"9") + record("size", b"3")), entry("a", data=b"abc")], ""),
        (
            [pax({"size": "3"}), pax({"size": "3"}), entry("a", data=b"abc")],
            "two PAX headers in it are about one entry",
        ),
        (
            [pax({"path": "a"}), pax({"path": "b"}), entry("a", data=b"abc")],
            "two PAX headers in it are about one entry",
        ),
        ([pax({"size": "3"}, b"g"), entry("a", data=b"abc")], "a global PAX header has the record size"),
        ([pax({"size": "3"}), entry("x", b"L", b"long\0"), entry("a", data=b"abc")], ""),
        ([entry("x", b"L", b"b\0"), entry("x", b"L", b"c\0"), entry("a", data=b"abc")], "different paths"),
        ([entry("x", b"L", b"b\0"), entry("x", b"K", b"c\0"), entry("a", data=b"abc")], ""),
    ],
)
def test_sizes_of_an_image_archive(parts: list[bytes], words: str) -> None:
    """The reader of archives that hold images believes of two sizes neither."""
    fd = os.memfd_create("archive", os.MFD_CLOEXEC)
    try:
        os.write(fd, layer(*parts))
        if words:
            with pytest.raises(ImageError, match=words):
                image_tar.index(fd, "x")
        else:
            (member,) = image_tar.index(fd, "x").values()
            assert os.pread(fd, member.size, member.offset) == b"abc"
    finally:
        os.close(fd)


def test_a_size_beyond_its_field_is_the_record_s() -> None:
    """POSIX: the record stands for a size that 11 octal digits do not hold."""
    size = (8 << 30) + 5
    fd = os.memfd_create("archive", os.MFD_CLOEXEC)
    try:
        os.write(fd, pax({"size": str(size)}) + entry("a"))
        os.ftruncate(fd, 1536 + size + (-size % 512))
        os.lseek(fd, 0, os.SEEK_END)
        os.write(fd, layer(entry("b", data=b"abc")))
        found = image_tar.index(fd, "x")
        assert {name: member.size for name, member in found.items()} == {"a": size, "b": 3}
    finally:
        os.close(fd)
