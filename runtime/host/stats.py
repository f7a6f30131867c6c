"""Statistics of a container from its cgroup, in the shape that runc's `events --stats` has."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

Read = Callable[[str], str]
MICROSECOND = 1000
UNLIMITED = (1 << 64) - 1


def reader(path: str) -> Read:
    """A function that reads a file of the cgroup directory `path`; "" for one that is not there."""

    def read(name: str) -> str:
        try:
            with open(f"{path}/{name}", encoding="ascii", errors="replace") as f:
                return f.read()
        except OSError:
            return ""

    return read


def keyed(text: str) -> dict[str, int]:
    """Lines of "name number" (cgroup-v2.rst "flat keyed")."""
    pairs = (line.split() for line in text.splitlines())
    return {p[0]: int(p[1]) for p in pairs if len(p) == 2 and p[1].isdecimal()}


def number(text: str) -> int:
    """A single value; "max" is the largest number, as runc prints it, and a missing file 0."""
    text = text.strip()
    return UNLIMITED if text == "max" else int(text) if text.isdecimal() else 0


def pressure(text: str) -> dict[str, dict[str, float | int]]:
    """Lines of "some avg10=0.00 avg60=0.00 avg300=0.00 total=0" (psi.rst)."""
    result: dict[str, dict[str, float | int]] = {}
    for line in text.splitlines():
        kind, *fields = line.split()
        pairs = (f.partition("=") for f in fields)
        result[kind] = {name: int(value) if name == "total" else float(value) for name, _, value in pairs}
    return result


def stats(path: str) -> dict[str, Any]:
    """All statistics; path: the cgroup's directory."""
    read = reader(path)
    return {
        "cpu": _cpu(read),
        "cpuset": {"cpus": _list(read("cpuset.cpus.effective")), "mems": _list(read("cpuset.mems.effective"))},
        "memory": _memory(read),
        "pids": {"current": number(read("pids.current")), "limit": number(read("pids.max"))},
        "blkio": _block_io(read),
        "hugetlb": _hugetlb(path, read),
        "intel_rdt": {},
        "network_interfaces": None,
    }


def _list(text: str) -> list[int]:
    numbers: list[int] = []
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first.isdecimal():
            numbers += range(int(first), int(last or first) + 1)
    return numbers


def _cpu(read: Read) -> dict[str, Any]:
    s = keyed(read("cpu.stat"))
    return {
        "usage": {
            "total": s.get("usage_usec", 0) * MICROSECOND,
            "kernel": s.get("system_usec", 0) * MICROSECOND,
            "user": s.get("user_usec", 0) * MICROSECOND,
        },
        "throttling": {
            "periods": s.get("nr_periods", 0),
            "throttledPeriods": s.get("nr_throttled", 0),
            "throttledTime": s.get("throttled_usec", 0) * MICROSECOND,
        },
        "psi": pressure(read("cpu.pressure")),
    }


def _usage(read: Read, prefix: str) -> dict[str, int]:
    return {
        "limit": number(read(f"{prefix}.max")),
        "usage": number(read(f"{prefix}.current")),
        "max": number(read(f"{prefix}.peak")),
        "failcnt": keyed(read(f"{prefix}.events")).get("max", 0),
    }


def _memory(read: Read) -> dict[str, Any]:
    raw = keyed(read("memory.stat"))
    memory, swap = _usage(read, "memory"), _usage(read, "memory.swap")
    # runc's swap counts memory and swap together, as the specification's limit does.
    if memory["limit"] != UNLIMITED and swap["limit"] != UNLIMITED:
        swap["limit"] += memory["limit"]
    swap["usage"] += memory["usage"]
    return {
        "cache": raw.get("file", 0),
        "usage": memory,
        "swap": swap,
        "raw": raw,
        "psi": pressure(read("memory.pressure")),
    }


def _block_io(read: Read) -> dict[str, Any]:
    result: dict[str, Any] = {"ioServiceBytesRecursive": [], "ioServicedRecursive": []}
    names = {"rbytes": (0, "Read"), "wbytes": (0, "Write"), "rios": (1, "Read"), "wios": (1, "Write")}
    for line in read("io.stat").splitlines():
        device, *fields = line.split()
        major, _, minor = device.partition(":")
        for entry in fields:
            name, _, value = entry.partition("=")
            if name in names and minor.isdecimal():
                which, op = names[name]
                row = {"major": int(major), "minor": int(minor), "op": op, "value": int(value)}
                result[("ioServiceBytesRecursive", "ioServicedRecursive")[which]].append(row)
    result["psi"] = pressure(read("io.pressure"))
    return result


def _hugetlb(path: str, read: Read) -> dict[str, Any]:
    try:
        sizes = {n.split(".")[1] for n in os.listdir(path) if n.startswith("hugetlb.") and n.endswith(".current")}
    except FileNotFoundError:
        return {}
    return {
        size: {
            "usage": number(read(f"hugetlb.{size}.current")),
            "failcnt": keyed(read(f"hugetlb.{size}.events")).get("max", 0),
        }
        for size in sorted(sizes)
    }
