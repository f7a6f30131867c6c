"""linux.resources.blockIO as lines for io.weight, io.bfq.weight and io.max (cgroup-v2.rst "IO")."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from runtime.errors import ConfigError

BASE = "linux.resources.blockIO"
MAJORS, MINORS = 1 << 12, 1 << 20
"""The kernel's dev_t has 12 bits for a major and 20 for a minor number."""

RATES = (
    ("throttleReadBpsDevice", "rbps"),
    ("throttleWriteBpsDevice", "wbps"),
    ("throttleReadIOPSDevice", "riops"),
    ("throttleWriteIOPSDevice", "wiops"),
)
Line = tuple[str, str, str, tuple[str, str] | None]
"""(file, value, field, (file, value) to write instead if the kernel lacks the file)."""


def io_weight(weight: int) -> int:
    """io.weight (1..10000) for blkio's weight (10..1000), linear as in runc and crun."""
    return 1 + (weight - 10) * 9999 // 990


def block_io(block: Mapping[str, Any]) -> Iterator[Line]:
    """Plan blockIO.

    BFQ uses blkio's own weights; if it is not loaded, io.weight is written instead.

    Raises:
        ConfigError: a weight or device is out of range, or there is a leaf weight, which cgroup v2 lacks.
    """
    _no_leaf(block, BASE)
    if block.get("weight"):
        weight = _weight(block["weight"], f"{BASE}.weight")
        yield "io.bfq.weight", str(weight), f"{BASE}.weight", ("io.weight", f"default {io_weight(weight)}")
    for i, device in enumerate(block.get("weightDevice") or ()):
        field = f"{BASE}.weightDevice[{i}]"
        _no_leaf(device, field)
        if device.get("weight"):
            number, weight = _device(device, field), _weight(device["weight"], f"{field}.weight")
            yield "io.bfq.weight", f"{number} {weight}", field, ("io.weight", f"{number} {io_weight(weight)}")
    for name, key in RATES:
        for i, device in enumerate(block.get(name) or ()):
            field = f"{BASE}.{name}[{i}]"
            # In blkio, 0 removes a limit; io.max rejects 0 and uses "max".
            yield "io.max", f"{_device(device, field)} {key}={device['rate'] or 'max'}", field, None


def _no_leaf(weights: Mapping[str, Any], field: str) -> None:
    if weights.get("leafWeight"):
        raise ConfigError(f"{field}.leafWeight", "cgroup v2 has no leaf weight; remove it")


def _weight(weight: int, field: str) -> int:
    if not 10 <= weight <= 1000:
        raise ConfigError(field, f"{weight} is out of range; use 10 to 1000")
    return weight


def _device(device: Mapping[str, Any], field: str) -> str:
    for name, end in (("major", MAJORS), ("minor", MINORS)):
        if not 0 <= device[name] < end:
            raise ConfigError(f"{field}.{name}", f"{device[name]} is out of range; use 0 to {end - 1}")
    return f"{device['major']}:{device['minor']}"
