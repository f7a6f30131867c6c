"""What containers use of the store, as their records say."""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any

from runtime.images.model import DIGEST, ImageError
from runtime.images.store.store import ImageStore

USE = "bundle/use.json"
"""Of a container's state: what it uses of a store that was read-only when it was created."""


def uses(store: ImageStore) -> dict[str, dict[str, Any]]:
    """File name to content of each container's use. A damaged one is an error: what it held is not known."""
    names = [name for name in store.entries("uses") if not name.startswith(".")]
    return {name: _use(f"{store.path}/uses/{name}") for name in names}


def used_below(root: str, store: str) -> set[str]:
    """Digests that the containers of a --root use of a store which was read-only when they were created."""
    found: set[str] = set()
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(root):
            path = f"{root}/{name}/{USE}"
            if os.path.exists(path) and (use := _use(path))["store"] == store:
                found.update(use["chain"])
    return found


def _use(path: str) -> dict[str, Any]:
    try:
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), "rb") as file:
            use: dict[str, Any] = json.loads(file.read().decode("utf-8"))
        if not all(DIGEST.fullmatch(digest) for digest in use["chain"]):
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise ImageError(f"{path} is damaged; if its container is gone, remove the file") from None
    return use
