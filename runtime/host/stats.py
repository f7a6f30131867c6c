"""A container's statistics, in the format of runc's `events --stats`, and its OOM events."""

from __future__ import annotations

import errno
import os
import select
import time
from collections.abc import Iterator
from typing import Any, Protocol

from runtime.errors import StateError
from runtime.host.cgroups import tree

NANOSECONDS = 1000
"""Nanoseconds per microsecond: the kernel reports CPU time in microseconds, runc prints nanoseconds."""

UNLIMITED = (1 << 64) - 1
LONGEST = 24 * 3600.0
"""Seconds to wait in one poll(2), which accepts at most 2**31 milliseconds."""
NO_CGROUP = "the container has no cgroup of its own, so it has no statistics"


class HasCgroup(Protocol):
    """The part of `runtime.host.cgroups.Manager` that is needed here."""

    def open(self, below: str) -> int:
        """Open the container's cgroup; the caller owns the fd. -1 for none. Raises StateError if it is gone."""


def stats(manager: HasCgroup) -> dict[str, Any]:
    """All statistics (runc's types/events.go); values of controllers that are not enabled are 0.

    Raises:
        StateError: the container has no cgroup.
    """
    fd = manager.open("")
    if fd < 0:
        raise StateError(NO_CGROUP)
    try:
        return {
            "cpu": _cpu(fd),
            "cpuset": _cpuset(fd),
            "memory": _memory(fd),
            "pids": {"current": number(_text(fd, "pids.current")), "limit": number(_text(fd, "pids.max"))},
            "blkio": _block_io(fd),
            "hugetlb": _hugetlb(fd),
            "intel_rdt": {},
            "network_interfaces": None,
        }
    finally:
        os.close(fd)


# --- the kernel's formats (cgroup-v2.rst "Interface Files") -------------------------------------------------------


def _text(fd: int, name: str) -> str:
    """Read a file; "" if it is missing or disabled (psi=0 on the kernel command line)."""
    try:
        return tree.read_if_there(fd, name)
    except OSError as e:
        if e.errno == errno.EOPNOTSUPP:
            return ""
        raise


def keyed(text: str) -> dict[str, int]:
    """Parse lines of "name number"."""
    pairs = (line.split() for line in text.split("\n"))
    return {p[0]: int(p[1]) for p in pairs if len(p) == 2 and p[1].isdecimal()}


def number(text: str) -> int:
    """Parse a single value; "max" becomes the largest number, as in runc, and an empty text 0."""
    text = text.strip()
    return UNLIMITED if text == "max" else int(text) if text.isdecimal() else 0


def numbers(text: str) -> list[int]:
    """Parse a list such as 0-2,5."""
    found: list[int] = []
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first.isdecimal():
            found += range(int(first), int(last or first) + 1)
    return found


def pressure(text: str) -> dict[str, dict[str, float | int]]:
    """Parse lines of "some avg10=0.00 avg60=0.00 avg300=0.00 total=0" (psi.rst); total is in microseconds."""
    result: dict[str, dict[str, float | int]] = {}
    for line in filter(None, text.split("\n")):
        kind, *fields = line.split()
        pairs = (f.partition("=") for f in fields)
        result[kind] = {name: int(value) if name == "total" else float(value) for name, _, value in pairs}
    return result


def _psi(fd: int, name: str) -> dict[str, Any]:
    found = pressure(_text(fd, name))
    return {"psi": found} if found else {}


# --- by controller ------------------------------------------------------------------------------------------------


def _cpu(fd: int) -> dict[str, Any]:
    s = keyed(_text(fd, "cpu.stat"))
    return {
        "usage": {
            "total": s.get("usage_usec", 0) * NANOSECONDS,
            "kernel": s.get("system_usec", 0) * NANOSECONDS,
            "user": s.get("user_usec", 0) * NANOSECONDS,
        },
        "throttling": {
            "periods": s.get("nr_periods", 0),
            "throttledPeriods": s.get("nr_throttled", 0),
            "throttledTime": s.get("throttled_usec", 0) * NANOSECONDS,
        },
        **_psi(fd, "cpu.pressure"),
    }


def _cpuset(fd: int) -> dict[str, Any]:
    only_in_v1 = (
        "cpu_exclusive", "mem_hardwall", "mem_exclusive", "memory_migrate", "memory_spread_page",
        "memory_spread_slab", "memory_pressure", "sched_load_balance", "sched_relax_domain_level",
    )  # fmt: skip
    return {
        "cpus": numbers(_text(fd, "cpuset.cpus.effective")),
        "mems": numbers(_text(fd, "cpuset.mems.effective")),
        **dict.fromkeys(only_in_v1, 0),
    }


