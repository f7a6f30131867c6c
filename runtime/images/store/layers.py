"""Layers become trees of files: <store>/layers/sha256/<hex of diff_id>/tree, each unpacked once for all images.

The directory <hex> is the layer's lock. Its `new` is a tree that is being made or removed, and is never believed;
`tree` is whole, durable, and verified against the diff_id while it was made. `implied` names those of its directories that
no entry describes (make_stack.py). Beside it, a link to `tree` that is named
by the hex of a blob's digest records that this blob was unpacked or hashed and has the diff_id. Without that record an
image's config could claim the diff_id of another image's layer, and run its tree.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from queue import Empty, SimpleQueue

from runtime.errors import HostError
from runtime.host.files import replace
from runtime.host.hashing import Sha256
from runtime.host.interrupt import waiting
from runtime.host.shim import RESOLVE_IN_ROOT, openat2
from runtime.host.trees import open_dir, remove_tree
from runtime.host.unpack import (
    LOWEST,
    Budget,
    LayerError,
    Unpacked,
    Unpacking,
    overlay_form,
)
from runtime.host.unpack import unpacked as plain_pieces
from runtime.images.model import Descriptor, ImageError, Manifest
from runtime.images.store import make_stack
from runtime.images.store.contents import LAYERS, TREE
from runtime.images.store.files import touch
from runtime.images.store.flatten import merge
from runtime.images.store.limits import load
from runtime.images.store.store import ImageStore

NEW, IMPLIED = "new", "implied"
WATCH_SECONDS = 0.2


def no_warning(_: str) -> None:
    """For callers to whom it does not matter what was left out."""


def unpack_image(
    store: ImageStore,
    manifest: Manifest,
    *,
    budget: Budget | None = None,
    cache: str = "",
    watch: Callable[[int, int], None] | None = None,
    warn: Callable[[str], None] = no_warning,
) -> list[str]:
    """The directories that overlayfs mounts for an image, lowest first (make_stack.py); what is missing is unpacked.

    A tree that another image's blob was unpacked to is used only once this image's blob was hashed, too.

    Args:
        budget: None for the store's own (runtime.images.store.limits).
        cache: directory that remembers such hashes for a store on a read-only file system; "" for none.
        watch: called about five times a second with the bytes of layers that are unpacked, and of all.
        warn: called once for a layer of which something was left out.
    Returns:
        absolute paths. `gc` leaves them for its grace period, and as long as `store.hold` names their diff_ids.
    Raises:
        ImageError: a layer is not there, damaged, hostile or beyond the budget; nothing of it is left.
        HostError: the kernel or the disk refuses; the same.
    """
    config = store.config(manifest)
    diff_ids = config.diff_ids
    budget = budget or load(store.path)
    pairs = {(diff_id, layer.digest): layer for diff_id, layer in zip(diff_ids, manifest.layers, strict=True)}
    if store.read_only():
        _prove_shipped(store, pairs, budget, cache)
        return store.stack(config) or store.trees(config)
    missing = {pair: layer for pair, layer in pairs.items() if not _wanted(store, *pair)}
    form = overlay_form()
    left_out: list[str] = []
    all_at_once(
        [
            (layer.size, partial(_ensure, store, layer, diff_id, form, budget, left_out))
            for (diff_id, _), layer in missing.items()
        ],
        watch,
    )
    for words in left_out:
        warn(words)
    implied = [_implied(store, diff_id) for diff_id in diff_ids]
    return make_stack.make(store, config, implied)


def _prove_shipped(store: ImageStore, pairs: dict[tuple[str, str], Descriptor], budget: Budget, cache: str) -> None:
    """Check the layers of a store that cannot be written. Raises: HostError: one is not unpacked."""
    lacking = {diff_id for diff_id, _ in pairs if not os.path.isdir(store.tree(diff_id))}
    if lacking:
        raise HostError(
            f"--store {store.path}: it is read-only, as its file system is, and {len(lacking)} of the image's layers are "
            "not unpacked in it; do that where it is made, by `stele image pull --unpack` or `import --unpack`",
            errno.EROFS,
        )
    unproven = {
        f"{cache}/layer-{diff_id.removeprefix('sha256:')}-{layer.digest.removeprefix('sha256:')}": (diff_id, layer)
        for (diff_id, _), layer in pairs.items()
        if not os.path.isdir(store.proof(diff_id, layer.digest))
    }
    if cache:
        unproven = {mark: pair for mark, pair in unproven.items() if not os.path.exists(mark)}
    all_at_once([(layer.size, partial(prove, store, layer, diff_id, budget)) for diff_id, layer in unproven.values()])
    if cache and unproven:
        os.makedirs(cache, mode=0o700, exist_ok=True)
        for mark in unproven:
            os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))


def unpack_to(
    store: ImageStore,
    manifest: Manifest,
    directory: int,
    *,
    budget: Budget | None = None,
    warn: Callable[[str], None] = no_warning,
) -> None:
    """Unpack an image flat into an empty directory, as an overlay of its layers would look.

    Args:
        directory: its fd, which stays the caller's.
        budget: None for the store's own.
        warn: as of `unpack_image`.
    Raises:
        ImageError, HostError: as `unpack_image`; the directory is empty again.
    """
    if os.listdir(directory):
        raise HostError(f'"{os.readlink(f"/proc/self/fd/{directory}")}" is not empty; unpack into a new directory')
    diff_ids = store.config(manifest).diff_ids
    form = overlay_form()
    budget = budget or load(store.path)
    # Beside what the lowest layer makes there, under a name that no layer can know.
    aside = f".stele-{os.urandom(16).hex()}"
    os.mkdir(aside, 0o700, dir_fd=directory)
    results: dict[int, Unpacked] = {}

    def unpack(number: int, work: Work) -> None:
        if number == 0:
            results[0] = _apply(store, manifest.layers[0], diff_ids[0], directory, LOWEST, budget, work, durable=False)
            return
        os.mkdir(f"{aside}/{number}", 0o700, dir_fd=directory)
        tree = open_dir(f"{aside}/{number}", directory)
        try:
            layer, diff_id = manifest.layers[number], diff_ids[number]
            results[number] = _apply(store, layer, diff_id, tree, form, budget, work, durable=False)
        finally:
            os.close(tree)

    try:
        all_at_once([(layer.size, partial(unpack, n)) for n, layer in enumerate(manifest.layers)])
        for number in range(1, len(manifest.layers)):
            tree = open_dir(f"{aside}/{number}", directory)
            try:
                done = results[number]
                merge(
                    tree,
                    directory,
                    whiteouts=done.whiteouts > 0,
                    implied=real_paths(tree, done.implied),
                    aside=aside,
                )
            finally:
                os.close(tree)
        root = os.fstat(directory)
        remove_tree(directory, aside)
        os.utime(directory, ns=(root.st_mtime_ns, root.st_mtime_ns))
        for number, layer in enumerate(manifest.layers):
            if results[number].left_out:
                warn(f"layer {layer.digest}: {results[number].left_out}")
    except BaseException:
        for name in os.listdir(directory):
            remove_tree(directory, name)
        raise


def real_paths(tree: int, paths: Iterable[str]) -> set[str]:
    """Paths of directories without the links in them."""
    root = os.readlink(f"/proc/self/fd/{tree}")
    found = set()
    for path in paths:
        fd = openat2(tree, path or ".", os.O_PATH | os.O_DIRECTORY, resolve=RESOLVE_IN_ROOT)
        try:
            found.add(os.readlink(f"/proc/self/fd/{fd}")[len(root) :].lstrip("/"))
        except OSError as e:
            if e.errno != errno.ENAMETOOLONG:  # so deep that no other path leads there
                raise
        finally:
            os.close(fd)
    return found


def _implied(store: ImageStore, diff_id: str) -> list[str]:
    """Those of a layer's directories that no entry describes; [] of a tree that stele 0.1.0 unpacked."""
    try:
        with open(f"{os.path.dirname(store.tree(diff_id))}/{IMPLIED}", "rb") as file:
            return [os.fsdecode(path) for path in file.read().split(b"\0")[:-1]]
    except FileNotFoundError:
        return []


