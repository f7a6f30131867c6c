"""What the services need of systemd, by systemctl: its text output for programs is stable (systemctl(1), show)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from runtime.errors import HostError
from runtime.host.processes import ask

UNITS = "/run/systemd/system"
"""Where the units go: gone after a boot, when stele-services.service writes them anew."""
MARK = b"# Made by `stele service apply`"
SHOWN = ("Id", "ActiveState", "SubState", "Result", "NRestarts", "InvocationID", "Type", "MainPID", "Job")
PULLED_DOWN = ("RequiredBy", "BoundBy", "RequisiteOf", "ConsistsOf", "UpheldBy")
"""Properties that list the units which go down with a unit (systemd.unit(5))."""


@dataclass(frozen=True, slots=True)
class UnitState:
    """What systemd says of a unit. invocation: changes at each start; queued: a job for it waits or runs."""

    name: str
    active: str
    sub: str
    result: str
    restarts: int
    invocation: str
    kind: str
    pid: int
    queued: bool

    @property
    def up(self) -> bool:
        """Whether it runs, or ran to its end as a oneshot unit does."""
        return self.active == "active" or (
            self.kind == "oneshot" and self.active == "inactive" and self.result == "success"
        )

    def stops(self, earlier: UnitState) -> bool:
        """Whether it is still the run of `earlier`, coming to its end."""
        return self.active == "deactivating" and self.invocation == earlier.invocation


class Systemd:
    """The host's systemd.

    Args:
        units: directory for units.
    """

    def __init__(self, units: str = UNITS) -> None:
        self.units = units

    def available(self) -> bool:
        return os.path.isdir("/run/systemd/system")

    def run(self, *arguments: str, check: bool = True) -> str:
        """Run systemctl; return its output.

        Raises:
            HostError: it is missing, or failed and `check` is true.
        """
        try:
            status, out, err = ask(["systemctl", *arguments])
        except OSError as e:
            raise HostError(f"systemctl: {os.strerror(e.errno or 0)}; services need systemd", e.errno or 0) from e
        if check and status:
            said = (err or out).decode("utf-8", "replace").strip().splitlines()
            raise HostError(f"systemctl {arguments[0]}: {said[0] if said else f'exit code {status}'}")
        return out.decode("utf-8", "replace")

    def states(self, names: Sequence[str]) -> dict[str, UnitState]:
        """Return the state of each unit by the name asked for; unknown units are inactive."""
        if not names:
            return {}
        text = self.run("show", f"--property={','.join(SHOWN)}", "--", *names)
        found = {}
        for name, block in zip(names, text.strip("\n").split("\n\n"), strict=False):
            properties = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
            found[name] = UnitState(
                name,
                properties.get("ActiveState", "inactive"),
                properties.get("SubState", ""),
                properties.get("Result", ""),
                int(properties.get("NRestarts") or 0),
                properties.get("InvocationID", ""),
                properties.get("Type", ""),
                int(properties.get("MainPID") or 0),
                bool(properties.get("Job")),
            )
        return found

    def dependents(self, names: Iterable[str]) -> set[str]:
        """Return the units that go down with these, directly or through others."""
        seen: set[str] = set(names)
        todo = list(seen)
        while todo:
            text = self.run("show", f"--property={','.join(PULLED_DOWN)}", "--", *todo)
            new = {word for line in text.splitlines() for word in line.partition("=")[2].split()} - seen
            seen |= new
            todo = [name for name in new if not name.endswith((".target", ".slice"))]
        return seen - set(names)

    def existing(self, name: str) -> str:
        """Return the path of a unit's file that is not ours, or "" if the name is free."""
        path = self.run("show", "--property=FragmentPath", "--value", "--", name, check=False).strip()
        return "" if not path or (path.startswith(f"{self.units}/") and self.is_ours(path)) else path

    def is_ours(self, path: str) -> bool:
        try:
            with open(path, "rb") as file:
                return file.read(len(MARK)) == MARK
        except OSError:
            return False

    def write(self, texts: Mapping[str, bytes], links: Mapping[str, str]) -> bool:
        """Make our units on disk exactly these; return whether anything changed, so that a reload is needed.

        Args:
            links: symbolic links to make, as "multi-user.target.wants/web.service", and the unit that each leads to.
        """
        os.makedirs(self.units, exist_ok=True)
        ours = set(texts)
        changed = False
        for name in os.listdir(self.units):
            path = f"{self.units}/{name}"
            if name.endswith(".service") and not os.path.islink(path) and self.is_ours(path):
                ours.add(name)
                if name not in texts:
                    os.unlink(path)
                    changed = True
        for name, text in texts.items():
            changed |= _replace(f"{self.units}/{name}", text)
        return self._write_links(links, ours) or changed

    def _write_links(self, links: Mapping[str, str], ours: set[str]) -> bool:
        """Make the links, and remove others that lead to our units."""
        changed = False
        folders = [name for name in os.listdir(self.units) if name.endswith((".wants", ".requires", ".upholds"))]
        for folder in ("", *folders):
            for name in os.listdir(f"{self.units}/{folder}"):
                path = f"{self.units}/{folder}/{name}" if folder else f"{self.units}/{name}"
                link = f"{folder}/{name}" if folder else name
                if os.path.islink(path) and os.path.basename(os.readlink(path)) in ours and link not in links:
                    os.unlink(path)
                    changed = True
        for link, unit in links.items():
            path = f"{self.units}/{link}"
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if not os.path.lexists(path):
                os.symlink(f"../{unit}" if "/" in link else unit, path)
                changed = True
        return changed


def _replace(path: str, content: bytes) -> bool:
    """Write a file if it differs; return whether it did."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        if file.read() == content:
            return False
    part = f"{path}.part"
    with open(part, "wb") as file:
        file.write(content)
    os.rename(part, path)
    return True
