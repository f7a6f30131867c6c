"""The `stele service` commands."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from runtime.cli.columns import print_table
from runtime.cli.context import Globals
from runtime.cli.context import settle as settle_globals
from runtime.cli.parse import parse_command, parse_options
from runtime.cli.service_table import Apply, Boot, Diff, History, Pin, Plan, Rollback, Settle, Status, Update
from runtime.cli.table import COMMANDS, GLOBALS, ContainerOptions, GlobalOptions
from runtime.errors import SteleError, UsageError
from runtime.images.run.hold import hold
from runtime.images.store.find import Image, find
from runtime.images.store.store import ImageStore
from runtime.printable import visible
from runtime.services import build
from runtime.services.apply import BROKEN, ROLLED_BACK, Host, Outcome
from runtime.services.build import Resolved, Wanted
from runtime.services.compare import Difference, compare
from runtime.services.extract import extract
from runtime.services.generations import Generation, Generations
from runtime.services.sources import FOLDERS
from runtime.services.systemd import Systemd

SELF = "/proc/self/exe"


class HostImages:
    """Images and plans for the services of this host, see `build.Images`."""

    def __init__(self, context: Globals) -> None:
        self.context = context
        self.program = os.path.realpath(SELF)
        self.store = context.images

    def resolve(self, name: str, pull: str) -> Resolved:
        from runtime.cli.from_image import image_of

        store = ImageStore(self.store)
        try:
            image = image_of(store, ContainerOptions(id="", image=name, pull="always" if pull == "newer" else pull))
            return Resolved(image.name, image.digest, image.chain, _stop_signal(image))
        finally:
            store.close()

    def plan(self, arguments: Sequence[str]) -> Mapping[str, Any]:
        from runtime.cli.lifecycle import request
        from runtime.container.create import plan_create
        from runtime.host.facts import probe
        from runtime.host.seccomp import program
        from runtime.plan import explain, wire

        parsed = parse_options(GLOBALS, arguments, stop=True)
        options = parse_command(COMMANDS[parsed.rest[0]], parsed.rest[1:])
        context = settle_globals(GlobalOptions(**parsed.values), self.context.log)
        asked = request(context, options)
        assert asked.image is not None
        bundle = f"{context.store().path(options.id)}/bundle"
        facts = probe(cgroup_mount="/sys/fs/cgroup")
        made = plan_create(asked.image.config, options.id, bundle, asked, facts, lambda rules: program(rules, None))
        found: Mapping[str, Any] = json.loads(explain.to_json(made, wire.encode(made.steps), ""))
        return found


def _stop_signal(image: Image) -> str:
    """Return the image's stop signal; "" if it has none that exists here."""
    from runtime.container.lifecycle import signal_number

    try:
        given = image.config.run.get("StopSignal")
        return str(given) if isinstance(given, str) and given and signal_number(given) else ""
    except SteleError:
        return ""


def plan(context: Globals, options: Plan) -> int:
    images, generations = HostImages(context), Generations(context.images)
    asked, origin = _asked(context, options.source, pull=False)
    draft = build.build(asked, images, origin=origin)
    _warn(context, asked)
    _print_differences(compare(generations.current(), draft), options.format)
    return 0


def apply(context: Globals, options: Apply) -> int:
    asked, origin = _asked(context, options.source, pull=True)
    _warn(context, asked)
    outcome = _host(context).apply(asked, origin=origin, settle=_seconds(options.settle))
    return _ended(outcome, options.format)


def update(context: Globals, options: Update) -> int:
    asked, origin = _asked(context, "", pull=True)
    outcome = _host(context).apply(asked, origin=origin, pull="always", settle=_seconds(options.settle))
    return _ended(outcome, options.format)


def roll_back(context: Globals, options: Rollback) -> int:
    number = _number(options.number) if options.number else None
    outcome = _host(context).roll_back(number, options.only, settle=_seconds(options.settle))
    if outcome.change.any and options.format == "table":
        print("Volumes keep their present content: a rollback changes programs and settings, not data.")
    return _ended(outcome, options.format)


