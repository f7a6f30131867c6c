"""A plan for reviewers: what a container may do, in ten lines, and how two of them differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from runtime.oci.constants import NAMESPACES
from runtime.plan import model, steps

CLONE_NEW = 0x7E02_0080
"""The CLONE_NEW* flags (clone(2))."""
SHOWN = 12
"""Names that one line lists."""


def summary(config: Mapping[str, Any], plan: model.Plan) -> list[tuple[str, str]]:
    """Say what matters most of a container: pairs of a label and its text."""
    process = config.get("process") or {}
    linux = config.get("linux") or {}
    return [
        ("program", _program(process)),
        ("root", _root(config, plan)),
        ("network", _network(linux, plan)),
        ("namespaces", _namespaces(linux)),
        ("host paths", _host_paths(config.get("mounts") or ())),
        ("devices", _devices(linux)),
        ("capabilities", _capabilities(process)),
        ("privileges", _privileges(process, linux)),
        ("system calls", seccomp(linux.get("seccomp"))),
        ("limits", _limits(linux.get("resources") or {}, process)),
        ("environment", _listed(sorted(str(e).partition("=")[0] for e in process.get("env") or ()))),
    ]


def _listed(names: Sequence[str], nothing: str = "none") -> str:
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more if names else nothing


def _program(process: Mapping[str, Any]) -> str:
    user = process.get("user") or {}
    words = " ".join(map(str, process.get("args") or ()))
    return f"{words[:80]} as {user.get('uid', 0)}:{user.get('gid', 0)} in {process.get('cwd', '/')}"


def _root(config: Mapping[str, Any], plan: model.Plan) -> str:
    for step in plan.steps:
        if isinstance(step, steps.LayeredRoot):
            return {
                steps.UPPER_TMPFS: "writable, in memory, lost at the end",
                steps.UPPER_DIRECTORY: f"writable, kept in {step.directory}",
            }.get(step.upper, "read-only")
    root = config.get("root") or {}
    return "read-only" if root.get("readonly") else f"writable: {root.get('path')} itself is changed"


def _network(linux: Mapping[str, Any], plan: model.Plan) -> str:
    own = next((n for n in linux.get("namespaces") or () if n["type"] == "network"), None)
    if own is None:
        return "the host's"
    if own.get("path"):
        return f"that of {own['path']}"
    if plan.veth:
        return f"its own, {', '.join(veth.address for veth in plan.veth)} by the host"
    if plan.net_devices:
        return f"its own, with {', '.join(device.host_name for device in plan.net_devices)} of the host"
    return "none but loopback"


def _namespaces(linux: Mapping[str, Any]) -> str:
    found = {n["type"]: n.get("path", "") for n in linux.get("namespaces") or ()}
    own = [kind for kind in NAMESPACES if kind in found and not found[kind]]
    joined = [f"{kind} of {path}" for kind, path in found.items() if path]
    shared = [kind for kind in NAMESPACES if kind not in found]
    parts = [f"its own: {', '.join(own)}" if own else "", f"joins: {', '.join(joined)}" if joined else ""]
    return "; ".join([*filter(None, parts), f"the host's: {', '.join(shared)}" if shared else "none of the host's"])


def _host_paths(mounts: Sequence[Mapping[str, Any]]) -> str:
    found = []
    for mount in mounts:
        options = mount.get("options") or ()
        if mount.get("type") == "bind" or "bind" in options or "rbind" in options:
            how = "ro" if "ro" in options or "rro" in options else "rw"
            found.append(f"{mount.get('source')} on {mount['destination']} ({how})")
    return _listed(found)


def _devices(linux: Mapping[str, Any]) -> str:
    names = [device["path"] for device in linux.get("devices") or ()]
    rules = (linux.get("resources") or {}).get("devices") or ()
    every = any(rule.get("allow") and not rule.get("type", "a").strip("a") and "major" not in rule for rule in rules)
    wide = "; the cgroup allows every device" if every else ""
    return f"the usual ones{', ' + _listed(names) if names else ''}{wide}"


def _capabilities(process: Mapping[str, Any]) -> str:
    names = (process.get("capabilities") or {}).get("bounding") or ()
    return f"{len(names)}: " + " ".join(n.removeprefix("CAP_") for n in names) if names else "none"


def _privileges(process: Mapping[str, Any], linux: Mapping[str, Any]) -> str:
    mapped = any(n["type"] == "user" for n in linux.get("namespaces") or ())
    maps = linux.get("uidMappings") or ()
    inside = next((m["hostID"] for m in maps if m["containerID"] == 0), None)
    root = f"its root is {inside} on the host" if mapped and inside is not None else "its root is the host's"
    parts = [
        root if not mapped or inside is not None else "a user namespace",
        "can gain none" if process.get("noNewPrivileges") else "set-user-ID programs gain privileges",
        f"AppArmor {process['apparmorProfile']}" if process.get("apparmorProfile") else "",
        f"SELinux {process['selinuxLabel']}" if process.get("selinuxLabel") else "",
    ]
    return "; ".join(filter(None, parts))


def seccomp(rules: Mapping[str, Any] | None) -> str:
    """Say what a seccomp filter does, by the names of system calls."""
    if not rules:
        return "all allowed, without a filter"
    default = _action(rules)
    allowed: set[str] = set()
    denied: set[str] = set()
    conditional: list[str] = []
    for rule in rules.get("syscalls") or ():
        names, action = rule.get("names") or (), rule.get("action", "")
        if rule.get("args"):
            conditional += [f"{name} {_condition(rule['args'])}" for name in names if action == "SCMP_ACT_ALLOW"]
        elif action in ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG"):
            allowed.update(names)
        else:
            denied.update(names)
    only = list(dict.fromkeys(text for text in conditional if text.split(" ", 1)[0] not in allowed))
    parts = [f"{len(allowed)} allowed" if default != "allowed" else ""]
    parts.append(_listed(only, ""))
    parts.append(f"denied: {_listed(sorted(denied))}" if denied else "")
    return "; ".join(filter(None, [*parts, f"others {default}"]))


def _action(rules: Mapping[str, Any]) -> str:
    action = rules.get("defaultAction", "")
    return {
        "SCMP_ACT_ALLOW": "allowed",
        "SCMP_ACT_LOG": "allowed",
        "SCMP_ACT_ERRNO": f"fail with errno {rules.get('defaultErrnoRet', 1)}",
        "SCMP_ACT_NOTIFY": "are decided by an agent",
        "SCMP_ACT_TRAP": "end it by SIGSYS",
    }.get(action, "kill it")


def _condition(args: Sequence[Mapping[str, Any]]) -> str:
    texts = []
    for arg in args:
        value, two, op = arg.get("value", 0), arg.get("valueTwo", 0), str(arg.get("op", "")).removeprefix("SCMP_CMP_")
        if op == "MASKED_EQ" and two == 0 and value and not value & ~CLONE_NEW:
            return "unless CLONE_NEW*"
        sign = {"EQ": "=", "NE": "!=", "LT": "<", "LE": "<=", "GE": ">=", "GT": ">"}.get(op)
        texts.append(
            f"arg {arg.get('index')} {sign} {value}" if sign else f"arg {arg.get('index')} & {value:#x} = {two}"
        )
    return f"if {' and '.join(texts)}"


def _limits(resources: Mapping[str, Any], process: Mapping[str, Any]) -> str:
    memory, cpu = resources.get("memory") or {}, resources.get("cpu") or {}
    quota, period = cpu.get("quota", 0), cpu.get("period", 100_000)
    pids = (resources.get("pids") or {}).get("limit", 0)
    parts = [
        f"memory {memory['limit'] / (1 << 20):g} MiB" if memory.get("limit", 0) > 0 else "memory unlimited",
        f"{quota / period:g} CPUs" if quota > 0 and period else "all CPU time",
        f"{pids} processes" if pids > 0 else "any number of processes",
        *(f"{r['type'].removeprefix('RLIMIT_').lower()} {r['soft']}" for r in process.get("rlimits") or ()),
    ]
    return ", ".join(parts)


def difference(before: Sequence[str], after: Sequence[str]) -> Iterator[str]:
    """Compare two lists of lines by content, whatever their order: "- line" and "+ line", near where they stood."""
    less, more = Counter(before), Counter(after)
    gone, new = less - more, more - less
    for line in before:
        if gone[line] > 0:
            gone[line] -= 1
            yield f"- {line}"
    for line in after:
        if new[line] > 0:
            new[line] -= 1
            yield f"+ {line}"
