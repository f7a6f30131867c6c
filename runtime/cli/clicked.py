"""click's view of the commands: help texts, usage, and completion for shells."""

from __future__ import annotations

from typing import Any

import click

from runtime.cli.declare import Command, Option
from runtime.cli.table import COMMANDS, GLOBALS


def _option(option: Option) -> click.Option:
    names = [n for n in option.names if n.startswith("--") or len(n) == 2]
    kwargs: dict[str, Any] = {"help": option.help, "hidden": option.hidden}
    if option.kind == "flag":
        return click.Option(names, is_flag=True, **kwargs)
    if option.kind == "many":
        return click.Option(names, multiple=True, **kwargs)
    kind: Any = click.Choice(option.choices) if option.choices else click.INT if option.kind == "int" else click.STRING
    return click.Option(names, type=kind, default=option.default or None, show_default=bool(option.default), **kwargs)


def _command(command: Command) -> click.Command:
    params: list[click.Parameter] = [_option(o) for o in command.options]
    for positional in command.positionals:
        many, optional = positional.endswith("..."), positional.startswith("[")
        name = positional.strip("[].")
        params.append(click.Argument([name], nargs=-1 if many else 1, required=not (many or optional)))
    return click.Command(command.name, params=params, help=command.help, short_help=command.help, hidden=command.hidden)


def group() -> click.Group:
    """The whole command line."""
    top = click.Group(
        "stele",
        params=[
            *(_option(o) for o in GLOBALS),
            click.Option(["--version", "-v"], is_flag=True, help="print the version"),
        ],
        help="An OCI container runtime for hosts whose root file system is read-only.",
    )
    for command in COMMANDS:
        top.add_command(_command(command))
    return top


def help_text(command: str = "") -> str:
    """The help of stele, or of one command, as a person sees it."""
    top = group()
    parent = click.Context(top, info_name="stele")
    if command and command in top.commands:
        return top.commands[command].get_help(click.Context(top.commands[command], info_name=command, parent=parent))
    return top.get_help(parent)
