"""Bring a host's systemd from one generation to another, and watch whether the new one holds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from runtime.services.build import Draft
from runtime.services.generations import Generation
from runtime.services.systemd import Systemd, UnitState

POLL = 0.2
"""Seconds between two looks at the units."""
START = 9.0
"""Seconds in which the units have to come up, besides those of the probation."""

Content = Generation | Draft


@dataclass(frozen=True, slots=True)
class Change:
    """What a switch does to the host's units."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]

    @property
    def any(self) -> bool:
        return bool(self.added or self.changed or self.removed)


def change(old: Content | None, new: Content) -> Change:
    """Compare by the units' text, which names digests: another image is another text."""
    before: Mapping[str, Mapping[str, Any]] = old.services if old else {}
    after = new.services
    return Change(
        tuple(sorted(name for name in after if name not in before)),
        tuple(sorted(name for name in after if name in before and after[name]["unit"] != before[name]["unit"])),
        tuple(sorted(name for name in before if name not in after)),
    )


def pulled_in(systemd: Systemd, generation: Generation) -> set[str]:
    """Return the services that [Install] ties to a unit that is up or coming up."""
    ties = {
        name: {link.partition("/")[0].rpartition(".")[0] for link in entry["links"] if "/" in link}
        for name, entry in generation.services.items()
    }
    states = systemd.states(sorted({unit for units in ties.values() for unit in units}))
    up = {unit for unit, state in states.items() if state.active in ("active", "activating") or state.queued}
    return {name for name, units in ties.items() if units & up}


def links(generation: Generation) -> dict[str, str]:
    """Return the links of all units: path below the unit directory, and unit."""
    return {link: f"{name}.service" for name, entry in generation.services.items() for link in entry["links"]}


@dataclass(frozen=True, slots=True)
class Before:
    """What ran before a switch, so that it can be judged.

    Args:
        up: units that were active.
        services: units that are a service of the old or the new generation; the others depend on one.
    """

    up: Mapping[str, UnitState]
    services: frozenset[str]


def observe(systemd: Systemd, old: Generation | None, new: Generation) -> Before:
    """Note which services, and which units that go down with them, are active."""
    services = {unit for each in (old, new) if each for unit in units_of(each)}
    names = services | systemd.dependents(services) if services else set()
    up = {name: state for name, state in systemd.states(sorted(names)).items() if state.active == "active"}
    return Before(up, frozenset(services))


def units_of(generation: Generation) -> set[str]:
    """Return the units that can run: templates cannot."""
    return {f"{name}.service" for name, entry in generation.services.items() if not entry["template"]}


def switch(systemd: Systemd, old: Generation | None, new: Generation, before: Before) -> set[str]:
    """Write the units, reload, and (re)start what changed; return the units that have to be up in the end.

    Removed services are stopped. A changed one is started if it ran before or its [Install] asks for it; one that did not
    change keeps running untouched.
    """
    difference = change(old, new)
    if gone := [f"{name}.service" for name in difference.removed]:
        systemd.run("stop", "--", *gone, check=False)
        systemd.run("reset-failed", "--", *gone, check=False)  # the stop signal may count as a failure
    if systemd.write(new.unit_texts(), links(new)):
        systemd.run("daemon-reload")
    touched = [name for name in (*difference.added, *difference.changed) if not new.services[name]["template"]]
    pulled = pulled_in(systemd, new)
    start = [n for n in touched if n in pulled or f"{n}.service" in before.up]
    units = [f"{name}.service" for name in start]
    if units:
        systemd.run("reset-failed", "--", *units, check=False)
        systemd.run("restart", "--no-block", "--", *units)
    here = units_of(new)
    return {name for name in before.up if name in here or name not in before.services} | set(units)


def watch(
    systemd: Systemd,
    must: set[str],
    touched: set[str],
    before: Before,
    seconds: float,
    report: Callable[[str], None],
) -> list[str]:
    """Watch until the units have been up for the time of probation; return what is wrong, nothing if all is well.

    Args:
        must: units that have to be up at the end.
        touched: those of them that were started for this generation.
        seconds: time of probation, which begins when all of them are up.
    """
    names = sorted(must)
    seen: dict[str, str] = {}
    limit = time.monotonic() + seconds + START
    end: float | None = None
    while True:
        states = systemd.states(names)
        if wrong := [fault for name in names if (fault := _fault(states[name], name in touched, before, seen))]:
            return wrong
        late = [state for state in states.values() if not state.up]
        now = time.monotonic()
        if any(name in before.up and states[name].stops(before.up[name]) for name in touched):
            limit = now + seconds + START  # what ran before is still ending; systemd limits that time
        if not late:
            end = end or now + seconds
            if now >= end:
                return []
        elif now >= limit:
            return [f"{state.name}: it is still {state.active} ({state.sub})" for state in late]
        report(f"{len(names) - len(late)} of {len(names)} units are up")
        time.sleep(POLL)


def _fault(state: UnitState, touched: bool, before: Before, seen: dict[str, str]) -> str:
    """Return what is certainly wrong with a unit; "" if it is up or may still come up."""
    earlier = before.up.get(state.name)
    restarts = 0 if touched or earlier is None else earlier.restarts
    if state.active == "failed" or state.result not in ("", "success"):
        return f"{state.name}: it failed ({state.result})"
    if state.restarts > restarts:
        return f"{state.name}: it ended, and systemd restarted it"
    if state.active == "active":
        first = seen.setdefault(state.name, state.invocation)
        if first != state.invocation:
            return f"{state.name}: it was started twice"
    elif state.name in seen and state.active == "inactive" and not state.up:
        return f"{state.name}: it ended"
    return ""
