"""Whether layers are what the images' configs say, and unpacked ones still what their blobs say: these are unpacked
once more, and the two are compared."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice

from runtime.errors import SteleError
from runtime.images import model
from runtime.images.model import Descriptor, ImageError
from runtime.images.store.flatten import directory
from runtime.images.store.graph import documents
from runtime.images.store.layers import Work, all_at_once, beside, prove
from runtime.images.store.limits import load
from runtime.images.store.store import ImageStore
from runtime.images.store.verify import Fault

REPORTED_MAX = 10
"""Differences reported for one layer."""
PIECE = 1 << 20
HOSTS = ("security.selinux", "security.ima", "security.evm")
"""Attributes that the host's own policy gives a file."""


def faults(store: ImageStore, images: Iterable[str], damaged: Iterable[str] = ()) -> list[Fault]:
    """What is other than it was unpacked.

    Args:
        images: digests of manifests or indexes; what is broken of them is left out.
        damaged: digests of blobs that nothing can be compared with.
    Returns:
        faults by diff_id.
    Raises:
        HostError: the disk has no room for the largest layer once more, or is read-only.
    """
    store.check_writable()  # each is unpacked once more there
    found: list[Fault] = []
    bad = set(damaged)
    layers: dict[str, dict[str, Descriptor]] = {}
    for image in images:
        for diff_id, layer in _layers(store, image):
            if layer.digest not in bad:
                layers.setdefault(diff_id, {})[layer.digest] = layer
    all_at_once(
        [
            (max(layer.size for layer in blobs.values()), partial(_check, store, [*blobs.values()], diff_id, found))
            for diff_id, blobs in layers.items()
        ]
    )
    return sorted(found, key=lambda fault: fault.digest)


def _layers(store: ImageStore, image: str) -> Iterator[tuple[str, Descriptor]]:
    """The diff_ids of an image, each with its layer."""
    layers: tuple[Descriptor, ...] = ()
    try:
        for _, parsed in documents(store, image, ""):
            if isinstance(parsed, model.Manifest):
                layers = parsed.layers
            elif isinstance(parsed, model.ImageConfig):
                yield from zip(parsed.diff_ids, layers, strict=True)
    except SteleError:
        return  # of this the other checks tell


def _check(store: ImageStore, blobs: list[Descriptor], diff_id: str, found: list[Fault], work: Work) -> None:
    """All blobs that claim one diff_id: the tree is compared with the first that has it, the others are only hashed."""
    place, budget = os.path.dirname(store.tree(diff_id)), load(store.path)
    compare = os.path.isdir(store.tree(diff_id))
    for layer in blobs:
        try:
            if not compare:
                prove(store, layer, diff_id, budget, work)
                continue
            with beside(store, layer, diff_id, work) as (tree, again):
                told = list(islice(differences(tree, again), REPORTED_MAX))
        except ImageError as e:
            found.append(Fault(layer.digest, str(e)))
            continue
        compare = False
        found += [Fault(diff_id, f"{place}: {words}; remove this folder, and it is unpacked again") for words in told]


def differences(tree: int, right: int) -> Iterator[str]:
    """In which a tree differs from another that is right: sentences, each of one file.

    Args:
        tree, right: directories' fds.
    """
    pending, links = [""], dict[int, int]()
    yield from _told(".", _attributes(tree, ".", os.fstat(tree)), _attributes(right, ".", os.fstat(right)))
    while pending:
        path = pending.pop()
        with directory(tree, path) as one, directory(right, path) as other:
            there, wanted = set(os.listdir(one)), set(os.listdir(other))
            for name in sorted(there | wanted):
                whole = f"{path}/{name}" if path else name
                if name not in there or name not in wanted:
                    yield f"{whole!a} is {'not in the layer' if name in there else 'missing'}"
                    continue
                a, b = (os.stat(name, dir_fd=fd, follow_symlinks=False) for fd in (one, other))
                told = list(_told(whole, _attributes(one, name, a), _attributes(other, name, b)))
                yield from told
                if stat.S_ISDIR(a.st_mode) and stat.S_ISDIR(b.st_mode):
                    pending.append(whole)
                elif links.setdefault(b.st_ino, a.st_ino) != a.st_ino or a.st_nlink != b.st_nlink:
                    yield f"{whole!a}: it has other hard links"
                elif stat.S_ISREG(b.st_mode) and not told and not _same_content(one, other, name):
                    yield f"{whole!a}: it has another content"


def _told(path: str, a: dict[str, object], b: dict[str, object]) -> Iterator[str]:
    wrong = [name for name in b if a[name] != b[name]]
    if wrong:
        yield f"{path!a}: it has another {', '.join(wrong)}"


def _attributes(directory_fd: int, name: str, found: os.stat_result) -> dict[str, object]:
    """All of a file but its content and its links."""
    path = f"/proc/self/fd/{directory_fd}/{name}"  # the name is in the last place, where no link is followed
    kind = stat.S_IFMT(found.st_mode)
    whiteout = kind == stat.S_IFCHR and found.st_rdev == 0
    return {
        "type": kind,
        "mode": stat.S_IMODE(found.st_mode),
        "owner": (found.st_uid, found.st_gid),
        "time": 0 if whiteout else found.st_mtime_ns,  # a whiteout is made when it is, and nobody sees it
        "size": found.st_size if kind == stat.S_IFREG else 0,
        "device": found.st_rdev,
        "target": os.readlink(name, dir_fd=directory_fd) if kind == stat.S_IFLNK else "",
        "attribute": {
            key: os.getxattr(path, key, follow_symlinks=False)
            for key in os.listxattr(path, follow_symlinks=False)
            if key not in HOSTS
        },
    }


def _same_content(one: int, other: int, name: str) -> bool:
    """Whether two files of the same size have the same bytes; holes that both have are passed over."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    a = os.open(name, flags, dir_fd=one)
    try:
        b = os.open(name, flags, dir_fd=other)
        try:
            size, at = os.fstat(b).st_size, 0
            while (at := min(_data(a, at, size), _data(b, at, size))) < size:
                left = os.pread(a, PIECE, at)
                if left != os.pread(b, PIECE, at):
                    return False
                at += len(left) or size
        finally:
            os.close(b)
    finally:
        os.close(a)
    return True


def _data(fd: int, at: int, size: int) -> int:
    """Where a file's data goes on behind a hole, its size if there is no more: SEEK_DATA, lseek(2)."""
    try:
        return os.lseek(fd, at, os.SEEK_DATA) if at < size else size
    except OSError as e:
        if e.errno != errno.ENXIO:
            raise
        return size
