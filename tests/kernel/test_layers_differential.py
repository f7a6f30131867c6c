"""Layers of any kind, unpacked by stele, umoci and Podman: the same trees, apart from a list of differences.

What differs on purpose, and so is not drawn or not compared:
- times of directories that no entry describes, and of the root: with the others the time of unpacking, with us 0. Podman sets
  no times of directories that it adds something to.
- the root's mode, which is Podman's own where no layer has it;
- extended attributes of a directory that a later layer describes without them: Podman keeps them;
- a hard link's own mode, owner and time: Podman gives them to the file, umoci and stele do not;
- times before 1970 and beyond 2262: Podman makes them 1970, umoci cuts them;
- empty extended attributes, which Go's reader of tar drops; `user.overlay.*`, which umoci keeps;
- entries of one path to_umoci, which Podman refuses;
- a whiteout, or an opaque one, behind entries below it: umoci then leaves directories the lower layer's modes, while the
  specification has whiteouts applied first in any order (test_layers_below.py);
- what they refuse and we take: an archive that is cut in the zeros of its end, blanks between a number and its NUL;
- a layer without any entry that has something behind its end, which we refuse;
- a whiteout in a directory that nobody has, which is then an empty directory with us and with containerd;
- hard links to files of lower layers, which are refused here, and directories that are symbolic links in a lower layer
  (docs/spec-images.md).
"""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from runtime.images.store.store import ImageStore
from tests.harness.layers import END, add_image, base256, entry, folder, hardlink, pax, symlink, tree
from tests.kernel.test_layers import by_podman, by_umoci, differences, unpack_flat

FOLDERS = ["a", "b", "a/a", "a/b", "b/a", "a/a/c"]
LEAVES = ["x", "y", "n" * 120]
PLACES = [f"{path}/{leaf}".lstrip("/") for path in ("", *FOLDERS) for leaf in LEAVES]
ENDS = [END, b"", END[:512], END + b"\0" * 9000, END + b"junk behind the end" * 60]
PACKERS: list[Callable[[bytes], bytes]] = [
    lambda data: data,
    gzip.compress,
    lambda data: gzip.compress(data[:700]) + gzip.compress(data[700:]),
]
kinds = st.sampled_from(["file", "file", "file", "folder", "folder", "symlink", "hardlink", "fifo", "device", "sparse"])
numbers = st.sampled_from([0, 1, 1000, 65534, 2097152, 2**31, 2**32 - 2])


def number(value: int, style: int) -> Any:
    """A number as some writer has it; binary where octal digits do not hold it."""
    if value >= 8**6 or style == 0:
        return base256(value, 8)
    return [f"{value:07o}\0", f"{value:6o} \0", f"{value:o}", f" {value:o}\0zz"[:8]][style - 1].encode()


@st.composite
def made(draw: st.DrawFn, kind: str, path: str, files: list[str]) -> bytes:
    """An entry as one of many writers makes it."""
    style = draw(st.integers(0, 4))
    fields: dict[str, Any] = {
        "mode": number(draw(st.sampled_from([0o644, 0o4755, 0o1777, 0o700, 0])), style),
        "uid": number(draw(numbers), style),
        "gid": number(draw(numbers), style),
        "mtime": draw(st.integers(1, 2**31)),
    }
    records: dict[str, str | bytes] = {}
    name = draw(st.sampled_from([path, f"./{path}", f"/{path}", f"q/../{path}", f"../{path}", path.replace("/", "//")]))
    before = b""
    if len(name) > 100 or draw(st.booleans()):
        if draw(st.booleans()):
            records["path"] = name
        else:
            before = entry("././@LongLink", b"L", name.encode() + b"\0")
        name = name[:100]
    if draw(st.booleans()):
        records |= {"uid": str(draw(numbers)), "mtime": draw(st.sampled_from(["5", "6.5", "7.123456789", ""]))}
        records["comment"] = "é" * 40
    if kind in ("file", "folder") and draw(st.booleans()):
        records |= {
            "SCHILY.xattr.user.k": draw(st.sampled_from([b"v", b"\0\n=", b"v" * 300])),
            "SCHILY.xattr.com.apple.x": "1",
        }
    fields["magic"] = draw(st.sampled_from([b"ustar\x0000", b"ustar  \0"]))
    size = draw(st.sampled_from([0, 0, 7, 512, 70000]))
    if kind == "sparse":
        records |= {"GNU.sparse.size": "9000", "GNU.sparse.numblocks": "2", "GNU.sparse.map": "0,5,4096,5"}
        if "path" in records:
            records["GNU.sparse.name"] = records["path"]
        result = entry(name, data=b"helloworld", **fields)
    elif kind == "folder":
        result = folder(f"{name}/" if len(name) < 100 else name, size=size, **fields)
    elif kind == "symlink":
        result = symlink(name, draw(st.sampled_from(["x", "/a/x", "../y", "t" * 150])), size=size, **fields)
    elif kind == "hardlink":
        result = hardlink(name, draw(st.sampled_from(files)), **fields)
    elif kind == "fifo":
        result = entry(name, b"6", size=size, **fields)
    elif kind == "device":
        result = entry(
            name, draw(st.sampled_from([b"3", b"4"])), major=5, minor=draw(st.sampled_from([0, 1, 300])), **fields
        )
    else:
        data = draw(st.binary(max_size=40)) * draw(st.sampled_from([1, 30]))
        result = entry(name, draw(st.sampled_from([b"0", b"\0"])), data, **fields)
    return before + (pax(records) if records else b"") + result


