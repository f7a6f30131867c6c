"""The manager for --cgroup-manager disabled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runtime.errors import ConfigError, StateError
from runtime.plan.resources import CgroupWrite


class DisabledManager:
    """Leaves the container in the caller's cgroup and refuses whatever needs its own."""

    path = ""

    def record(self) -> dict[str, Any]:
        return {"manager": "disabled"}

    def prepare(self, writes: Sequence[CgroupWrite]) -> None:
        self.apply(writes)

    def fd(self) -> int:
        return -1

    def attach(self, pid: int) -> None:
        return

    def delegate(self, uid: int) -> None:
        return

    def open(self, below: str) -> int:
        if below:
            raise StateError("the container has no cgroup (--cgroup-manager disabled), so --cgroup cannot be used")
        return -1

    def left(self, pid: int) -> bool:
        return False

    def open_beside(self, pid: int) -> int:
        return -1

    def apply(self, writes: Sequence[CgroupWrite]) -> None:
        if writes:
            raise ConfigError(
                writes[0].field, "cannot be applied without a cgroup (--cgroup-manager disabled); remove it"
            )

    def apply_devices(self, program: bytes) -> None:
        return

    def freeze(self) -> None:
        raise StateError("the container has no cgroup (--cgroup-manager disabled), so it cannot be paused")

    def thaw(self) -> None:
        self.freeze()

    def paused(self) -> bool:
        return False

    def kill(self) -> None:
        return

    def signal(self, number: int) -> int:
        return 0

    def pids(self, *, recursive: bool = True) -> list[int]:
        return []

    def oom_kills(self) -> int:
        return 0

    def destroy(self) -> None:
        return
