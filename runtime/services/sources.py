"""Find the files of a host's services: /etc over /usr/lib, drop-ins, masks and instances of templates."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass

from runtime.services.quadlet import SIZE_MAX, Fault, Sections, decode, parse

FOLDERS = ("/etc/stele/services", "/usr/lib/stele/services")
"""In order of precedence: a file hides the one of the same name in a later folder; an empty one hides it for good."""
KINDS = ("container", "volume", "network")
FOREIGN = {
    "pod": "pods",
    "kube": "Kubernetes manifests",
    "build": "image builds",
    "image": "image units",
    "artifact": "artifact units",
}
NUMBER_MAX = 4096


@dataclass(frozen=True, slots=True)
class Source:
    """One service file with its drop-ins.

    Args:
        name: as "web.container", or "web@.container" for a template and "web@a.container" for an instance of it.
        path: of the file.
        template: name of the file that holds the text, if this is an instance: "web@.container"; else "".
        texts: path relative to the folder and content of each file read, in order; kept in the generation.
    """

    name: str
    path: str
    template: str
    sections: Sections
    texts: tuple[tuple[str, str], ...]

    @property
    def stem(self) -> str:
        return self.name.rpartition(".")[0]

    @property
    def kind(self) -> str:
        return self.name.rpartition(".")[2]

    @property
    def is_template(self) -> bool:
        return self.stem.endswith("@")

    @property
    def instance(self) -> str:
        return self.stem.partition("@")[2]


def read_services(folders: Sequence[str], faults: list[Fault]) -> list[Source]:
    """Read all services, sorted by name; what cannot be read or parsed is added to `faults`."""
    found: dict[str, str] = {}
    for folder in folders:
        for name in _entries(folder, faults):
            kind = name.rpartition(".")[2]
            if kind in KINDS or kind in FOREIGN:
                found.setdefault(name, f"{folder}/{name}")
    if len(found) > NUMBER_MAX:
        faults.append(Fault(folders[0], 0, "", f"has more than {NUMBER_MAX} files; split the services among hosts"))
        return []
    return [source for name in sorted(found) if (source := _source(name, found, folders, faults))]


def _source(name: str, found: dict[str, str], folders: Sequence[str], faults: list[Fault]) -> Source | None:
    path, kind = found[name], name.rpartition(".")[2]
    if _masked(path):
        return None
    if kind in FOREIGN:
        faults.append(Fault(path, 0, "", f"stele has no {FOREIGN[kind]}; write .container files instead"))
        return None
    stem = name.rpartition(".")[0]
    base, at, instance = stem.partition("@")
    template = f"{base}@.{kind}" if at and instance and os.path.islink(path) else ""
    sections, texts = Sections(), []
    names = [template, name] if template else [name]
    for each in [(path, name), *(d for n in names for d in _drop_ins(n, folders, faults))]:
        text = _read(each[0], faults)
        parse(text, each[0], sections, faults)
        texts.append((each[1], text))
    return Source(name, path, template, sections, tuple(texts))


def _drop_ins(name: str, folders: Sequence[str], faults: list[Fault]) -> list[tuple[str, str]]:
    """Path and relative path of each drop-in NAME.d/*.conf, in order of their names, whatever folder they are in."""
    found: dict[str, tuple[str, str]] = {}
    for folder in folders:
        for conf in _entries(f"{folder}/{name}.d", faults):
            if conf.endswith(".conf"):
                found.setdefault(conf, (f"{folder}/{name}.d/{conf}", f"{name}.d/{conf}"))
    return [found[conf] for conf in sorted(found) if not _masked(found[conf][0])]


def _masked(path: str) -> bool:
    """Whether the file is empty or /dev/null, which is how systemd masks a unit."""
    try:
        about = os.stat(path)
    except OSError:
        return False
    return stat.S_ISCHR(about.st_mode) or (stat.S_ISREG(about.st_mode) and about.st_size == 0)


def _entries(folder: str, faults: list[Fault]) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as e:
        faults.append(Fault(folder, 0, "", f"cannot be read: {os.strerror(e.errno or 0)}"))
        return []


def _read(path: str, faults: list[Fault]) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                faults.append(Fault(path, 0, "", "is not a regular file; replace it"))
                return ""
            return decode(file.read(SIZE_MAX + 1), path, faults)
    except OSError as e:
        faults.append(Fault(path, 0, "", f"cannot be read: {os.strerror(e.errno or 0)}"))
        return ""