def _record_implied(lock: int, tree: int, done: Unpacked) -> None:
    data = b"".join(os.fsencode(path) + b"\0" for path in sorted(real_paths(tree, done.implied)))
    if data:
        replace(lock, IMPLIED, data)


def unpacked(store: ImageStore) -> list[str]:
    """The diff_ids of all layers that have a place in the store."""
    return [f"sha256:{name}" for name in sorted(os.listdir(store.directory(LAYERS)))]


def remove(store: ImageStore, diff_id: str, *, older_than: float) -> bool:
    """Remove a layer's tree unless it was wanted since, or is being unpacked.

    Args:
        older_than: seconds since the epoch.
    Returns:
        whether it is gone.
    """
    place, name = store.directory(LAYERS), diff_id.removeprefix("sha256:")
    try:
        lock = open_dir(name, place)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(lock).st_mtime >= older_than:
            return False
        _remove_new(lock)
        with contextlib.suppress(FileNotFoundError):
            os.rename(TREE, NEW, src_dir_fd=lock, dst_dir_fd=lock)  # from here on it is not believed
        remove_tree(lock, NEW)
        _forget_pairs(lock)
        os.rmdir(name, dir_fd=place)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True


@contextlib.contextmanager
def _locked(store: ImageStore, diff_id: str) -> Iterator[int]:
    """The place of a layer, locked; its fd."""
    place, name = store.directory(LAYERS), diff_id.removeprefix("sha256:")
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


