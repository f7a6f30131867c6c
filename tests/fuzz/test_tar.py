"""The reader of layers under libFuzzer with the sanitizers; it must find the faults that are planted."""

from __future__ import annotations

import gzip
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.fuzz import LONG, SECONDS
from tests.fuzz.test_c import CORPUS, HERE, fuzz
from tests.harness.layers import base256, entry, folder, hardlink, layer, pax, symlink
from tests.harness.runtime import REPO

FILES = ("tar.c", "tar_pax.c", "tar_sparse.c", "tar_fields.c", "stream.c", "sha256.c", "confined.c")
PLANTED = [
    ("tar_fields.c", "if (size == 0 || size >= STELE_PATH_MAX)", "if (size == 0)"),
    ("tar_pax.c", "|| length > size ||", "||"),
]
"""Faults that it must find: a file, a piece of its text, and what is there instead."""


def build(folder: Path, fault: tuple[str, str, str] | None = None) -> Path:
    """Compile the target, with a fault or without, to the folder."""
    sources = []
    for name in FILES:
        text = (REPO / "cshim" / name).read_text()
        if fault and fault[0] == name:
            assert text.count(fault[1]) == 1, f"{name} has changed: plant the fault anew: {fault[1]!r}"
            text = text.replace(fault[1], fault[2])
        sources.append(folder / name)
        sources[-1].write_text(text)
    program = folder / "tar"
    sanitizers = ["-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"]
    flags = ["-g", "-O1", "-w", "-D_GNU_SOURCE", f"-I{REPO}/cshim", *sanitizers]
    subprocess.run(["clang", *flags, "-o", program, HERE / "tar.c", *sources, "-lz", "-lzstd", "-llzma"], check=True)
    return program


def seeds(place: Path) -> Path:
    """Archives of each format, packed and plain."""
    place.mkdir(parents=True, exist_ok=True)
    plain = layer(folder("a"), entry("a/b", data=b"b" * 700), hardlink("c", "a/b"), symlink("d", "/a"))
    long = layer(entry("././@LongLink", b"L", b"l" * 300 + b"\0"), entry("l" * 100))
    told = layer(
        pax({"mtime": "1.5"}, b"g"),
        pax({"path": "a/b", "SCHILY.xattr.user.x": "1", "uid": "4294967294", "size": "3"}),
        entry("x", data=b"abc"),
    )
    map_01 = layer(pax({"GNU.sparse.size": "9000", "GNU.sparse.map": "0,5,4096,5"}), entry("s", data=b"helloworld"))
    sparse = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9000"}
    map_10 = layer(pax(sparse), entry("s", data=b"2\n0\n5\n8192\n5\n".ljust(512, b"\0") + b"helloworld"))
    # As long as a path may be: what random growth would take hours to reach.
    longest = layer(pax({"path": "p" * 4095}), entry("x"), entry("././@LongLink", b"L", b"l" * 5000), entry("y"))
    nobody = layer(entry("a", uid=base256(2**32 - 1, 8)))
    # A record that ends behind its header and the buffer that it is read to.
    beyond = layer(entry("x", b"x", b"600 path=a\n"), entry("y"))
    maps = [pax({"GNU.sparse.size": "9000", "GNU.sparse.map": text}) for text in ("0,5", "0,5,3,5")]
    wrong = [layer(each, entry("s", data=b"helloworld")) for each in maps]
    # Sizes where there is no data, or may be; two headers for one entry; fields deleted; an end that is not there.
    sizes = layer(
        folder("a", size=512), entry("b", data=b"x"), pax({"uid": ""}), hardlink("c", "b", size=1500), b"y" * 1536
    )
    both = layer(entry("././@LongLink", b"L", b"l\0"), pax({"path": "l", "mtime": ""}), entry("x"))[:-600]
    prefix = layer(entry("a", magic=b"ustar  \0", prefix=b"old/go"), entry("b", b"\0", magic=b"\0" * 8)) + b"junk"
    more = (sizes, both, prefix)
    for number, data in enumerate((plain, long, told, map_01, map_10, longest, nobody, beyond, *wrong, *more)):
        (place / f"plain{number}").write_bytes(data)
        (place / f"gzip{number}").write_bytes(gzip.compress(data, mtime=0))
    return place


def test_finds_nothing(tmp_path: Path) -> None:
    """What it finds is kept in build/fuzz/found."""
    found = CORPUS / "found"
    found.mkdir(parents=True, exist_ok=True)
    done = fuzz(build(tmp_path), seeds(CORPUS / "tar"), found, SECONDS)
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.mark.parametrize("fault", PLANTED, ids=lambda f: f[2][:24])
def test_finds_what_was_planted(fault: tuple[str, str, str], tmp_path: Path) -> None:
    """With a check taken out, it must end with a finding."""
    done = fuzz(build(tmp_path, fault), seeds(tmp_path / "corpus"), tmp_path, LONG)
    assert done.returncode != 0, f"nothing found in {fault}"
    shutil.rmtree(tmp_path / "corpus")
