"""linux.seccomp: which system calls a container may make, as checked rules (config-linux.md "Seccomp").

Where the specification is silent, rules mean what they mean to runc, because profiles are written for it:
- a system call whose name nobody knows is passed over (profiles name calls of all architectures and kernels);
- where two conditions of a rule are on one argument, each of its conditions is a rule by itself;
- without `flags`, SPEC_ALLOW is set; with an empty list, none;
- calls newer than any that the profile knows get ENOSYS instead of a refusing default action (`seccomp_program`).
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runtime.errors import ConfigError

# SECCOMP_RET_* of <linux/seccomp.h>.
ACTIONS = {
    "SCMP_ACT_KILL_PROCESS": 0x8000_0000,
    "SCMP_ACT_KILL": 0x0000_0000,
    "SCMP_ACT_KILL_THREAD": 0x0000_0000,
    "SCMP_ACT_TRAP": 0x0003_0000,
    "SCMP_ACT_ERRNO": 0x0005_0000,
    "SCMP_ACT_NOTIFY": 0x7FC0_0000,
    "SCMP_ACT_TRACE": 0x7FF0_0000,
    "SCMP_ACT_LOG": 0x7FFC_0000,
    "SCMP_ACT_ALLOW": 0x7FFF_0000,
}
ERRNO, NOTIFY, TRACE = ACTIONS["SCMP_ACT_ERRNO"], ACTIONS["SCMP_ACT_NOTIFY"], ACTIONS["SCMP_ACT_TRACE"]
PERMISSIVE = (TRACE, ACTIONS["SCMP_ACT_LOG"], ACTIONS["SCMP_ACT_ALLOW"])
"""Default actions that allow a call, or leave it to a tracer: no ENOSYS is needed instead."""
ACTION_MASK = 0xFFFF_0000

MAX_DATA = {ERRNO: 4095, TRACE: 0xFFFF}
"""Largest errnoRet: the kernel limits an errno to MAX_ERRNO, and the data of an action has 16 bits (seccomp(2))."""

# enum scmp_compare of <seccomp.h>.
OPERATORS = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}

# SECCOMP_FILTER_FLAG_* of <linux/seccomp.h>. TSYNC is for the threads of a process; init has one.
FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 0,
    "SECCOMP_FILTER_FLAG_LOG": 1 << 1,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 1 << 2,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 1 << 5,
}
DEFAULT_FLAGS = FLAGS["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]
WAIT_KILLABLE_RECV = FLAGS["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]

# SCMP_ARCH_* of <seccomp.h>: AUDIT_ARCH_* of <linux/audit.h>, X32 excepted, which the kernel tells from X86_64 by a
# bit of the call's number only.
ARCHITECTURES = {
    "SCMP_ARCH_X86": 0x4000_0003,
    "SCMP_ARCH_X86_64": 0xC000_003E,
    "SCMP_ARCH_X32": 0x4000_003E,
    "SCMP_ARCH_ARM": 0x4000_0028,
    "SCMP_ARCH_AARCH64": 0xC000_00B7,
    "SCMP_ARCH_LOONGARCH64": 0xC000_0102,
    "SCMP_ARCH_M68K": 0x0000_0004,
    "SCMP_ARCH_MIPS": 0x0000_0008,
    "SCMP_ARCH_MIPS64": 0x8000_0008,
    "SCMP_ARCH_MIPS64N32": 0xA000_0008,
    "SCMP_ARCH_MIPSEL": 0x4000_0008,
    "SCMP_ARCH_MIPSEL64": 0xC000_0008,
    "SCMP_ARCH_MIPSEL64N32": 0xE000_0008,
    "SCMP_ARCH_PPC": 0x0000_0014,
    "SCMP_ARCH_PPC64": 0x8000_0015,
    "SCMP_ARCH_PPC64LE": 0xC000_0015,
    "SCMP_ARCH_PARISC": 0x0000_000F,
    "SCMP_ARCH_PARISC64": 0x8000_000F,
    "SCMP_ARCH_RISCV64": 0xC000_00F3,
    "SCMP_ARCH_S390": 0x0000_0016,
    "SCMP_ARCH_S390X": 0x8000_0016,
    "SCMP_ARCH_SH": 0x4000_002A,
    "SCMP_ARCH_SHEB": 0x0000_002A,
}
X86_64, X32 = ARCHITECTURES["SCMP_ARCH_X86_64"], ARCHITECTURES["SCMP_ARCH_X32"]
LARGEST_VALUE = (1 << 64) - 1

NEVER_NOTIFIED = {
    "write": "an agent that must answer each write could never hear of the container",
    "sendmsg": "the agent's file descriptor itself is sent by sendmsg",
}


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison of an argument; if op is MASKED_EQ, `value` is the mask and `value_two` the expected bits."""

    index: int
    op: int
    value: int
    value_two: int


@dataclass(frozen=True, slots=True)
class Rule:
    """`action` (SECCOMP_RET_* with its data) for calls of these names when all conditions hold.

    index: the element of linux.seccomp.syscalls that it comes from.
    """

    action: int
    names: tuple[str, ...]
    conditions: tuple[Condition, ...]
    index: int


@dataclass(frozen=True, slots=True)
class SeccompRules:
    """A profile, checked.

    Args:
        default: the action for calls that no rule matches.
        architectures: SCMP_ARCH_* names beside the native one, which is always in.
        rules: also those whose action is the default one, because they tell which calls the profile knows.
        flags: SECCOMP_FILTER_FLAG_* for seccomp(2), without NEW_LISTENER.
        notify: some rule asks an agent: load with a listener and send its fd to the agent.
        notes: what a reader of the plan should know.
    """

    default: int
    architectures: tuple[str, ...]
    rules: tuple[Rule, ...]
    flags: int = DEFAULT_FLAGS
    notify: bool = False
    notes: tuple[str, ...] = ()