def _forget_pairs(lock: int) -> None:
    """Remove the records of a place whose tree is gone."""
    for name in os.listdir(lock):
        if name not in (TREE, NEW):
            os.unlink(name, dir_fd=lock)


def _remove_new(lock: int) -> None:
    """Remove what an interrupted process has left of a tree.

    The child that made it is killed with its parent, but a little later; until it is dead, it holds a lock on the
    directory (cshim/confined.c).
    """
    with contextlib.suppress(FileNotFoundError):
        new = open_dir(NEW, lock)
        try:
            fcntl.flock(new, fcntl.LOCK_EX)
        finally:
            os.close(new)
        remove_tree(lock, NEW)


def _wanted(store: ImageStore, diff_id: str, digest: str) -> bool:
    """Whether a blob's tree is there and proven; `gc` then leaves it for its grace period."""
    try:
        touch(diff_id.removeprefix("sha256:"), store.directory(LAYERS))
    except FileNotFoundError:
        return False
    return os.path.isdir(store.proof(diff_id, digest))


class Work:
    """Layers on their way, for one who would stop them all."""

    __slots__ = ("_done", "_lock", "_running", "_stopped")

    def __init__(self) -> None:
        self._lock, self._stopped, self._done = threading.Lock(), False, 0
        self._running: set[Unpacking] = set()

    def run(self, unpacking: Unpacking) -> Unpacked:
        with self._lock:
            self._running.add(unpacking)
            if self._stopped:
                unpacking.stop()
        try:
            return unpacking.run()
        finally:
            with self._lock:
                self._running.remove(unpacking)
                self._done += unpacking.size

    def read(self) -> int:
        """About how many bytes of the layers are read: those of finished ones, and what our children have read so far.

        The kernel counts what a process reads (proc(5), rchar of /proc/PID/io); each layer has a child of its own.
        """
        total = self._done
        with contextlib.suppress(OSError):
            for task in os.listdir("/proc/self/task"):
                with open(f"/proc/self/task/{task}/children") as file:
                    children = file.read().split()
                for child in children:
                    with open(f"/proc/{child}/io") as file:
                        total += int(file.readline().split()[1])
        return total

    def check(self) -> None:
        """Raises: HostError: all are to stop."""
        if self._stopped:
            raise HostError("interrupted", errno.ECANCELED)

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            for unpacking in self._running:
                unpacking.stop()


def all_at_once(
    jobs: list[tuple[int, Callable[[Work], None]]], watch: Callable[[int, int], None] | None = None
) -> None:
    """Run jobs, the largest first, as many at a time as there are processors; the first failure stops all.

    In threads even if there is one job: a signal's handler runs in the main thread, and only outside of C.

    Args:
        jobs: the bytes of each, and what to do.
        watch: as of `unpack_image`.
    """
    whole = sum(size for size, _ in jobs)
    work, failures = Work(), list[BaseException]()
    left: SimpleQueue[Callable[[Work], None]] = SimpleQueue()
    for _, job in sorted(jobs, key=lambda job: -job[0]):
        left.put(job)
    # Not Thread.join: once a signal's handler has raised in it, it takes the thread for ended (bpo-45274). And counted by
    # those that end: a handler may also raise when what one of them said is already taken off the queue.
    ended, over = SimpleQueue[None](), list[None]()

    def worker() -> None:
        try:
            while not failures:
                left.get_nowait()(work)
        except Empty:
            pass
        except BaseException as e:
            failures.append(e)
            work.stop()
        finally:
            over.append(None)
            ended.put(None)

    started = 0
    try:
        for _ in range(min(len(jobs), len(os.sched_getaffinity(0)))):
            threading.Thread(target=worker).start()
            started += 1
        with waiting():
            for _ in range(started):
                while True:
                    try:  # with a timeout: a signal that arrives just before the wait does not end it
                        ended.get(timeout=WATCH_SECONDS)
                        break
                    except Empty:
                        if watch:
                            watch(min(whole, work.read()), whole)
    except BaseException:
        failures.append(KeyboardInterrupt())  # no other job begins
        work.stop()
        while len(over) < started:
            ended.get()
        raise
    if failures:
        raise failures[0]