def _usage(fd: int, prefix: str, failures: str) -> dict[str, int]:
    return {
        "limit": number(_text(fd, f"{prefix}.max")),
        "usage": number(_text(fd, f"{prefix}.current")),
        "max": number(_text(fd, f"{prefix}.peak")),
        "failcnt": keyed(_text(fd, f"{prefix}.events")).get(failures, 0),
    }


def _memory(fd: int) -> dict[str, Any]:
    raw = keyed(_text(fd, "memory.stat"))
    memory, swap = _usage(fd, "memory", "max"), _usage(fd, "memory.swap", "fail")
    # runc's swap includes memory, like the specification's limit.
    swap["usage"] += memory["usage"]
    swap["limit"] = min(swap["limit"] + memory["limit"], UNLIMITED)
    events = keyed(_text(fd, "memory.events"))
    return {
        "cache": raw.get("file", 0),
        "usage": memory,
        "swap": swap,
        "kernel": {"limit": 0, "usage": raw.get("kernel", 0), "failcnt": 0},
        "kernelTCP": {"limit": 0, "usage": raw.get("sock", 0), "failcnt": 0},
        "raw": raw,
        "event_count": {name: events.get(name, 0) for name in ("low", "high", "max", "oom", "oom_kill")},
        **_psi(fd, "memory.pressure"),
    }


def _block_io(fd: int) -> dict[str, Any]:
    sums: dict[str, list[dict[str, Any]]] = {"ioServiceBytesRecursive": [], "ioServicedRecursive": []}
    bytes_, counts = sums.values()
    names = {
        "rbytes": (bytes_, "Read"),
        "wbytes": (bytes_, "Write"),
        "rios": (counts, "Read"),
        "wios": (counts, "Write"),
    }
    for line in filter(None, _text(fd, "io.stat").split("\n")):
        device, *fields = line.split()
        major, _, minor = device.partition(":")
        for entry in fields:
            name, _, value = entry.partition("=")
            if name in names and major.isdecimal() and minor.isdecimal():
                rows, op = names[name]
                rows.append({"major": int(major), "minor": int(minor), "op": op, "value": int(value)})
    return {**sums, **_psi(fd, "io.pressure")}


def _hugetlb(fd: int) -> dict[str, Any]:
    try:
        with os.scandir(fd) as entries:
            files = [e.name for e in entries if e.name.startswith("hugetlb.") and e.is_file(follow_symlinks=False)]
    except FileNotFoundError:  # removed meanwhile
        files = []
    names = [name.split(".") for name in files]
    return {
        size: {
            "usage": number(_text(fd, f"hugetlb.{size}.current")),
            "failcnt": keyed(_text(fd, f"hugetlb.{size}.events")).get("max", 0),
        }
        for size in sorted(parts[1] for parts in names if parts[2:] == ["current"])
    }


# --- OOM kills ----------------------------------------------------------------------------------------------------


def oom_events(manager: HasCgroup, *, interval: float | None = None) -> Iterator[int]:
    """Wait for OOM kills until the container has no processes left.

    The kernel wakes pollers of memory.events and cgroup.events on every change. Without the memory controller, only
    the end is reported.

    Args:
        interval: seconds after which a 0 is yielded, so that the caller can do other work; None for never.
    Returns:
        the number of kills since the last item.
    Raises:
        StateError: the container has no cgroup.
    """
    fd = manager.open("")
    if fd < 0:
        raise StateError(NO_CGROUP)
    events = memory = -1
    try:
        poller = select.poll()
        try:
            events = os.open("cgroup.events", os.O_RDONLY | os.O_CLOEXEC, dir_fd=fd)
        except FileNotFoundError:
            return  # removed meanwhile
        poller.register(events, select.POLLPRI)
        try:
            memory = tree.open_file(fd, "memory.events")
            poller.register(memory, select.POLLPRI)
        except FileNotFoundError:
            pass  # the memory controller is not enabled
        seen, due = _kills(memory), time.monotonic() + (interval or 0)
        while True:
            populated = tree.flag(_again(events), "populated")
            kills = _kills(memory)
            if kills > seen:
                yield kills - seen
                seen = kills
            if not populated:
                return
            if interval is not None and time.monotonic() >= due:
                due = max(due + interval, time.monotonic())
                yield 0
            poller.poll(None if interval is None else min(max(0.0, due - time.monotonic()), LONGEST) * 1000)
    finally:
        for each in (fd, events, memory):
            if each >= 0:
                os.close(each)


def _again(file: int) -> str:
    """Read an open file from the start, which also rearms its poll(2); "" if the cgroup is gone."""
    try:
        return os.pread(file, 4096, 0).decode("ascii", "replace")
    except OSError as e:
        if e.errno == errno.ENODEV:
            return ""
        raise


def _kills(file: int) -> int:
    return keyed(_again(file)).get("oom_kill", 0) if file >= 0 else 0
