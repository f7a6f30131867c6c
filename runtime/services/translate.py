"""Translate a .container file to the command line of `stele run` and a unit of systemd."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from runtime.services import keys
from runtime.services.names import SPECIFIER, unit_name
from runtime.services.quadlet import Entry, Fault, Sections, words
from runtime.services.service import STOP_TIMEOUT, Service
from runtime.services.sources import Source

TRUE, FALSE = ("1", "yes", "true", "on", "y", "t"), ("0", "no", "false", "off", "n", "f")
UNIT = re.compile(r"[A-Za-z0-9:_.@%\\-]+", re.ASCII)
"""The characters of a unit's name (systemd.unit(5)), and % of specifiers."""
CONTAINER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+@-]*", re.ASCII)
TYPES = ("forking", "notify", "oneshot")
LINKS = {"WantedBy": "wants", "RequiredBy": "requires", "UpheldBy": "upholds"}


def translate(source: Source, volumes: Mapping[str, str], faults: list[Fault]) -> Service:
    """Return the service; what cannot be translated is added to `faults`.

    Args:
        volumes: names of .volume files to names of volumes.
    """
    return _Translation(source, volumes, faults).service()


def volume_name(source: Source, faults: list[Fault]) -> str:
    """Return the name of the volume that a .volume file stands for."""
    for entry in source.sections.of("Volume"):
        key = keys.VOLUME.get(entry.key)
        if key is None:
            faults.append(entry.fault("is unknown in [Volume]; correct or remove it"))
        elif key.how == "refused":
            faults.append(entry.fault(f"is refused: {key.why}"))
    given = source.sections.last("Volume", "VolumeName")
    return given.value if given else source.stem


