"""Paths in roots that strangers made: init's and the unpacker's resolvers in C, and the one that looks into images."""

from __future__ import annotations

import ctypes
import errno
import os
import random
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.host.shim import openat2
from runtime.images.model import ImageError
from runtime.images.store import overlay_view
from runtime.images.store.overlay_view import OverlayView
from tests.fuzz import LONG, SECONDS, going_on
from tests.fuzz.test_c import CLANG, CORPUS, HERE, fuzz, included
from tests.harness import cgroup2
from tests.harness.runtime import REPO

SOURCES = {"PATHS": "cshim/init/paths.c", "TEXT": "cshim/init/text.c", "UNPACK": "cshim/unpack.c"}
LINKED = ("tar.c", "tar_pax.c", "tar_sparse.c", "tar_fields.c", "stream.c", "sha256.c", "confined.c")
PLANTED = [
    ("tree", "PATHS", "RESOLVE_IN_ROOT | resolve", "resolve"),
    ("tree", "PATHS", "link[0] == '/' ? \"\" : path", "path"),
    ("tree", "PATHS", "*next || directory);\n\t\tif (r", "directory);\n\t\tif (r"),
    ("tree", "PATHS", "below == -ENOENT && r == -ELOOP", "0"),
    ("tree", "UNPACK", "== 0 && !is_whiteout(&found))", "== 0 && S_ISREG(found.st_mode))"),
    (
        "race",
        "PATHS",
        'fd = open_in_root(in, name > path ? path : "/", OPEN_PATH | O_DIRECTORY, 0);',
        'fd = (int)SYS(__NR_openat, in->root, name > path && *path != 47 ? path : ".", OPEN_PATH | O_CLOEXEC, 0);',
    ),
    ("race", "UNPACK", "RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV", "0"),
]
"""Faults that the search must find: the kind of search, a file, a piece of its text, and what is there instead."""


FLAGS = [*CLANG, "-D_GNU_SOURCE", f"-I{REPO}/cshim"]
OWN = {"paths.c": ("PATHS", "TEXT"), "paths_unpack.c": ("UNPACK",)}
"""The target's files, and what each includes."""


def compiled(folder: Path, file: str, fault: tuple[str, str, str] | None = None) -> Path:
    """One file of the target as an object, with a fault in what it includes or without."""
    defines = [included(folder, name, SOURCES[name], fault) for name in OWN[file]]
    made = folder / f"{file}.o"
    subprocess.run([*FLAGS, *defines, "-c", "-o", made, HERE / file], check=True)
    return made


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The target without a fault, and what the unpacker needs to be linked: file to object."""
    folder = tmp_path_factory.mktemp("objects")
    subprocess.run([*FLAGS, "-c", *(REPO / "cshim" / name for name in LINKED)], check=True, cwd=folder)
    linked = {made.name: made for made in folder.glob("*.o")}
    return linked | {file: compiled(folder, file) for file in OWN}


def build(folder: Path, objects: dict[str, Path], fault: tuple[str, str, str] | None = None) -> Path:
    """Link the target, with a fault or without, to the folder."""
    changed = {file: compiled(folder, file, fault) for file in OWN if fault and fault[0] in OWN[file]}
    program = folder / "paths"
    linked = (objects | changed).values()
    subprocess.run([*FLAGS, "-o", program, *linked, "-lz", "-lzstd", "-llzma", "-lpthread"], check=True)
    return program


def seeds(place: Path) -> Path:
    """Bytes enough for a whole tree: growing them one by one would take hours."""
    place.mkdir(parents=True, exist_ok=True)
    rng = random.Random(1)
    for number in range(200):
        (place / f"tree{number}").write_bytes(rng.randbytes(rng.randint(20, 400)))
    return place


def run(program: Path, corpus: Path, found: Path, seconds: float, kind: str) -> subprocess.CompletedProcess[str]:
    """Search for a while; the target mounts its trees in a namespace of its own."""
    place = program.parent / "place"
    place.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STELE_PLACE", str(place))
        if kind == "race":
            patch.setenv("STELE_RACE", "1")
        return fuzz(program, corpus, found, seconds)


@pytest.mark.parametrize("kind", ["tree", "race"])
def test_finds_nothing(kind: str, objects: dict[str, Path], tmp_path: Path) -> None:
    """What it finds is kept in build/fuzz/found."""
    found = CORPUS / "found"
    found.mkdir(parents=True, exist_ok=True)
    done = run(build(tmp_path, objects), seeds(CORPUS / f"paths-{kind}"), found, SECONDS, kind)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]


@pytest.mark.parametrize("fault", PLANTED, ids=lambda f: f"{f[0]}-{f[3][:24]}")
def test_finds_what_was_planted(fault: tuple[str, str, str, str], objects: dict[str, Path], tmp_path: Path) -> None:
    kind, *what = fault
    program = build(tmp_path, objects, (what[0], what[1], what[2]))
    done = run(program, seeds(tmp_path / "corpus"), tmp_path, LONG, kind)
    assert done.returncode != 0 and "violated" in done.stdout, f"nothing found in {fault}"


# ---- images, looked into without a mount ----

NAMES = ("a", "b", "c", "d", "L" * 255)
RESOLVE_IN_ROOT = 0x10


def words(rng: random.Random) -> str:
    """A path of a few names, now and then with a slash too many, or a name too long."""
    parts = [rng.choice((*NAMES, *NAMES, "..", ".", "", "..")) for _ in range(rng.randint(1, 6))]
    if rng.randrange(50) == 0:
        parts.append("L" * 256)
    return "/".join(parts) or "."


def fill(rng: random.Random, layer: Path, *, lowest: bool) -> None:
    """A random layer in overlayfs form. Each object has a time of its own, by which it is known again."""
    layer.mkdir()
    folders = [layer]
    made = [layer]
    for _ in range(rng.randint(1, 14)):
        path = rng.choice(folders) / rng.choice(NAMES)
        if os.path.lexists(path) or len(path.parts) - len(layer.parts) > 5:
            continue
        made.append(path)
        match rng.randrange(8):
            case 0 | 1 | 2:
                path.mkdir()
                folders.append(path)
                if not lowest and rng.randrange(4) == 0:
                    os.setxattr(path, "trusted.overlay.opaque", b"y")
            case 3:
                path.touch()
            case 4 if not lowest:
                os.mknod(path, stat.S_IFCHR, 0)
            case _:
                path.symlink_to(rng.choice(("", "", "/")) + words(rng))
    for path in reversed(made):
        when = rng.randrange(1 << 60)
        os.utime(path, ns=(when, when), follow_symlinks=False)


def mounted(layers: list[Path], place: Path) -> None:
    """The kernel's own view of the layers, the highest first."""
    # Without an upper layer, overlayfs wants two.
    lower = ":".join(str(layer) for layer in [*layers, place.parent / "empty"])
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"lowerdir={lower},index=off,metacopy=off,redirect_dir=nofollow"
    done = libc.mount(b"overlay", os.fsencode(place), b"overlay", 1, options.encode())
    assert done == 0, os.strerror(ctypes.get_errno())


