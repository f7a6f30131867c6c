"""Cgroups v2: one manager for each container, by cgroupfs, by systemd's scopes, or none."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from runtime.errors import ConfigError, HostError
from runtime.host.cgroups.mount import mount_point
from runtime.plan.resources import CgroupWrite

Kind = Literal["cgroupfs", "systemd", "disabled"]


class Manager(Protocol):
    """What a container needs of its cgroup.

    A cgroup that is not there, or is not this container's (any more), is no error for what asks or removes: it has
    no processes, is not paused, and is gone.
    """

    @property
    def path(self) -> str:
        """The cgroup's directory below the mount, "" for none."""

    def record(self) -> dict[str, Any]:
        """What state.json keeps, so that `from_record` finds the cgroup again.

        Made durable before `prepare` or `attach`, it names what these are about to make; made durable once more
        after them, it has the cgroup's id and cannot mean another.
        """

    def prepare(self, writes: Sequence[CgroupWrite]) -> None:
        """Make the cgroup, with the controllers that `writes` need, and apply them.

        Raises:
            ConfigError: a controller is missing. HostError: the cgroup is used, frozen, or refused; what was made
            by this call is gone again, unless it can already have processes: then `destroy` removes it.
        """

    def fd(self) -> int:
        """The cgroup's directory for clone3(2), -1 where the process is put in later or stays; the manager's."""

    def attach(self, pid: int) -> None:
        """Put a process in that was not born there."""

    def delegate(self, uid: int) -> None:
        """Let this user make cgroups in it; its own limits stay out of reach."""

    def open(self, below: str) -> int:
        """The directory of the cgroup, or of one below it, for an exec; the caller's; -1 for none."""

    def open_beside(self, pid: int) -> int:
        """The directory of the cgroup that a process of the container is in by now; the caller's; -1 for none."""

    def apply(self, writes: Sequence[CgroupWrite]) -> None:
        """Write limits. Raises ConfigError or HostError with the field."""

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

    def signal(self, number: int) -> int:
        """A signal to every process in it and below; how many got it."""

    def pids(self, *, recursive: bool = True) -> list[int]:
        """The processes in it."""

    def oom_kills(self) -> int:
        """How often the OOM killer struck in it."""

    def destroy(self) -> None:
        """Remove the cgroup and those below it. Call `kill` first."""


def open_manager(
    kind: Kind,
    cgroups_path: str | None,
    container_id: str,
    *,
    rootless: bool,
    annotations: Mapping[str, str] | None = None,
    owner: str = "",
) -> Manager:
    """The manager for a new container.

    Args:
        cgroups_path: linux.cgroupsPath.
        annotations: of config.json; org.systemd.property.NAME go to systemd.
        owner: the container among those of all --root (`Store.owner`); `find` finds its cgroup by that.
    Raises:
        ConfigError: the path or an annotation cannot be meant. HostError: no cgroup2 hierarchy, no systemd.
    """
    if kind == "disabled":
        from runtime.host.cgroups.disabled import DisabledManager

        return DisabledManager()
    token = os.urandom(12).hex()
    if kind == "systemd":
        from runtime.host.cgroups.systemd import SystemdManager

        return SystemdManager.new(
            cgroups_path, container_id, rootless=rootless, token=token, owner=owner, annotations=annotations or {}
        )
    from runtime.host.cgroups.cgroupfs import CgroupfsManager
    from runtime.host.cgroups.paths import cgroupfs_path, parent_of_own

    mount = mount_point()
    with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape", newline="\n") as f:
        parent = parent_of_own(f.read())
    relative = cgroupfs_path(cgroups_path, container_id, parent)
    fresh = not os.path.lexists(f"{mount}/{relative}")
    return CgroupfsManager(relative, rootless=rootless, token=token, owner=owner, fresh=fresh)


def find(owner: str) -> Manager | None:
    """The manager of a container whose record is lost, by the mark of its cgroup; None if it has none."""
    from runtime.host.cgroups import cgroupfs

    try:
        return cgroupfs.find(owner)
    except HostError:  # no cgroup2 here
        return None


def from_record(record: Mapping[str, Any]) -> Manager:
    """The manager of an existing container.

    Raises:
        ConfigError: another version of stele wrote the record, and this one does not know it.
    """
    kind = record.get("manager")
    if kind == "cgroupfs":
        from runtime.host.cgroups.cgroupfs import CgroupfsManager

        return CgroupfsManager.from_record(record)
    if kind == "systemd":
        from runtime.host.cgroups.systemd import SystemdManager

        return SystemdManager.from_record(record)
    if kind == "disabled":
        from runtime.host.cgroups.disabled import DisabledManager

        return DisabledManager()
    raise ConfigError("cgroup", f"the state names no cgroup manager that this stele knows: {kind!r}")


__all__ = ["CgroupWrite", "Kind", "Manager", "find", "from_record", "mount_point", "open_manager"]