@contextlib.contextmanager
def beside(store: ImageStore, layer: Descriptor, diff_id: str, work: Work) -> Iterator[tuple[int, int]]:
    """A layer's tree, and the layer unpacked once more beside it, gone afterwards: fds of the two.

    Raises:
        ImageError, HostError: as `unpack_image`.
    """
    form = overlay_form()
    with _locked(store, diff_id) as lock, contextlib.ExitStack() as undo:
        _remove_new(lock)
        os.mkdir(NEW, 0o700, dir_fd=lock)
        undo.callback(remove_tree, lock, NEW)
        fds = [open_dir(name, lock) for name in (TREE, NEW)]
        for fd in fds:
            undo.callback(os.close, fd)
        _apply(store, layer, diff_id, fds[1], form, load(store.path), work, durable=False)
        yield fds[0], fds[1]


def _ensure(
    store: ImageStore,
    layer: Descriptor,
    diff_id: str,
    form: int,
    budget: Budget,
    left_out: list[str],
    work: Work,
) -> None:
    with _locked(store, diff_id) as lock:
        if os.path.isdir(store.tree(diff_id)):
            if not os.path.isdir(store.proof(diff_id, layer.digest)):
                prove(store, layer, diff_id, budget, work)
                _record_pair(lock, layer)
                os.fsync(lock)
            return
        _remove_new(lock)
        try:
            os.mkdir(NEW, 0o700, dir_fd=lock)
            tree = open_dir(NEW, lock)
            try:
                done = _apply(store, layer, diff_id, tree, form, budget, work, durable=True)
                _record_implied(lock, tree, done)
            finally:
                os.close(tree)
            if done.left_out:
                left_out.append(f"layer {layer.digest}: {done.left_out}")
            _record_pair(lock, layer)
            os.rename(NEW, TREE, src_dir_fd=lock, dst_dir_fd=lock)
            os.fsync(lock)
        except BaseException:
            remove_tree(lock, NEW)
            _forget_pairs(lock)
            # Empty, it means nothing; whoever waits for the lock sees that it is gone.
            os.rmdir(diff_id.removeprefix("sha256:"), dir_fd=store.directory(LAYERS))
            raise


def _record_pair(lock: int, layer: Descriptor) -> None:
    with contextlib.suppress(FileExistsError):  # of one who was killed before the tree had its name
        os.symlink(TREE, layer.digest.removeprefix("sha256:"), dir_fd=lock)


def prove(store: ImageStore, layer: Descriptor, diff_id: str, budget: Budget, work: Work) -> None:
    """Unpack a layer's blob to nowhere, and compare its plain digest.

    Raises:
        ImageError: it is not there, damaged, or not what the config says.
    """
    found = Sha256()
    blob = store.open_blob(layer.digest)
    try:
        for piece in plain_pieces(blob, budget):
            work.check()
            found.update(piece)
    except LayerError as e:
        raise ImageError(f"layer {layer.digest}: {e}") from e
    finally:
        os.close(blob)
    _check_diff_id(layer, f"sha256:{found.hexdigest()}", diff_id)


def _check_diff_id(layer: Descriptor, found: str, diff_id: str) -> None:
    if found != diff_id:
        raise ImageError(
            f"layer {layer.digest}: it unpacks to {found}, but the image's config has the diff_id {diff_id}; "
            "the image is broken, or the layer was damaged: remove the image and pull it again"
        )


def _apply(
    store: ImageStore,
    layer: Descriptor,
    diff_id: str,
    directory: int,
    form: int,
    budget: Budget,
    work: Work,
    *,
    durable: bool,
) -> Unpacked:
    blob = store.open_blob(layer.digest)
    try:
        done = work.run(Unpacking(blob, directory, form, budget, durable=durable))
    except LayerError as e:
        raise ImageError(f"layer {layer.digest}: {e}") from e
    except HostError as e:
        raise HostError(f"layer {layer.digest}: {e}", e.errno) from e
    finally:
        os.close(blob)
    _check_diff_id(layer, done.diff_id, diff_id)
    return done
