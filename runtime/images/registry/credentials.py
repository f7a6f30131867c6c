"""Who to be at a registry: the credentials that `podman login` and `docker login` keep.

Files, the first that knows the registry decides: --authfile, else $REGISTRY_AUTH_FILE, else
$XDG_RUNTIME_DIR/containers/auth.json (/run/containers/UID/auth.json where that is not set),
~/.config/containers/auth.json, and $DOCKER_CONFIG/config.json or ~/.docker/config.json.
Source: containers-auth.json(5); docker-credential-helpers' protocol.

A credential helper is a program named by a file of the user's own. It is run, because registries of clouds have no
other way, but only from the folders of HELPERS, never as PATH says, and never because an image or registry asks for it.
"""

from __future__ import annotations

import base64
import errno
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from runtime.errors import ConfigError, HostError, SteleError, UsageError
from runtime.host.files import SETTINGS_MAX, dangles, read_settings
from runtime.host.processes import ask
from runtime.images.references import DOCKER_HUB

HELPERS = ("/usr/local/bin", "/usr/bin", "/usr/libexec/docker", "/opt/bin")
HELPER_SECONDS = 30
_HELPER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", re.ASCII)
_HUB_KEYS = ("https://index.docker.io/v1/", "index.docker.io", "registry-1.docker.io")


@dataclass(frozen=True, slots=True)
class Credentials:
    """A name and password, or an identity token to be exchanged. Not printed by repr."""

    user: str
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The value of an Authorization header, RFC 7617."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


Helper = Callable[[str, str], Credentials | None]
"""Called with the helper's name and the registry."""


def from_option(text: str) -> Credentials:
    """--creds USER:PASSWORD. Raises: UsageError."""
    user, colon, password = text.partition(":")
    if not user or not colon:
        raise UsageError("--creds: write USER:PASSWORD")
    return Credentials(user, password)


def find(registry: str, repository: str, authfile: str = "") -> Credentials | None:
    """The credentials for a repository, or None to be nobody. Raises: ConfigError, HostError, SteleError."""
    for path in files(authfile):
        document = _read(path, must=bool(authfile))
        found = search(document, registry, repository, path, ask_helper) if document else None
        if found:
            return found
    return None


def files(authfile: str = "", environment: Mapping[str, str] = os.environ) -> list[str]:
    """Where credentials are looked for, in order."""
    given = authfile or environment.get("REGISTRY_AUTH_FILE", "")
    if given:
        return [given]
    uid = os.geteuid()
    home = environment.get("HOME") or "/root" if uid == 0 else environment.get("HOME", "")
    runtime_dir = environment.get("XDG_RUNTIME_DIR", "")
    found = [f"{runtime_dir}/containers/auth.json" if runtime_dir else f"/run/containers/{uid}/auth.json"]
    config_home = environment.get("XDG_CONFIG_HOME") or (f"{home}/.config" if home else "")
    if config_home:
        found.append(f"{config_home}/containers/auth.json")
    docker = environment.get("DOCKER_CONFIG") or (f"{home}/.docker" if home else "")
    if docker:
        found.append(f"{docker}/config.json")
    return found


def search(
    document: Mapping[str, Any], registry: str, repository: str, path: str, helper: Helper
) -> Credentials | None:
    """What one file says: its own helper for the registry, an entry, the longest name first, or the general helper."""
    keys = _keys(registry, repository)
    helpers = _table(document, "credHelpers", path)
    for key in (registry, *(_HUB_KEYS if registry == DOCKER_HUB else ())):
        if isinstance(helpers.get(key), str):
            return helper(helpers[key], key)
    auths = _table(document, "auths", path)
    by_key = {_normal(key): (key, value) for key, value in auths.items()}
    for key in keys:
        if key in by_key:
            written, entry = by_key[key]
            found = _entry(entry, f'{path}: auths["{written}"]')
            if found:
                return found
    general = document.get("credsStore")
    if isinstance(general, str) and general:
        return helper(general, _HUB_KEYS[0] if registry == DOCKER_HUB else registry)
    return None


