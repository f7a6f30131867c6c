"""Print a plan as text or JSON, decoded from the very bytes that init would execute."""

from __future__ import annotations

import dataclasses
import json
import re
import stat
from collections.abc import Iterator
from typing import Any

from runtime.oci.constants import CAPABILITIES, NAMESPACES, RLIMITS
from runtime.plan import model, steps, wire
from runtime.plan.disassembly import disassemble

ATTRIBUTES = {0x1: "ro", 0x2: "nosuid", 0x4: "nodev", 0x8: "noexec", 0x10: "noatime", 0x20: "strictatime",
              0x80: "nodiratime", 0x20_0000: "nosymfollow"}  # fmt: skip
PROPAGATIONS = {1 << 17: "unbindable", 1 << 18: "private", 1 << 19: "slave", 1 << 20: "shared"}


def _bits(mask: int, names: dict[int, str]) -> str:
    return ",".join(name for bit, name in names.items() if mask & bit) or "none"


def _namespaces(flags: int) -> str:
    return ", ".join(kind for kind, flag in NAMESPACES.items() if flags & flag) or "none"


def _capabilities(mask: int) -> str:
    return " ".join(name.removeprefix("CAP_") for name, bit in CAPABILITIES.items() if mask >> bit & 1) or "none"


def _options(*words: str) -> str:
    kept = [w for w in words if w and w != "none"]
    return f" ({', '.join(kept)})" if kept else ""


def _propagation(flags: int) -> str:
    return ("r" if flags & 0x4000 else "") + _bits(flags, PROPAGATIONS) if flags else ""


def _id_mapped(fd: model.TreeFd) -> str:
    if fd.id_namespace:
        return f" id-mapped as the user namespace {fd.id_namespace}"
    return " id-mapped" if fd.id_maps else ""


def _id_map(lines: tuple[model.IdMapping, ...]) -> str:
    return ", ".join(f"{m.container_id}->{m.host_id} x{m.size}" for m in lines)


def describe(step: steps.Step) -> str:
    """Describe a step in one line."""
    match step:
        case steps.Sync():
            return f"wait for the host side: {steps.SYNC_NAMES.get(step.what, step.what)}"
        case steps.Ready():
            return "report ready" + ("; wait for start" if step.listen else "")
        case steps.JoinNamespace():
            return f"join namespaces: {_namespaces(step.flags)} (fd {step.slot})"
        case steps.Unshare():
            return f"new namespaces: {_namespaces(step.flags)}"
        case steps.TimeOffsets():
            return f"wait for the host side: clock offsets {'; '.join(step.offsets.splitlines())}"
        case steps.BindMount():
            return f"bind {step.source} on {step.target}" + _options(
                "or the same symbolic link" if step.copy_link else "",
                "recursive" if step.recursive else "",
                _bits(step.attr_set, ATTRIBUTES),
                f"whole tree: {_bits(step.rec_set, ATTRIBUTES)}" if step.rec_set else "",
                _propagation(step.propagation),
                f"from fd {step.slot}" if step.slot != steps.NO_SLOT else "",
            )
        case steps.NewMount():
            return f"mount {step.fstype} on {step.target}" + _options(
                _bits(step.attr_set | step.rec_set, ATTRIBUTES),
                *step.options,
                "copy up" if step.copy_up else "keep the target's mode" if step.copy_mode else "",
            )
        case steps.Device():
            kind = {stat.S_IFCHR: "c", stat.S_IFBLK: "b"}.get(stat.S_IFMT(step.mode), "p")
            how = "bind the host's device" if step.bind else "device"
            return f"{how} {step.path} {kind} {step.major}:{step.minor} mode {step.mode & 0o7777:04o} owner {step.uid}:{step.gid}"
        case steps.Propagation():
            return f"make all mounts {_propagation(step.flags)}"
        case steps.LayeredRoot():
            made_of = f"fd {step.slot}" if step.slot != steps.NO_SLOT else f"{len(step.layers)} layers"
            above = {
                steps.UPPER_TMPFS: f"written to a tmpfs{f' of {step.size}' if step.size else ''}",
                steps.UPPER_DIRECTORY: f"written to {step.directory}",
            }.get(step.upper, "never written")
            lines = [f"image root of {made_of}, {above}{_options(_bits(step.attributes, ATTRIBUTES))}"]
            return "; ".join((*lines, *(f"layer {path}" for path in step.layers)))
        case steps.PrivateLayer():
            when = "read-only root" if step.readonly else "root on a read-only file system"
            return f"{when}: create missing mount points in a private layer"
        case steps.MountAttributes():
            return f"set {_bits(step.attr_set, ATTRIBUTES)} on {step.path}"
        case steps.EnterRoot():
            return f"enter the root: {steps.ENTER_NAMES.get(step.how, step.how)}"
        case steps.RootAttributes():
            return "root" + _options("read-only" if step.readonly else "writable", _propagation(step.propagation))
        case steps.Hook():
            return f"run hook {' '.join((step.path, *step.words[1 : step.n_args]))}"
        case steps.Rlimit():
            name = next((n for n, number in RLIMITS.items() if number == step.resource), str(step.resource))
            return f"limit {name} soft {step.soft} hard {step.hard}"
        case steps.OomScore():
            return f"oom_score_adj {step.score - 1000}"
        case steps.Seccomp():
            return f"load a seccomp filter of {len(step.program) // 8} instructions" + (
                " with a listener" if step.notify else ""
            )
        case steps.Credentials():
            gids = [int.from_bytes(step.gids[i : i + 4], "little") for i in range(0, len(step.gids), 4)]
            return (
                f"become uid {step.uid} gid {step.gid}"
                + (f" groups {gids}" if step.groups else "")
                + f"; capabilities: bounding {_capabilities(step.bounding)}; effective {_capabilities(step.effective)}"
                + (f"; ambient {_capabilities(step.ambient)}" if step.ambient else "")
            )
        case steps.Affinity():
            every = set(step.mask) == {0xFF}
            return "CPU affinity: " + (
                "every CPU the cgroup allows" if every else f"mask {step.mask[::-1].hex().lstrip('0')}"
            )
        case steps.WorkingDirectory():
            return f"working directory {step.path}" + (" (as the user, unless already there)" if step.last else "")
        case steps.Trace():
            return f"{'start' if step.on else 'stop'} reporting the time of each step"
        case steps.Execute():
            return f"execute {json.dumps(list(step.words[: step.n_args]))} with {len(step.words) - step.n_args} environment entries"
    if step.says:
        return step.says.format_map(steps.fields_of(step))
    return _generic(step)


