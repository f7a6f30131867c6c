"""linux.resources as writes to cgroup v2 files, in the order in which the kernel takes them (cgroup-v2.rst)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runtime.errors import ConfigError
from runtime.plan.io_resources import block_io
from runtime.plan.unified import unified

BASE = "linux.resources"
INT64_MAX = (1 << 63) - 1
MAX = "max"
KEEP = "="
"""In a value of several words: keep the word that the file has there. No cgroup file accepts a lone "="."""

MIN_QUOTA, MAX_QUOTA = 1_000, (1 << 44) - 1
MIN_PERIOD, MAX_PERIOD = 1_000, 1_000_000
DEFAULT_PERIOD = 100_000
"""Microseconds (kernel/sched: min_cfs_quota_period, max_cfs_quota_period, max_cfs_runtime; cgroup-v2.rst "cpu.max")."""

MIN_SHARES, MAX_SHARES = 2, 262_144
PAGE_SIZE_NAME = re.compile(r"[1-9][0-9]*(KB|MB|GB)")
RDMA_DEVICE = re.compile(r"[!-~]{1,63}")
NUMBER_LIST = re.compile(r"[0-9]{1,5}(-[0-9]{1,5}(:[0-9]+/[0-9]+)?)?")


@dataclass(frozen=True, slots=True)
class CgroupWrite:
    """One write to a file of the container's cgroup.

    Args:
        controller: the controller that `file` needs; "" for cgroup.* files.
        value: the text to write; the word KEEP in it stands for the current word at that place.
        field: where config.json asks for it.
        below: a file whose number must be smaller than `value`; else nothing of the whole plan is written.
        minus: a file whose number is subtracted from `value`, unless it says "max".
        optional: a kernel without the file has nothing to limit, so a missing file is not an error.
        otherwise: (file, value) for a kernel that has the file not.
    """

    controller: str
    file: str
    value: str
    field: str
    below: str = ""
    minus: str = ""
    optional: bool = False
    otherwise: tuple[str, str] | None = None


def plan_resources(resources: Mapping[str, Any] | None, *, update: bool = False) -> tuple[CgroupWrite, ...]:
    """Plan linux.resources, except devices (`runtime.plan.device_rules`).

    Args:
        resources: valid against the schema.
        update: for a container that has limits already; values that are not given are kept.
    Returns:
        the writes in their order. What cgroup v2 has no counterpart for and runc ignores too (memory.kernel,
        kernelTCP, useHierarchy) makes none.
    Raises:
        ConfigError: a value out of range, or one that cgroup v2 has no counterpart for.
    """
    r = resources or {}
    return (
        *_cpu(r.get("cpu") or {}, update=update),
        *_memory(r.get("memory") or {}, update=update),
        *_pids(r.get("pids") or {}),
        *(CgroupWrite("io", *w[:3], otherwise=w[3]) for w in block_io(r.get("blockIO") or {})),
        *_hugepages(r.get("hugepageLimits") or ()),
        *_rdma(r.get("rdma") or {}),
        *_network(r.get("network") or {}),
        *(CgroupWrite(*w) for w in unified(r.get("unified") or {})),
    )


# --- cpu, cpuset --------------------------------------------------------------------------------------------------


def cpu_weight(shares: int) -> int:
    """cpu.weight for cgroup v1 shares, by the curve on which runc, crun and Kubernetes agreed in 2025.

    Args:
        shares: linux.resources.cpu.shares, 2..262144, clamped as cgroup v1 did; 0 for "not set".
    Returns:
        1..10000; 1024 shares give 100. 0 leaves the kernel's default.
    """
    if shares == 0:
        return 0
    log = math.log2(min(max(shares, MIN_SHARES), MAX_SHARES))
    return min(10000, max(1, math.ceil(10 ** ((log * log + 125 * log) / 612.0 - 7.0 / 34.0))))


def _cpu(cpu: Mapping[str, Any], *, update: bool) -> Iterator[CgroupWrite]:
    base = f"{BASE}.cpu"
    for name in ("realtimeRuntime", "realtimePeriod"):
        if cpu.get(name):
            raise ConfigError(f"{base}.{name}", "cgroup v2 has no realtime limits; remove it, or use process.scheduler")
    idle, shares = cpu.get("idle"), cpu.get("shares")
    if idle is not None:
        if idle not in (0, 1):
            raise ConfigError(f"{base}.idle", f"{idle} is neither 0 nor 1")
        yield CgroupWrite("cpu", "cpu.idle", str(idle), f"{base}.idle")
    # An idle cgroup has no weight: the kernel refuses one with EINVAL. One that is idle no more takes it.
    if shares and idle != 1:
        yield CgroupWrite("cpu", "cpu.weight", str(cpu_weight(shares)), f"{base}.shares")
    yield from _bandwidth(cpu, base, update=update)
    for name in ("cpus", "mems"):
        if cpu.get(name):
            yield CgroupWrite("cpuset", f"cpuset.{name}", _numbers(cpu[name], f"{base}.{name}"), f"{base}.{name}")


def _bandwidth(cpu: Mapping[str, Any], base: str, *, update: bool) -> Iterator[CgroupWrite]:
    quota, period, burst = cpu.get("quota") or 0, cpu.get("period") or 0, cpu.get("burst")
    if quota and quota != -1 and not MIN_QUOTA <= quota <= MAX_QUOTA:
        raise ConfigError(
            f"{base}.quota", f"{quota} is out of range; use {MIN_QUOTA} microseconds or more, or -1 for no limit"
        )
    if period and not MIN_PERIOD <= period <= MAX_PERIOD:
        raise ConfigError(f"{base}.period", f"{period} is out of range; use {MIN_PERIOD} to {MAX_PERIOD} microseconds")
    if burst is not None and burst > MAX_QUOTA:
        raise ConfigError(f"{base}.burst", f"{burst} is out of range; use at most the quota")
    if burst and quota > 0 and burst > quota:
        raise ConfigError(f"{base}.burst", f"{burst} is above the quota {quota}; at most the quota can be saved up")
    # The kernel refuses a burst above the quota at every moment, so on the way to new values there is none.
    if burst is not None and update:
        yield CgroupWrite("cpu", "cpu.max.burst", "0", f"{base}.burst")
    if quota or period:
        first = str(quota) if quota > 0 else MAX if quota or not update else KEEP
        second = str(period) if period else KEEP if update else str(DEFAULT_PERIOD)
        yield CgroupWrite("cpu", "cpu.max", f"{first} {second}", f"{base}.quota" if quota else f"{base}.period")
    if burst is not None and (burst or not update):
        yield CgroupWrite("cpu", "cpu.max.burst", str(burst), f"{base}.burst")


def _numbers(text: str, field: str) -> str:
    """A list of CPUs or memory nodes, without spaces.

    Raises:
        ConfigError: it is none ("List format" in cpuset(7)).
    """
    parts = text.replace(" ", "").split(",")
    for part in parts:
        match = NUMBER_LIST.fullmatch(part)
        first, _, last = part.partition(":")[0].partition("-")
        if not match or (last and int(last) < int(first)):
            raise ConfigError(field, f"{text!r} is not a list such as 0-3,7")
    return ",".join(parts)


# --- memory, pids -------------------------------------------------------------------------------------------------


def _limit(value: int, field: str) -> str:
    if value < -1 or value > INT64_MAX:
        raise ConfigError(field, f"{value} is out of range; use bytes, or -1 for no limit")
    return MAX if value == -1 else str(value)


def _memory(memory: Mapping[str, Any], *, update: bool) -> Iterator[CgroupWrite]:
    base = f"{BASE}.memory"
    if memory.get("disableOOMKiller"):
        raise ConfigError(f"{base}.disableOOMKiller", "cgroup v2 cannot disable the OOM killer; remove it")
    if memory.get("swappiness"):
        raise ConfigError(f"{base}.swappiness", "cgroup v2 has no swappiness; remove it, or limit swap")
    limit, swap = memory.get("limit") or 0, memory.get("swap") or 0
    # checkBeforeUpdate: a limit that is in use already would wake the OOM killer; the cgroup of a create is empty.
    check = "memory.current" if update and memory.get("checkBeforeUpdate") else ""
    if swap or limit == -1:
        yield _swap(swap or -1, limit, f"{base}.swap" if swap else f"{base}.limit", update=update)
    if limit:
        value = _limit(limit, f"{base}.limit")
        yield CgroupWrite("memory", "memory.max", value, f"{base}.limit", below=check if value != MAX else "")
    if memory.get("reservation"):
        field = f"{base}.reservation"
        yield CgroupWrite("memory", "memory.low", _limit(memory["reservation"], field), field)


def _swap(swap: int, limit: int, field: str, *, update: bool) -> CgroupWrite:
    """memory.swap.max: the specification's swap counts memory too, the kernel's does not.

    Memory without limit makes swap unlimited, unless one is given: that is taken as it is (runc).

    Raises:
        ConfigError: swap is below the memory limit, or there is none to subtract.
    """
    if swap == -1:
        return CgroupWrite("memory", "memory.swap.max", MAX, field, optional=True)
    value = _limit(swap, field)
    if limit == -1:
        return CgroupWrite("memory", "memory.swap.max", value, field)
    if not limit and not update:
        raise ConfigError(field, "counts memory and swap together, so it needs linux.resources.memory.limit; set both")
    if not limit:
        return CgroupWrite("memory", "memory.swap.max", value, field, minus="memory.max")
    if swap < limit:
        raise ConfigError(field, f"{swap} is below the memory limit {limit}; it counts both together")
    return CgroupWrite("memory", "memory.swap.max", str(swap - limit), field, optional=swap == limit)


def _pids(pids: Mapping[str, Any]) -> Iterator[CgroupWrite]:
    limit = pids.get("limit")
    if limit is None:
        return
    field = f"{BASE}.pids.limit"
    if limit < -1:
        raise ConfigError(field, f"{limit} is out of range; use a number of processes, or -1 for no limit")
    # runtime-spec 1.3: 0 is a limit, not "none". The kernel would refuse the first process too, that is why 1.
    yield CgroupWrite("pids", "pids.max", MAX if limit == -1 else str(max(1, limit)), field)


# --- hugetlb, rdma, network ---------------------------------------------------------------------------------------


def _hugepages(limits: Sequence[Mapping[str, Any]]) -> Iterator[CgroupWrite]:
    for i, limit in enumerate(limits):
        field, size, number = f"{BASE}.hugepageLimits[{i}]", limit["pageSize"], limit["limit"]
        if not PAGE_SIZE_NAME.fullmatch(size):
            raise ConfigError(f"{field}.pageSize", f"{size!r} is not a page size such as 2MB")
        value = MAX if number > INT64_MAX else str(number)
        yield CgroupWrite("hugetlb", f"hugetlb.{size}.max", value, field)
        # Limits mmap(2) already, which then says ENOMEM; without it the first touch of a page too many is a SIGBUS.
        yield CgroupWrite("hugetlb", f"hugetlb.{size}.rsvd.max", value, field, optional=True)


def _rdma(rdma: Mapping[str, Any]) -> Iterator[CgroupWrite]:
    for device, limit in rdma.items():
        field = f"{BASE}.rdma.{device}"
        if not RDMA_DEVICE.fullmatch(device):
            raise ConfigError(
                field,
                f"{device!r} is not a device name; use a name from /sys/class/infiniband",
            )
        parts = [
            f"{key}={limit[name]}"
            for name, key in (("hcaHandles", "hca_handle"), ("hcaObjects", "hca_object"))
            if limit.get(name) is not None
        ]
        if not parts:
            raise ConfigError(field, "has neither hcaHandles nor hcaObjects; set one, or remove the device")
        yield CgroupWrite("rdma", "rdma.max", " ".join([device, *parts]), field)


def _network(network: Mapping[str, Any]) -> Iterator[CgroupWrite]:
    for name in ("classID", "priorities"):
        if network.get(name):
            raise ConfigError(
                f"{BASE}.network.{name}", "cgroup v2 has no network classes; remove it, or use a BPF program"
            )
    return iter(())
