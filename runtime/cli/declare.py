"""How a command is declared: once, as data. From it come the quick parser, and click's help and completion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["flag", "text", "path", "directory", "int", "many"]


@dataclass(frozen=True, slots=True)
class Option:
    """One option. names: with their dashes, the first gives the key of the value.

    kind: "many" may be repeated; "path" and "directory" are text of which a shell can complete the rest.
    default: for text and "int" what stands when it is not given.
    """

    names: tuple[str, ...]
    help: str
    kind: Kind = "text"
    default: str | int | None = ""
    choices: tuple[str, ...] = ()
    hidden: bool = False

    @property
    def key(self) -> str:
        return self.names[0].lstrip("-").replace("-", "_")


@dataclass(frozen=True, slots=True)
class Command:
    """One command. run: "module:function" below runtime.cli, called with (Globals, values).

    positionals: names, in order; the last may end in "..." (any number) or be in brackets (optional).
    stop: options end at the first positional, what follows belongs to another program; the key of an option: if it is
    given.
    failure: exit code of the command's own failures.
    refused: why this command is not offered, for one that callers know from others; then `run` is "".
    """

    name: str
    help: str
    run: str
    positionals: tuple[str, ...] = ()
    options: tuple[Option, ...] = ()
    stop: bool | str = False
    failure: int = 1
    hidden: bool = False
    refused: str = ""


def flag(*names: str, help: str, hidden: bool = False) -> Option:
    """An option without a value."""
    return Option(names, help, "flag", hidden=hidden)
