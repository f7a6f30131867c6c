"""Second lines of errors: the nearest word that exists, and what Docker's words are called here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from runtime.cli.table import COMMANDS, GLOBALS, GROUPS
from runtime.errors import NotFound, SteleError, UsageError

if TYPE_CHECKING:
    from runtime.cli.context import Globals

OTHER_NAMES = {
    "pull": "image pull",
    "images": "image list",
    "rmi": "image rm",
    "tag": "image tag",
    "rm": "delete",
    "ls": "list",
    "top": "ps",
    "unpause": "resume",
    "volumes": "volume list",
    "images ls": "image list",
    "image ls": "image list",
    "image prune": "image gc",
    "volume ls": "volume list",
}
"""Docker's names of commands, which work as those of stele."""
INSTEAD = {
    "build": "stele runs images and does not build them; build with buildah or docker, then `stele image import oci:DIR NAME`",
    "push": "stele does not push; write the image with `stele image export NAME oci:DIR` and copy it with skopeo",
    "commit": "stele does not make images; build with buildah or docker, then `stele image import oci:DIR NAME`",
    "load": "`stele image import docker-archive:FILE` or `oci-archive:FILE` reads an archive",
    "save": "`stele image export NAME docker-archive:FILE` or `oci-archive:FILE` writes an archive",
    "import": "`stele image import oci:DIR [NAME]` reads an image; docker-archive:FILE and oci-archive:FILE work too",
    "export": "`stele image export NAME oci:DIR` writes an image; docker-archive:FILE and oci-archive:FILE work too",
    "restart": "end it and start it anew: `stele stop ID`, `stele delete ID`, `stele run ...`",
    "attach": "`stele exec -it ID sh` opens a shell in the container",
    "diff": "`stele plan` shows what a container would be; its own writes are where `run --upper` puts them",
    "network": "`stele run --image ... --net none|host|veth:ADDRESS/PREFIX` chooses a container's network",
    "port": "the container's address is the one given by `run --net veth:ADDRESS/PREFIX`",
    "compose": "stele runs single containers; start each with `stele run`, for example from a systemd unit",
    "search": "stele cannot search registries; `stele image pull NAME` gets an image by name",
    "prune": "`stele image gc` removes what no name and no container uses",
    "container": "leave the word out: `stele list`, `stele run`, `stele delete`",
    "system": "`stele info` describes this host, `stele image gc` frees space",
    "rename": "a container keeps its ID; delete it and run it with another",
}
"""Docker's commands that stele does not have, and what to do instead."""


def distance(a: str, b: str) -> int:
    """Count the insertions, deletions, replacements and exchanges of neighbours that turn a into b."""
    rows = [list(range(len(b) + 1))]
    for i, x in enumerate(a):
        row = [i + 1]
        for j, y in enumerate(b):
            best = min(rows[i][j + 1] + 1, row[j] + 1, rows[i][j] + (x != y))
            if i and j and x == b[j - 1] and a[i - 1] == y:
                best = min(best, rows[i - 1][j - 1] + 1)
            row.append(best)
        rows.append(row)
    return rows[-1][-1]


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return the choice that is spelled most like the word; "" if none is similar."""
    found, least = "", 1000
    short = word[:80].lower()
    for choice in choices:
        near = distance(short, choice[:80].lower())
        if near < least:
            found, least = choice, near
    return found if least <= max(1, len(short.strip("-")) // 3) else ""


def did_you_mean(e: SteleError) -> str:
    found = nearest(e.given, e.choices) if e.given else ""
    return f'did you mean "{found}"?' if found else ""


def unknown(name: str) -> UsageError:
    """Return the error for a command that does not exist."""
    group = name.partition(" ")[0]
    of = f"{group} " if group in GROUPS else ""
    choices = [c.name for c in COMMANDS.values() if not c.refused and not c.hidden and c.name.startswith(of)]
    choices += [other for other in OTHER_NAMES if other.startswith(of)]
    return UsageError(f'unknown command "{name}"; `stele {of}--help` lists all', given=name, choices=choices)


def usage_hint(e: UsageError, name: str) -> str:
    """Return the second line for a mistake in the command line."""
    if name in INSTEAD:
        return INSTEAD[name]
    command = COMMANDS.get(name)
    if name == "ps" and "argument(s), got 0" in str(e):
        return "`stele list` lists the containers, `stele ps ID` the processes of one"
    more = f"`stele {name} --help` shows how it is used" if command else ""
    if e.given in (option.names[0] for option in GLOBALS) and command:
        return f"{e.given} goes before the command: stele {e.given} ... {name}"
    if "argument(s), got" in str(e) and command:
        arguments = " ".join(argument.name for argument in command.record.arguments)
        return f"usage: stele {name} [OPTIONS] {arguments}".rstrip()
    return " ".join(part for part in (did_you_mean(e), more) if part)


def hint_for(e: SteleError, context: Globals, options: Any) -> str:
    """Return the second line for a command that failed; "" if there is nothing to add."""
    if isinstance(e, NotFound) and not e.given:
        try:
            e.given, e.choices = str(getattr(options, "id", "")), context.store().ids()
        except OSError:
            return ""
    return did_you_mean(e)
