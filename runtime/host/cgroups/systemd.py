"""Cgroups as systemd's transient scopes (org.freedesktop.systemd1(5), "Control Group APIs and Delegation").

systemd creates a scope around an existing process, so the container's init waits until it has been moved there. The
scope is delegated to stele, which then uses it as with cgroupfs.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from runtime.errors import HostError
from runtime.host.cgroups import limits
from runtime.host.cgroups.bus import Bus, Refused
from runtime.host.cgroups.cgroupfs import CgroupfsManager, open_below
from runtime.host.cgroups.mount import cgroup_of, open_root
from runtime.host.cgroups.paths import slice_path, systemd_unit
from runtime.host.cgroups.properties import (
    IDLE,
    IDLE_SINCE,
    Property,
    annotated,
    limit_properties,
    unit_properties,
)
from runtime.plan.resources import CgroupWrite

RUNNING = "/run/systemd/system"
UNIT_EXISTS = "org.freedesktop.systemd1.UnitExists"


def systemd_running() -> bool:
    """Whether systemd is this host's init (sd_booted(3))."""
    return os.path.isdir(RUNNING)


def understood(bus: Bus, properties: list[Property]) -> list[Property]:
    """Drop CPUWeight=idle, which an older systemd rejects; writing cpu.idle is enough there."""
    if IDLE in properties and bus.version() < IDLE_SINCE:
        return [each for each in properties if each != IDLE]
    return properties


class SystemdManager(CgroupfsManager):
    """A cgroup that is a systemd scope or slice.

    Args:
        parent: the slice that contains it.
        unit: the unit's name.
        relative: the cgroup's path; a guess until the unit exists.
        extra: properties requested by annotations.
    """

    kind: Literal["cgroupfs", "systemd"] = "systemd"
    __slots__ = ("extra", "program", "slice", "unit", "writes")

    def __init__(
        self,
        parent: str,
        unit: str,
        relative: str,
        *,
        rootless: bool,
        token: str = "",
        owner: str = "",
        ident: int = 0,
        extra: Sequence[Property] = (),
    ) -> None:
        super().__init__(relative, rootless=rootless, token=token, owner=owner, ident=ident)
        self.slice, self.unit, self.extra = parent, unit, extra
        self.writes: Sequence[CgroupWrite] = ()
        self.program: bytes | None = None

    @classmethod
    def new(
        cls,
        cgroups_path: str | None,
        container_id: str,
        *,
        rootless: bool,
        token: str,
        owner: str,
        annotations: Mapping[str, str],
    ) -> SystemdManager:
        """Return the manager for a new container.

        Raises:
            ConfigError: cgroupsPath or an annotation is invalid. HostError: systemd is not running.
        """
        if not systemd_running():
            raise HostError(
                f"--systemd-cgroup: systemd is not running here ({RUNNING} is missing); use --cgroup-manager cgroupfs"
            )
        parent, unit = systemd_unit(cgroups_path, container_id, rootless=rootless)
        path = f"{slice_path(parent)}/{unit}".lstrip("/")
        return cls(parent, unit, path, rootless=rootless, token=token, owner=owner, extra=annotated(annotations))

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> SystemdManager:
        return cls(
            record["slice"],
            record["unit"],
            record["path"],
            rootless=bool(record.get("rootless")),
            token=record.get("token", ""),
            ident=record.get("id", 0),
        )

    def record(self) -> dict[str, Any]:
        return {**super().record(), "slice": self.slice, "unit": self.unit}

    # --- making it ---

    def prepare(self, writes: Sequence[CgroupWrite]) -> None:
        self.writes = writes

    def fd(self) -> int:
        return -1

    def attach(self, pid: int) -> None:
        properties = unit_properties(self.unit, self.slice, pid, self._description(), self.writes, self.extra)
        with Bus(user=self.rootless) as bus:
            properties = understood(bus, properties)
            try:
                self._start(bus, properties)
            except Refused as e:
                if e.name != UNIT_EXISTS:
                    raise
                # Clear a failed unit that an earlier container of this name left; a running unit is not affected.
                with contextlib.suppress(Refused):
                    bus.call("ResetFailedUnit", "s", (self.unit,))
                self._start(bus, properties)
        self.relative = cgroup_of(pid) or self.relative
        root, _ = open_root()
        try:
            self._fd = open_below(root, self.relative)
        except FileNotFoundError:
            raise HostError(
                f"systemd created {self.unit}, but its cgroup {self.path} is missing; has the process ended?",
                errno.ENOENT,
            ) from None
        finally:
            os.close(root)
        self.ident = os.fstat(self._fd).st_ino
        with contextlib.suppress(OSError):  # needed only if the record is lost
            self._mark(self._fd)
        super().apply(self.writes)
        if self.program is not None:
            super().apply_devices(self.program)

    def _start(self, bus: Bus, properties: Sequence[Property]) -> None:
        bus.job("StartTransientUnit", "ssa(sv)a(sa(sv))", (self.unit, "fail", properties, []), self.unit)

    def _description(self) -> str:
        """Identifies our unit among others of this name, if stele dies before its cgroup is recorded."""
        return f"stele container {self.unit} [{self.token}]"

    def apply(self, writes: Sequence[CgroupWrite]) -> None:
        try:
            planned = limits.concrete(self._directory(), writes)
        except FileNotFoundError:
            planned = list(writes)
        properties = limit_properties(planned)
        if properties:
            with Bus(user=self.rootless) as bus:
                bus.call("SetUnitProperties", "sba(sv)", (self.unit, True, understood(bus, properties)))
        super().apply(planned)

    def apply_devices(self, program: bytes) -> None:
        """Attach the filter; before `attach` there is no cgroup yet, so keep it until then."""
        self.program = program
        with contextlib.suppress(FileNotFoundError):
            if self.ident:
                super().apply_devices(program)

    # --- finding and removing it ---

    def _directory(self) -> int:
        try:
            return super()._directory()
        except FileNotFoundError:
            # The creator died before it recorded the cgroup: find the unit by name and verify its token.
            if self.ident or not self._find():
                raise
            return super()._directory()

    def _find(self) -> bool:
        try:
            with Bus(user=self.rootless) as bus:
                if bus.unit_property(self.unit, "Unit", "Description") != self._description():
                    return False
                kind = "Slice" if self.unit.endswith(".slice") else "Scope"
                self.relative = str(bus.unit_property(self.unit, kind, "ControlGroup")).strip("/")
        except HostError:
            return False  # no such unit, or systemd is unreachable
        root, _ = open_root()
        try:
            fd = open_below(root, self.relative)
        except FileNotFoundError:
            return False
        finally:
            os.close(root)
        self.ident = os.fstat(fd).st_ino
        os.close(fd)
        return True

    def destroy(self) -> None:
        try:
            with Bus(user=self.rootless) as bus:
                if bus.unit_property(self.unit, "Unit", "Description") == self._description():
                    bus.job("StopUnit", "ss", (self.unit, "replace"), self.unit)
        except HostError:
            pass  # the unit is gone, or systemd is unreachable; it removes an empty scope by itself
        super().destroy()