def ask_helper(name: str, registry: str) -> Credentials | None:
    """Run docker-credential-NAME get, the registry on its stdin. None: it has none. Raises: SteleError, HostError."""
    import subprocess

    if not _HELPER.fullmatch(name):
        raise SteleError(f"credential helper {ascii(name)[:80]}: it may hold A-Z a-z 0-9 . _ - only")
    program = next((p for d in HELPERS if os.access(p := f"{d}/docker-credential-{name}", os.X_OK)), "")
    if not program:
        raise HostError(f'credential helper "docker-credential-{name}" is in none of {", ".join(HELPERS)}')
    try:
        status, out, _ = ask([program, "get"], text=registry.encode(), timeout=HELPER_SECONDS)
    except subprocess.TimeoutExpired:
        raise HostError(f'credential helper "{program}" gave no answer in {HELPER_SECONDS} s') from None
    text = out[:SETTINGS_MAX].decode("utf-8", "replace")
    if status:
        if "credentials not found" in text:
            return None
        raise HostError(f'credential helper "{program}" failed for "{registry}": {ascii(text.strip())[:200]}')
    try:
        answer = json.loads(text)
        user, secret = answer["Username"], answer["Secret"]
    except (ValueError, KeyError, TypeError, RecursionError):
        user = secret = None
    if not isinstance(user, str) or not isinstance(secret, str):
        raise HostError(f'credential helper "{program}" answered "{registry}" with no Username and Secret')
    return Credentials("", identity_token=secret) if user == "<token>" else Credentials(user, secret)


def _keys(registry: str, repository: str) -> list[str]:
    """The names of entries that apply, the most specific first."""
    parts = repository.split("/")
    found = ["/".join([registry, *parts[:n]]) for n in range(len(parts), -1, -1)]
    return [*found, "index.docker.io", "registry-1.docker.io"] if registry == DOCKER_HUB else found


def _normal(key: str) -> str:
    """docker login writes a URL for some registries; only its host counts, as for Docker."""
    for scheme in ("https://", "http://"):
        if key.startswith(scheme):
            return key.removeprefix(scheme).partition("/")[0]
    return key.rstrip("/")


def _entry(entry: Any, path: str) -> Credentials | None:
    """An entry of auths; an empty one says that a helper has it."""
    if not isinstance(entry, dict):
        raise ConfigError(path, "it must be an object")
    token = entry.get("identitytoken")
    if isinstance(token, str) and token:
        return Credentials("", identity_token=token)
    text = entry.get("auth")
    if not text and isinstance(entry.get("username"), str) and isinstance(entry.get("password"), str):
        return Credentials(entry["username"], entry["password"])
    if not text:
        return None
    try:
        user, colon, password = base64.b64decode(text, validate=True).decode().partition(":")
    except (ValueError, TypeError):
        user, colon, password = "", "", ""
    if not colon or not user:
        raise ConfigError(f"{path}.auth", "it is not the base64 of USER:PASSWORD; log in again")
    return Credentials(user, password.rstrip("\0"))


def _table(document: Mapping[str, Any], key: str, path: str) -> Mapping[str, Any]:
    value = document.get(key) or {}
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: {key}", "it must be an object")
    return value


def _read(path: str, *, must: bool) -> dict[str, Any] | None:
    try:
        data = read_settings(path, "auth file")
    except HostError as e:
        if not must and e.errno in (errno.ENOENT, errno.ENOTDIR) and not dangles(path):
            return None
        raise
    try:
        document = json.loads(data) if data.strip() else {}
    except (ValueError, RecursionError) as e:
        raise ConfigError(path, f"it is not JSON: {e}") from None
    if not isinstance(document, dict):
        raise ConfigError(path, "it must be an object")
    return document
