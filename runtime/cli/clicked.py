"""click definitions generated from the command table: help, usage and shell completion."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem, ShellComplete, get_completion_class, shell_complete

from runtime.cli.declare import Argument, Command, Option
from runtime.cli.table import COMMANDS, GLOBALS, GROUPS
from runtime.errors import SteleError, UsageError

if TYPE_CHECKING:
    from runtime.images.store.store import ImageStore

COMPLETE = "_STELE_COMPLETE"
"""Set by the shell code that `completion` prints; makes stele answer a completion request."""


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
    if option.key == "image":
        kwargs["shell_complete"] = _images
    return click.Option(names, type=kind, default=option.default or None, show_default=bool(option.default), **kwargs)


def _argument(argument: Argument) -> click.Argument:
    name = argument.name.strip("[].")
    kinds: dict[str, Any] = {"FILE": click.Path(dir_okay=False), "SHELL": click.Choice(("bash", "zsh", "fish"))}
    return click.Argument(
        [name],
        type=kinds.get(name),
        nargs=-1 if argument.repeated else 1,
        required=argument.required,
        shell_complete=_COMPLETIONS.get(name),
        metavar=argument.name,
    )


def _ids(context: click.Context, _: click.Parameter, begun: str) -> list[CompletionItem]:
    """Complete container IDs below the command line's --root."""
    from runtime.cli.context import default_root
    from runtime.container.state import Store

    if context.command.name in ("create", "run"):
        return []
    try:
        ids = Store(context.find_root().params.get("root") or default_root()).ids()
    except OSError:
        return []  # a message would garble the line being typed
    return [CompletionItem(name) for name in ids if name.startswith(begun)]


def _images(context: click.Context, _: click.Parameter, begun: str) -> list[CompletionItem]:
    """Complete images in the command line's --store; `pull` names images not yet there."""
    if context.command.name == "pull":
        return []
    return [CompletionItem(name) for name in _stored(context, lambda store: store.names()) if name.startswith(begun)]


def _volumes(context: click.Context, _: click.Parameter, begun: str) -> list[CompletionItem]:
    if context.parent is None or context.parent.info_name != "volume":
        return []
    from runtime.images.store.volumes import kept

    found = _stored(context, lambda store: [volume.name for volume in kept(store)])
    return [CompletionItem(name) for name in found if name.startswith(begun)]


def _stored(context: click.Context, ask: Callable[[ImageStore], Iterable[str]]) -> list[str]:
    """Query the store; [] if it is missing (it is not created) or damaged."""
    from runtime.cli.context import default_images
    from runtime.images.store.store import ImageStore

    path = context.find_root().params.get("store") or default_images()
    try:
        return sorted(ask(ImageStore(path))) if os.path.isdir(path) else []
    except (OSError, SteleError):
        return []


_COMPLETIONS = {"ID": _ids, "IMAGE": _images, "NAME": _volumes}


def _command(command: Command) -> click.Command:
    params: list[click.Parameter] = [_option(o) for o in command.record.options]
    params += [_argument(argument) for argument in command.record.arguments]
    # `exec ID ls -l`: options after the ID belong to the program.
    settings = {"allow_interspersed_args": not command.stop}
    return click.Command(
        command.name.rpartition(" ")[2],
        params=params,
        help=command.help,
        short_help=command.help,
        hidden=command.hidden,
        context_settings=settings,
    )


def group() -> click.Group:
    """Return the click group of all commands."""
    top = click.Group(
        "stele",
        params=[_option(o) for o in GLOBALS],
        help="An OCI container runtime for hosts whose root file system is read-only.",
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
    # Not the class's own `source`: for bash it runs the host's bash to check its version.
    return ShellComplete.source(kind(group(), {}, "stele", COMPLETE))


def complete() -> int:
    """Answer a completion request: print what can follow the words in COMP_WORDS."""
    return shell_complete(group(), {}, "stele", COMPLETE, os.environ[COMPLETE])
