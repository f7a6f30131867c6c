"""The directories that overlayfs mounts for an image: its layers' trees, and perhaps one of directories above them.

A layer is unpacked by itself, but a directory that only the paths of its entries imply is, for other readers, the one that
the layers below have: with its mode, owner, times and attributes. The tree on top of the stack has those directories as they
are to be seen. A layer that makes the root opaque ends the stack. Source: image-spec layer.md, "Applying Changesets".

It is kept at <store>/stacks/<hex of all diff_ids>/: `layers` is the number of layers in it, `tree` the directories.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from runtime.host.files import replace
from runtime.host.shim import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV, openat2
from runtime.host.trees import open_dir, remove_tree
from runtime.images.model import LAYERS_MAX, ImageConfig, ImageError
from runtime.images.store.contents import RECORD, STACKS, TREE, Contents, stack_id
from runtime.images.store.flatten import copy_attributes
from runtime.images.store.overlay_view import is_opaque


def make(store: Contents, config: ImageConfig, implied: Sequence[Iterable[str]]) -> list[str]:
    """The stack, made if it is missing.

    Args:
        implied: for each layer, the directories that none of its entries describes.
    Raises:
        ImageError: it has more directories than overlayfs takes.
    """
    with _locked(store.directory(STACKS), stack_id(config.diff_ids).removeprefix("sha256:")) as lock:
        os.utime(lock)
        known = store.stack(config)
        if known is not None:
            return known
        with _Layers(store.trees(config), implied) as layers:
            wanted = layers.wrong()
            if wanted and layers.seen == LAYERS_MAX:
                raise ImageError(
                    f"the image has {LAYERS_MAX} layers and directories that need another; squash some layers"
                )
            for old in (NEW, TREE):
                remove_tree(lock, old)
            if wanted or not layers.fds:
                os.mkdir(NEW, 0o755, dir_fd=lock)
                new = open_dir(NEW, lock)
                try:
                    layers.write(wanted, new)
                finally:
                    os.close(new)
                os.rename(NEW, TREE, src_dir_fd=lock, dst_dir_fd=lock)
            os.fsync(lock)
            replace(lock, RECORD, str(layers.seen).encode())
        made = store.stack(config)
        assert made is not None
        return made


NEW = "new"


@contextlib.contextmanager
def _locked(place: int, name: str) -> Iterator[int]:
    while True:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=place)
        try:
            lock = open_dir(name, place)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if os.fstat(lock).st_nlink:  # else it was removed while we waited
                yield lock
                return
        finally:
            os.close(lock)


def collect(store: Contents, keep: set[str], limit: float) -> None:
    """Remove the stacks that nothing needs; the store's lock is held.

    Args:
        keep: stack IDs. limit: younger ones stay, seconds since the epoch.
    """
    place = store.directory(STACKS)
    for name in os.listdir(place):
        if f"sha256:{name}" in keep:
            continue
        lock = open_dir(name, place)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(lock).st_mtime < limit:
                remove_tree(lock, RECORD)  # first: without it the rest is nothing
                remove_tree(place, name)
        except BlockingIOError:
            pass
        finally:
            os.close(lock)


@dataclass(frozen=True, slots=True)
class _Look:
    """What a layer has at a path. there: a directory. ends: what the layers below have there is hidden, or not merged."""

    there: bool
    ends: bool
    opaque: bool = False


class _Layers:
    """Trees of layers, lowest first. seen: how many of them, from the highest one down to one that hides all below it."""

    def __init__(self, trees: Sequence[str], implied: Sequence[Iterable[str]]) -> None:
        self._open = contextlib.ExitStack()
        fds = []
        for path in trees:
            fds.append(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            self._open.callback(os.close, fds[-1])
        self.fds = fds
        self.seen = len(fds) - max((n for n, fd in enumerate(fds) if is_opaque(fd)), default=0)
        self._implied = [set(paths) for paths in implied]
        self._looks: dict[tuple[int, str], _Look] = {}

    def __enter__(self) -> _Layers:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def wrong(self) -> list[str]:
        """The directories that overlayfs would show as none of the image's entries describes them, parents first."""
        found = []
        for path in sorted(set[str]().union(*self._implied)):
            shown, right = self._sources(path)
            if shown != right and self._told(shown, path) != self._told(right, path):
                found.append(path)
        return found

    def write(self, paths: Iterable[str], target: int) -> None:
        """Make directories and all above them in the empty directory `target`, as they are to be seen."""
        if not self.fds:  # the root of an image without layers
            os.utime(target, (0, 0))
            return
        every = {""}
        for path in paths:
            every.update(path[:n] for n, c in enumerate(f"{path}/") if c == "/")
        for path in sorted(every - {""}):
            os.mkdir(path, 0o700, dir_fd=target)
        for path in sorted(every, reverse=True):  # what is made in a directory changes its time
            right = self._sources(path)[1]
            with self._directory(right, path) as above:
                below = open_dir(path or ".", target)
                try:
                    copy_attributes(above, below, os.fstat(above))
                    os.fsync(below)
                finally:
                    os.close(below)

    def _sources(self, path: str) -> tuple[int, int]:
        """The layers whose directory overlayfs shows, and which one describes it; -1 and -1 if no directory is seen."""
        shown = right = -1
        for number in range(len(self.fds) - 1, -1, -1):
            look = self._look(number, path)
            if look.there:
                shown, right = max(shown, number), number
            if look.ends or (look.there and path not in self._implied[number]):
                break
        return shown, right

    def _look(self, number: int, path: str) -> _Look:
        known = self._looks.get((number, path))
        if known is None:
            known = self._looks[number, path] = self._look_anew(number, path)
        return known

    def _look_anew(self, number: int, path: str) -> _Look:
        ends = False
        if path:
            above = self._look(number, path.rpartition("/")[0])
            ends = above.ends or above.opaque
            if not above.there:
                return _Look(there=False, ends=ends)
        try:
            with self._directory(number, path) as fd:
                return _Look(there=True, ends=ends, opaque=is_opaque(fd))
        except OSError as e:
            if e.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
            return _Look(there=False, ends=ends or e.errno != errno.ENOENT)  # a whiteout, file or link ends it

    def _told(self, number: int, path: str) -> tuple[object, ...]:
        with self._directory(number, path) as fd:
            found = os.fstat(fd)
            attributes = {name: os.getxattr(fd, name) for name in os.listxattr(fd) if ".overlay." not in name}
            return found.st_mode, found.st_uid, found.st_gid, found.st_mtime_ns, attributes

    @contextlib.contextmanager
    def _directory(self, number: int, path: str) -> Iterator[int]:
        resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV
        fd = openat2(self.fds[number], path or ".", os.O_RDONLY | os.O_DIRECTORY, resolve=resolve)
        try:
            yield fd
        finally:
            os.close(fd)
