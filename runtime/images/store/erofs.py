"""A whole image as one file: an erofs file system of its merged layers, mounted straight from the file.

<store>/erofs/<hex>.erofs, and beside it <hex>.json with what it must be: digest, size, and the fs-verity digest where
the store's file system has that. <hex> is of the layers' diff_ids, so images with the same layers share one.
With fs-verity the kernel checks each block as it is read; without it the whole file is hashed before its first mount
after a boot. Source: mkfs.erofs(1), Linux Documentation/filesystems/{erofs,fsverity}.rst.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass

from runtime.errors import HostError
from runtime.host import verity
from runtime.host.files import replace
from runtime.host.hashing import Sha256
from runtime.host.processes import ask
from runtime.images.model import ImageConfig, ImageError, Manifest
from runtime.images.store.files import locked, open_dir, remove_tree
from runtime.images.store.limits import load
from runtime.images.store.store import ImageStore

PLACE = "erofs"
PIECE = 1 << 20
ENTRY_MAX, SLACK = 16 << 10, 64 << 20
"""Bytes of one entry's inode, name and attributes, and of what else such a file system has, generously."""
RECORD_MAX = 1 << 20
MKFS = ("/usr/bin/mkfs.erofs", "/usr/sbin/mkfs.erofs", "/sbin/mkfs.erofs")


@dataclass(frozen=True, slots=True)
class Sealed:
    """One such file. digest: `sha256:...` of its bytes; verity: what FS_IOC_MEASURE_VERITY says, "" for none."""

    path: str
    digest: str
    size: int
    verity: str


def name_of(config: ImageConfig) -> str:
    """The hex name that the layers of an image give."""
    return Sha256(" ".join(config.diff_ids).encode()).hexdigest()


