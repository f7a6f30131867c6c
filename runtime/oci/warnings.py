"""What is probably a mistake in a document that is valid: `validate` warns of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from runtime.oci.constants import CAPABILITIES, MOUNT_ATTRS, MOUNT_ATTRS_RECURSIVE, OTHER_MOUNT_OPTIONS, PROPAGATION
from runtime.oci.validate import Fault, Kind, schema_of

Nearest = Callable[[str, Iterable[str]], str]
MOUNT_OPTIONS = frozenset((*MOUNT_ATTRS, *MOUNT_ATTRS_RECURSIVE, *OTHER_MOUNT_OPTIONS, *PROPAGATION))


def warnings(kind: Kind, document: Mapping[str, Any], nearest: Nearest) -> list[Fault]:
    """Return what is unknown in a document, and so ignored or refused later.

    Args:
        nearest: returns the choice that is spelled most like a word, or "".
    """
    schema = schema_of(kind)
    found = list(_unknown_keys(schema, schema, document, "", nearest))
    if kind == "config":
        found += _capabilities(document, nearest)
        found += _mount_options(document, nearest)
    return found


def _meant(near: str) -> str:
    return f'; did you mean "{near}"?' if near else ""


def _unknown_keys(
    root: Mapping[str, Any], schema: Mapping[str, Any], value: Any, path: str, nearest: Nearest
) -> Iterator[Fault]:
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    properties, further = schema.get("properties", {}), schema.get("additionalProperties")
    if isinstance(value, dict):
        for key, item in value.items():
            below, where = properties.get(key, further), f"{path}.{key}" if path else key
            if isinstance(below, dict):
                yield from _unknown_keys(root, below, item, where, nearest)
            elif properties and below is None:
                yield Fault(where, f"unknown key, ignored{_meant(nearest(key, properties))}")
    elif isinstance(value, list) and "items" in schema:
        for i, item in enumerate(value):
            yield from _unknown_keys(root, schema["items"], item, f"{path}[{i}]", nearest)


def _object(value: Any, key: str) -> Mapping[str, Any]:
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def _strings(value: Any) -> list[tuple[int, str]]:
    return [(i, item) for i, item in enumerate(value if isinstance(value, list) else ()) if isinstance(item, str)]


def _capabilities(document: Mapping[str, Any], nearest: Nearest) -> Iterator[Fault]:
    for kind, names in _object(_object(document, "process"), "capabilities").items():
        for i, name in _strings(names):
            if name.upper() not in CAPABILITIES:
                near = nearest(name.upper(), CAPABILITIES)
                yield Fault(f"process.capabilities.{kind}[{i}]", f'unknown capability "{name}"{_meant(near)}')


def _mount_options(document: Mapping[str, Any], nearest: Nearest) -> Iterator[Fault]:
    """Options that the kernel's file systems would get; only those that look like a misspelled one of ours."""
    mounts = document.get("mounts")
    for i, mount in enumerate(mounts if isinstance(mounts, list) else ()):
        for j, option in _strings(mount.get("options") if isinstance(mount, dict) else ()):
            near = nearest(option, MOUNT_OPTIONS) if option not in MOUNT_OPTIONS and "=" not in option else ""
            if near:
                yield Fault(f"mounts[{i}].options[{j}]", f'"{option}" goes to the file system{_meant(near)}')
