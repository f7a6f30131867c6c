"""Read and check the documents of a bundle: what comes out of here may be planned."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from typing import Any, NoReturn

from runtime.errors import ConfigError, HostError
from runtime.oci import rules, validate

MAX_DOCUMENT = 4 << 20
"""Bytes. A document is held in memory and hashed with a seed that is fixed when stele is built."""


NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""In JSON, where a backslash may stand for itself."""


def load_config(bundle: str) -> dict[str, Any]:
    """config.json of a bundle directory.

    Raises:
        HostError: the bundle or its config.json cannot be read. ConfigError: it is not what the specification says.
    """
    if not os.path.isdir(bundle):
        if os.path.exists(bundle):
            raise HostError(f'bundle "{bundle}" is not a directory; name the directory that holds config.json')
        raise HostError(f'bundle "{bundle}": no such file or directory; create it, or name another with --bundle')
    config = load_document(f"{bundle}/config.json", advice="`stele spec` writes one to start from")
    check_config(config)
    return config


def load_document(path: str, *, advice: str, pipe: bool = False) -> dict[str, Any]:
    """A JSON object from a regular file of bounded size, or from a pipe where that may be.

    Raises:
        HostError: it cannot be read. ConfigError: it is no JSON object, or has a NUL character.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | (0 if pipe else os.O_NONBLOCK))
    except OSError as e:
        words = os.strerror(e.errno or 0)
        raise HostError(f'"{path}": {words[:1].lower()}{words[1:]}; {advice}', e.errno or 0) from e
    kind = os.fstat(fd).st_mode
    if not (stat.S_ISREG(kind) or (pipe and stat.S_ISFIFO(kind))):
        os.close(fd)
        raise HostError(f'"{path}" is not a regular file; {advice}')
    with os.fdopen(fd, "rb") as f:
        content = f.read(MAX_DOCUMENT + 1)
    nul = NUL.search(content) if b"\\u0000" in content else None
    if nul:
        line = content.count(b"\n", 0, nul.start()) + 1
        raise ConfigError(
            "", f'"{path}" has a NUL character (\\u0000) in line {line}; nothing in it can hold one: remove it'
        )
    return parse_document(content, path)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def parse_document(content: bytes, name: str) -> dict[str, Any]:
    """A JSON object from bytes; NaN and lone surrogates are refused."""
    if len(content) > MAX_DOCUMENT:
        raise ConfigError("", f'"{name}" is larger than {MAX_DOCUMENT >> 20} MiB; no honest document is')
    try:
        value = json.loads(content.decode("utf-8"), parse_constant=_refuse_constant)
        json.dumps(value, ensure_ascii=False).encode("utf-8")
        value = without_nulls(value) if b"null" in content else value
    except json.JSONDecodeError as e:
        raise ConfigError(
            "", f'"{name}" is not valid JSON: {e.msg} at line {e.lineno} column {e.colno}; correct it'
        ) from None
    except (ValueError, RecursionError) as e:
        raise ConfigError("", f'"{name}" is not valid JSON: {e}; correct it') from None
    if not isinstance(value, dict):
        raise ConfigError("", f'"{name}" must hold a JSON object, not {type(value).__name__}')
    return value


def check_config(config: Mapping[str, Any]) -> None:
    """config.json against the schema, and what the schema cannot say.

    Raises:
        ConfigError: the first fault.
    """
    validate.check("config", config)
    for fault in rules.faults(config):
        raise ConfigError(fault.path, fault.problem)


def check_process(process: Mapping[str, Any]) -> None:
    """A process object of its own, as exec --process reads it."""
    validate.check("process", process)
    for fault in rules.process_faults(process, "process"):
        raise ConfigError(fault.path, fault.problem)


def without_nulls(value: Any) -> Any:
    """The same document without members that are null: Go's encoders write them for "not set"."""
    if isinstance(value, dict):
        return {k: without_nulls(v) for k, v in value.items() if v is not None}
    return [without_nulls(v) for v in value] if isinstance(value, list) else value
