"""click's view of the commands: help texts, usage, and completion for shells."""

from __future__ import annotations

from typing import Any

import click

from runtime.cli.declare import Command, Option
from runtime.cli.table import COMMANDS, GLOBALS, GROUPS


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
    name = command.name.rpartition(" ")[2]
    return click.Command(name, params=params, help=command.help, short_help=command.help, hidden=command.hidden)


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
    groups = {name: click.Group(name, help=text, short_help=text) for name, text in GROUPS.items()}
    for command in COMMANDS:
        first, two, _ = command.name.partition(" ")
        (groups[first] if two else top).add_command(_command(command))
    for name, members in groups.items():
        top.add_command(members, name)
    return top


def help_text(command: str = "") -> str:
    """The help of stele, of one command, or of a group of them, as a person sees it."""
    found: click.Command = group()
    context = click.Context(found, info_name="stele")
    for word in command.split():
        if not isinstance(found, click.Group) or word not in found.commands:
            break
        found = found.commands[word]
        context = click.Context(found, info_name=word, parent=context)
    return found.get_help(context)
