"""Groups of the resctrl file system, which share out a processor's cache and memory bandwidth.

A group is a directory. `schemata` holds its share; writing a pid to `tasks` adds the process and its future children;
removing the directory returns its processes to the root group (Documentation/filesystems/resctrl.rst).
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
    """Choose the container's group: {"group": path, "made": whether to create it, "monitor": path or ""}, for its record.

    Changes nothing yet.

    Raises:
        HostError: resctrl is not mounted, the group is missing, or it has a different schema.
    """
    if not os.path.exists(f"{ROOT}/schemata"):
        raise HostError(
            f"{FIELD}: no resctrl file system is mounted on {ROOT}; mount it (mount -t resctrl resctrl {ROOT}), or remove it"
        )
    group = f"{ROOT}/{plan.group}".rstrip("/")
    there = os.path.isdir(group)
    if plan.named and not there and not (plan.schema or plan.schemata):
        raise HostError(
            f'{FIELD}.closID "{plan.group}": there is no such group in {ROOT}; create it, or specify a schema'
        )
    if plan.named and there and plan.schema:
        _compare(plan.schema, _read(f"{group}/schemata"), plan.group or "/")
    monitor = f"{group}/mon_groups/{plan.monitor}" if plan.monitor else ""
    for path in ("" if plan.named else group, monitor):
        if path and _used(path):
            raise HostError(
                f"{FIELD}: {path} has processes, perhaps of a container with the same ID in another --root; use another ID"
            )
    return {"group": group, "made": not there, "monitor": monitor}


def prepare(chosen: Mapping[str, Any], plan: Resctrl) -> None:
    """Create what `choose` returned, and write the shares.

    Raises:
        HostError: the kernel refused.
    """
    for path in (chosen["group"], chosen["monitor"]):
        if path:
            try:
                os.mkdir(path, 0o755)
            except FileExistsError:
                pass  # a shared group, or left over from a container of this name
            except OSError as e:
                raise HostError(
                    f"{FIELD}: cannot create {path}: {_why(e)}; the number of groups is limited by the processor",
                    e.errno or 0,
                ) from e
    for text in (plan.schema, plan.schemata):
        write_schemata(chosen, text)


def write_schemata(chosen: Mapping[str, Any], text: str) -> None:
    """Write schemata lines to the group; "" writes nothing.

    Raises:
        HostError: the kernel refused them.
    """
    if text:
        _write(f"{chosen['group']}/schemata", text, f"{FIELD}: the kernel refused {text.strip()!r}")


@contextlib.contextmanager
def changed(chosen: Mapping[str, Any], text: str) -> Iterator[None]:
    """Change the group's shares; restore them if the body fails.

    Raises:
        HostError: the kernel refused them.
    """
    before = _read(f"{chosen['group']}/schemata")
    write_schemata(chosen, text)
    try:
        yield
    except BaseException:
        write_schemata(chosen, before)
        raise


def join(chosen: Mapping[str, Any], pid: int) -> None:
    """Move a process into the group; its future children follow.

    Raises:
        HostError: the kernel refused.
    """
    for path in (chosen["group"], chosen["monitor"]):
        if path:
            _write(f"{path}/tasks", str(pid), f"{FIELD}: cannot join {path}")


def remove(chosen: Mapping[str, Any]) -> None:
    """Remove the groups we created, unless others have joined them."""
    for path in (chosen.get("monitor"), chosen.get("made") and chosen["group"]):
        if path and not _used(path):
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(path)


def _used(path: str) -> bool:
    """Whether a group exists and has processes."""
    try:
        return bool(_read(f"{path}/tasks").strip())
    except FileNotFoundError:
        return False


def _shares(text: str) -> dict[tuple[str, str], str]:
    """Parse lines such as "L3:0=07f;1=1f" into {("L3", "0"): "7f", ...}."""
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
                f'{FIELD}: the group "{name}" exists with another schema ({resource}:{domain} differs); '
                "use another closID, or correct the schema"
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
    """The errno's message, and the kernel's own explanation if there is one."""
    said = ""
    with contextlib.suppress(OSError):
        said = _read(f"{ROOT}/info/last_cmd_status").strip()
    words = os.strerror(e.errno or 0)
    return f"{words[:1].lower()}{words[1:]}" + (f" ({said})" if said and said != "ok" else "")
