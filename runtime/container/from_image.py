"""What a container made from an image needs in addition: a generated bundle, and a hold on the image in the store."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from runtime.container.state import Store, is_alive
from runtime.errors import HostError, SteleError
from runtime.host.files import inode_of, write_all
from runtime.host.interrupt import waiting
from runtime.plan.steps import UPPER_DIRECTORY

if TYPE_CHECKING:
    from runtime.images.run.prepare import FromImage

BUNDLE, FILES, ROOTFS = "bundle", "files", "rootfs"


@contextlib.contextmanager
def own_upper(image: FromImage | None, store: Store) -> Iterator[dict[str, str]]:
    """Yield the record's `image` field, holding a lock on the upper layer until the record is written.

    Two overlays on one upper layer would corrupt it (overlayfs.rst, "Sharing and copying layers").

    Raises:
        HostError: a live container uses the upper layer.
    """
    if image is None:
        yield {}
        return
    told = {"store": image.store}
    if image.network:
        from runtime.host.veth import new_name

        told["veth"] = new_name()
    if image.root.upper != UPPER_DIRECTORY:
        yield told
        return
    path = image.root.directory
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as e:
        raise HostError(
            f'--upper "{path}": {os.strerror(e.errno or 0)}; name a directory that exists', e.errno or 0
        ) from e
    try:
        with waiting():
            fcntl.flock(fd, fcntl.LOCK_EX)
        found = os.fstat(fd)
        if inode_of(fd) != (image.root.device, image.root.inode):
            raise HostError(
                f'--upper "{path}": it was replaced by another directory meanwhile; do not rename it while a container is created',
                errno.ESTALE,
            )
        upper = f"{found.st_dev}:{found.st_ino}"
        for other in store.ids():
            with contextlib.suppress(SteleError):
                record = store.read(other)
                if record.image.get("upper") == upper and is_alive(record):
                    raise InUse(other)
        yield {**told, "upper": upper}
    except InUse as e:
        raise HostError(
            f'--upper "{path}": container "{e}" already uses it; give each container its own directory'
        ) from None
    finally:
        os.close(fd)


class InUse(Exception):
    """Another container uses the upper layer."""


def prepare(image: FromImage, container_id: str, root: str, directory: int, undo: contextlib.ExitStack) -> None:
    """Hold the image and its volumes, and write the bundle into the container's state directory.

    Args:
        root: the container's --root.
        directory: the state directory's fd.
        undo: receives the release of the image, but only once it is held: releasing waits for the same lock.
    Raises:
        ImageError: the image is no longer in the store. OSError.
    """
    from runtime.images.run import hold

    use = hold.hold(image.store, container_id, root, image.chain, image.volumes)
    undo.callback(release, image.store, container_id, root)
    for name in (BUNDLE, f"{BUNDLE}/{ROOTFS}", f"{BUNDLE}/{FILES}"):
        os.mkdir(name, 0o755, dir_fd=directory)
    for name, content in image.files.items():
        _write(directory, f"{BUNDLE}/{FILES}/{name}", content)
    _write(directory, f"{BUNDLE}/config.json", json.dumps(image.config).encode())
    if use:
        _write(directory, hold.USE, use)


def release(store: str, container_id: str, root: str) -> None:
    """Let the store garbage-collect what the removed container used."""
    from runtime.images.run import hold

    hold.release(store, container_id, root)


def end_network(image: Mapping[str, str]) -> None:
    """Remove the host's end of a container's veth pair now; the kernel does it only some time after the namespace ends.

    Args:
        image: the `image` field of the container's record.
    """
    if image.get("veth"):
        from runtime.host.veth import remove_pair

        remove_pair(image["veth"])


def _write(directory: int, name: str, content: bytes) -> None:
    """Create a small file; no fsync, since it is only needed as long as the container's state."""
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=directory)
    try:
        write_all(fd, content)
    finally:
        os.close(fd)
