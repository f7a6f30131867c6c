"""`login` and `logout`: check credentials at a registry, and keep them in the auth file that Podman reads, too.

Source: containers-auth.json(5).
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from typing import Any

from runtime.errors import ConfigError, HostError, UsageError
from runtime.host.files import read_settings, replace
from runtime.images.references import DOCKER_HUB, HOST, Reference
from runtime.images.registry import credentials
from runtime.images.registry.credentials import Credentials
from runtime.images.registry.repository import Access, Repository


def check_registry(text: str) -> str:
    """Return the registry as auth files name it. Raises UsageError: it is not HOST or HOST:PORT."""
    name = text.removeprefix("https://").rstrip("/").lower()
    if not HOST.fullmatch(name):
        raise UsageError(f'registry "{text[:100]}": write its host, or host:port, without a path')
    return DOCKER_HUB if name in ("index.docker.io", "registry-1.docker.io") else name


def verify(registry: str, access: Access) -> None:
    """Raise SteleError unless the registry takes the credentials of `access`."""
    repository = Repository(Reference(registry, ""), access)
    try:
        repository.ping()
    finally:
        repository.close()


def keep(registry: str, found: Credentials, authfile: str = "") -> str:
    """Write the credentials to the auth file; returns its path. Raises: HostError, ConfigError."""
    with _changed(authfile) as (path, auths):
        auths[registry] = {"auth": found.basic.removeprefix("Basic ")}
    return path


def forget(registry: str, authfile: str = "") -> tuple[str, bool]:
    """Remove a registry's credentials; returns the file's path, and whether it had them."""
    with _changed(authfile) as (path, auths):
        had = auths.pop(registry, None) is not None
    return path, had


@contextlib.contextmanager
def _changed(authfile: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The path and the "auths" of the auth file, which is replaced if the body succeeds; the rest of it stays."""
    import fcntl

    path = os.path.abspath(credentials.files(authfile)[0])
    folder, name = os.path.split(os.path.realpath(path))
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as e:
        raise HostError(
            f'auth file "{path}": cannot write it: {os.strerror(e.errno or 0)}; name another with --authfile'
        ) from e
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        document: Any = {}
        if os.path.exists(path):
            try:
                document = json.loads(read_settings(path, "auth file") or b"{}")
            except (ValueError, RecursionError) as e:
                raise ConfigError(path, f"it is not JSON: {e}; correct or remove it") from None
        auths = document.setdefault("auths", {}) if isinstance(document, dict) else None
        if not isinstance(auths, dict):
            raise ConfigError(path, 'it and its "auths" must be objects; correct or remove it')
        yield path, auths
        replace(directory, name, json.dumps(document, indent="\t").encode() + b"\n")
    except OSError as e:
        raise HostError(f'auth file "{path}": cannot write it: {os.strerror(e.errno or 0)}', e.errno or 0) from e
    finally:
        os.close(directory)