def spaced(name: str) -> str:
    """ "FindProgram" as "find program"."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", name).lower()


def _generic(step: steps.Step) -> str:
    name = spaced(type(step).__name__)
    values = [f"{k} {v}" for k, v in steps.fields_of(step).items() if k != "index" and v not in ("", False)]
    return name + (": " + ", ".join(values) if values else "")


def _cgroup_lines(plan: model.Plan, cgroup: str) -> Iterator[str]:
    yield f"cgroup {cgroup}"
    for write in plan.writes:
        yield f"  {write.file} = {write.value} ({write.field})"
    for rule in plan.device_rules:
        yield f"  devices: {rule}"
    if plan.device_program:
        yield f"  devices: deny all others, by a program of {len(plan.device_program) // 8} instructions"


def host_lines(plan: model.Plan, cgroup: str) -> Iterator[str]:
    yield from _cgroup_lines(plan, cgroup)
    yield f"clone with new namespaces: {_namespaces(plan.clone_flags)}"
    for i, fd in enumerate(plan.fds):
        match fd:
            case model.ListenerFd():
                yield f"fd {i}: the start socket"
            case model.NamespaceFd():
                yield f"fd {i}: {fd.kind} namespace {fd.path}"
            case model.PidFd():
                yield f"fd {i}: the container's init"
            case model.RootFd():
                yield f"fd {i}: the root directory of the container's init"
            case model.TreeFd():
                yield f"fd {i}: the mounts at {fd.path}" + _id_mapped(fd)
            case model.ErofsFd():
                yield f"fd {i}: the erofs image {fd.path}" + (f" with fs-verity {fd.verity}" if fd.verity else "")
    if plan.id_maps:
        yield f"uid map: {_id_map(plan.id_maps.uids)}"
        yield f"gid map: {_id_map(plan.id_maps.gids)}"
    for device in plan.net_devices:
        yield f"move network device {device.host_name} into the container as {device.container_name}"
    for veth in plan.veth:
        yield f"create a veth pair: {veth.address} inside, {veth.gateway} outside"
    if plan.resctrl:
        shares = (plan.resctrl.schema + plan.resctrl.schemata).strip().replace("\n", " ")
        yield f"resctrl group /{plan.resctrl.group}" + (f": {shares}" if shares else "")
    for limit in plan.rlimits:
        yield f"with the host's rights, raise the hard limit for: {describe(limit)}"
    for hook in plan.hooks:
        yield f"{hook.kind} hook: {' '.join((hook.path, *hook.args[1:]))}"
    for note in plan.notes:
        yield f"note: {note}"


def render(plan: model.Plan, encoded: bytes, cgroup: str, *, filters: bool = False) -> str:
    """The plan as text: the host's half, then init's steps, numbered.

    Args:
        encoded: the result of `wire.encode(plan.steps)`, which init would get; the steps are decoded from it.
        cgroup: describes where the container's cgroup would be.
        filters: print each instruction of seccomp programs.
    """
    decoded = wire.decode(encoded)
    lines = [
        "The host side:",
        *(f"  {line}" for line in host_lines(plan, cgroup)),
        f"init, {len(encoded)} bytes of plan:",
    ]
    width = len(str(len(decoded)))
    for i, step in enumerate(decoded, 1):
        lines.append(f"  {i:>{width}}  {describe(step)}")
        if filters and isinstance(step, steps.Seccomp):
            lines += [f"  {'':>{width}}    {line}" for line in disassemble(step.program)]
    return "\n".join(lines) + "\n"


def to_json(plan: model.Plan, encoded: bytes, cgroup: str) -> str:
    """The plan as JSON: {"host": {"cgroup": path, ...}, "init": [{"step": name, ...}]}; bytes as hex."""

    def plain(value: Any) -> Any:
        if isinstance(value, bytes):
            return value.hex()
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {
                "kind": type(value).__name__,
                **{f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)},
            }
        return [plain(v) for v in value] if isinstance(value, tuple) else value

    host = {"cgroup": cgroup} | {
        f.name: plain(getattr(plan, f.name)) for f in dataclasses.fields(plan) if f.name != "steps"
    }
    init = [
        {"step": type(s).__name__, **{k: plain(v) for k, v in steps.fields_of(s).items()}} for s in wire.decode(encoded)
    ]
    return json.dumps({"host": host, "init": init}, indent=2)