def boot(context: Globals, options: Boot) -> int:
    _host(context).boot()
    return 0


def settle(context: Globals, options: Settle) -> int:
    outcome = _host(context).settle(settle=_seconds(options.settle))
    return _ended(outcome, "table") if outcome else 0


def status(context: Globals, options: Status) -> int:
    generations, systemd = Generations(context.images), Systemd()
    current = generations.current()
    rows: list[dict[str, Any]] = []
    if current:
        states = systemd.states([f"{name}.service" for name in current.services])
        for name, entry in current.services.items():
            state = states[f"{name}.service"]
            rows.append(
                {
                    "name": name,
                    "state": "template" if entry["template"] else state.active,
                    "pid": state.pid,
                    "image": entry["image"],
                    "digest": entry["digest"],
                    "plan": entry["plan"],
                    "drift": _drift(current, name, entry),
                }
            )
    if options.format == "json":
        print(json.dumps({"generation": current.number if current else 0, "services": rows}))
        return 0
    head = f"generation {current.number}, {_standing(current)}" if current else "no generation yet"
    print(head)
    if rows:
        shown = [[r["name"], r["state"], r["image"], r["digest"][7:19], r["drift"]] for r in rows]
        print_table(["SERVICE", "STATE", "IMAGE", "DIGEST", "DRIFT"], shown)
    return 0


def _drift(current: Generation, name: str, entry: Mapping[str, Any]) -> str:
    """Return what differs from what was applied: "unit" for the unit on disk, "file" for the service's file; or ""."""
    found = []
    try:
        with open(f"{Systemd().units}/{name}.service", "rb") as file:
            if build.fingerprint({"": file.read()})[""] != entry["unit"]:
                found.append("unit")
    except OSError:
        found.append("unit")
    made_of = current.manifest["files"]
    for each in entry["files"]:
        paths = [f"{folder}/{each}" for folder in FOLDERS if os.path.exists(f"{folder}/{each}")]
        if paths and each in made_of and current.manifest["origin"] in ("", *FOLDERS):
            with open(paths[0], "rb") as file:
                if build.fingerprint({"": file.read()})[""] != made_of[each]:
                    found.append("file")
    return ", ".join(dict.fromkeys(found))


def history(context: Globals, options: History) -> int:
    generations = Generations(context.images)
    current = generations.current()
    rows = [
        {
            "generation": each.number,
            "made": each.manifest["made"],
            "standing": _standing(each),
            "current": current is not None and current.number == each.number,
            "pinned": each.pinned,
            "origin": each.manifest["origin"],
            "services": len(each.services),
            "host": each.manifest["host"],
        }
        for each in generations.all()
    ]
    if options.format == "json":
        print(json.dumps(rows))
        return 0
    shown = [
        [
            f"{row['generation']}{'*' if row['current'] else ''}",
            time.strftime("%Y-%m-%d %H:%M", time.localtime(row["made"])),
            f"{row['standing']}{', pinned' if row['pinned'] else ''}",
            str(row["services"]),
            row["origin"] or FOLDERS[0],
            row["host"],
        ]
        for row in rows
    ]
    print_table(["GENERATION", "MADE", "STANDING", "SERVICES", "ORIGIN", "HOST"], shown)
    return 0


def _standing(generation: Generation) -> str:
    if generation.good:
        return "good"
    return f"on trial, {generation.tries} boots left" if generation.tries else "failed"


def pin(context: Globals, options: Pin) -> int:
    generations = Generations(context.images)
    with generations.locked():
        generations.pin(_number(options.number), pinned=not options.remove)
    return 0


def diff(context: Globals, options: Diff) -> int:
    generations = Generations(context.images)
    new = generations.read(_number(options.new)) if options.new else generations.current()
    if new is None:
        raise SteleError("there is no generation yet; `stele service apply` makes the first")
    _print_differences(compare(generations.read(_number(options.old)), new), options.format)
    return 0


