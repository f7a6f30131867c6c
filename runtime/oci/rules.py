"""The specification's rules for config.json beyond its schema: dependent fields, valid names, duplicates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from runtime.oci.constants import HOOKS, RLIMITS
from runtime.oci.validate import Fault

IPC_SYSCTLS = frozenset(
    f"kernel.{name}"
    for name in (
        "msgmax",
        "msgmnb",
        "msgmni",
        "sem",
        "shmall",
        "shmmax",
        "shmmni",
        "shm_rmid_forced",
        "msg_next_id",
        "sem_next_id",
        "shm_next_id",
    )
)
UTS_SYSCTLS = {"kernel.hostname": "hostname", "kernel.domainname": "domainname"}


def faults(config: Mapping[str, Any]) -> list[Fault]:
    """Return all faults of a document that conforms to the schema, in document order."""
    linux = config.get("linux") or {}
    kinds = {n["type"] for n in linux.get("namespaces") or ()}
    return [
        *_presence(config),
        *process_faults(config.get("process") or {}, "process"),
        *_names(config, kinds),
        *_namespaces(linux, kinds),
        *_hooks(config.get("hooks") or {}),
        *_sysctls(config, linux.get("sysctl") or {}, kinds),
        *_net_devices(linux.get("netDevices") or {}),
    ]


def _presence(config: Mapping[str, Any]) -> Iterator[Fault]:
    process = config.get("process")
    if process is not None and not process.get("args"):
        yield Fault("process.args", "is empty; name the program to run")
    if config.get("root") is None:
        yield Fault("root", "is missing; it names the root file system")


def process_faults(process: Mapping[str, Any], path: str) -> Iterator[Fault]:
    """Yield the faults of a process object."""
    seen = set()
    for i, limit in enumerate(process.get("rlimits") or ()):
        if limit["type"] not in RLIMITS:
            yield Fault(f"{path}.rlimits[{i}].type", f"unknown limit {limit['type']!r}; names look like RLIMIT_NOFILE")
        if limit["type"] in seen:
            yield Fault(f"{path}.rlimits[{i}].type", f"duplicate {limit['type']}; remove one")
        seen.add(limit["type"])
    if not str(process.get("cwd", "/")).startswith("/"):
        yield Fault(f"{path}.cwd", f"{process['cwd']!r} is not absolute; begin it with /")


def _names(config: Mapping[str, Any], kinds: set[str]) -> Iterator[Fault]:
    for field in ("hostname", "domainname"):
        if config.get(field) and "uts" not in kinds:
            yield Fault(field, 'needs a uts namespace; add {"type": "uts"} to linux.namespaces, or remove it')


def _namespaces(linux: Mapping[str, Any], kinds: set[str]) -> Iterator[Fault]:
    seen = set()
    for i, namespace in enumerate(linux.get("namespaces") or ()):
        if namespace["type"] in seen:
            yield Fault(f"linux.namespaces[{i}].type", f"duplicate {namespace['type']!r}; remove one")
        seen.add(namespace["type"])
        path = namespace.get("path")
        if path and not path.startswith("/"):
            yield Fault(f"linux.namespaces[{i}].path", f"{path!r} is not absolute; begin it with /")
    for field in ("uidMappings", "gidMappings"):
        if linux.get(field) and "user" not in kinds:
            yield Fault(
                f"linux.{field}", 'needs a user namespace; add {"type": "user"} to linux.namespaces, or remove it'
            )
    if linux.get("timeOffsets") and "time" not in kinds:
        yield Fault(
            "linux.timeOffsets", 'needs a time namespace; add {"type": "time"} to linux.namespaces, or remove it'
        )


def _hooks(hooks: Mapping[str, Any]) -> Iterator[Fault]:
    for kind, listed in hooks.items():
        for i, hook in enumerate(listed if kind in HOOKS else ()):
            if not hook["path"].startswith("/"):
                yield Fault(f"hooks.{kind}[{i}].path", f"{hook['path']!r} is not absolute; begin it with /")
            if hook.get("args") and not hook["args"][0]:
                yield Fault(f"hooks.{kind}[{i}].args[0]", "is empty; it must be the program's name")
            for j, entry in enumerate(hook.get("env") or ()):
                if entry[:1] in ("", "="):
                    yield Fault(f"hooks.{kind}[{i}].env[{j}]", f"{entry!r} is not NAME=VALUE")


def _sysctls(config: Mapping[str, Any], sysctls: Mapping[str, str], kinds: set[str]) -> Iterator[Fault]:
    """Refuse sysctls outside the container's own namespaces: they would change the host."""
    for key in sysctls:
        path, name = f"linux.sysctl.{key}", key.replace("/", ".")
        needed = _namespace_of(name)
        if not all(part and part != ".." for part in key.replace(".", "/").split("/")):
            yield Fault(path, "is not a valid sysctl name; names look like net.ipv4.ip_forward")
        elif needed is None:
            yield Fault(path, "belongs to the host, not to a namespace; remove it here and set it on the host")
        elif needed not in kinds:
            yield Fault(
                path, f'needs a {needed} namespace; add {{"type": "{needed}"}} to linux.namespaces, or remove it'
            )
        elif name in UTS_SYSCTLS and config.get(UTS_SYSCTLS[name]) not in (None, "", sysctls[key]):
            yield Fault(path, f"contradicts {UTS_SYSCTLS[name]}; remove one of them")


def _net_devices(devices: Mapping[str, Any]) -> Iterator[Fault]:
    """Check device names first: the kernel moves a device before renaming it, so a bad name would lose the device."""
    taken = set()
    for host, device in devices.items():
        name = (device or {}).get("name") or host
        for wrong in dict.fromkeys(name for name in (host, name) if not device_name(name)):
            yield Fault(
                "linux.netDevices",
                f"invalid network device name {ascii(wrong)[:60]}; use 1 to 15 bytes without / : % and white space",
            )
        if name in taken:
            yield Fault(f"linux.netDevices.{host}", f"another device also gets the name {name!a}; choose another name")
        taken.add(name)


def device_name(name: str) -> bool:
    """Whether the kernel accepts a name literally: dev_valid_name() in net/core/dev.c, and no % pattern to fill in."""
    raw = name.encode()
    return 0 < len(raw) <= 15 and name not in (".", "..") and not set(raw) & set(b"/:% \t\n\v\f\r\xa0")


def _namespace_of(name: str) -> str | None:
    if name in IPC_SYSCTLS or name.startswith("fs.mqueue."):
        return "ipc"
    if name.startswith("net."):
        return "network"
    if name in UTS_SYSCTLS:
        return "uts"
    return "user" if name.startswith("user.") else None
