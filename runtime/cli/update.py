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
from runtime.oci.sizes import size
from runtime.oci.validate import check

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
