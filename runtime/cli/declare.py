"""Declare each command once, as a typed record of its options.

Each field of the record is an option or an argument; its name is the key, and its type is what the command's code and
mypy see. The fast parser and click's help and completion are derived from these records.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, TypeVar, dataclass_transform

Kind = Literal["flag", "text", "path", "directory", "int", "many"]


@dataclass(frozen=True, slots=True)
class Option:
    """One option.

    Args:
        names: with their dashes; help and errors use the first.
        kind: "many" may be repeated; "path" and "directory" are text that a shell can complete.
        default: the value of text and "int" options when not given.
        key: the field of the record that receives the value.
        group: the heading under which help lists it; "" for the first.
        argument: it stands for the first argument, such as --name for the ID.
    """

    names: tuple[str, ...]
    help: str
    kind: Kind = "text"
    default: str | int | None = ""
    choices: tuple[str, ...] = ()
    hidden: bool = False
    key: str = ""
    group: str = ""
    argument: bool = False

    @property
    def absent(self) -> Any:
        """The value when the option is not given; a new list for "many"."""
        return False if self.kind == "flag" else [] if self.kind == "many" else self.default


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument: "ID", "[SIGNAL]" (optional) or, as the last, "[COMMAND...]" (any number)."""

    name: str
    key: str = ""

    @property
    def repeated(self) -> bool:
        return self.name.strip("[]").endswith("...")

    @property
    def required(self) -> bool:
        return not self.repeated and not self.name.startswith("[")

    @property
    def absent(self) -> Any:
        """The value when the argument is not given."""
        return [] if self.repeated else ""


@dataclass(frozen=True, slots=True)
class Section:
    """The heading of the options that follow it in a record."""

    title: str


# Field specifiers for records. They return Any, so the type checker accepts each as a default of the field's type.


def text(
    *names: str,
    help: str,
    kind: Kind = "text",
    default: str | None = "",
    choices: tuple[str, ...] = (),
    hidden: bool = False,
    argument: bool = False,
) -> Any:
    """Declare an option with a value."""
    return Option(names, help, kind, default, choices, hidden, argument=argument)


def number(*names: str, help: str, default: int | None = 0) -> Any:
    """Declare an option whose value is a number from 0 to 2**31 - 1."""
    return Option(names, help, "int", default)


def many(*names: str, help: str) -> Any:
    """Declare a repeatable option, whose value is a list."""
    return Option(names, help, "many")


def flag(*names: str, help: str, hidden: bool = False) -> Any:
    """Declare an option without a value."""
    return Option(names, help, "flag", hidden=hidden)


def positional(name: str) -> Any:
    """Declare an argument."""
    return Argument(name)


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Record:
    """Base class of option records; takes keyword arguments, with inherited fields first.

    Not a dataclass: forty of them would add a third of a megabyte to the executable's snapshot.
    """

    options: ClassVar[tuple[Option, ...]] = ()
    arguments: ClassVar[tuple[Argument, ...]] = ()

    def __init_subclass__(cls) -> None:
        declared: list[Option | Argument] = []
        group = ""
        for key, value in vars(cls).items():
            if isinstance(value, Section):
                group = value.title
            elif isinstance(value, Option):
                declared.append(replace(value, key=key, group=group))
            elif isinstance(value, Argument):
                declared.append(replace(value, key=key))
        inherited = [argument for argument in cls.arguments if argument.key not in vars(cls)]  # else declared anew
        cls.options = (*cls.options, *(d for d in declared if isinstance(d, Option)))
        cls.arguments = (*inherited, *(d for d in declared if isinstance(d, Argument)))

    def __init__(self, **values: Any) -> None:
        declared: tuple[Option | Argument, ...] = (*self.options, *self.arguments)
        self.__dict__.update({d.key: d.absent for d in declared}, **values)


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Args:
        run: "module:function" below runtime.cli, called with (Globals, the record).
        record: the class of its options and arguments.
        stop: options end at the first argument; the rest belongs to another program. If it is an option's key, this
            holds only if that option is given.
        failure: exit code when the command fails.
        refused: why this command of other runtimes is not supported; then `run` is "".
    """

    name: str
    help: str
    run: str
    record: type[Record]
    stop: bool | str = False
    failure: int = 1
    hidden: bool = False
    refused: str = ""


Declared = TypeVar("Declared", bound=Record)


class Table(dict[str, Command]):
    """Commands by name, in declaration order."""

    def command(
        self, name: str, help: str, run: str, *, stop: bool | str = False, failure: int = 1
    ) -> Callable[[type[Declared]], type[Declared]]:
        """Declare a command; decorates its record."""

        def declare(record: type[Declared]) -> type[Declared]:
            self[name] = Command(name, help, run, record, stop, failure)
            return record

        return declare

    def refuse(self, name: str, reason: str) -> None:
        """Declare a command that other runtimes have and stele does not support."""
        self[name] = Command(name, "not offered", "", Record, hidden=True, refused=reason)