class _Translation:
    def __init__(self, source: Source, volumes: Mapping[str, str], faults: list[Fault]) -> None:
        self.source, self.volumes, self.faults = source, volumes, faults
        self.sections: Sections = source.sections
        self.made = Service(source.stem, source)

    def service(self) -> Service:
        self._check_keys()
        for name, key in keys.CONTAINER.items():
            if key.how in ("words", "each", "last"):
                self._simple(name, key)
        made = self.made
        made.image = self._value("Image")
        if not made.image:
            self._fault("has no Image= in [Container]; name the image")
        elif made.image.endswith((".image", ".build")):
            self._fault(f"Image={made.image}: stele has no such units; name the image itself")
        if not UNIT.fullmatch(made.name):
            self._fault("is not a name of a unit; use letters, digits and : _ . @ -")
        made.container_id = self._value("ContainerName") or made.name
        if not CONTAINER_ID.fullmatch(SPECIFIER.sub("x", made.container_id)):
            self._fault(f"ContainerName={made.container_id} is not a container ID; use letters, digits and _ . + @ -")
        made.pull = self._choice("Pull", ("always", "missing", "never", "newer"), "missing")
        self._choice("AutoUpdate", ("registry", "local", ""), "")
        self._confinement()
        self._files()
        self._network()
        self._lifecycle()
        self._service_section()
        self._stele_section()
        self._install()
        return made

    def _fault(self, problem: str) -> None:
        self.faults.append(Fault(self.source.path, 0, "", problem))

    def _check_keys(self) -> None:
        for entry in self.sections.of("Container"):
            key = keys.CONTAINER.get(entry.key)
            if key is None:
                self.faults.append(entry.fault("is unknown in [Container]; correct or remove it"))
            elif entry.value and (
                key.how == "refused" or (key.how == "false" and self._boolean(entry.key, default=False))
            ):
                self.faults.append(entry.fault(f"is refused: {key.why}"))
        for section in self.sections.entries:
            if section not in ("Unit", "Container", "Service", "Install", "Quadlet", "X-Stele"):
                self._fault(f"has a section [{section}], which a .container file does not have; remove it")
        if "Container" not in self.sections.entries:
            self._fault("has no section [Container]; add it")

    def _simple(self, name: str, key: keys.Key) -> None:
        entries = self.sections.all("Container", name)
        if key.how == "last":
            entries = entries[-1:]
        for entry in entries:
            values = self._words(entry) if key.how == "words" else [entry.value]
            for value in values:
                self.made.options += [key.option, value]

    def _words(self, entry: Entry) -> list[str]:
        try:
            return words(entry)
        except ValueError as e:
            self.faults.append(entry.fault(str(e)))
            return []

    def _value(self, name: str, section: str = "Container") -> str:
        entry = self.sections.last(section, name)
        return entry.value if entry else ""

    def _choice(self, name: str, choices: tuple[str, ...], default: str) -> str:
        entry = self.sections.last("Container", name)
        if entry is None:
            return default
        if entry.value not in choices:
            self.faults.append(entry.fault(f'"{entry.value}" is unknown; use {", ".join(c for c in choices if c)}'))
        return entry.value

    def _boolean(self, name: str, *, default: bool, section: str = "Container") -> bool:
        entry = self.sections.last(section, name)
        if entry is None:
            return default
        if entry.value.lower() not in (*TRUE, *FALSE):
            self.faults.append(entry.fault(f'"{entry.value}" is neither true nor false; write one of them'))
        return entry.value.lower() in TRUE

    def _confinement(self) -> None:
        options = self.made.options
        user, group = self._value("User"), self._value("Group")
        if group and not user:
            self._fault("has Group= without User=; add User=")
        if user:
            options += ["--user", f"{user}:{group}" if group else user]
        if not self._boolean("NoNewPrivileges", default=True):
            options.append("--allow-new-privileges")
        if not self._boolean("ReadOnly", default=False):
            options += ["--upper", "tmpfs"]
        elif self._boolean("ReadOnlyTmpfs", default=True):
            for target in ("/run", "/tmp", "/var/tmp"):
                options += ["--tmpfs", f"{target}:mode=1777" if target != "/run" else target]
        if self._boolean("VolatileTmp", default=False):
            options += ["--tmpfs", "/tmp:mode=1777"]

    def _files(self) -> None:
        for entry in self.sections.all("Container", "EnvironmentFile"):
            self.made.options += ["--env-file", self._path(entry, entry.value)]
        for entry in self.sections.all("Container", "Volume"):
            self.made.options += ["--volume", self._volume(entry)]

    def _path(self, entry: Entry, path: str) -> str:
        """Return a path of the host; a relative one starts where the file is."""
        if path.startswith(("/", "%")):
            return path
        return os.path.normpath(f"{os.path.dirname(entry.file)}/{path}")

    def _volume(self, entry: Entry) -> str:
        source, colon, rest = entry.value.partition(":")
        if source.startswith(("./", "../")):
            source = self._path(entry, source)
        elif source.endswith(".volume"):
            if source not in self.volumes:
                self.faults.append(entry.fault(f'"{source}" is not among the services\' files; add it'))
            source = self.volumes.get(source, source)
        options = [o for o in rest.partition(":")[2].split(",") if o]
        kept = [o for o in options if o not in ("z", "Z", "U")]
        if "Z" in options or "z" in options:
            self.made.warnings.append(f'Volume={entry.value}: stele does not relabel; "z" and "Z" have no effect')
        if "U" in options:
            self.faults.append(entry.fault('option "U" is refused: stele changes no owners on the host'))
        target = rest.partition(":")[0]
        return f"{source}{colon}{target}{':' if kept else ''}{','.join(kept)}"

    def _network(self) -> None:
        entries = self.sections.all("Container", "Network")
        if not entries:
            self.made.warnings.append("has no Network=, so it has no network; Podman would attach its bridge")
        for entry in entries:
            if entry.value in ("none", "host") or entry.value.startswith("veth:"):
                self.made.options += ["--net", entry.value]
            else:
                self.faults.append(
                    entry.fault(f'"{entry.value}" is not offered; use none, host or veth:ADDRESS/PREFIX')
                )
        if len(entries) > 1:
            self.faults.append(entries[1].fault("is given twice; a container has one network"))

    def _lifecycle(self) -> None:
        made = self.made
        if entry := self.sections.last("Container", "Exec"):
            made.command = self._words(entry)
        made.stop_signal = self._value("StopSignal")
        entry = self.sections.last("Container", "StopTimeout")
        if entry and not entry.value.isdecimal():
            self.faults.append(entry.fault(f'"{entry.value}" is not a number of seconds; write one'))
        made.stop_timeout = entry.value if entry else STOP_TIMEOUT
        entry = self.sections.last("Container", "Notify")
        if entry and entry.value == "healthy":
            self.faults.append(entry.fault("healthy is refused: health commands are not offered yet; use true"))
        elif self._boolean("Notify", default=False):
            made.kind = "notify"

    def _service_section(self) -> None:
        for entry in self.sections.of("Service"):
            if entry.key in keys.UNIT_SET:
                self.faults.append(entry.fault(f"is refused in [Service]: {keys.UNIT_SET[entry.key]}"))
        kind = self.sections.last("Service", "Type")
        if kind and kind.value not in TYPES:
            self.faults.append(kind.fault(f'"{kind.value}" is refused; use oneshot, or remove it'))
        elif kind and kind.value == "oneshot":
            self.made.kind = "oneshot"

    def _stele_section(self) -> None:
        for entry in self.sections.of("X-Stele"):
            if entry.key not in keys.XSTELE:
                self.faults.append(entry.fault(f"is unknown in [X-Stele]; known are {', '.join(keys.XSTELE)}"))
        self.made.critical = self._boolean("Critical", default=False, section="X-Stele")
        settle = self.sections.last("X-Stele", "Settle")
        if settle:
            try:
                self.made.settle = float(settle.value.removesuffix("s"))
                if not 0 <= self.made.settle <= 3600:
                    raise ValueError
            except ValueError:
                self.faults.append(settle.fault(f'"{settle.value}" is not a number of seconds up to 3600; write one'))

    def _install(self) -> None:
        links: list[str] = []
        if self.source.is_template:
            return  # only instances run
        for key, suffix in LINKS.items():
            for entry in self.sections.all("Install", key):
                links += [f"{target}.{suffix}/{self.made.unit}" for target in map(unit_name, self._words(entry))]
        for entry in self.sections.all("Install", "Alias"):
            links += map(unit_name, self._words(entry))
        for link in links:
            if ".." in link or link.count("/") > 1 or not all(map(UNIT.fullmatch, link.split("/"))):
                self._fault(f'[Install] names "{link}", which is not a unit; correct it')
        self.made.links = tuple(dict.fromkeys(links))
