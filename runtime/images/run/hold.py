"""What each container uses of the store: written down before it is made, so that `gc` leaves it, and forgotten after it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from runtime.host.hashing import Sha256
from runtime.images.model import ImageError, check_digest
from runtime.images.store.store import ImageStore
from runtime.images.store.uses import USE as USE


def hold(
    store_path: str,
    container_id: str,
    root: str,
    chain: Sequence[str],
    volumes: Mapping[str, tuple[int, int, int]] | None = None,
) -> bytes:
    """Write down what a container uses; `gc` leaves it until `release`, or until the container's state is gone.

    Args:
        root: the --root that has the container's state, at <root>/<container_id>.
        chain: digests of manifest, config, and diff_ids of layers.
        volumes: names to owner, group and mode; those that are not there are made.
    Returns:
        what is to be kept as `USE` of the container's state, because the store is read-only; else b"".
    Raises:
        ImageError: one of them is neither a blob nor an unpacked layer here any more.
    """
    with closing(ImageStore(store_path)) as store:
        use: dict[str, Any] = {"id": container_id, "root": os.path.abspath(root), "chain": list(chain)}
        if volumes:
            from runtime.images.store.volumes import make

            use["volumes"] = list(volumes)
        if store.read_only():
            _check_chain(store, container_id, chain)
            for name in volumes or ():
                if not os.path.isdir(f"{store.path}/volumes/{name}"):
                    store.check_writable()
            return json.dumps({**use, "store": store.path}).encode()
        with store.locked(stoppable=True):
            _check_chain(store, container_id, chain)
            for name, (uid, gid, mode) in (volumes or {}).items():
                make(store, name, uid, gid, mode)
            # A container does not outlive the host's crash, so neither need this; an fsync would be the half of a start.
            data = json.dumps(use).encode()
            store.replace("uses", _use_name(container_id, root), data, durable=False)
            return b""


def _check_chain(store: ImageStore, container_id: str, chain: Sequence[str]) -> None:
    for digest in chain:
        check_digest(digest, f"container {container_id}")
        stack = f"{store.path}/stacks/{digest.removeprefix('sha256:')}"
        if not store.has_blob(digest) and not any(map(os.path.isdir, (store.tree(digest), stack))):
            raise ImageError(f"{digest} is not in the store {store.path} any more; create the container again")


def release(store_path: str, container_id: str, root: str | None = None) -> None:
    """Forget what a container uses; nothing if nothing is known of it.

    Args:
        root: its --root; None for the containers of this id below any.
    """
    with closing(ImageStore(store_path)) as store:
        if store.read_only() or not os.path.isdir(f"{store.path}/uses"):  # as where its disk is not mounted any more
            return
        uses = store.directory("uses")
        with store.locked():
            if root is not None:
                wanted = [_use_name(container_id, root)]
            else:
                wanted = [name for name in os.listdir(uses) if name.rpartition("@")[0] == container_id]
            for name in wanted:
                try:
                    os.unlink(name, dir_fd=uses)
                except FileNotFoundError:
                    pass


def _use_name(container_id: str, root: str) -> str:
    """A file name: container ids have no "@" and no "/"."""
    return f"{container_id}@{Sha256(os.path.abspath(root).encode()).hexdigest()[:16]}"
