"""Apply, roll back and update the services of a host: each is a new generation, judged, and undone if it does not hold."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from runtime.errors import SteleError
from runtime.services import build
from runtime.services.build import Draft, Images, Wanted
from runtime.services.generations import Generation, Generations
from runtime.services.switch import Before, Change, change, links, observe, pulled_in, switch, units_of, watch
from runtime.services.systemd import Systemd

APPLIED, ROLLED_BACK, BROKEN = 0, 3, 4
"""Exit codes: it holds; it did not, and all is as before; it did not, and neither does what was before."""

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a change ended. faults: why the new generation did not hold; number: of the generation that is current now."""

    status: int
    number: int
    change: Change
    faults: tuple[str, ...] = ()


class Host:
    """The services of this host.

    Args:
        hold: called with a generation's number and digests, so that gc keeps its images.
        report: called with progress.
    """

    def __init__(
        self,
        generations: Generations,
        systemd: Systemd,
        images: Images,
        hold: Callable[[int, list[str]], None],
        report: Report,
    ) -> None:
        self.generations, self.systemd, self.images = generations, systemd, images
        self.hold, self.report = hold, report

    def apply(self, wanted: Wanted, *, origin: str, pull: str = "", settle: float | None = None) -> Outcome:
        """Make the host run these services.

        Args:
            pull: "always" to ask the registries for newer images, as `update` does.
            settle: seconds of probation in place of what the services say.
        Raises:
            ServiceFaults: nothing has changed. SteleError: a unit of that name exists already.
        """
        with self.generations.locked():
            current = self.generations.current()
            if not pull and build.unchanged(wanted, current, self.images):
                assert current is not None
                return Outcome(APPLIED, current.number, Change((), (), ()))
            draft = build.build(wanted, self.images, pull=pull, origin=origin)
            self._check_names(draft)
            if current and current.manifest["files"] == draft.manifest["files"] and not change(current, draft).any:
                return Outcome(APPLIED, current.number, Change((), (), ()))
            return self._change(draft, current, settle)

    def roll_back(self, number: int | None, only: str, *, settle: float | None = None) -> Outcome:
        """Make the host run an older generation again, as a new one that equals it.

        Args:
            number: the generation; None for the last good one before the current one.
            only: restrict it to one service; "" for all.
        """
        with self.generations.locked():
            current = self.generations.current()
            if current is None:
                raise SteleError("there is no generation yet; `stele service apply` makes the first")
            target = self._target(number, current)
            draft = build.combined(current, target, only) if only else build.copied(target)
            return self._change(draft, current, settle)

    def boot(self) -> None:
        """Write the units of the current generation and start them; called once at each boot.

        A generation on trial has one try less; when none is left, the last good one takes its place.
        """
        with self.generations.locked():
            current = self.generations.current()
            if current is None:
                return
            if not current.good and not current.tries:
                good = self.generations.last_good()
                self.report(f"generation {current.number} never held; going back to {good.number if good else 'none'}")
                current = self._write(build.copied(good) if good else build.EMPTY)
                self.generations.mark_good(current.number)
                self.generations.switch(current.number)
            elif not current.good:
                self.generations.use_try(current)
            self._hold_again()
            if self.systemd.write(current.unit_texts(), links(current)):
                self.systemd.run("daemon-reload")
            if units := sorted(f"{name}.service" for name in pulled_in(self.systemd, current)):
                self.systemd.run("start", "--no-block", "--", *units)

    def _hold_again(self) -> None:
        """Tell gc once more what the generations need: that note is not synced to disk, so a power cut may lose it."""
        for each in self.generations.all():
            with contextlib.suppress(SteleError):  # images that are gone are reported where they are needed
                self.hold(each.number, digests(each))

    def settle(self, *, settle: float | None = None) -> Outcome | None:
        """Judge a generation on trial after a boot; None if there is none."""
        with self.generations.locked():
            current = self.generations.current()
            if current is None or current.good:
                return None
            must = {f"{name}.service" for name in pulled_in(self.systemd, current)}
            times = [entry["settle"] for entry in current.services.values()]
            before = Before({}, frozenset(units_of(current)))
            faults = watch(
                self.systemd, must, must, before, settle if settle is not None else max(times, default=0.0), self.report
            )
            if not faults:
                self.generations.mark_good(current.number)
                return Outcome(APPLIED, current.number, Change((), (), ()))
            return self._go_back(current, before, Change((), (), ()), faults, settle)

    def _target(self, number: int | None, current: Generation) -> Generation:
        if number is not None:
            return self.generations.read(number)
        same = {name: entry["unit"] for name, entry in current.services.items()}
        for each in reversed(self.generations.all()):
            if each.good and {name: entry["unit"] for name, entry in each.services.items()} != same:
                return each
        raise SteleError("no other good generation is kept; `stele service history` lists them")

    def _check_names(self, draft: Draft) -> None:
        for name, entry in draft.services.items():
            for unit in (f"{name}.service", *(link for link in entry["links"] if "/" not in link)):
                if taken := self.systemd.existing(unit):
                    raise SteleError(f"{name}.container: the host has a unit {unit} already ({taken}); rename one")

    def _change(self, draft: Draft, current: Generation | None, seconds: float | None) -> Outcome:
        new = self._write(draft)
        difference = change(current, new)
        before = observe(self.systemd, current, new)
        faults = self._activate(current, new, before, seconds)
        if not faults:
            self.generations.mark_good(new.number)
            self.generations.prune()
            return Outcome(APPLIED, new.number, difference)
        return self._go_back(new, before, difference, faults, seconds)

    def _go_back(
        self, failed: Generation, before: Before, difference: Change, faults: list[str], seconds: float | None
    ) -> Outcome:
        """Return to the last good generation, or to no services if there is none, and judge that in the same way."""
        self.report(f"generation {failed.number} does not hold: {'; '.join(faults)}; going back")
        good = self.generations.last_good()
        back = self._write(build.copied(good) if good else build.EMPTY)
        if again := self._activate(failed, back, before, seconds):
            return Outcome(BROKEN, back.number, difference, (*faults, *again))
        self.generations.mark_good(back.number)
        self.generations.prune()
        return Outcome(ROLLED_BACK, back.number, difference, tuple(faults))

    def _write(self, draft: Draft) -> Generation:
        manifest = {**draft.manifest, "made": int(time.time()), "host": os_version()}
        generation = self.generations.write(manifest, draft.sources, draft.units)
        self.hold(generation.number, digests(generation))
        return generation

    def _activate(self, old: Generation | None, new: Generation, before: Before, seconds: float | None) -> list[str]:
        """Switch, start what was up and is down, and watch; return what does not hold."""
        self.generations.switch(new.number)
        must = switch(self.systemd, old, new, before)
        difference = change(old, new)
        touched = {f"{name}.service" for name in (*difference.added, *difference.changed)}
        if down := self._down(must - touched):
            self.systemd.run("start", "--no-block", "--", *down)
        times = [new.services[name]["settle"] for name in (*difference.added, *difference.changed)]
        wait = seconds if seconds is not None else max(times, default=0.0)
        return watch(self.systemd, must, touched | set(down), before, wait, self.report)

    def _down(self, names: set[str]) -> list[str]:
        """Return the units that are to be up and that nothing starts: systemd does not start dependents again by itself."""
        states = self.systemd.states(sorted(names))
        return [name for name, state in states.items() if state.active in ("inactive", "failed")]


def digests(generation: Generation) -> list[str]:
    """Return all digests that a generation's containers need."""
    return sorted({digest for entry in generation.services.values() for digest in entry["chain"]})


def os_version() -> str:
    """Return the host's name and version (os-release(5)), for `history`."""
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                told = dict(line.rstrip().split("=", 1) for line in file if "=" in line)
            return told.get("PRETTY_NAME", "").strip('"')
        except FileNotFoundError:
            continue
    return os.uname().release
