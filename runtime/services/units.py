"""Write the unit of a service, and the command line in it."""

from __future__ import annotations

import re

from runtime.services.names import SPECIFIER
from runtime.services.quadlet import quoted
from runtime.services.service import Service

REFERENCES = re.compile(r"\b([A-Za-z0-9_.@:\\%-]+)\.container\b")


def command_line(service: Service, program: str, store: str, image: str) -> list[str]:
    """Return the whole command of ExecStart=."""
    words = [program, "--root", service.root, "--store", store, "run"]
    if service.kind != "oneshot":
        words.append("--detach")
    if service.kind == "forking":
        words += ["--pid-file", _pid_file(service)]
    words += ["--cgroup-parent", service.cgroup, *service.options]
    if service.stop_signal:
        words += ["--stop-signal", service.stop_signal]
    return [*words, "--image", image, service.container_id, *service.command]


def unit_text(service: Service, program: str, store: str, image: str, stop_signal: str) -> str:
    """Return the unit's text.

    Args:
        program: path of stele.
        image: digest of what runs.
        stop_signal: the file's or the image's; "" for TERM.
    """
    sections = service.source.sections
    start = " ".join(map(quoted, command_line(service, program, store, image)))
    remove = " ".join(map(quoted, [program, "--root", service.root, "--store", store, "delete", "--force"]))
    given = {entry.key for entry in sections.of("Service")}
    lines = [
        f"# Made by `stele service apply` from {service.source.name}; it is replaced by the next one.",
        "[Unit]",
        *([] if sections.last("Unit", "Description") else [f"Description={service.name}"]),
        *(f"{entry.key}={_references(entry.value)}" for entry in sections.of("Unit")),
    ]
    if service.critical:
        lines.append("Before=boot-complete.target")
    lines += ["", "[Service]"]
    defaults = {
        "Type": service.kind,
        "KillMode": "mixed",
        "TimeoutStopSec": service.stop_timeout,
        "SyslogIdentifier": "%N",
    }
    lines += [f"{key}={value}" for key, value in defaults.items() if key not in given or key == "Type"]
    if service.kind == "forking":
        lines.append(f"PIDFile={_pid_file(service)}")
    if stop_signal:
        lines.append(f"KillSignal={stop_signal}")
    lines += [
        "Delegate=yes",
        f"ExecStart={start}",
        f"ExecStopPost=-{remove} {quoted(service.container_id)}",
        *(f"{entry.key}={entry.value}" for entry in sections.of("Service") if entry.key != "Type"),
    ]
    return "\n".join(lines) + "\n"


def _pid_file(service: Service) -> str:
    return f"/run/stele-{service.container_id}.pid"


def _references(value: str) -> str:
    return REFERENCES.sub(r"\1.service", value)


def expanded(word: str, name: str) -> str:
    """Return a word of ExecStart= as systemd passes it on, for planning; specifiers that it cannot know stay."""
    base, _, instance = name.partition("@")
    values = {
        "%%": "%",
        "%n": f"{name}.service",
        "%N": name,
        "%p": base,
        "%i": instance,
        "%I": instance.replace("-", "/"),
        "%j": base.rpartition("-")[2],
        "%t": "/run",
        "%S": "/var/lib",
        "%C": "/var/cache",
        "%L": "/var/log",
        "%E": "/etc",
        "%T": "/tmp",
        "%V": "/var/tmp",
        "%h": "/root",
        "%u": "root",
        "%U": "0",
    }
    return SPECIFIER.sub(lambda m: values.get(m.group(), m.group()), word).replace("$$", "$")
