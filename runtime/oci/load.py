"""Load and validate a bundle's documents; the results are valid input for planning."""

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
"""In bytes. Documents are held in memory, in dicts whose hash seed is fixed when stele is built."""


NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""An escaped NUL character in JSON; a doubled backslash escapes itself."""


def load_config(bundle: str) -> dict[str, Any]:
    """Load and check config.json of a bundle directory.

    Raises:
        HostError: the bundle or its config.json cannot be read. ConfigError: it violates the specification.
    """
    if not os.path.isdir(bundle):
        if os.path.exists(bundle):
            raise HostError(f'bundle "{bundle}" is not a directory; name the directory that holds config.json')
        raise HostError(f'bundle "{bundle}": no such file or directory; create it, or name another with --bundle')
    config = load_document(f"{bundle}/config.json", advice="`stele spec` writes one to start from")
    check_config(config)
    return config


def load_document(path: str, *, advice: str, pipe: bool = False) -> dict[str, Any]:
    """Load a JSON object of bounded size from a regular file or, if allowed, a pipe.

    Raises:
        HostError: it cannot be read. ConfigError: it is not a JSON object, or contains a NUL character.
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
            "", f'"{path}" has a NUL character (\\u0000) in line {line}; no field may contain one: remove it'
        )
    return parse_document(content, path)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def parse_document(content: bytes, name: str) -> dict[str, Any]:
    """Parse a JSON object; NaN and lone surrogates are refused."""
    if len(content) > MAX_DOCUMENT:
        raise ConfigError("", f'"{name}" is larger than {MAX_DOCUMENT >> 20} MiB; make it smaller')
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
    """Check config.json against the schema, and against the rules that a schema cannot express.

    Raises:
        ConfigError: the first fault.
    """
    validate.check("config", config)
    for fault in rules.faults(config):
        raise ConfigError(fault.path, fault.problem)


def check_process(process: Mapping[str, Any]) -> None:
    """Check a standalone process object, as read by exec --process."""
    validate.check("process", process)
    for fault in rules.process_faults(process, "process"):
        raise ConfigError(fault.path, fault.problem)


def without_nulls(value: Any) -> Any:
    """Return the document without null members, which Go's encoders write for "not set"."""
    if isinstance(value, dict):
        return {k: without_nulls(v) for k, v in value.items() if v is not None}
    return [without_nulls(v) for v in value] if isinstance(value, list) else value
