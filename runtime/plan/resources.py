"""linux.resources as writes to cgroup v2 files, in the order in which the kernel takes them (cgroup-v2.rst)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runtime.errors import ConfigError

INT64_MAX = (1 << 63) - 1
PAGE_SIZE_NAME = re.compile(r"[1-9][0-9]*(KB|MB|GB)")
FILE_NAME = re.compile(r"[a-z0-9_]+(\.[A-Za-z0-9_.]+)+")
CPU_LIST = re.compile(r"[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*")


@dataclass(frozen=True, slots=True)
class CgroupWrite:
    """One write. controller: what must be enabled for `file`, "" for cgroup.* files; field: where config.json asks."""

    controller: str
    file: str
    value: str
    field: str


def plan_resources(resources: Mapping[str, Any] | None) -> tuple[CgroupWrite, ...]:
    """Plan linux.resources, but for devices (`runtime.plan.device_rules`).

    Raises:
        ConfigError: a value out of range, or one that cgroup v2 has no counterpart for.
    """
    r = resources or {}
    return (
        *_cpu(r.get("cpu") or {}),
        *_memory(r.get("memory") or {}),
        *_pids(r.get("pids") or {}),
        *_block_io(r.get("blockIO") or {}),
        *_hugepages(r.get("hugepageLimits") or ()),
        *_rdma(r.get("rdma") or {}),
        *_network(r.get("network") or {}),
        *_unified(r.get("unified") or {}),
    )


def cpu_weight(shares: int) -> int:
    """cpu.weight for cgroup v1 shares, by the curve on which runc, crun and Kubernetes agreed in 2025.

    Args:
        shares: linux.resources.cpu.shares, 2..262144, clamped; 0 for "not set".
    Returns:
        1..10000; 1024 shares give 100. 0 leaves the kernel's default.
    """
    if shares == 0:
        return 0
    log = math.log2(min(max(shares, 2), 262144))
    return min(10000, max(1, math.ceil(10 ** ((log * log + 125 * log) / 612.0 - 7.0 / 34.0))))


def _cpu(cpu: Mapping[str, Any]) -> Iterator[CgroupWrite]:
    base = "linux.resources.cpu"
    for name in ("realtimeRuntime", "realtimePeriod"):
        if cpu.get(name):
            raise ConfigError(f"{base}.{name}", "cgroup v2 has no realtime limits; remove it, or use process.scheduler")
    if cpu.get("shares"):
        yield CgroupWrite("cpu", "cpu.weight", str(cpu_weight(cpu["shares"])), f"{base}.shares")
    if cpu.get("idle") is not None:
        if cpu["idle"] not in (0, 1):
            raise ConfigError(f"{base}.idle", f"{cpu['idle']} is neither 0 nor 1")
        yield CgroupWrite("cpu", "cpu.idle", str(cpu["idle"]), f"{base}.idle")
    quota, period = cpu.get("quota"), cpu.get("period")
    if quota or period:
        # The kernel keeps the period when only one value is written; "max" keeps no quota.
        value = "max" if not quota or quota < 0 else str(quota)
        yield CgroupWrite(
            "cpu", "cpu.max", f"{value} {period}" if period else value, f"{base}.quota" if quota else f"{base}.period"
        )
    if cpu.get("burst") is not None:
        yield CgroupWrite("cpu", "cpu.max.burst", str(cpu["burst"]), f"{base}.burst")
    for name in ("cpus", "mems"):
        numbers = cpu.get(name)
        if numbers:
            if not CPU_LIST.fullmatch(numbers.replace(" ", "")):
                raise ConfigError(f"{base}.{name}", f"{numbers!r} is no list; it looks like 0-3,7")
            yield CgroupWrite("cpuset", f"cpuset.{name}", numbers, f"{base}.{name}")


def _limit(value: int, field: str) -> str:
    if value < -1 or value > INT64_MAX:
        raise ConfigError(field, f"{value} is out of range; use bytes, or -1 for no limit")
    return "max" if value == -1 else str(value)


def _memory(memory: Mapping[str, Any]) -> Iterator[CgroupWrite]:
    base = "linux.resources.memory"
    limit, swap = memory.get("limit"), memory.get("swap")
    if swap is not None and swap != 0:
        yield CgroupWrite("memory", "memory.swap.max", swap_limit(swap, limit), f"{base}.swap")
    if limit is not None and limit != 0:
        yield CgroupWrite("memory", "memory.max", _limit(limit, f"{base}.limit"), f"{base}.limit")
    if memory.get("reservation"):
        yield CgroupWrite(
            "memory", "memory.low", _limit(memory["reservation"], f"{base}.reservation"), f"{base}.reservation"
        )
    if memory.get("disableOOMKiller"):
        raise ConfigError(f"{base}.disableOOMKiller", "cgroup v2 cannot disable the OOM killer; remove it")
    if memory.get("swappiness") not in (None, 0):
        raise ConfigError(f"{base}.swappiness", "cgroup v2 has no swappiness; remove it, or limit swap")


def swap_limit(swap: int, limit: int | None) -> str:
    """memory.swap.max: the specification's swap counts memory too, the kernel's does not.

    Raises:
        ConfigError: swap is below the memory limit, or there is none to subtract.
    """
    field = "linux.resources.memory.swap"
    if swap == -1:
        return "max"
    if limit is None or limit == 0:
        raise ConfigError(field, "counts memory and swap together, so it needs linux.resources.memory.limit; set both")
    if limit == -1:
        raise ConfigError(field, "cannot be limited while memory is not; set linux.resources.memory.limit too")
    if swap < limit:
        raise ConfigError(field, f"{swap} is below the memory limit {limit}; it counts both together")
    return str(swap - limit)


def _pids(pids: Mapping[str, Any]) -> Iterator[CgroupWrite]:
    limit = pids.get("limit")
    if limit is not None:
        # 0 once meant "not set" to some and "none" to others; one process is the least that can run (spec 1.3).
        value = "max" if limit < 0 else str(max(1, limit))
        yield CgroupWrite("pids", "pids.max", value, "linux.resources.pids.limit")


def io_weight(weight: int) -> int:
    """io.weight (1..10000) for blkio's weight (10..1000), linear."""
    return 1 + (weight - 10) * 9999 // 990


