"""events: periodic statistics and OOM notices, one JSON object per line."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from runtime.cli.context import Globals
from runtime.cli.table import Events
from runtime.container import lifecycle
from runtime.container.state import check_id, is_alive
from runtime.errors import StateError, UsageError
from runtime.host.stats import oom_events, stats
from runtime.printable import COMPACT

DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h)")
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(text: str) -> float:
    """Parse a duration in Go's format: 5s, 1m30s.

    Raises:
        UsageError: it is malformed or not positive.
    """
    parts = DURATION.findall(text)
    total = sum(float(value) * SECONDS[unit] for value, unit in parts)
    if not parts or "".join(v + u for v, u in parts) != text or total <= 0:
        raise UsageError(f'invalid value "{text}" for --interval; use a duration such as 5s')
    return total


def events(context: Globals, options: Events) -> int:
    interval = seconds(options.interval)
    store, container_id = context.store(), check_id(options.id)
    record = store.read(container_id)
    if not is_alive(record):
        raise StateError(f'container not running: "{container_id}" has no statistics')
    manager = lifecycle.manager_of(record)

    def emit(kind: str, data: Any = None) -> None:
        event = {"type": kind, "id": container_id, **({"data": data} if data is not None else {})}
        sys.stdout.write(json.dumps(event, separators=COMPACT) + "\n")
        sys.stdout.flush()

    emit("stats", stats(manager))
    if options.stats:
        return 0
    for kills in oom_events(manager, interval=interval):
        for _ in range(kills):
            emit("oom")
        if not kills:
            try:
                emit("stats", stats(manager))
            except StateError:  # deleted meanwhile
                break
    return 0
