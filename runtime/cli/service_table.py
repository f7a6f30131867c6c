"""The commands for services: containers as files, replaced whole."""

from __future__ import annotations

from runtime.cli.declare import Record, Table, flag, positional, text
from runtime.cli.image_table import FORMAT

SERVICES = Table()

SETTLE = "seconds that the services must stay up, in place of their Settle="


@SERVICES.command(
    "service plan",
    "show what apply would change; fetches images that are missing, and changes nothing else",
    "services:plan",
)
class Plan(Record):
    format: str = text("--format", "-f", **FORMAT)
    source: str = positional("[SOURCE]")


@SERVICES.command(
    "service apply",
    "make the host run the services of a directory or an image (default: /etc and /usr/lib/stele/services)",
    "services:apply",
)
class Apply(Record):
    settle: str = text("--settle", help=SETTLE)
    format: str = text("--format", "-f", **FORMAT)
    source: str = positional("[SOURCE]")


@SERVICES.command("service status", "list the services and whether they run as applied", "services:status")
class Status(Record):
    format: str = text("--format", "-f", **FORMAT)


@SERVICES.command(
    "service rollback", "run an older generation again (default: the last good one that differs)", "services:roll_back"
)
class Rollback(Record):
    only: str = text("--only", help="restrict it to this service")
    settle: str = text("--settle", help=SETTLE)
    format: str = text("--format", "-f", **FORMAT)
    number: str = positional("[GENERATION]")


@SERVICES.command("service update", "ask the registries for newer images and apply them", "services:update")
class Update(Record):
    settle: str = text("--settle", help=SETTLE)
    format: str = text("--format", "-f", **FORMAT)


@SERVICES.command("service history", "list the generations that are kept", "services:history")
class History(Record):
    format: str = text("--format", "-f", **FORMAT)


@SERVICES.command("service pin", "keep a generation until it is unpinned", "services:pin")
class Pin(Record):
    remove: bool = flag("--remove", help="unpin it")
    number: str = positional("GENERATION")


@SERVICES.command("service diff", "compare two generations (default: with the current one)", "services:diff")
class Diff(Record):
    format: str = text("--format", "-f", **FORMAT)
    old: str = positional("GENERATION")
    new: str = positional("[GENERATION]")


@SERVICES.command("service boot", "start the current generation; stele-services.service calls it", "services:boot")
class Boot(Record):
    pass


@SERVICES.command(
    "service settle", "judge a generation on trial; stele-services-settle.service calls it", "services:settle"
)
class Settle(Record):
    settle: str = text("--settle", help=SETTLE)
