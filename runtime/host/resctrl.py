"""Groups of the resctrl file system: who shares a processor's cache and memory bandwidth.

A group is a directory: `schemata` holds its share, `tasks` takes the number of a process, whose children then belong to
it too; removing it gives its processes back to the root group (Documentation/filesystems/resctrl.rst).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

from runtime.errors import HostError
from runtime.plan.model import Resctrl
from runtime.plan.resctrl import FIELD

ROOT = "/sys/fs/resctrl"


def choose(plan: Resctrl) -> dict[str, Any]:
    """What will be the container's, for its record: {"group": its path, "made": whether we make it, "monitor": path or ""}.

    Nothing is changed yet.

    Raises:
        HostError: there is no resctrl, no such group, or one that says something else.
    """
    if not os.path.exists(f"{ROOT}/schemata"):
        raise HostError(
            f"{FIELD}: no resctrl file system is mounted on {ROOT}; mount it (mount -t resctrl resctrl {ROOT}), or remove it"
        )
    group = f"{ROOT}/{plan.group}".rstrip("/")
    there = os.path.isdir(group)
    if plan.named and not there and not (plan.schema or plan.schemata):
        raise HostError(
            f'{FIELD}.closID "{plan.group}": there is no such group in {ROOT}; make it, or give it a schema'
        )
    if plan.named and there and plan.schema:
        _compare(plan.schema, _read(f"{group}/schemata"), plan.group or "/")
    monitor = f"{group}/mon_groups/{plan.monitor}" if plan.monitor else ""
    for path in ("" if plan.named else group, monitor):
        if path and _used(path):
            raise HostError(
                f"{FIELD}: {path} has processes, as of a container of the same ID below another --root; choose another ID"
            )
    return {"group": group, "made": not there, "monitor": monitor}


def prepare(chosen: Mapping[str, Any], plan: Resctrl) -> None:
    """Make what `choose` said, and write the shares.

    Raises:
        HostError: the kernel refuses it.
    """
    for path in (chosen["group"], chosen["monitor"]):
        if path:
            try:
                os.mkdir(path, 0o755)
            except FileExistsError:
                pass  # the group of others, or a leftover of a container of this name
            except OSError as e:
                raise HostError(
                    f"{FIELD}: cannot make {path}: {_why(e)}; a processor has few classes", e.errno or 0
                ) from e
    for text in (plan.schema, plan.schemata):
        write_schemata(chosen, text)


def write_schemata(chosen: Mapping[str, Any], text: str) -> None:
    """Write lines of shares to the group; "" writes nothing.

    Raises:
        HostError: the kernel refuses them.
    """
    if text:
        _write(f"{chosen['group']}/schemata", text, f"{FIELD}: the kernel refuses {text.strip()!r}")


@contextlib.contextmanager
def changed(chosen: Mapping[str, Any], text: str) -> Iterator[None]:
    """Other shares for the group; as they were, should the body fail.

    Raises:
        HostError: the kernel refuses them.
    """
    before = _read(f"{chosen['group']}/schemata")
    write_schemata(chosen, text)
    try:
        yield
    except BaseException:
        write_schemata(chosen, before)
        raise


def join(chosen: Mapping[str, Any], pid: int) -> None:
    """Put a process, and so the children that it will have, into the group.

    Raises:
        HostError: the kernel refuses it.
    """
    for path in (chosen["group"], chosen["monitor"]):
        if path:
            _write(f"{path}/tasks", str(pid), f"{FIELD}: cannot join {path}")


def remove(chosen: Mapping[str, Any]) -> None:
    """Take back what was made; a group that others have joined meanwhile stays theirs."""
    for path in (chosen.get("monitor"), chosen.get("made") and chosen["group"]):
        if path and not _used(path):
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(path)


def _used(path: str) -> bool:
    """Whether a group is there and has processes."""
    try:
        return bool(_read(f"{path}/tasks").strip())
    except FileNotFoundError:
        return False


def _shares(text: str) -> dict[tuple[str, str], str]:
    """Lines such as "L3:0=07f;1=1f" as {("L3", "0"): "7f", ...}."""
    found = {}
    for line in text.split("\n"):
        resource, _, domains = line.partition(":")
        for domain in domains.split(";"):
            number, equals, value = domain.partition("=")
            if equals:
                found[resource.strip(), number.strip()] = value.strip().lower().lstrip("0")
    return found


def _compare(wanted: str, there: str, name: str) -> None:
    has = _shares(there)
    for (resource, domain), value in _shares(wanted).items():
        if has.get((resource, domain)) != value:
            raise HostError(
                f'{FIELD}: the group "{name}" is there with another schema ({resource}:{domain} differs); '
                "choose another closID, or correct the schema"
            )


def _read(path: str) -> str:
    with open(path, "rb", buffering=0) as f:
        return f.readall().decode("utf-8", "replace")


def _write(path: str, text: str, what: str) -> None:
    try:
        with open(path, "r+b", buffering=0) as f:
            f.write(text.encode())
    except OSError as e:
        raise HostError(f"{what}: {_why(e)}", e.errno or 0) from e


def _why(e: OSError) -> str:
    """errno in words, and those of the kernel itself where it has more to say."""
    said = ""
    with contextlib.suppress(OSError):
        said = _read(f"{ROOT}/info/last_cmd_status").strip()
    words = os.strerror(e.errno or 0)
    return f"{words[:1].lower()}{words[1:]}" + (f" ({said})" if said and said != "ok" else "")
