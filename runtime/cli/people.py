"""What is printed for people instead of programs: `list` and `state` on a terminal, `features` as a table, `stop`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from runtime.cli.columns import print_table
from runtime.cli.context import Globals
from runtime.cli.several import each
from runtime.cli.table import Stop
from runtime.container.state import Record, Store
from runtime.container.summary import Summary, span, status_text, summaries, summary
from runtime.printable import visible

COMMAND_WIDTH = 40


def list_containers(store: Store) -> None:
    head = ["ID", "IMAGE", "COMMAND", "AGE", "STATUS"]
    print_table(head, [[s.id, image(s), command(s), age(s), status_text(s)] for s in summaries(store)])


def image(facts: Summary) -> str:
    """Return the short name of the container's image, or the path of its bundle."""
    if facts.image.startswith("/"):
        return facts.image
    from runtime.images.store.names import short_name

    return short_name(facts.image) or "-"


def command(facts: Summary) -> str:
    text = " ".join(facts.command)
    return f"{text[: COMMAND_WIDTH - 3]}..." if len(text) > COMMAND_WIDTH else text or "-"


def age(facts: Summary) -> str:
    return span(facts.age) if facts.age >= 0 else "-"


def describe(store: Store, record: Record) -> None:
    """Print one container, a line for each thing."""
    facts = summary(store, record)
    cgroup = record.cgroup.get("path") or record.cgroup.get("unit") or "-"
    rows = {
        "id": facts.id,
        "status": status_text(facts),
        "image" if record.image else "bundle": image(facts),
        "command": " ".join(facts.command),
        "created": f"{record.created[:19].replace('T', ' ')} UTC, {age(facts)} ago",
        "pid": record.pid if facts.status != "stopped" else "-",
        "root": record.rootfs,
        "cgroup": cgroup,
    }
    print_pairs(rows)


def print_pairs(rows: Mapping[str, Any]) -> None:
    width = max(map(len, rows)) + 3
    for key, value in rows.items():
        print(visible(f"{key + ':':{width}}{value}"))


def features(facts: Mapping[str, Any]) -> None:
    """Print the features document as lines that fit a terminal."""
    linux = facts["linux"]

    def is_on(part: Mapping[str, Any]) -> str:
        return "yes" if part.get("enabled") else "no"

    rows = {
        "specification": f"{facts['ociVersionMin']} to {facts['ociVersionMax']}",
        "namespaces": ", ".join(linux["namespaces"]),
        "capabilities": f"{len(linux['capabilities'])} known",
        "mount options": f"{len(facts['mountOptions'])} known",
        "hooks": ", ".join(facts["hooks"]),
        "cgroup": ", ".join(name for name, value in linux["cgroup"].items() if value),
        "seccomp": f"{is_on(linux['seccomp'])}, for {', '.join(linux['seccomp'].get('archs', ()))}",
        "AppArmor": is_on(linux["apparmor"]),
        "SELinux": is_on(linux["selinux"]),
        "Intel RDT": is_on(linux["intelRdt"]),
        "ID-mapped mounts": is_on(linux["mountExtensions"]["idmap"]),
        "network devices": is_on(linux["netDevices"]),
        **{name.rpartition(".")[2]: value for name, value in facts["annotations"].items()},
    }
    print_pairs(rows)
    print("\n`stele features | cat` prints the whole document as JSON.")


def on_terminal() -> bool:
    """Whether a person looks at the output."""
    return sys.stdout is not None and sys.stdout.isatty()


def stop(context: Globals, options: Stop) -> int:
    from runtime.container import stopping

    store = context.store()
    each([options.id, *options.more], lambda container_id: stopping.stop(store, container_id, options.time))
    return 0