def _host(context: Globals) -> Host:
    systemd = Systemd()
    if not systemd.available():
        raise SteleError("services need systemd, which is not this host's init; run containers with `stele run`")
    if os.geteuid():
        raise SteleError("services of the host need root")
    folder = f"{context.images}/generations"

    def keep(number: int, chain: list[str]) -> None:
        hold(context.images, str(number), folder, chain)

    tell = _progress() if sys.stderr.isatty() else lambda _: None
    return Host(Generations(context.images), systemd, HostImages(context), keep, tell)


def _progress() -> Any:
    seen = [""]

    def report(line: str) -> None:
        if line != seen[0]:
            print(line, file=sys.stderr, flush=True)
            seen[0] = line

    return report


def _asked(context: Globals, source: str, *, pull: bool) -> tuple[Wanted, str]:
    """Read the files of a directory, of an image, or of the host; return them and where they come from."""
    if not source:
        return build.wanted(FOLDERS), ""
    if os.path.isdir(source):
        folder = os.path.abspath(source)
        return build.wanted((folder,)), folder
    if source.startswith((".", "/")):
        raise UsageError(f'"{source}" is not a directory; name a directory with .container files, or an image')
    resolved = HostImages(context).resolve(source, "always" if pull else "missing")
    return _from_image(context, resolved), f"{resolved.name}@{resolved.digest}"


def _from_image(context: Globals, resolved: Resolved) -> Wanted:
    from runtime.images.store.layers import unpack_image

    store, generations = ImageStore(context.images), Generations(context.images)
    try:
        trees = unpack_image(store, find(store, resolved.digest).manifest)
        with generations.locked(), generations.scratch() as folder:
            extract(list(reversed(trees)), folder)
            return build.wanted((folder,))
    finally:
        store.close()


def _warn(context: Globals, asked: Wanted) -> None:
    for service in asked.services:
        for warning in service.warnings:
            context.log.warning(f"{service.source.path}: {warning}")


def _print_differences(found: list[Difference], form: str) -> None:
    if form == "json":
        print(json.dumps([{"service": d.service, "what": d.what, "old": d.old, "new": d.new} for d in found]))
        return
    print("\n".join(visible(str(line)) for line in found) if found else "nothing changes")


def _ended(outcome: Outcome, form: str) -> int:
    """Print how a change ended; return the exit code."""
    if form == "json":
        told = {
            "generation": outcome.number,
            "result": {0: "applied", ROLLED_BACK: "rolled back", BROKEN: "broken"}[outcome.status],
            "added": outcome.change.added,
            "changed": outcome.change.changed,
            "removed": outcome.change.removed,
            "faults": outcome.faults,
        }
        print(json.dumps(told))
        return outcome.status
    for word, names in (
        ("added", outcome.change.added),
        ("changed", outcome.change.changed),
        ("removed", outcome.change.removed),
    ):
        for name in names:
            print(visible(f"{name}: {word}"))
    for fault in outcome.faults:
        print(visible(f"{fault}"), file=sys.stderr)
    if outcome.status == 0:
        print(f"generation {outcome.number} is current{'' if outcome.change.any else ', nothing changed'}")
    elif outcome.status == ROLLED_BACK:
        print(f"it did not hold; generation {outcome.number} runs what ran before", file=sys.stderr)
    else:
        print(f"it did not hold, and generation {outcome.number}, as before, does not either", file=sys.stderr)
    return outcome.status


def _seconds(text: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text.removesuffix("s"))
    except ValueError:
        value = -1
    if not 0 <= value <= 3600:
        raise UsageError(f'--settle "{text}" is not a number of seconds up to 3600')
    return value


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise UsageError(f'"{text}" is not the number of a generation; `stele service history` lists them')
    return int(text)
