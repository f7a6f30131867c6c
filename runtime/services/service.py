"""What one .container file asks for."""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime.services.names import slice_of
from runtime.services.sources import Source

ROOT = "/run/stele"
CRITICAL_ROOT = "/run/stele/critical"
"""Where critical containers have their state, out of reach of a `delete` of all others."""
SETTLE = 30.0
"""Seconds a service must stay up to count as good."""
STOP_TIMEOUT = "10"
"""Seconds between the stop signal and KILL, Podman's default."""


@dataclass(slots=True)
class Service:
    """What a .container file asks for; the image is still a name.

    Args:
        name: without suffix, as "web" or "web@a".
        image: as written.
        options: of `stele run`, without those that stele sets itself; specifiers of systemd as in the file.
        command: arguments behind the ID.
        kind: Type= of the unit.
        links: symbolic links beside the units, as "multi-user.target.wants/web.service".
        warnings: what differs from Podman without being refused.
    """

    name: str
    source: Source
    image: str = ""
    container_id: str = ""
    options: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    kind: str = "forking"
    pull: str = "missing"
    stop_signal: str = ""
    stop_timeout: str = STOP_TIMEOUT
    critical: bool = False
    settle: float = SETTLE
    links: tuple[str, ...] = ()
    warnings: list[str] = field(default_factory=list)

    @property
    def unit(self) -> str:
        return f"{self.name}.service"

    @property
    def root(self) -> str:
        return CRITICAL_ROOT if self.critical else ROOT

    @property
    def cgroup(self) -> str:
        """Path of the unit's cgroup."""
        given = self.source.sections.last("Service", "Slice")
        return f"{slice_of(given.value if given else '', self.name)}/{self.unit}"
