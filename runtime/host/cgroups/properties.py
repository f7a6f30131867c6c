"""The systemd properties of a container's scope (org.freedesktop.systemd1(5), systemd.resource-control(5)).

Limits are also set as systemd properties where one exists, because daemon-reload resets the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from runtime.errors import ConfigError
from runtime.host.cgroups.gvariant import parse
from runtime.plan.resources import CgroupWrite

Property = tuple[str, tuple[str, Any]]
"""(name, (D-Bus signature, value))."""

UNLIMITED = (1 << 64) - 1
NUMBERS = {
    "cpu.weight": "CPUWeight",
    "memory.high": "MemoryHigh",
    "memory.low": "MemoryLow",
    "memory.max": "MemoryMax",
    "memory.min": "MemoryMin",
    "memory.swap.max": "MemorySwapMax",
    "pids.max": "TasksMax",
}
MASKS = {"cpuset.cpus": "AllowedCPUs", "cpuset.mems": "AllowedMemoryNodes"}
NUMBER = re.compile(r"([0-9]+)([KMGT]?)", re.IGNORECASE)
PLAIN_LIST = re.compile(r"[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*")
IDLE: Property = ("CPUWeight", ("t", 0))
"""systemd's equivalent of cpu.idle."""
IDLE_SINCE = 252
"""The first systemd version that accepts IDLE."""
DEFAULT_PERIOD = 100_000
STEP = 10_000
"""1 % of a second of CPU time in microseconds: systemd stores whole percentages."""

ANNOTATION = "org.systemd.property."
NAME = re.compile(r"[A-Z][A-Za-z]{2,}")
OURS = frozenset(("Delegate", "Description", "PIDs", "Slice"))


def limit_properties(writes: Sequence[CgroupWrite]) -> list[Property]:
    """Convert cgroup writes to unit properties; writes without a matching property are left out."""
    return [each for w in writes for each in _properties(w.file, w.value, w.otherwise)]


def _properties(file: str, value: str, otherwise: tuple[str, str] | None) -> Iterator[Property]:
    if file in NUMBERS:
        number = _number(value)
        if number is not None:
            yield NUMBERS[file], ("t", number)
    elif file in MASKS and PLAIN_LIST.fullmatch(value):
        yield MASKS[file], ("ay", cpu_mask(value))
    elif file == "cpu.idle":
        yield IDLE if value == "1" else (IDLE[0], ("t", UNLIMITED))  # systemd's "not set"
    elif file == "cpu.max":
        quota, _, rest = value.partition(" ")
        period = int(rest) if rest.isdecimal() else DEFAULT_PERIOD
        yield "CPUQuotaPeriodUSec", ("t", period)
        if quota == "max":
            yield "CPUQuotaPerSecUSec", ("t", UNLIMITED)
        elif quota.isdecimal():
            yield "CPUQuotaPerSecUSec", ("t", -(-int(quota) * 1_000_000 // period // STEP) * STEP)
    elif file == "io.weight" and value.startswith("default "):
        yield "IOWeight", ("t", int(value.split()[1]))
    elif otherwise:
        yield from _properties(*otherwise, None)


def _number(value: str) -> int | None:
    match = NUMBER.fullmatch(value)
    if value == "max" or not match:
        return UNLIMITED if value == "max" else None
    return int(match[1]) << 10 * " KMGT".index(match[2].upper() or " ")


def cpu_mask(listed: str) -> bytes:
    """Convert a list such as "0-1,9" to a little-endian bit mask."""
    mask = 0
    for part in listed.split(","):
        first, _, last = part.partition("-")
        mask |= (1 << int(last or first) + 1) - (1 << int(first))
    return mask.to_bytes((mask.bit_length() + 7) // 8, "little")


def unit_properties(
    unit: str, parent: str, pid: int, description: str, writes: Sequence[CgroupWrite], extra: Sequence[Property]
) -> list[Property]:
    """All properties of a new unit that contains the process `pid`.

    Args:
        unit: the name of a scope or slice.
        parent: the slice that contains it.
        extra: properties requested by annotations; they override the others.
    """
    slices = [("Wants", ("as", [parent]))] if unit.endswith(".slice") else [("Slice", ("s", parent))]
    return [
        ("Description", ("s", description)),
        *slices,
        ("Delegate", ("b", True)),
        ("PIDs", ("au", [pid])),
        ("DefaultDependencies", ("b", False)),
        ("CollectMode", ("s", "inactive-or-failed")),  # an OOM kill fails the scope; free its name at once
        *((f"{kind}Accounting", ("b", True)) for kind in ("CPU", "IO", "Memory", "Tasks")),
        *limit_properties(writes),
        *extra,
    ]


def annotated(annotations: Mapping[str, str]) -> list[Property]:
    """The properties requested by annotations org.systemd.property.NAME, whose values are GVariant text.

    A name that ends in "Sec" takes seconds and becomes systemd's "USec", as in runc.

    Raises:
        ConfigError: the name or value is invalid, or stele sets the property itself.
    """
    properties: list[Property] = []
    for key, text in annotations.items():
        if not key.startswith(ANNOTATION):
            continue
        name, field = key.removeprefix(ANNOTATION), f"annotations.{key}"
        if not NAME.fullmatch(name):
            raise ConfigError(field, f"{name!r} is not a valid systemd property name; correct it")
        if name in OURS:
            raise ConfigError(field, "is set by stele itself; remove it")
        try:
            signature, value = parse(text)
        except ValueError as e:
            raise ConfigError(field, f"{text!r} is not valid GVariant text: {e}; correct it") from e
        if name.endswith("Sec") and not name.endswith("USec"):
            if signature not in ("y", "n", "q", "i", "u", "x", "t", "d") or not 0 <= value * 1_000_000 < UNLIMITED:
                raise ConfigError(field, f"{text!r} is not a number of seconds; correct it")
            name, signature, value = f"{name.removesuffix('Sec')}USec", "t", int(value * 1_000_000)
        properties.append((name, (signature, value)))
    return properties
