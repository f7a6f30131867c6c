"""Cgroups v2: one manager for each container, by cgroupfs, by systemd's scopes, or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from runtime.errors import ConfigError
from runtime.host.cgroups.mount import mount_point
from runtime.plan.resources import CgroupWrite

Kind = Literal["cgroupfs", "systemd", "disabled"]


class Manager(Protocol):
    """What a container needs of its cgroup. `path` is the cgroup's directory below the mount, "" for none."""

    path: str

    def record(self) -> dict[str, Any]:
        """What state.json keeps, so that `from_record` finds the cgroup again."""

    def prepare(self, writes: Sequence[CgroupWrite]) -> None:
        """Make the cgroup, with the controllers that `writes` need, and apply them."""

    def fd(self) -> int:
        """The cgroup's directory for clone3(2), -1 where the process is put in later; the manager's."""

    def attach(self, pid: int) -> None:
        """Put a process in that was not born there."""

    def open(self, below: str) -> int:
        """The directory of the cgroup, or of one below it, for an exec; the caller's; -1 for none."""

    def apply(self, writes: Sequence[CgroupWrite]) -> None:
        """Write limits."""

    def apply_devices(self, program: bytes) -> None:
        """Attach a device filter, in place of the one before."""

    def freeze(self) -> None:
        """Stop all processes; returns when they have stopped."""

    def thaw(self) -> None:
        """Let them go on."""

    def paused(self) -> bool:
        """Whether it is frozen."""

    def kill(self) -> None:
        """SIGKILL to every process in it and below, until none is left."""

    def pids(self, *, recursive: bool = True) -> list[int]:
        """The processes in it."""

    def wait_empty(self, timeout: float) -> bool:
        """Wait until no process is left; False when the time, in seconds, is over."""

    def oom_kills(self) -> int:
        """How often the OOM killer struck in it."""

    def destroy(self) -> None:
        """Remove the cgroup and those below it."""


def open_manager(kind: Kind, cgroups_path: str | None, container_id: str, *, rootless: bool) -> Manager:
    """The manager for a new container.

    Args:
        cgroups_path: linux.cgroupsPath.
    Raises:
        ConfigError: the path cannot be meant. HostError: no cgroup2 hierarchy.
    """
    if kind == "disabled":
        from runtime.host.cgroups.disabled import DisabledManager

        return DisabledManager()
    if kind == "systemd":
        from runtime.host.cgroups.systemd import SystemdManager

        return SystemdManager.new(cgroups_path, container_id, rootless=rootless)
    from runtime.host.cgroups.cgroupfs import CgroupfsManager
    from runtime.host.cgroups.paths import cgroupfs_path

    return CgroupfsManager(cgroupfs_path(cgroups_path, container_id), rootless=rootless)


def from_record(record: Mapping[str, Any]) -> Manager:
    """The manager of an existing container."""
    kind = record.get("manager")
    if kind == "cgroupfs":
        from runtime.host.cgroups.cgroupfs import CgroupfsManager

        return CgroupfsManager(record["path"], rootless=bool(record.get("rootless")))
    if kind == "systemd":
        from runtime.host.cgroups.systemd import SystemdManager

        return SystemdManager.from_record(record)
    if kind == "disabled":
        from runtime.host.cgroups.disabled import DisabledManager

        return DisabledManager()
    raise ConfigError("cgroup", f"the state names no cgroup manager that this stele knows: {kind!r}")


__all__ = ["CgroupWrite", "Kind", "Manager", "from_record", "mount_point", "open_manager"]
