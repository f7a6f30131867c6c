"""Cgroups as systemd's transient scopes, over D-Bus (org.freedesktop.systemd1(5)).

systemd makes the scope around a process that exists, so the container's init waits while it is put in. Limits that
systemd has a property for are given to it too, so that a daemon-reload keeps them; all are written to the cgroup itself.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

from runtime.errors import HostError
from runtime.host.cgroups.cgroupfs import CgroupfsManager
from runtime.host.cgroups.mount import mount_point
from runtime.host.cgroups.paths import systemd_unit
from runtime.plan.resources import CgroupWrite

JOB_TIMEOUT = 30.0
"""Seconds for systemd to start or stop a scope."""

UNLIMITED = (1 << 64) - 1
NUMBERS = {
    "cpu.weight": "CPUWeight",
    "memory.max": "MemoryMax",
    "memory.low": "MemoryLow",
    "memory.high": "MemoryHigh",
    "memory.swap.max": "MemorySwapMax",
    "pids.max": "TasksMax",
}
MASKS = {"cpuset.cpus": "AllowedCPUs", "cpuset.mems": "AllowedMemoryNodes"}
Property = tuple[str, tuple[str, Any]]


def properties_of(writes: Sequence[CgroupWrite]) -> list[Property]:
    """Writes to cgroup files as properties of a unit; what systemd has no property for is left out."""
    properties: list[Property] = []
    for w in writes:
        if w.file in NUMBERS:
            properties.append((NUMBERS[w.file], ("t", UNLIMITED if w.value == "max" else int(w.value))))
        elif w.file in MASKS:
            properties.append((MASKS[w.file], ("ay", _mask(w.value))))
        elif w.file == "cpu.max":
            quota, _, period = w.value.partition(" ")
            microseconds = int(period or 100_000)
            if period:
                properties.append(("CPUQuotaPeriodUSec", ("t", microseconds)))
            per_second = UNLIMITED if quota == "max" else -(-int(quota) * 1_000_000 // microseconds)
            properties.append(("CPUQuotaPerSecUSec", ("t", per_second)))
        elif w.file == "io.weight" and w.value.startswith("default "):
            properties.append(("IOWeight", ("t", int(w.value.split()[1]))))
    return properties


def _mask(listed: str) -> bytes:
    mask = 0
    for part in listed.split(","):
        first, _, last = part.strip().partition("-")
        for number in range(int(first), int(last or first) + 1):
            mask |= 1 << number
    return mask.to_bytes((mask.bit_length() + 7) // 8 or 1, "little")


def slice_path(name: str) -> str:
    """ "a-b.slice" as the path of its cgroup: a.slice/a-b.slice (systemd.slice(5))."""
    if name == "-.slice":
        return ""
    parts = name.removesuffix(".slice").split("-")
    return "/".join("-".join(parts[: i + 1]) + ".slice" for i in range(len(parts)))


class SystemdManager(CgroupfsManager):
    """A scope. Its cgroup is ours to write in (Delegate=yes) once systemd has made it."""

    __slots__ = ("slice", "unit", "writes")

    def __init__(self, parent: str, unit: str, relative: str, *, rootless: bool) -> None:
        super().__init__(relative, rootless=rootless)
        self.slice, self.unit = parent, unit
        self.writes: Sequence[CgroupWrite] = ()

    @classmethod
    def new(cls, cgroups_path: str | None, container_id: str, *, rootless: bool) -> SystemdManager:
        parent, unit = systemd_unit(cgroups_path, container_id, rootless=rootless)
        return cls(parent, unit, f"{slice_path(parent)}/{unit}".lstrip("/"), rootless=rootless)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> SystemdManager:
        return cls(record["slice"], record["unit"], record["path"], rootless=bool(record.get("rootless")))

    def record(self) -> dict[str, Any]:
        return {
            "manager": "systemd",
            "slice": self.slice,
            "unit": self.unit,
            "path": self.relative,
            "rootless": self.rootless,
        }

    def prepare(self, writes: Sequence[CgroupWrite]) -> None:
        self.writes = writes

    def fd(self) -> int:
        return -1

    def attach(self, pid: int) -> None:
        properties: list[Property] = [
            ("Description", ("s", f"stele container {self.unit}")),
            ("Delegate", ("b", True)),
            ("DefaultDependencies", ("b", False)),
            ("PIDs", ("au", [pid])),
            *([] if self.unit.endswith(".slice") else [("Slice", ("s", self.slice))]),
            *properties_of(self.writes),
        ]
        with _Bus(user=self.rootless) as bus:
            bus.job("StartTransientUnit", "ssa(sv)a(sa(sv))", (self.unit, "fail", properties, []), self.unit)
            self.relative = bus.control_group(self.unit).lstrip("/") or self.relative
        self.path = f"{mount_point()}/{self.relative}"
        super().apply(self.writes)

    def apply(self, writes: Sequence[CgroupWrite]) -> None:
        properties = properties_of(writes)
        if properties:
            with _Bus(user=self.rootless) as bus:
                bus.call("SetUnitProperties", "sba(sv)", (self.unit, True, properties))
        super().apply(writes)

    def apply_devices(self, program: bytes) -> None:
        if os.path.isdir(self.path):
            super().apply_devices(program)

    def destroy(self) -> None:
        with contextlib.suppress(HostError), _Bus(user=self.rootless) as bus:
            # Gone already is as good: the last process's end stops a scope.
            with contextlib.suppress(HostError):
                bus.job("StopUnit", "ss", (self.unit, "replace"), self.unit)
            with contextlib.suppress(HostError):
                bus.call("ResetFailedUnit", "s", (self.unit,))
        super().destroy()


class _Bus:
    """A connection to systemd's manager object."""

    def __init__(self, *, user: bool) -> None:
        from jeepney import DBusAddress
        from jeepney.io.blocking import open_dbus_connection

        self.manager = DBusAddress(
            "/org/freedesktop/systemd1",
            bus_name="org.freedesktop.systemd1",
            interface="org.freedesktop.systemd1.Manager",
        )
        try:
            self.connection = open_dbus_connection("SESSION" if user else "SYSTEM")
        except (OSError, KeyError) as e:
            which = "the user's" if user else "the system's"
            raise HostError(
                f"--systemd-cgroup: cannot reach systemd over {which} D-Bus: {e}; use --cgroup-manager cgroupfs"
            ) from e

    def __enter__(self) -> _Bus:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def call(self, method: str, signature: str, body: tuple[Any, ...]) -> tuple[Any, ...]:
        """Call a method of the manager.

        Raises:
            HostError: systemd refuses, in its own words.
        """
        from jeepney import MessageType, new_method_call

        reply = self.connection.send_and_get_reply(
            new_method_call(self.manager, method, signature, body), timeout=JOB_TIMEOUT
        )
        if reply.header.message_type is MessageType.error:
            raise HostError(
                f"systemd refuses {method}: {reply.body[0] if reply.body else 'no reason given'}; correct linux.cgroupsPath or the limits"
            )
        result: tuple[Any, ...] = reply.body
        return result

    def job(self, method: str, signature: str, body: tuple[Any, ...], unit: str) -> None:
        """Call a method that makes a job, and wait for its end."""
        from jeepney import MatchRule, message_bus
        from jeepney.io.blocking import Proxy

        rule = MatchRule(type="signal", interface="org.freedesktop.systemd1.Manager", member="JobRemoved")
        Proxy(message_bus, self.connection).AddMatch(rule)
        with self.connection.filter(rule, bufsize=256) as signals:
            self.call("Subscribe", "", ())
            (path,) = self.call(method, signature, body)
            while True:
                try:
                    _, job, _, result = self.connection.recv_until_filtered(signals, timeout=JOB_TIMEOUT).body
                except TimeoutError:
                    raise HostError(f"systemd did not finish {method} of {unit} within {JOB_TIMEOUT:.0f} s") from None
                if job == path:
                    if result not in ("done", "skipped"):
                        raise HostError(
                            f"systemd could not do {method} of {unit}: {result}; see `systemctl status {unit}`"
                        )
                    return

    def control_group(self, unit: str) -> str:
        """The path of a unit's cgroup below the mount."""
        from jeepney import DBusAddress, Properties

        (path,) = self.call("GetUnit", "s", (unit,))
        kind = "Slice" if unit.endswith(".slice") else "Scope"
        address = DBusAddress(path, bus_name="org.freedesktop.systemd1", interface=f"org.freedesktop.systemd1.{kind}")
        reply = self.connection.send_and_get_reply(Properties(address).get("ControlGroup"), timeout=JOB_TIMEOUT)
        value: str = reply.body[0][1]
        return value
