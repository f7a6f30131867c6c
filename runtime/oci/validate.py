"""Validate documents against the specification's schemas.

Compiled code accepts valid documents quickly; otherwise a slower walk lists every fault with its JSON path.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from runtime.errors import ConfigError
from runtime.oci import compiled

Kind = Literal["config", "process", "resources", "state", "features"]
CHECKS = {
    "config": compiled.is_config,
    "process": compiled.is_process,
    "resources": compiled.is_resources,
    "state": compiled.is_state,
    "features": compiled.is_features,
}
PARTS = ("process", "resources")
"""The kinds that are a definition of config.json: what `exec --process` and `update -r` read."""
NAMES: dict[type, str] = {
    str: "a string", bool: "a boolean", int: "an integer", dict: "an object", list: "an array", float: "a number",
    type(None): "null",
}  # fmt: skip
TYPES: dict[str, type] = {"string": str, "boolean": bool, "integer": int, "object": dict, "array": list}
SHOWN = 60
"""Maximum characters quoted of a wrong value."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. path: such as `mounts[3].destination`, "" for the document; problem: what is wrong, and what to do."""

    path: str
    problem: str


def check(kind: Kind, document: object) -> None:
    """Raise ConfigError for the first fault, if any."""
    if CHECKS[kind](document):
        return
    found = faults(kind, document)
    raise ConfigError(found[0].path, found[0].problem)


def faults(kind: Kind, document: object) -> list[Fault]:
    """Return all faults of a document, in document order."""
    if CHECKS[kind](document):
        return []
    schema = schema_of(kind)
    return list(_walk(schema, schema, document, ""))


def schema_of(kind: Kind) -> dict[str, Any]:
    """Load the JSON Schema of a kind of document, stored beside this module: in a folder or inside the executable."""
    if kind in PARTS:
        return {"$ref": f"#/$defs/{kind}", "$defs": schema_of("config")["$defs"]}
    path = f"{os.path.dirname(__file__)}/schema/{kind}.json"
    loader = globals().get("__loader__")
    if loader is not None:
        content = loader.get_data(path)
    else:
        with open(path, "rb") as file:
            content = file.read()
    value: dict[str, Any] = json.loads(content)
    return value


def kind_of(document: dict[str, Any]) -> Kind:
    """Detect the kind of a document by its distinctive fields."""
    if "ociVersionMin" in document or "ociVersionMax" in document:
        return "features"
    if "status" in document and "bundle" in document:
        return "state"
    return "config"


def _join(path: str, key: str) -> str:
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", key)
    return (f"{path}.{key}" if path else key) if plain else f"{path}[{json.dumps(key)}]"


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"


def _walk(root: dict[str, Any], schema: dict[str, Any], value: Any, path: str) -> Iterator[Fault]:
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    if "enum" in schema:
        if type(value) is not str or value not in schema["enum"]:
            yield Fault(path, f"unknown value {_shown(value)}; use one of {', '.join(schema['enum'])}")
        return
    wanted = TYPES[schema["type"]]
    if not _is(value, wanted):
        yield Fault(path, f"must be {NAMES[wanted]}, not {NAMES.get(type(value), 'that')}")
        return
    yield from _limits(schema, value, path)
    for key in schema.get("required", ()):
        if key not in value:
            yield Fault(_join(path, key), "is missing; the specification requires it")
    properties = schema.get("properties", {})
    for key, item in value.items() if wanted is dict else ():
        below = properties.get(key, schema.get("additionalProperties"))
        if isinstance(below, dict):
            yield from _walk(root, below, item, _join(path, key))
    if "items" in schema:
        for i, item in enumerate(value):
            yield from _walk(root, schema["items"], item, f"{path}[{i}]")


def _is(value: object, wanted: type) -> bool:
    """Whether value has exactly this type; true does not count as an integer."""
    return type(value) is wanted


def _limits(schema: dict[str, Any], value: Any, path: str) -> Iterator[Fault]:
    if "minimum" in schema and not schema["minimum"] <= value <= schema["maximum"]:
        yield Fault(path, f"{value} is out of range; use {schema['minimum']} to {schema['maximum']}")
    if "minLength" in schema and len(value) < schema["minLength"]:
        yield Fault(path, "must not be empty")
    if "maxLength" in schema and len(value) > schema["maxLength"]:
        yield Fault(path, f"is too long; at most {schema['maxLength']} characters")
    if "minItems" in schema and len(value) < schema["minItems"]:
        yield Fault(path, f"needs at least {schema['minItems']} element(s)")
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield Fault(path, f"{_shown(value)} is malformed; it must match {schema['pattern']}")
