"""Answers of shell completion, from the command table. click is not loaded: a person waits for each TAB."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runtime.cli.declare import Argument, Command, Option
from runtime.cli.suggest import OTHER_NAMES
from runtime.cli.table import COMMANDS, GLOBALS, GROUPS
from runtime.errors import SteleError

if TYPE_CHECKING:
    from runtime.images.store.store import ImageStore

COMPLETE = "_STELE_COMPLETE"
"""Set by the shell code that `completion` prints; makes stele answer a completion request."""
TRANSPORTS = {"oci:": False, "oci-archive:": True, "docker-archive:": True}
"""The prefixes of images outside the store, and whether a file follows; else it is a directory."""
NETWORKS = ("none", "host", "veth:")


@dataclass(frozen=True, slots=True)
class Item:
    """One completion. kind: "plain", "part" (more follows, so no space), or "file" and "dir" for the shell's own."""

    value: str
    help: str = ""
    kind: str = "plain"


@dataclass(slots=True)
class Line:
    """What stands before the word that is completed.

    Args:
        group: the first word of a two-word command, if only that was typed.
        values: of options, by key.
        pending: the option whose value is completed.
        arguments: the number of arguments.
        ended: the words that follow belong to another program.
    """

    command: Command | None = None
    group: str = ""
    values: dict[str, str] = field(default_factory=dict)
    pending: Option | None = None
    arguments: int = 0
    ended: bool = False

    @property
    def options(self) -> tuple[Option, ...]:
        return self.command.record.options if self.command else () if self.group else GLOBALS

    def take(self, word: str) -> None:
        """Read one more word."""
        if self.pending:
            self.values[self.pending.key], self.pending = word, None
        elif word.startswith("-") and word != "-" and not self.ended:
            name, equals, value = word.partition("=")
            option = next((o for o in self.options if name in o.names), None)
            if option and equals:
                self.values[option.key] = value
            elif option and option.kind == "flag":
                self.values[option.key] = "true"
            else:
                self.pending = option
        elif self.command:
            self.arguments += 1
            stop = self.command.stop
            self.ended = self.ended or (bool(self.values.get(stop)) if isinstance(stop, str) else stop)
        elif word in GROUPS and not self.group:
            self.group = word
        else:
            name = f"{self.group} {word}".strip()
            self.command = COMMANDS.get(OTHER_NAMES.get(name, name))


def items(words: Sequence[str], current: str) -> list[Item]:
    """Return what can stand in the place of `current`, after the words."""
    line = Line()
    for word in words:
        line.take(word)
    if line.pending:
        found = _of_option(line, line.pending, current)
    elif current.startswith("--") and "=" in current:
        name, _, value = current.partition("=")
        option = next((o for o in line.options if name in o.names), None)
        own = _of_option(line, option, value) if option else []
        found = [Item(f"{name}={i.value}", i.help, i.kind) if i.kind in ("plain", "part") else i for i in own]
    elif current.startswith("-") and not line.ended:
        found = [Item(name, o.help) for o in line.options if not o.hidden for name in o.names if name.startswith("--")]
    elif line.command is None:
        found = _commands(line.group)
    else:
        found = _of_argument(line, line.command, current)
    return [item for item in found if item.kind in ("file", "dir") or item.value.startswith(current)]


def _commands(group: str) -> list[Item]:
    offered = [c for c in COMMANDS.values() if not c.refused and not c.hidden]
    if group:
        return [Item(c.name.removeprefix(f"{group} "), c.help) for c in offered if c.name.startswith(f"{group} ")]
    return [Item(c.name, c.help) for c in offered if " " not in c.name] + [Item(*pair) for pair in GROUPS.items()]


def _of_option(line: Line, option: Option, current: str) -> list[Item]:
    if option.choices:
        return _plain(option.choices)
    if option.kind in ("path", "directory"):
        return [Item("", kind="dir" if option.kind == "directory" else "file")]
    if option.key == "net":
        return [Item(name, kind="part" if name.endswith(":") else "plain") for name in NETWORKS]
    if option.key in ("cap", "cap_add", "cap_drop"):
        from runtime.oci.constants import CAPABILITIES

        return _plain(["ALL", *(name.removeprefix("CAP_") for name in CAPABILITIES)])
    source = {"image": _images, "stop_signal": _signals, "send": _signals}.get(option.key)
    return source(line, current) if source else []


def _of_argument(line: Line, command: Command, current: str) -> list[Item]:
    arguments: Sequence[Argument] = command.record.arguments
    if line.arguments >= len(arguments) and not (arguments and arguments[-1].repeated):
        return []
    name = arguments[min(line.arguments, len(arguments) - 1)].name.strip("[].")
    if command.name in ("create", "run"):
        return []  # a new ID, and a program of the container
    if command.name == "kill" and line.values.get("send"):
        name = "ID"
    if command.name == "image pull":
        return []  # an image that is not there yet
    if name == "MORE":
        name = arguments[0].name
    if command.name == "inspect":
        return [*_ids(line, current), *_images(line, current)]
    if name == "NAME" and command.name != "volume rm":
        return []
    source = SOURCES.get(name)
    return source(line, current) if source else []


def _plain(names: Iterable[str]) -> list[Item]:
    return [Item(name) for name in names]


def _signals(line: Line, current: str) -> list[Item]:
    return _plain(known.name.removeprefix("SIG") for known in signal.Signals)