@dataclass
class Layer:
    """paths: what there is once it is applied."""

    plain: bytes = field(repr=False)
    paths: set[str]


@st.composite
def archives(draw: st.DrawFn, lower: set[str], *, to_umoci: bool) -> Layer:
    """A layer over others.

    lower: the paths that these have. to_umoci: with what Podman refuses or does otherwise: paths twice, hard links.
    """
    parts: list[bytes] = []
    hidden = draw(st.lists(st.sampled_from(sorted(lower)), max_size=3, unique=True)) if lower else []
    hidden = [path for path in hidden if not any(path.startswith(f"{other}/") for other in hidden)]
    for path in hidden:
        head, _, last = path.rpartition("/")
        parts.append(pax({"path": f"{head}/.wh.{last}".lstrip("/")}) + entry("whiteout"))
    there = {path for path in lower if not any(path == gone or path.startswith(f"{gone}/") for gone in hidden)}
    files: list[str] = []
    own: set[str] = set()
    whiteouts: list[bytes] = []
    for kind in draw(st.lists(kinds, min_size=1, max_size=8)):
        path = draw(st.sampled_from(FOLDERS if kind == "folder" else PLACES))
        if (
            (kind == "hardlink" and not (files and to_umoci))
            or (path in own and (kind == "folder" or not to_umoci))
            or path in files
        ):
            continue
        parts.append(draw(made(kind, path, files)))
        own.add(path)
        if kind in ("file", "sparse") and len(path) < 100:
            files.append(path)
    for path in draw(st.lists(st.sampled_from(FOLDERS), max_size=1)):
        if path in there:
            opaque = entry(f"{path}/.wh..wh..opq")
            whiteouts.append(opaque)
            there = {other for other in there if not other.startswith(f"{path}/")}
    if not whiteouts and not parts:
        parts.append(entry("z"))
    every = {"/".join(path.split("/")[:n]) for path in own for n in range(1, path.count("/") + 2)}
    return Layer(b"".join([*whiteouts, *parts]) + ENDS[draw(st.integers(0, len(ENDS) - 1))], there | every)


class Drawn:
    """Layers, plain and packed; too long to be printed."""

    def __init__(self, layers: list[tuple[bytes, bytes]]) -> None:
        self.layers = layers

    def __repr__(self) -> str:
        return "an image"


@st.composite
def images(draw: st.DrawFn, *, to_umoci: bool) -> Drawn:
    found, paths = [], set[str]()
    for _ in range(draw(st.integers(1, 3))):
        drawn = draw(archives(paths, to_umoci=to_umoci))
        paths = drawn.paths
        found.append((drawn.plain, draw(st.sampled_from(PACKERS))(drawn.plain)))
    return Drawn(found)


Tree = dict[str, dict[str, Any]]


def compared(place: Path, wanted: Drawn, theirs: Callable[[ImageStore, str, Path], Tree]) -> dict[str, Any]:
    """What differs of the trees."""
    place.mkdir()
    store = ImageStore(str(place / "store"))
    try:
        store.tag("rich", add_image(store, *wanted.layers))
        ours = unpack_flat(store, store.manifest(store.resolve("rich")), place / "flat")
        return differences(tree(ours), theirs(store, "rich", place))
    finally:
        store.close()
        shutil.rmtree(place)


def is_time_of_a_folder(name: str) -> bool:
    return name.endswith(" mtime") and name.removesuffix(" mtime") in IMPLIED


WITHOUT_SHRINKING = [Phase.explicit, Phase.generate]
"""Each example takes about a second."""
SLOW = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
KEPT_BY_PODMAN = {"/ mode", *(f"/{path} xattrs" for path in FOLDERS)}
IMPLIED = {"/", *(f"/{path}" for path in FOLDERS)}


@settings(max_examples=40, deadline=None, phases=WITHOUT_SHRINKING, suppress_health_check=SLOW)
@given(wanted=images(to_umoci=True))
def test_trees_are_those_of_umoci(memory: Path, wanted: Drawn) -> None:
    """File by file; a directory's time is compared only where umoci has not made it when it unpacked."""
    found = compared(memory / os.urandom(8).hex(), wanted, by_umoci)
    now = 10**9 * 1_600_000_000
    assert {
        name: pair for name, pair in found.items() if not (is_time_of_a_folder(name) and (pair[1] or 0) > now)
    } == {}


@settings(max_examples=12, deadline=None, phases=WITHOUT_SHRINKING, suppress_health_check=SLOW)
@given(wanted=images(to_umoci=False))
def test_trees_are_those_of_podman(memory: Path, wanted: Drawn) -> None:
    """File by file, without times and attributes of directories, and the root's mode."""
    found = compared(memory / os.urandom(8).hex(), wanted, by_podman)
    assert {
        name: pair for name, pair in found.items() if not is_time_of_a_folder(name) and name not in KEPT_BY_PODMAN
    } == {}