def sealed(store: ImageStore, config: ImageConfig) -> Sealed | None:
    """The file that stands for an image's layers, if there is one.

    Raises:
        ImageError: its record is damaged.
    """
    path = f"{store.path}/{PLACE}/{name_of(config)}"
    try:
        with open(f"{path}.json", "rb") as file:
            told = json.loads(file.read(RECORD_MAX).decode("utf-8"))
        return Sealed(f"{path}.erofs", str(told["digest"]), int(told["size"]), str(told["verity"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise ImageError(f"{path}.json is damaged; remove it, and the image is made again") from None


def seal(store: ImageStore, manifest: Manifest, config: ImageConfig) -> Sealed:
    """The file that stands for an image's layers, made if there is none.

    It is named by the diff_ids, so the caller has checked that the image's blobs have them (`layers.unpack_image`).

    Raises:
        HostError: mkfs.erofs is missing or failed, or the disk is full; nothing of it is left. ImageError: a layer
        is broken.
    """
    if store.read_only() and (known := sealed(store, config)):
        return known
    store.check_writable()
    place = store.directory(PLACE)
    with locked(place, "lock", stoppable=True):
        known = sealed(store, config)
        if known and os.path.exists(known.path):
            return known
        name = name_of(config)
        with _flat(store, place, manifest, name) as folder:
            temporary = f".{name}.new"
            remove_tree(place, temporary)
            try:
                _make(folder, f"{store.path}/{PLACE}/{temporary}", name, load(store.path).bytes)
                made = _finish(place, temporary, f"{store.path}/{PLACE}/{name}.erofs")
                os.rename(temporary, f"{name}.erofs", src_dir_fd=place, dst_dir_fd=place)
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=place)
                raise
        record = {"digest": made.digest, "size": made.size, "verity": made.verity, "layers": config.diff_ids}
        replace(place, f"{name}.json", json.dumps(record).encode())
        return made


def check(found: Sealed, cache: str) -> None:
    """See that the file is what was recorded: by its fs-verity digest when it is mounted, else by hashing it here.

    Args:
        cache: a directory that is new after each boot: a file that was hashed and has not changed since is believed.
    Raises:
        ImageError: it is another.
    """
    if found.verity:
        return
    with open(found.path, "rb", buffering=0) as file:
        told = os.fstat(file.fileno())
        seen = f"{told.st_dev} {told.st_ino} {told.st_size} {told.st_mtime_ns} {told.st_ctime_ns} {found.digest}"
        mark = f"{cache}/erofs-{found.digest.removeprefix('sha256:')}"
        with contextlib.suppress(OSError), open(mark, "rb") as known:
            if known.read(RECORD_MAX) == seen.encode():
                return
        if told.st_size != found.size or _hash(file.fileno()) != found.digest:
            raise ImageError(f"{found.path} is not what was made: its digest differs from {found.digest}; remove it")
    os.makedirs(cache, mode=0o700, exist_ok=True)
    with open(f"{mark}.{os.getpid()}", "wb") as new:
        new.write(seen.encode())
    os.rename(f"{mark}.{os.getpid()}", mark)


def collect(store: ImageStore, keep: set[str], limit: float) -> int:
    """Remove the files of images that need a layer which nobody needs any more; what has one mounted keeps it.

    Args:
        keep: digests that are needed. limit: younger ones stay, seconds since the epoch.
    Returns:
        bytes.
    """
    place = store.directory(PLACE)
    size = 0
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(locked(place, "lock", wait=False))
        except BlockingIOError:
            return 0  # somebody makes one, which takes long; the store, which gc has locked, is not to stand still meanwhile
        names = os.listdir(place)
        for name in [n for n in names if n.startswith(".")]:
            remove_tree(place, name)  # of a maker who was killed: the lock is ours
        for name in [n.removesuffix(".json") for n in names if n.endswith(".json") and not n.startswith(".")]:
            with open(f"{store.path}/{PLACE}/{name}.json", "rb") as file:
                old = os.fstat(file.fileno()).st_mtime < limit
                layers = _layers(file.read(RECORD_MAX))
            if not old or (layers and keep.issuperset(layers)):
                continue
            os.unlink(f"{name}.json", dir_fd=place)
            with contextlib.suppress(FileNotFoundError):
                size += os.stat(f"{name}.erofs", dir_fd=place).st_size
                os.unlink(f"{name}.erofs", dir_fd=place)
    return size


def faults(store: ImageStore, config: ImageConfig | None = None) -> list[tuple[str, str]]:
    """Hash every file again, or that of one image: of those that are not what was made, the recorded digest and words."""
    found = []
    for name in sorted(n.removesuffix(".json") for n in store.entries(PLACE) if n.endswith(".json") and n[0] != "."):
        if config is not None and name != name_of(config):
            continue
        path = f"{store.path}/{PLACE}/{name}"
        try:
            with open(f"{path}.json", "rb") as record, open(f"{path}.erofs", "rb", buffering=0) as file:
                told = json.loads(record.read(RECORD_MAX).decode("utf-8"))
                digest = str(told["digest"])
                if _hash(file.fileno()) == digest and verity.measure(file.fileno()) == told["verity"]:
                    continue
        except (OSError, ValueError, KeyError, TypeError):
            digest = ""
        found.append((digest, f"{path}.erofs is not what was made; remove it and its .json, and it is made again"))
    return found


def _layers(record: bytes) -> list[str]:
    """The diff_ids that a record names; [] for a damaged one."""
    try:
        return [str(digest) for digest in json.loads(record.decode("utf-8"))["layers"]]
    except (ValueError, KeyError, TypeError):
        return []


@contextlib.contextmanager
def _flat(store: ImageStore, place: int, manifest: Manifest, name: str) -> Iterator[str]:
    """The image's merged tree in a folder of its own, gone afterwards; its path."""
    from runtime.images.store.layers import unpack_to

    folder = f".{name}.tree"
    remove_tree(place, folder)
    os.mkdir(folder, 0o755, dir_fd=place)
    try:
        fd = open_dir(folder, place)
        try:
            unpack_to(store, manifest, fd)
        finally:
            os.close(fd)
        yield f"{store.path}/{PLACE}/{folder}"
    finally:
        remove_tree(place, folder)


def _apparent(folder: str, limit: int) -> tuple[int, int]:
    """Bytes of all files, holes included, and how many entries there are.

    mkfs.erofs writes holes out, so a small archive can become any size.
    Raises:
        ImageError: more than the limit. OSError: the tree cannot be read.
    """

    def fail(error: OSError) -> None:
        raise error

    size, entries, seen = 0, 0, set[int]()
    for path, folders, files in os.walk(folder, onerror=fail):
        entries += len(folders) + len(files)
        for name in files:
            told = os.lstat(f"{path}/{name}")
            if told.st_ino not in seen:
                size += told.st_size
            if told.st_nlink > 1:
                seen.add(told.st_ino)
    if size > limit:
        raise ImageError(
            f"the image's files have {size} bytes, holes included, and one file system of at most {limit} is made; "
            "use --rootfs overlay, or raise bytes in the store's limits.json"
        )
    return size, entries


def _make(folder: str, target: str, name: str, limit: int) -> None:
    """Run mkfs.erofs. Uncompressed: its pages are shared and read like any file's.

    It ends with us, however we end, and cannot write more than such a file system may need.
    """
    program = next(filter(os.path.exists, MKFS), "")
    if not program:
        raise HostError("mkfs.erofs is missing on this host; install it (package erofs-utils), or use --rootfs overlay")
    size, entries = _apparent(folder, limit)
    most = 2 * size + entries * ENTRY_MAX + SLACK
    uuid = f"{name[:8]}-{name[8:12]}-{name[12:16]}-{name[16:20]}-{name[20:32]}"
    command = [program, "--quiet", "--preserve-mtime", f"-U{uuid}", target, folder]
    status, out, _ = ask(command, env={}, together=True, file_max=most)
    if status:
        said = out.decode("utf-8", "replace").strip()
        raise HostError(f"mkfs.erofs failed (exit status {status}): {said[-300:] or 'it says nothing'}")


def _finish(place: int, name: str, path: str) -> Sealed:
    """Make it durable, hash it, and let the kernel guard it where it can."""
    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=place)
    try:
        os.fchmod(fd, 0o400)
        os.fsync(fd)
        digest = _hash(fd)
        return Sealed(path, digest, os.fstat(fd).st_size, verity.enable(fd))
    finally:
        os.close(fd)


def _hash(fd: int) -> str:
    found = Sha256()
    at = 0
    while piece := os.pread(fd, PIECE, at):
        found.update(piece)
        at += len(piece)
    return "sha256:" + found.hexdigest()
