"""Cgroup v2 managers, one per container: cgroupfs, systemd scopes, or disabled."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from runtime.errors import ConfigError, HostError
from runtime.host.cgroups.mount import mount_point
from runtime.plan.resources import CgroupWrite

Kind = Literal["cgroupfs", "systemd", "disabled"]


class Manager(Protocol):
    """The operations that a container needs on its cgroup.

    Queries and removal do not fail if the cgroup is missing or belongs to another container: it then has no
    processes, is not paused, and counts as removed.
    """

    @property
    def path(self) -> str:
        """The absolute path of the cgroup's directory, "" if there is none."""

    def record(self) -> dict[str, Any]:
        """The entry for state.json from which `from_record` finds the cgroup again.

        It must be saved twice: before `prepare` or `attach`, to name what they are about to create, and after them,
        when it also holds the cgroup's id and cannot match another cgroup.
        """

    def prepare(self, writes: Sequence[CgroupWrite]) -> None:
        """Create the cgroup, enable the controllers that `writes` need, and apply the writes.

        Raises:
            ConfigError: a controller is missing. HostError: the cgroup is in use, frozen, or cannot be created.
            What this call created has been removed again, unless it may already contain processes; call `destroy` then.
        """

    def fd(self) -> int:
        """The cgroup's directory for clone3(2), owned by the manager; -1 if the process is not cloned into a cgroup."""

    def attach(self, pid: int) -> None:
        """Move a process into the cgroup."""

    def delegate(self, uid: int) -> None:
        """Let this user create cgroups below it, but not change its own limits."""

    def open(self, below: str) -> int:
        """Open the cgroup, or one below it, for an exec. Returns an fd that the caller owns, or -1 for none."""

    def left(self, pid: int) -> bool:
        """Whether a process of the container is outside its cgroup: somebody on the host has moved it."""

    def open_beside(self, pid: int) -> int:
        """Open the cgroup that a process of the container is in now. Returns an fd that the caller owns, or -1."""

    def apply(self, writes: Sequence[CgroupWrite]) -> None:
        """Apply limits. Raises ConfigError or HostError, which name the field."""

    def apply_devices(self, program: bytes) -> None:
        """Attach a device filter, replacing the previous one."""

    def freeze(self) -> None:
        """Freeze all processes and wait until they are frozen."""

    def thaw(self) -> None:
        """Thaw the processes."""

    def paused(self) -> bool:
        """Whether the cgroup is frozen."""

    def kill(self) -> None:
        """Kill every process in the cgroup and below it, and wait until none is left."""

    def signal(self, number: int) -> int:
        """Send a signal to every process in the cgroup and below it. Returns how many received it."""

    def pids(self, *, recursive: bool = True) -> list[int]:
        """The pids in the cgroup, by default including those below it."""

    def oom_kills(self) -> int:
        """The number of OOM kills in the cgroup."""

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
    """Return the manager for a new container.

    Args:
        cgroups_path: linux.cgroupsPath.
        annotations: from config.json; org.systemd.property.NAME are passed to systemd.
        owner: identifies the container across all --root directories (`Store.owner`); `find` looks for it.
    Raises:
        ConfigError: the path or an annotation is invalid. HostError: there is no cgroup2 hierarchy, or no systemd.
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
    """Find the manager of a container whose record is lost by its cgroup's mark; None if it has no cgroup."""
    from runtime.host.cgroups import cgroupfs

    try:
        return cgroupfs.find(owner)
    except HostError:  # no cgroup2 here
        return None


def from_record(record: Mapping[str, Any]) -> Manager:
    """Return the manager of an existing container.

    Raises:
        ConfigError: another version of stele wrote the record and this one does not understand it.
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
    raise ConfigError("cgroup", f"unknown cgroup manager {kind!r} in state.json; another version of stele wrote it")


__all__ = ["CgroupWrite", "Kind", "Manager", "find", "from_record", "mount_point", "open_manager"]
