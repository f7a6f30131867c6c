"""update: change limits, given as flags or a document."""

from __future__ import annotations

import re
import sys
from typing import Any

from runtime.cli.context import Globals
from runtime.cli.table import Update
from runtime.container import lifecycle
from runtime.container.state import check_id
from runtime.errors import UsageError
from runtime.oci.load import load_document, parse_document
from runtime.oci.validate import check

SIZE = re.compile(r"(-?[0-9]{1,19}(?:\.[0-9]{1,19})?) ?([kKmMgGtTpP]?)i?[bB]?", re.ASCII)
INT64_MAX = (1 << 63) - 1
UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
SIZES = {"memory": "limit", "memory_reservation": "reservation", "memory_swap": "swap"}
CPU = {
    "cpu_period": "period",
    "cpu_quota": "quota",
    "cpu_burst": "burst",
    "cpu_share": "shares",
    "cpu_idle": "idle",
    "cpu_rt_period": "realtimePeriod",
    "cpu_rt_runtime": "realtimeRuntime",
}


def size(text: str, name: str) -> int:
    """Parse a size in Docker's format, such as "512m", "1g" or "-1"; units are powers of 1024."""
    match = SIZE.fullmatch(text)
    number = -2
    if match:
        whole, _, part = match[1].partition(".")
        unit = 1024 ** UNITS[match[2].lower()]
        number = int(whole) * unit + int(part or "0") * unit // 10 ** len(part)
    if not -1 <= number <= INT64_MAX:
        raise UsageError(
            f'invalid value "{text[:40]}" for --{name}; use bytes, a size such as 512m, or -1 for no limit'
        )
    return number


def _number(text: str, name: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,20}", text, re.ASCII):
        raise UsageError(f'invalid value "{text}" for --{name}; use a number')
    return int(text)


def resources_of(options: Update) -> dict[str, Any]:
    """Build linux.resources from the flags given."""
    memory = {
        key: size(text, flag.replace("_", "-")) for flag, key in SIZES.items() if (text := getattr(options, flag))
    }
    cpu: dict[str, Any] = {
        key: _number(text, flag.replace("_", "-")) for flag, key in CPU.items() if (text := getattr(options, flag))
    }
    if options.cpuset_cpus:
        cpu["cpus"] = options.cpuset_cpus
    if options.cpuset_mems:
        cpu["mems"] = options.cpuset_mems
    resources: dict[str, Any] = {"memory": memory, "cpu": cpu}
    if options.pids_limit:
        resources["pids"] = {"limit": _number(options.pids_limit, "pids-limit")}
    if options.blkio_weight:
        resources["blockIO"] = {"weight": _number(options.blkio_weight, "blkio-weight")}
    return resources


def update(context: Globals, options: Update) -> int:
    source, schema = options.resources, ""
    if source == "-":
        resources = parse_document(sys.stdin.buffer.read(), "stdin")
    elif source:
        resources = load_document(source, advice="--resources names a file with linux.resources")
    else:
        resources = resources_of(options)
        schema = "".join(f"{line}\n" for line in (options.l3_cache_schema, options.mem_bw_schema) if line)
    check("resources", resources)
    lifecycle.update(context.store(), check_id(options.id), resources, schema)
    return 0
