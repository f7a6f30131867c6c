"""click's view of the commands: help texts, usage, and completion for shells."""

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
    from runtime.images.store import ImageStore

COMPLETE = "_STELE_COMPLETE"
"""Set by the shell code that `completion` prints: the start that has it answers a press of the tab key."""


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
    """The containers below the --root that the line names."""
    from runtime.cli.context import default_root
    from runtime.container.state import Store

    if context.command.name in ("create", "run"):
        return []
    try:
        ids = Store(context.find_root().params.get("root") or default_root()).ids()
    except OSError:
        return []  # nothing to offer; a message would end up in the middle of the line that is being typed
    return [CompletionItem(name) for name in ids if name.startswith(begun)]


def _images(context: click.Context, _: click.Parameter, begun: str) -> list[CompletionItem]:
    """The images of the --store that the line names; not for what is still to be got."""
    if context.command.name == "pull":
        return []
    return [CompletionItem(name) for name in _stored(context, lambda store: store.names()) if name.startswith(begun)]


def _volumes(context: click.Context, _: click.Parameter, begun: str) -> list[CompletionItem]:
    if context.parent is None or context.parent.info_name != "volume":
        return []
    from runtime.images.volumes import kept

    found = _stored(context, lambda store: [volume.name for volume in kept(store)])
    return [CompletionItem(name) for name in found if name.startswith(begun)]


def _stored(context: click.Context, ask: Callable[[ImageStore], Iterable[str]]) -> list[str]:
    """What a store answers; nothing, and none made, where there is none or it is damaged."""
    from runtime.cli.context import default_images
    from runtime.images.store import ImageStore

    path = context.find_root().params.get("store") or default_images()
    try:
        return sorted(ask(ImageStore(path))) if os.path.isdir(path) else []
    except (OSError, SteleError):
        return []


_COMPLETIONS = {"ID": _ids, "IMAGE": _images, "NAME": _volumes}


def _command(command: Command) -> click.Command:
    params: list[click.Parameter] = [_option(o) for o in command.record.options]
    params += [_argument(argument) for argument in command.record.arguments]
    # `exec ID ls -l`: what comes behind the container is another program's.
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
    """The whole command line."""
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
    """The help of stele, of one command, or of a group of them, as a person sees it."""
    found: click.Command = group()
    context = click.Context(found, info_name="stele")
    for word in command.split():
        if not isinstance(found, click.Group) or word not in found.commands:
            break
        found = found.commands[word]
        context = click.Context(found, info_name=word, parent=context)
    return found.get_help(context)


def completion_source(shell: str) -> str:
    """Code for a shell to read at its start, which asks stele at each press of the tab key.

    Raises:
        UsageError: no such shell.
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise UsageError(f'no completion for "{shell}"; use bash, zsh or fish')
    # Not the class's own `source`: of bash it looks up and runs the host's, for its version.
    return ShellComplete.source(kind(group(), {}, "stele", COMPLETE))


def complete() -> int:
    """Answer a press of the tab key: print what can follow the words in COMP_WORDS."""
    return shell_complete(group(), {}, "stele", COMPLETE, os.environ[COMPLETE])
