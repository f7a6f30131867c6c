"""The fast command line parser, driven by the declarations; click only prints help."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from runtime.cli.declare import Command, Option
from runtime.errors import UsageError
from runtime.oci.numbers import decimal

INT_MAX = (1 << 31) - 1


class HelpWanted(Exception):
    """Help was requested; click formats it. command: which command's, "" for the current one."""

    def __init__(self, command: str = "") -> None:
        super().__init__(command)
        self.command = command


@dataclass(slots=True)
class Parsed:
    """values: by key; rest: the words after the options."""

    values: dict[str, Any]
    rest: list[str]


def parse_options(options: Sequence[Option], words: Sequence[str], *, stop: bool | str) -> Parsed:
    """Sort words into options and the rest.

    Args:
        stop: whether the first word that is not an option ends the options; an option's key: only if that is given.
    Raises:
        UsageError: unknown option, missing or malformed value. HelpWanted: --help.
    """
    known = {name: option for option in options for name in option.names}
    values: dict[str, Any] = {o.key: o.absent for o in options}
    rest: list[str] = []
    i = 0
    while i < len(words):
        word = words[i]
        i += 1
        if word == "--":
            rest += words[i:]
            break
        if not word.startswith("-") or word == "-":
            rest.append(word)
            if values[stop] if isinstance(stop, str) else stop:
                rest += words[i:]
                break
            continue
        if word in ("--help", "-help", "-h") and word not in known:
            raise HelpWanted
        name, equals, given = word.partition("=")
        option = known.get(name)
        if option is None and not word.startswith("--") and len(name) > 2:  # runc accepts long options with one dash
            option = known.get(f"-{name}")
        if option is None and not word.startswith("--") and len(word) > 2:
            option, i = _short(known, word, values, words, i)
            if option is None:
                continue
            name, equals, given = word[:2], "=", word[2:]
        if option is None:
            raise UsageError(f"flag provided but not defined: {name}", given=name, choices=known)
        if option.kind == "flag":
            values[option.key] = _truth(name, given) if equals else True
            continue
        if not equals:
            if i == len(words):
                raise UsageError(f"flag needs an argument: {name}")
            given = words[i]
            i += 1
        _store(option, name, given, values)
    return Parsed(values, rest)


def _short(
    known: dict[str, Option], word: str, values: dict[str, Any], words: Sequence[str], i: int
) -> tuple[Option | None, int]:
    """Parse -abc (flags a and b, then c) or -uVALUE (an option with its value); None if all values are stored."""
    for at in range(1, len(word)):
        option = known.get(f"-{word[at]}")
        if option is None:
            raise UsageError(f"flag provided but not defined: {word}", given=word, choices=known)
        if option.kind != "flag":
            if at == 1:
                return option, i
            given = word[at + 1 :]
            if not given:
                if i == len(words):
                    raise UsageError(f"flag needs an argument: -{word[at]}")
                given, i = words[i], i + 1
            _store(option, f"-{word[at]}", given.removeprefix("="), values)
            return None, i
        values[option.key] = True
    return None, i


def _truth(name: str, text: str) -> bool:
    if text.lower() in ("true", "1", "t"):
        return True
    if text.lower() in ("false", "0", "f"):
        return False
    raise UsageError(f'invalid boolean value "{text}" for {name}')


def _store(option: Option, name: str, text: str, values: dict[str, Any]) -> None:
    if option.choices and text not in option.choices:
        if option.key == "log_format":
            raise UsageError(f"invalid log-format: {text}")
        raise UsageError(
            f'invalid value "{text}" for {name}; use one of {", ".join(option.choices)}',
            given=text,
            choices=option.choices,
        )
    if option.kind == "many":
        values[option.key].append(text)
    elif option.kind == "int":
        number = decimal(text, INT_MAX)
        if number is None:
            raise UsageError(f'invalid value "{text[:40]}" for {name}; use a number')
        values[option.key] = number
    else:
        values[option.key] = text


def parse_command(command: Command, words: Sequence[str]) -> Any:
    """Parse the command's options and arguments into its record.

    Raises:
        UsageError, HelpWanted: as in parse_options; also for too few or too many arguments.
    """
    parsed = parse_options(command.record.options, words, stop=command.stop)
    rest, values = parsed.rest, parsed.values
    for option in command.record.options:
        if option.argument and values[option.key]:
            rest = [values[option.key], *rest]
    arguments = command.record.arguments
    least = sum(argument.required for argument in arguments)
    most = None if arguments and arguments[-1].repeated else len(arguments)
    if len(rest) < least or (most is not None and len(rest) > most):
        wanted = f"exactly {least}" if most == least else f"at least {least}" if most is None else f"{least} to {most}"
        raise UsageError(f'{command.name}: "{command.name}" requires {wanted} argument(s), got {len(rest)}')
    for i, argument in enumerate(arguments[: len(rest)]):
        values[argument.key] = rest[i:] if argument.repeated else rest[i]
    return command.record(**values)
