"""Where images come from: the registry that a name says, its mirrors, and which registries short names mean.

Source: containers-registries.conf(5), version 2, of which these are understood: unqualified-search-registries, [aliases],
[[registry]] with prefix, location, insecure, blocked, mirror-by-digest-only and [[registry.mirror]] (location, insecure,
pull-from-mirror). Other keys are left to the tools that know them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from runtime.errors import ConfigError, SteleError, UsageError
from runtime.host.files import read_settings
from runtime.images import references
from runtime.images.references import DOCKER_HUB, HOST, Reference

SYSTEM = "/etc/containers/registries.conf"
VENDOR = "/usr/share/containers/registries.conf"

By = Literal["all", "digest-only", "tag-only"]
_BY: dict[str, By] = {"all": "all", "digest-only": "digest-only", "tag-only": "tag-only"}


@dataclass(frozen=True, slots=True)
class Mirror:
    """location: host[:port][/path], which stands in the place of the registry's prefix."""

    location: str
    insecure: bool = False
    by: By = "all"


@dataclass(frozen=True, slots=True)
class Registry:
    """A rule for the images whose name begins with prefix; location: what to put in its place, "" to keep it."""

    prefix: str
    location: str = ""
    insecure: bool = False
    blocked: bool = False
    mirrors: tuple[Mirror, ...] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """One place to ask for an image, under the name that it has there."""

    reference: Reference
    insecure: bool = False


@dataclass(frozen=True, slots=True)
class Registries:
    """All rules. search: registries of names that name none."""

    search: tuple[str, ...] = (DOCKER_HUB,)
    aliases: Mapping[str, str] = field(default_factory=dict)
    rules: tuple[Registry, ...] = ()

    def parse(self, text: str) -> Reference:
        """A person's name of an image. Raises: UsageError."""
        return references.parse(text, search=self.search, aliases=self.aliases)

    def sources(self, reference: Reference) -> list[Source]:
        """Where to ask, in order: the mirrors, then the registry itself. Raises: SteleError if it is blocked."""
        found = [(len(rule.prefix), rule) for rule in self.rules if _covers(rule.prefix, reference)]
        if not found:
            return [Source(reference)]
        rule = max(found, key=lambda pair: pair[0])[1]
        if rule.blocked:
            raise SteleError(f'image "{reference}": registries.conf blocks "{rule.prefix}"')
        unfit = "tag-only" if reference.digest else "digest-only"
        places = [(m.location, m.insecure) for m in rule.mirrors if m.by != unfit]
        places.append((rule.location, rule.insecure))
        return [Source(_moved(reference, rule.prefix, place), insecure) for place, insecure in places]


def _covers(prefix: str, reference: Reference) -> bool:
    if prefix.startswith("*."):
        return reference.registry.partition(":")[0].endswith(prefix[1:])
    text = str(reference)
    return text.startswith(prefix) and (len(text) == len(prefix) or text[len(prefix)] in "/:@")


def _moved(reference: Reference, prefix: str, location: str) -> Reference:
    if not location:
        return reference
    rest = reference.name.removeprefix(reference.registry if prefix.startswith("*.") else prefix)
    registry, _, repository = (location + rest).partition("/")
    return replace(reference, registry=registry, repository=repository)


def load(path: str = "") -> Registries:
    """The host's rules, or those of a file. Without any file: short names are Docker Hub's.

    Looked for: path, $CONTAINERS_REGISTRIES_CONF, for an ordinary user ~/.config/containers/registries.conf, then /etc
    and /usr/share; the files in the folder registries.conf.d beside them add to it, in order of their names.
    Raises: ConfigError, HostError.
    """
    given = path or os.environ.get("CONTAINERS_REGISTRIES_CONF", "")
    own = os.path.expanduser("~/.config/containers/registries.conf")
    usual = [own, SYSTEM, VENDOR] if os.geteuid() else [SYSTEM, VENDOR]
    main = [given] if given else [p for p in usual if os.path.lexists(p)][:1]
    added: list[str] = []
    if not given:
        for base in reversed(usual):
            added += [str(p) for p in sorted(Path(f"{base}.d").glob("*.conf"))]
    return merge([(file, _read(file)) for file in [*main, *added]])