def _ids(line: Line, current: str) -> list[Item]:
    """Complete container IDs below the command line's --root."""
    from runtime.cli.context import default_root
    from runtime.container.state import Store

    try:
        return _plain(Store(line.values.get("root") or default_root()).ids())
    except OSError:
        return []  # a message would garble the line being typed


def _images(line: Line, current: str) -> list[Item]:
    """Complete images of the command line's --store, by their short names, and paths of images outside of it."""
    for prefix, files in TRANSPORTS.items():
        if current.startswith(prefix):
            return _paths(prefix, current.removeprefix(prefix), files=files)
    from runtime.images.store.names import short_name

    names = _stored(line, lambda store: store.names())
    short = {short_name(name) for name in names}
    whole = [name for name in names if current and name.startswith(current) and short_name(name) != name]
    if any(name.startswith(current) for name in short):
        whole = []
    more = [Item(prefix, kind="part") for prefix in TRANSPORTS] if current else []
    return [*_plain(sorted(short)), *_plain(whole), *more]


def _paths(prefix: str, begun: str, *, files: bool) -> list[Item]:
    """Complete a path behind oci: and the like; a directory that is an image is complete without a slash."""
    folder, slash, _ = begun.rpartition("/")
    try:
        with os.scandir(folder or (slash or ".")) as entries:
            found = [(entry.name, entry.is_dir()) for entry in entries]
    except OSError:
        return []
    made = []
    for name, is_directory in sorted(found):
        path = f"{folder}{slash}{name}"
        if name.startswith(".") and not begun.rpartition("/")[2].startswith("."):
            continue
        if is_directory and os.path.exists(f"{path}/oci-layout") and not files:
            made.append(Item(f"{prefix}{path}"))
        elif is_directory:
            made.append(Item(f"{prefix}{path}/", kind="part"))
        elif files:
            made.append(Item(f"{prefix}{path}"))
    return made


def _volumes(line: Line, current: str) -> list[Item]:
    from runtime.images.store.volumes import kept

    return _plain(_stored(line, lambda store: [volume.name for volume in kept(store)]))


def _stored(line: Line, ask: Callable[[ImageStore], Iterable[str]]) -> list[str]:
    """Query the store; [] if it is missing (it is not created) or damaged."""
    from runtime.cli.context import default_images
    from runtime.images.store.store import ImageStore

    path = line.values.get("store") or default_images()
    try:
        return sorted(ask(ImageStore(path))) if os.path.isdir(path) else []
    except (OSError, SteleError):
        return []


def _archives(line: Line, current: str) -> list[Item]:
    found = _images(line, current)
    return [item for item in found if item.value.startswith(tuple(TRANSPORTS))] or [
        Item(prefix, kind="part") for prefix in TRANSPORTS
    ]


SOURCES: dict[str, Callable[[Line, str], list[Item]]] = {
    "ID": _ids,
    "IMAGE": _images,
    "NAME": _volumes,
    "SIGNAL": _signals,
    "SOURCE": _archives,
    "TARGET": _archives,
    "FILE": lambda line, current: [Item("", kind="file")],
    "FILES": lambda line, current: [Item("", kind="file")],
    "BUNDLE": lambda line, current: [Item("", kind="dir")],
    "SHELL": lambda line, current: _plain(("bash", "zsh", "fish")),
}

BASH = """\
_stele_completion() {
    local IFS=$'\\n' response line type value
    response=$(env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD _STELE_COMPLETE=bash_complete "$1")
    COMPREPLY=()
    for line in $response; do
        type=${line%%,*} value=${line#*,}
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            part) compopt -o nospace; COMPREPLY+=("$value") ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done
}
complete -o nosort -F _stele_completion stele
"""


def answer(shell: str) -> int:
    """Print what can follow the words that the shell's function passes in COMP_WORDS and COMP_CWORD."""
    text, place = os.environ.get("COMP_WORDS", ""), os.environ.get("COMP_CWORD", "")
    words = text.split("\n") if shell == "bash" else text.split()
    if shell == "fish":
        current = place
        words = words[:-1] if current and words[-1:] == [current] else words
    else:
        at = int(place) if place.isdecimal() else len(words)
        words, current = (words[:at], words[at] if at < len(words) else "")
    cut = 0
    if shell == "bash":
        # bash splits at ":" and "=" and replaces only what follows the last of them.
        *words, current = _joined([*words, current])
        cut = max(current.rfind(":"), current.rfind("=")) + 1
    for item in items(words[1:], current.strip("\"'")):
        kind = item.kind if shell == "bash" or item.kind != "part" else "plain"
        if shell == "zsh":
            print(kind, item.value, item.help if item.help and ":" not in item.value else "_", sep="\n")
        elif shell == "fish":
            print(f"{kind},{item.value}" + (f"\t{item.help}" if item.help else ""))
        else:
            print(f"{kind},{item.value[cut:]}")
    return 0


def _joined(words: Sequence[str]) -> list[str]:
    """Put together what bash took apart: oci : DIR, --image = NAME."""
    whole: list[str] = []
    glue = False
    for word in words:
        separator = bool(word) and not word.strip(":=")
        if whole and (glue or separator) and len(whole) > 1:
            whole[-1] += word
        else:
            whole.append(word)
        glue = separator
    return whole
