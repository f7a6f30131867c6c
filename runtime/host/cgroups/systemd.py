"""Cgroups as systemd's transient scopes (org.freedesktop.systemd1(5), "Control Group APIs and Delegation").

systemd makes the scope around a process that exists, so the container's init waits while it is put in. The scope is
delegated to us: in it, everything goes as with cgroupfs.
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
    """Without what an older systemd refuses: there the cgroup's file alone says that it is idle."""
    if IDLE in properties and bus.version() < IDLE_SINCE:
        return [each for each in properties if each != IDLE]
    return properties


class SystemdManager(CgroupfsManager):
    """A scope.

    Args:
        parent: the slice that it is in.
        unit: its name.
        relative: the cgroup's path; a guess until the scope is there.
        extra: properties that annotations ask for.
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
        """The manager of a new container.

        Raises:
            ConfigError: cgroupsPath or an annotation. HostError: no systemd.
        """
        if not systemd_running():
            raise HostError(
                f"--systemd-cgroup: systemd does not run here ({RUNNING} is missing); use --cgroup-manager cgroupfs"
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
                # What a container of this name left when it failed; one that runs is not touched by this.
                with contextlib.suppress(Refused):
                    bus.call("ResetFailedUnit", "s", (self.unit,))
                self._start(bus, properties)
        self.relative = cgroup_of(pid) or self.relative
        root, _ = open_root()
        try:
            self._fd = open_below(root, self.relative)
        except FileNotFoundError:
            raise HostError(
                f"systemd made {self.unit}, but its cgroup {self.path} is not there; is the process gone?", errno.ENOENT
            ) from None
        finally:
            os.close(root)
        self.ident = os.fstat(self._fd).st_ino
        with contextlib.suppress(OSError):  # it is only for who has lost the record
            self._mark(self._fd)
        super().apply(self.writes)
        if self.program is not None:
            super().apply_devices(self.program)

    def _start(self, bus: Bus, properties: Sequence[Property]) -> None:
        bus.job("StartTransientUnit", "ssa(sv)a(sa(sv))", (self.unit, "fail", properties, []), self.unit)

    def _description(self) -> str:
        """Tells our unit from another of its name, should we die before its cgroup is recorded."""
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
        """Before `attach` there is no cgroup: the program waits for it."""
        self.program = program
        with contextlib.suppress(FileNotFoundError):
            if self.ident:
                super().apply_devices(program)

    # --- finding and removing it ---

    def _directory(self) -> int:
        try:
            return super()._directory()
        except FileNotFoundError:
            # The creator died before it could record the cgroup: systemd knows the unit by its name, we it by its token.
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
            return False  # there is no such unit, or no systemd to ask
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
            pass  # no such unit any more; or no systemd to ask, which ends a scope by itself when that is empty
        super().destroy()