def _block_io(block: Mapping[str, Any]) -> Iterator[CgroupWrite]:
    base = "linux.resources.blockIO"
    if block.get("leafWeight"):
        raise ConfigError(f"{base}.leafWeight", "cgroup v2 has no leaf weight; remove it")
    weight = block.get("weight")
    if weight:
        if not 10 <= weight <= 1000:
            raise ConfigError(f"{base}.weight", f"{weight} is out of range; use 10 to 1000")
        yield CgroupWrite("io", "io.weight", f"default {io_weight(weight)}", f"{base}.weight")
    for i, device in enumerate(block.get("weightDevice") or ()):
        field = f"{base}.weightDevice[{i}]"
        if device.get("leafWeight"):
            raise ConfigError(f"{field}.leafWeight", "cgroup v2 has no leaf weight; remove it")
        if device.get("weight"):
            yield CgroupWrite(
                "io", "io.weight", f"{device['major']}:{device['minor']} {io_weight(device['weight'])}", field
            )
    for name, key in (
        ("throttleReadBpsDevice", "rbps"),
        ("throttleWriteBpsDevice", "wbps"),
        ("throttleReadIOPSDevice", "riops"),
        ("throttleWriteIOPSDevice", "wiops"),
    ):
        for i, device in enumerate(block.get(name) or ()):
            rate = device["rate"] or "max"
            yield CgroupWrite(
                "io", "io.max", f"{device['major']}:{device['minor']} {key}={rate}", f"{base}.{name}[{i}]"
            )


def _hugepages(limits: Sequence[Mapping[str, Any]]) -> Iterator[CgroupWrite]:
    for i, limit in enumerate(limits):
        field, size = f"linux.resources.hugepageLimits[{i}]", limit["pageSize"]
        if not PAGE_SIZE_NAME.fullmatch(size):
            raise ConfigError(f"{field}.pageSize", f"{size!r} is no page size; it looks like 2MB")
        yield CgroupWrite("hugetlb", f"hugetlb.{size}.max", str(limit["limit"]), field)


def _rdma(rdma: Mapping[str, Any]) -> Iterator[CgroupWrite]:
    for device, limit in rdma.items():
        field = f"linux.resources.rdma.{device}"
        if not device or any(c.isspace() for c in device):
            raise ConfigError(field, f"{device!r} is no name of a device")
        parts = [
            f"{key}={limit[name]}"
            for name, key in (("hcaHandles", "hca_handle"), ("hcaObjects", "hca_object"))
            if limit.get(name) is not None
        ]
        if parts:
            yield CgroupWrite("rdma", "rdma.max", " ".join([device, *parts]), field)


def _network(network: Mapping[str, Any]) -> Iterator[CgroupWrite]:
    for name in ("classID", "priorities"):
        if network.get(name):
            raise ConfigError(
                f"linux.resources.network.{name}", "cgroup v2 has no network classes; remove it, or use a BPF program"
            )
    return iter(())


def _unified(unified: Mapping[str, Any]) -> Iterator[CgroupWrite]:
    for file, value in unified.items():
        field = f"linux.resources.unified.{file}"
        if not FILE_NAME.fullmatch(file):
            raise ConfigError(field, f"{file!r} is no file of a cgroup; it looks like memory.high")
        controller = file.split(".", 1)[0]
        for line in value.splitlines() or [""]:
            yield CgroupWrite("" if controller == "cgroup" else controller, file, line, field)
