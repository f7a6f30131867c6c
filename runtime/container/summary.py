"""What a person wants to know of a container: its image, its command, its age, and how it ended."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass

from runtime.container import lifecycle
from runtime.container.state import ExitInfo, Record, Store
from runtime.errors import NotFound, StateError, SteleError
from runtime.host.processes import stat_of

IMAGE_NAME = "org.stele.image.name"


@dataclass(frozen=True, slots=True)
class Summary:
    """One container.

    Args:
        image: the image's name, or the bundle's path.
        command: as in config.json; without it if the record is damaged.
        age: seconds since it was created; -1 if unknown.
        status: the word of `state`; running: seconds since its process began; exit: how it ended, if that is known.
        oom_kills: how often the OOM killer struck in its cgroup.
    """

    id: str
    image: str
    command: tuple[str, ...]
    age: float
    status: str
    running: float = 0
    exit: ExitInfo | None = None
    oom_kills: int = 0


def summaries(store: Store) -> list[Summary]:
    """Summarise all containers, damaged ones too."""
    found = []
    for container_id in store.ids():
        try:
            found.append(summary(store, store.read(container_id)))
        except NotFound:
            continue  # deleted meanwhile
        except SteleError:
            status = lifecycle.status_without_record(store, container_id)
            found.append(Summary(container_id, "", (), -1, status))
    return found


def summary(store: Store, record: Record) -> Summary:
    status = lifecycle.status(store, record)
    annotations = record.config.get("annotations") or {}
    process = record.config.get("process") or {}
    kills = 0
    if status == "stopped":
        try:
            kills = lifecycle.manager_of(record).oom_kills()
        except (OSError, StateError):
            pass  # its cgroup is gone
    return Summary(
        record.id,
        str(annotations.get(IMAGE_NAME) or "") if record.image else record.bundle,
        tuple(map(str, process.get("args") or ())),
        time.time() - seconds_of(record.created),
        status,
        running=_running(record),
        exit=record.exit or (_of_zombie(record, kills) if status == "stopped" else None),
        oom_kills=kills,
    )


def seconds_of(moment: str) -> float:
    """Return the seconds since 1970 of an RFC 3339 time in UTC, as `state.now` writes it; now if it is malformed."""
    from datetime import datetime

    try:
        return datetime.fromisoformat(f"{moment[:19]}+00:00").timestamp()
    except ValueError:
        return time.time()


def _running(record: Record) -> float:
    since_boot = time.clock_gettime(time.CLOCK_BOOTTIME) - record.start_time / os.sysconf("SC_CLK_TCK")
    return max(0.0, since_boot)


def _of_zombie(record: Record, kills: int) -> ExitInfo | None:
    """How a process ended that its parent has not reaped (proc(5), field 52 of stat)."""
    found = stat_of(record.pid) if record.pid > 0 else None
    if found is None or found["state"] != b"Z" or int(found["start"]) != record.start_time:
        return None
    code = os.waitstatus_to_exitcode(int(found["status"]))
    return ExitInfo(code if code >= 0 else 128 - code, max(-code, 0), bool(kills), "")


def span(seconds: float) -> str:
    """Say a time in its largest unit: 5s, 3m, 2h, 4d."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size:.0f}{unit}"
    return f"{max(0.0, seconds):.0f}s"


def status_text(container: Summary) -> str:
    """Say a status as people do: running 3m, exited (3) 2m ago, killed by OOM."""
    if container.status == "running":
        return f"running {span(container.running)}"
    if container.status != "stopped":
        return container.status
    if container.exit is None:
        return "stopped (after an OOM kill)" if container.oom_kills else "stopped"
    ago = f" {span(time.time() - seconds_of(container.exit.time))} ago" if container.exit.time else ""
    if container.exit.signal == signal.SIGKILL and (container.exit.oom or container.oom_kills):
        return f"killed by OOM{ago}"
    if container.exit.signal:
        try:
            return f"killed by {signal.Signals(container.exit.signal).name}{ago}"
        except ValueError:
            return f"killed by signal {container.exit.signal}{ago}"
    return f"exited ({container.exit.status}){ago}"