def merge(documents: Sequence[tuple[str, dict[str, Any]]]) -> Registries:
    """Rules of documents, each with its name; what a later one says replaces what an earlier one says of the same."""
    search: tuple[str, ...] = (DOCKER_HUB,)
    aliases: dict[str, str] = {}
    rules: dict[str, Registry] = {}
    for name, document in documents:
        if "unqualified-search-registries" in document:
            search = tuple(_texts(document, "unqualified-search-registries", name)) or search
        if "registries" in document:
            raise ConfigError(
                f"{name}: registries", "it is of version 1, which is not obeyed; write [[registry]] tables"
            )
        table = document.get("aliases", {})
        if not isinstance(table, dict) or not all(isinstance(v, str) for v in table.values()):
            raise ConfigError(f"{name}: aliases", "it must be a table of texts")
        aliases |= {short: full for short, full in table.items() if full}
        entries = document.get("registry", [])
        if not isinstance(entries, list):
            raise ConfigError(f"{name}: registry", "it must be an array of tables, [[registry]]")
        for i, entry in enumerate(entries):
            rule = _rule(entry, f"{name}: registry[{i}]")
            rules[rule.prefix] = rule
    return Registries(search, aliases, tuple(rules.values()))


def _read(path: str) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(read_settings(path, "registries.conf").decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as e:
        raise ConfigError(path, f"it is not TOML: {e}") from None


def _rule(entry: Any, path: str) -> Registry:
    if not isinstance(entry, dict):
        raise ConfigError(path, "it must be a table")
    location = _location(entry, path)
    prefix = _text(entry, "prefix", path) or location
    if not prefix:
        raise ConfigError(path, "it needs a prefix or a location")
    if prefix.startswith("*.") and "/" in prefix:
        raise ConfigError(f"{path}.prefix", "behind a host that begins with *. no path may stand")
    by_digest = _truth(entry, "mirror-by-digest-only", path)
    mirrors = []
    given = entry.get("mirror", [])
    if not isinstance(given, list) or not all(isinstance(m, dict) for m in given):
        raise ConfigError(f"{path}.mirror", "it must be an array of tables, [[registry.mirror]]")
    for i, mirror in enumerate(given):
        where = f"{path}.mirror[{i}]"
        place = _location(mirror, where)
        if not place:
            raise ConfigError(f"{where}.location", "it is missing")
        by = _text(mirror, "pull-from-mirror", where) or ("digest-only" if by_digest else "all")
        if by not in _BY:
            raise ConfigError(f"{where}.pull-from-mirror", "use all, digest-only or tag-only")
        mirrors.append(Mirror(place, _truth(mirror, "insecure", where), _BY[by]))
    insecure, blocked = _truth(entry, "insecure", path), _truth(entry, "blocked", path)
    return Registry(prefix, location, insecure, blocked, tuple(mirrors))


def _location(table: dict[str, Any], path: str) -> str:
    text = _text(table, "location", path)
    host, slash, rest = text.partition("/")
    if text and not text.startswith("*.") and not HOST.fullmatch(host):
        raise ConfigError(f"{path}.location", f'"{host}" is not a host or host:port')
    if slash and not references.REPOSITORY.fullmatch(rest):
        raise ConfigError(f"{path}.location", f'"{rest}" is not a repository')
    return "" if text.startswith("*.") else text


def _text(table: dict[str, Any], key: str, path: str) -> str:
    value = table.get(key, "")
    if not isinstance(value, str):
        raise ConfigError(f"{path}.{key}", "it must be a text")
    return value


def _truth(table: dict[str, Any], key: str, path: str) -> bool:
    value = table.get(key, False)
    if not isinstance(value, bool):
        raise ConfigError(f"{path}.{key}", "it must be true or false")
    return value


def _texts(table: dict[str, Any], key: str, path: str) -> list[str]:
    value = table[key]
    if not isinstance(value, list) or not all(isinstance(v, str) and HOST.fullmatch(v) for v in value):
        raise ConfigError(f"{path}: {key}", "it must be an array of hosts")
    return value


def checked(text: str, registries: Registries) -> Reference | references.ArchiveReference:
    """What a person wrote: a file or folder, or an image by these rules. Raises: UsageError."""
    place = references.parse_archive(text)
    if place is not None:
        return place
    try:
        return registries.parse(text)
    except UsageError as e:
        if os.path.isdir(text):
            raise UsageError(f"{e}; a folder with an image layout is written oci:{text}") from None
        raise
