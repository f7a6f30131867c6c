"""stats: a live table of what containers use."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from runtime.cli.columns import print_table
from runtime.cli.context import Globals
from runtime.cli.table import Stats
from runtime.container import lifecycle
from runtime.container.state import Store, check_id, is_alive
from runtime.errors import NotFound, StateError
from runtime.host.stats import UNLIMITED, stats
from runtime.images.progress import human

HEAD = ("ID", "CPU %", "MEMORY", "LIMIT", "MEM %", "PIDS", "READ", "WRITTEN", "WAITS FOR CPU / MEMORY / IO")
CLEAR = "\x1b[H\x1b[2J"
NANOSECONDS = 1e9


def show(context: Globals, options: Stats) -> int:
    """Print a table every second until interrupted; once if --no-stream, or if no container is left."""
    store, ids = context.store(), [check_id(container_id) for container_id in options.ids]
    before = _samples(store, ids)
    if ids and not before:
        raise StateError(f"container not running: {', '.join(ids)}: there are no statistics")
    while True:
        time.sleep(options.interval)
        after = _samples(store, ids)
        rows = [_row(name, before.get(name), sample) for name, sample in after.items()]
        if options.format == "json":
            print(json.dumps(rows))
        else:
            if not options.no_stream and sys.stdout.isatty():
                sys.stdout.write(CLEAR)
            print_table(HEAD, [_cells(row) for row in rows])
        sys.stdout.flush()
        if options.no_stream or not after:
            return 0
        before = after


def _samples(store: Store, ids: list[str]) -> dict[str, tuple[float, dict[str, Any]]]:
    """Read the statistics of the running containers.

    Raises:
        NotFound: a container that was named does not exist.
    """
    found = {}
    for container_id in ids or store.ids():
        try:
            record = store.read(container_id)
            if is_alive(record):
                found[container_id] = (time.monotonic(), stats(lifecycle.manager_of(record)))
        except (NotFound, StateError):
            if container_id in ids and not store_has(store, container_id):
                raise
    return found


def store_has(store: Store, container_id: str) -> bool:
    return container_id in store.ids()


def _row(name: str, before: tuple[float, dict[str, Any]] | None, after: tuple[float, dict[str, Any]]) -> dict[str, Any]:
    moment, figures = after
    used = figures["cpu"]["usage"]["total"]
    cpu = 0.0
    if before and moment > before[0]:
        cpu = (used - before[1]["cpu"]["usage"]["total"]) / NANOSECONDS / (moment - before[0]) * 100
    memory = figures["memory"]["usage"]
    limit = memory["limit"] if 0 < memory["limit"] < UNLIMITED else None
    moved = dict.fromkeys(("Read", "Write"), 0)
    for entry in figures["blkio"]["ioServiceBytesRecursive"]:
        moved[entry["op"]] += entry["value"]
    waits = {
        name: figures[part].get("psi", {}).get("some", {}).get("avg10")
        for name, part in (("cpu", "cpu"), ("memory", "memory"), ("io", "blkio"))
    }
    return {
        "id": name,
        "cpuPercent": round(max(0.0, cpu), 1),
        "memory": memory["usage"],
        "memoryLimit": limit,
        "pids": figures["pids"]["current"],
        "readBytes": moved["Read"],
        "writtenBytes": moved["Write"],
        "psi": waits,
    }


def _cells(row: dict[str, Any]) -> list[str]:
    limit = row["memoryLimit"]
    waits = ["-" if value is None else f"{value:.0f}%" for value in row["psi"].values()]
    return [
        row["id"],
        f"{row['cpuPercent']:.1f}",
        human(row["memory"]),
        human(limit) if limit else "-",
        f"{row['memory'] / limit * 100:.1f}" if limit else "-",
        str(row["pids"]),
        human(row["readBytes"]),
        human(row["writtenBytes"]),
        " / ".join(waits),
    ]
