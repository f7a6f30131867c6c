"""click definitions generated from the command table, for help; and the shell code that enables completion."""

from __future__ import annotations

from typing import Any

import click
from click.shell_completion import ShellComplete, get_completion_class

from runtime.cli.complete import BASH, COMPLETE
from runtime.cli.declare import Argument, Command, Option
from runtime.cli.examples import EXAMPLES
from runtime.cli.suggest import OTHER_NAMES
from runtime.cli.table import COMMANDS, GLOBALS, GROUPS
from runtime.errors import UsageError


def _option(option: Option) -> click.Option:
    names = [n for n in option.names if n.startswith("--") or len(n) == 2]
    kwargs: dict[str, Any] = {"help": option.help, "hidden": option.hidden}
    match option.kind:
        case "flag":
            return click.Option(names, is_flag=True, **kwargs)
        case "many":
            return click.Option(names, multiple=True, **kwargs)
        case "int":
            kind: Any = click.INT
        case "path":
            kind = click.Path()
        case "directory":
            kind = click.Path(file_okay=False)
        case _:
            kind = click.Choice(option.choices) if option.choices else click.STRING
    return click.Option(names, type=kind, default=option.default or None, show_default=bool(option.default), **kwargs)


def _argument(argument: Argument) -> click.Argument:
    name = argument.name.strip("[].")
    kinds: dict[str, Any] = {"FILE": click.Path(dir_okay=False), "SHELL": click.Choice(("bash", "zsh", "fish"))}
    return click.Argument(
        [f"argument_{argument.key}"],  # apart from the options
        type=kinds.get(name),
        nargs=-1 if argument.repeated else 1,
        required=argument.required,
        metavar=argument.name,
    )


def _command(command: Command) -> click.Command:
    params: list[click.Parameter] = [_option(o) for o in command.record.options]
    params += [_argument(argument) for argument in command.record.arguments]
    # `exec ID ls -l`: options after the ID belong to the program.
    settings = {"allow_interspersed_args": not command.stop}
    return Grouped(
        command,
        command.name.rpartition(" ")[2],
        params=params,
        help=command.help,
        short_help=command.help,
        hidden=command.hidden,
        context_settings=settings,
    )


class Grouped(click.Command):
    """A command whose help lists its options under their headings, and examples at its end."""

    def __init__(self, declared: Command, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.declared = declared

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {"": []}
        params = {param.name: param for param in self.get_params(ctx)}
        keys = {option.names[0]: option.group for option in self.declared.record.options}
        for param in params.values():
            record = param.get_help_record(ctx)
            if record and isinstance(param, click.Option):
                group = next((keys[name] for name in param.opts if name in keys), "")
                groups.setdefault(group, []).append(record)
        for title, records in groups.items():
            if records:
                with formatter.section(title or "Options"):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Examples"):
            for example in EXAMPLES.get(self.declared.name, ()):
                formatter.write(f"{'':{formatter.current_indent}}{example}\n")


def group() -> click.Group:
    """Return the click group of all commands."""
    top = click.Group(
        "stele",
        params=[_option(o) for o in GLOBALS],
        help="An OCI container runtime for hosts whose root file system is read-only.",
        epilog=f"Docker's words work too: {', '.join(word for word in OTHER_NAMES if ' ' not in word)}.",
    )
    groups = {name: click.Group(name, help=text, short_help=text) for name, text in GROUPS.items()}
    for command in COMMANDS.values():
        if command.refused:
            continue
        first, two, _ = command.name.partition(" ")
        (groups[first] if two else top).add_command(_command(command))
    for name, members in groups.items():
        top.add_command(members, name)
    return top


def help_text(command: str = "") -> str:
    """Return the help text of stele, of one command or of a group of commands."""
    found: click.Command = group()
    context = click.Context(found, info_name="stele")
    for word in command.split():
        if not isinstance(found, click.Group) or word not in found.commands:
            break
        found = found.commands[word]
        context = click.Context(found, info_name=word, parent=context)
    return found.get_help(context)


def completion_source(shell: str) -> str:
    """Return the shell code that enables completion.

    Raises:
        UsageError: unsupported shell.
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise UsageError(f'no completion for "{shell}"; use bash, zsh or fish')
    if shell == "bash":
        return BASH
    # Not the class's own `source`: for bash it runs the host's bash to check its version.
    return ShellComplete.source(kind(group(), {}, "stele", COMPLETE))