def plan_seccomp(seccomp: Mapping[str, Any] | None) -> SeccompRules | None:
    """linux.seccomp, checked; None if it is missing or empty.

    Raises:
        ConfigError: a value that is unknown, out of range, or cannot work.
    """
    if not seccomp or not (seccomp.get("defaultAction") or seccomp.get("syscalls")):
        return None
    default = _action(seccomp.get("defaultAction"), seccomp.get("defaultErrnoRet"), "defaultAction", "defaultErrnoRet")
    if default == NOTIFY:
        raise ConfigError(
            "linux.seccomp.defaultAction", "SCMP_ACT_NOTIFY cannot be used as default action; name the calls to notify"
        )
    architectures = tuple(seccomp.get("architectures") or ())
    for i, name in enumerate(architectures):
        if name not in ARCHITECTURES:
            raise ConfigError(
                f"linux.seccomp.architectures[{i}]", f"unknown architecture {name!r}; names look like SCMP_ARCH_X86_64"
            )
    rules: list[Rule] = []
    notes: list[str] = []
    for i, syscall in enumerate(seccomp.get("syscalls") or ()):
        rules += _rules(syscall, i, notes)
    notify = any(rule.action == NOTIFY for rule in rules)
    flags = _flags(seccomp.get("flags"))
    _check_listener(seccomp, notify=notify)
    return SeccompRules(
        default=default,
        architectures=architectures,
        rules=tuple(rules),
        # The kernel refuses the flag for a filter that nobody listens to (seccomp(2)).
        flags=flags if notify else flags & ~WAIT_KILLABLE_RECV,
        notify=notify,
        notes=tuple(notes),
    )


def _action(name: object, data: object, field: str, data_field: str) -> int:
    if not isinstance(name, str) or name not in ACTIONS:
        raise ConfigError(f"linux.seccomp.{field}", f"{name!r} is not an action; use one of {', '.join(ACTIONS)}")
    action = ACTIONS[name]
    if action not in MAX_DATA:
        if data is not None:
            raise ConfigError(
                f"linux.seccomp.{data_field}",
                f"{name} returns no errno; remove it, or use SCMP_ACT_ERRNO or SCMP_ACT_TRACE",
            )
        return action
    value = _number(data, MAX_DATA[action], data_field) if data is not None else errno.EPERM
    return action | value


def _number(value: object, largest: int, field: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= largest:
        raise ConfigError(f"linux.seccomp.{field}", f"{value!r} is out of range; it must be from 0 to {largest}")
    return value


def _rules(syscall: Mapping[str, Any], index: int, notes: list[str]) -> list[Rule]:
    field = f"syscalls[{index}]"
    action = _action(syscall.get("action"), syscall.get("errnoRet"), f"{field}.action", f"{field}.errnoRet")
    names = tuple(syscall.get("names") or ())
    if not names or "" in names:
        raise ConfigError(f"linux.seccomp.{field}.names", "a name is missing; name at least one system call")
    if action == NOTIFY:
        for name, reason in NEVER_NOTIFIED.items():
            if name in names:
                raise ConfigError(
                    f"linux.seccomp.{field}.names",
                    f"SCMP_ACT_NOTIFY cannot be used for the {name} syscall: {reason}; remove {name}",
                )
    conditions = tuple(_condition(arg, f"{field}.args[{i}]") for i, arg in enumerate(syscall.get("args") or ()))
    indices = [c.index for c in conditions]
    if len(set(indices)) == len(indices):
        return [Rule(action, names, conditions, index)]
    notes.append(
        f"linux.seccomp.{field}.args: an argument has several conditions, so any one of the conditions is enough"
    )
    return [Rule(action, names, (condition,), index) for condition in conditions]


def _condition(arg: Mapping[str, Any], field: str) -> Condition:
    op = arg.get("op")
    if op not in OPERATORS:
        raise ConfigError(f"linux.seccomp.{field}.op", f"{op!r} is not an operator; use one of {', '.join(OPERATORS)}")
    return Condition(
        index=_number(arg.get("index"), 5, f"{field}.index"),
        op=OPERATORS[op],
        value=_number(arg.get("value"), LARGEST_VALUE, f"{field}.value"),
        value_two=_number(arg.get("valueTwo") or 0, LARGEST_VALUE, f"{field}.valueTwo"),
    )


def _flags(names: Sequence[str] | None) -> int:
    if names is None:
        return DEFAULT_FLAGS
    flags = 0
    for i, name in enumerate(names):
        if name not in FLAGS:
            raise ConfigError(f"linux.seccomp.flags[{i}]", f"unknown flag {name!r}; use one of {', '.join(FLAGS)}")
        flags |= FLAGS[name]
    return flags


def _check_listener(seccomp: Mapping[str, Any], *, notify: bool) -> None:
    path, metadata = seccomp.get("listenerPath") or "", seccomp.get("listenerMetadata") or ""
    if metadata and not path:
        raise ConfigError("linux.seccomp.listenerMetadata", "it is for a listener; set listenerPath too or remove it")
    if notify and not path:
        raise ConfigError("linux.seccomp.listenerPath", "it is missing, but a rule has SCMP_ACT_NOTIFY; set it")


def canonical(rules: SeccompRules) -> bytes:
    """Everything that determines the program, as bytes that differ whenever the rules differ: a cache key.

    Flags and listener are not in it: they are for loading the program. Names may hold any character (they come from
    strangers), hence Python's own quoting.
    """
    content = (
        rules.default,
        rules.architectures,
        [(r.action, r.names, [(c.index, c.op, c.value, c.value_two) for c in r.conditions]) for r in rules.rules],
    )
    return ascii(content).encode("ascii")