MISSING = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)
TOO_MANY_LINKS = -1


def seen_by_kernel(root: int, path: str) -> int | None:
    """When what is there was last changed; None where nothing is."""
    while True:
        try:
            fd = openat2(root, path.lstrip("/") or ".", os.O_PATH, resolve=RESOLVE_IN_ROOT)
            break
        except BlockingIOError:  # something is renamed somewhere on this machine, openat2(2)
            continue
        except OSError as e:
            assert e.errno in (*MISSING, errno.ELOOP)
            return TOO_MANY_LINKS if e.errno == errno.ELOOP else None
    try:
        return os.fstat(fd).st_mtime_ns
    finally:
        os.close(fd)


def seen_by_us(view: OverlayView, path: str) -> int | None:
    """The same, by the code under test."""
    try:
        found = view.look_up("/" + path)
    except ImageError:
        return TOO_MANY_LINKS
    return found.stat.st_mtime_ns if found else None


def images(place: Path, seconds: float) -> int:
    """Compare look-ups in random images with the kernel's; how many found something."""
    seed = random.randrange(1 << 30)
    rng, begin, found = random.Random(seed), time.monotonic(), 0
    libc = ctypes.CDLL(None)
    for name in ("empty", "view"):
        (place / name).mkdir()
    number = 0
    while going_on(begin, seconds, found):
        number += 1
        layers = [place / f"{number}.{i}" for i in range(rng.randint(1, 3))]
        for layer in layers:
            fill(rng, layer, lowest=layer is layers[-1])
        mounted(layers, place / "view")
        root = os.open(place / "view", os.O_PATH | os.O_DIRECTORY)
        try:
            for path in [words(rng) for _ in range(20)]:
                with OverlayView([str(layer) for layer in layers]) as view:
                    got = seen_by_us(view, path)
                    assert got == seen_by_kernel(root, path), "the kernel sees it otherwise"
                    found += got is not None
        except Exception as e:
            tree = subprocess.run(
                ["find", *layers, "-printf", "%H %y %P %l\n"], capture_output=True, text=True, check=True
            )
            said = f"seed {seed}, image {number}, {path!r}: {type(e).__name__}: {e}\n{tree.stdout}"
            raise AssertionError(said.replace("L" * 255, "LONG")) from e
        finally:
            os.close(root)
            libc.umount2(os.fsencode(place / "view"), 2)
        subprocess.run(["rm", "-rf", *layers], check=True)
    return found


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs, which keeps every attribute, in a mount namespace of the test process's own."""
    cgroup2.enter()
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mount(b"tmpfs", os.fsencode(tmp_path), b"tmpfs", 0, None) == 0, os.strerror(ctypes.get_errno())
    yield tmp_path
    assert libc.umount2(os.fsencode(tmp_path), 2) == 0


def test_random_images(place: Path) -> None:
    assert images(place, SECONDS / 3) > 0


@pytest.mark.parametrize(
    ("name", "planted"),
    [
        ("OPAQUE", ("trusted.overlay.opaque2",)),
        ("_names", lambda path: [name for name in reversed(path.split("/")) if name not in ("", ".")]),
        ("LINKS_MAX", 3),
    ],
)
def test_finds_look_ups_that_go_wrong(place: Path, monkeypatch: pytest.MonkeyPatch, name: str, planted: object) -> None:
    monkeypatch.setattr(overlay_view, name, planted)
    with pytest.raises(AssertionError, match="seed"):
        images(place, LONG)
