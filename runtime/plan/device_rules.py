"""linux.resources.devices: which devices a cgroup may use, compiled to a program for the kernel.

Source: config-linux.md "Allowed Device list".

Nothing is allowed at first; then each rule is applied in order, so that a later rule wins over an earlier one, access
by access (`r`, `w` and `m` each for itself). Behind the rules of config.json come those that let every container use
the devices that it always has; they cannot be taken away, as in runc.

The program is eBPF of type BPF_PROG_TYPE_CGROUP_DEVICE. It goes through the rules from the last to the first and takes
off what is allowed from what is asked for, until nothing is left or a rule denies some of the rest.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runtime.errors import ConfigError

READ, WRITE, MKNOD = 2, 4, 1
"""BPF_DEVCG_ACC_* of <linux/bpf.h>."""
_ACCESS = {"r": READ, "w": WRITE, "m": MKNOD}
ALL = READ | WRITE | MKNOD
_TYPES = {"b": 1, "c": 2}  # BPF_DEVCG_DEV_*
ANY = -1
"""A major or minor number that matches all."""
MINOR_BITS = 20
MAX_MAJOR, MAX_MINOR = (1 << 12) - 1, (1 << MINOR_BITS) - 1
"""The kernel's largest device numbers (<linux/kdev_t.h>). Rules may name larger ones; they match nothing."""
_LARGEST = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class DeviceRule:
    """type: "a", "b" or "c"; major, minor: a number or ANY; access: bits of READ, WRITE, MKNOD."""

    allow: bool
    type: str
    major: int
    minor: int
    access: int

    def __str__(self) -> str:
        """The rule in the format of the kernel's lists: "allow c 1:3 rwm"."""
        major, minor = ("*" if n == ANY else str(n) for n in (self.major, self.minor))
        access = "".join(letter for letter, bit in _ACCESS.items() if self.access & bit)
        return f"{'allow' if self.allow else 'deny'} {self.type} {major}:{minor} {access}"


DEFAULT_RULES = (
    DeviceRule(True, "c", ANY, ANY, MKNOD),
    DeviceRule(True, "b", ANY, ANY, MKNOD),
    DeviceRule(True, "c", 1, 3, ALL),  # null
    DeviceRule(True, "c", 1, 8, ALL),  # random
    DeviceRule(True, "c", 1, 7, ALL),  # full
    DeviceRule(True, "c", 5, 0, ALL),  # tty
    DeviceRule(True, "c", 1, 5, ALL),  # zero
    DeviceRule(True, "c", 1, 9, ALL),  # urandom
    DeviceRule(True, "c", 136, ANY, ALL),  # pts/*
    DeviceRule(True, "c", 5, 2, ALL),  # ptmx
    DeviceRule(True, "c", 10, 200, ALL),  # net/tun
)


def explain(rules: Sequence[Mapping[str, Any]]) -> tuple[DeviceRule, ...]:
    """The rules that count, first to last: those of config.json that nothing later hides, and the default ones.

    Args:
        rules: linux.resources.devices.
    Raises:
        ConfigError: a type, number or access that is none.
    """
    given = [_rule(rule, f"linux.resources.devices[{i}]") for i, rule in enumerate(rules)]
    hidden: dict[tuple[str, int, int], int] = {}
    kept: list[DeviceRule] = []
    for rule in reversed((*given, *DEFAULT_RULES)):
        access = rule.access & ~hidden.get(("a", ANY, ANY), 0) & ~hidden.get((rule.type, rule.major, rule.minor), 0)
        if not access:
            continue
        hidden[rule.type, rule.major, rule.minor] = hidden.get((rule.type, rule.major, rule.minor), 0) | access
        kept.append(DeviceRule(rule.allow, rule.type, rule.major, rule.minor, access))
    # Rules that deny before anything is allowed say what is so anyway.
    while kept and not kept[-1].allow:
        kept.pop()
    return tuple(reversed(kept))


def _rule(rule: Mapping[str, Any], field: str) -> DeviceRule:
    kind = rule.get("type") or "a"
    if kind not in ("a", "b", "c"):
        raise ConfigError(f"{field}.type", f"unknown type of device rule {kind!r}; use a, b or c")
    allow = rule.get("allow")
    if not isinstance(allow, bool):
        raise ConfigError(f"{field}.allow", f"{allow!r} is neither true nor false; say which")
    access = 0
    for letter in rule.get("access") or "":
        if letter not in _ACCESS:
            raise ConfigError(f"{field}.access", f"unknown access {letter!r}; use any of r, w and m")
        access |= _ACCESS[letter]
    # Without access, a rule that denies or is for all devices means all of it; one that allows, nothing.
    if not access and (kind == "a" or not allow):
        access = ALL
    return DeviceRule(allow, kind, _device_number(rule, "major", field), _device_number(rule, "minor", field), access)


def _device_number(rule: Mapping[str, Any], name: str, field: str) -> int:
    number = rule.get(name)
    if number is None:
        return ANY
    if not isinstance(number, int) or isinstance(number, bool) or not ANY <= number <= _LARGEST:
        raise ConfigError(
            f"{field}.{name}", f"invalid device number {number!r}; use 0 to {_LARGEST}, or omit it for all"
        )
    return number


# --- eBPF ---

_INSTRUCTION = struct.Struct("=BBhi")
# Registers of the program. _DEVICE is major << 20 | minor: the kernel's own form of a device number.
_RESULT, _CONTEXT, _TYPE, _WANTED, _MAJOR, _MINOR, _DEVICE = range(7)
# Operations of <linux/bpf_common.h> and <linux/bpf.h>; those on numbers are the 32-bit ones.
_LOAD_WORD = 0x61
_MOVE, _AND, _SHIFT_LEFT, _SHIFT_RIGHT = 0xB4, 0x54, 0x64, 0x74
_MOVE_REGISTER, _OR_REGISTER = 0xBC, 0x4C
_JUMP, _IF_EQUAL, _UNLESS_EQUAL, _IF_ANY = 0x05, 0x16, 0x56, 0x46  # JA, JEQ, JNE, and JSET: any of the bits
_EXIT = 0x95
_FAR = 0x7FFF
"""The maximum distance of a jump."""

_Line = tuple[int, int, int, str]
"""(operation, register, value, target of the jump: a label, "next" for the next rule, "" for no jump)."""

_ALWAYS: list[_Line] = [(_JUMP, 0, 0, "yes")]


def device_program(rules: Sequence[Mapping[str, Any]]) -> bytes:
    """linux.resources.devices as a program; `assemble(explain(rules))`.

    Raises:
        ConfigError: as `explain` does, and for more rules than jumps can span.
    """
    return assemble(explain(rules))


def assemble(counting: Sequence[DeviceRule]) -> bytes:
    """Rules as an array of struct bpf_insn.

    Its context is struct bpf_cgroup_dev_ctx: u32 access << 16 | type, u32 major, u32 minor. It answers 1 or 0. A rule
    costs as few branches as it can: the verifier's time is what loading takes, and it grows with their number.

    Raises:
        ConfigError: more rules than jumps can span.
    """
    chains = {kind: _chain([rule for rule in reversed(counting) if rule.type in ("a", kind)]) for kind in "cb"}
    head = [
        _instruction(_LOAD_WORD, _TYPE, _CONTEXT, jump=0),
        _instruction(_MOVE_REGISTER, _WANTED, _TYPE),
        _instruction(_AND, _TYPE, value=0xFFFF),
        _instruction(_SHIFT_RIGHT, _WANTED, value=16),
        _instruction(_LOAD_WORD, _MAJOR, _CONTEXT, jump=4),
        _instruction(_LOAD_WORD, _MINOR, _CONTEXT, jump=8),
        _instruction(_MOVE_REGISTER, _DEVICE, _MAJOR),
        _instruction(_SHIFT_LEFT, _DEVICE, value=MINOR_BITS),
        _instruction(_OR_REGISTER, _DEVICE, _MINOR),
    ]
    lines: list[list[_Line]] = [
        [(_IF_EQUAL, _TYPE, _TYPES["c"], "c"), (_UNLESS_EQUAL, _TYPE, _TYPES["b"], "no")],
        *chains["b"],
        *chains["c"],
    ]
    starts = [0]
    for rule in lines:
        starts.append(starts[-1] + len(rule))
    end = starts[-1]
    labels = {"c": starts[len(chains["b"]) + 1], "no": end, "yes": end + 2}
    if end > _FAR:
        raise ConfigError("linux.resources.devices", f"{len(counting)} rules are too many for a program; use fewer")
    body = [
        _instruction(op, register, value=value, jump=(labels | {"next": after})[to] - at - 1 if to else 0)
        for rule, start, after in zip(lines, starts, starts[1:], strict=False)
        for at, (op, register, value, to) in enumerate(rule, start)
    ]
    answers = [_instruction(op, _RESULT, value=value) for value in (0, 1) for op in (_MOVE, _EXIT)]
    return b"".join([*head, *body, *answers])


def _instruction(code: int, target: int, source: int = 0, *, jump: int = 0, value: int = 0) -> bytes:
    # exit has neither register nor value
    fields = (0, 0, 0) if code == _EXIT else (target | source << 4, jump, value)
    return _INSTRUCTION.pack(code, *fields)


def _chain(rules: Sequence[DeviceRule]) -> list[list[_Line]]:
    """The rules up to the first that decides every access: the verifier refuses unreachable code after it."""
    chain: list[list[_Line]] = []
    for rule in rules:
        chain.append(_lines(rule))
        if chain[-1] == _ALWAYS:
            return chain
    return [*chain, [(_JUMP, 0, 0, "no")]]


def _lines(rule: DeviceRule) -> list[_Line]:
    """Allow: remove its access from the requested one; allow the access when nothing is left. Deny: refuse if any is requested."""
    if rule.major > MAX_MAJOR or rule.minor > MAX_MINOR:
        return []  # no device has such a number
    tests: list[tuple[int, int]] = []
    if rule.major != ANY and rule.minor != ANY:
        number = rule.major << MINOR_BITS | rule.minor
        tests.append((_DEVICE, number - (1 << 32) if number > 0x7FFF_FFFF else number))
    elif rule.major != ANY:
        tests.append((_MAJOR, rule.major))
    elif rule.minor != ANY:
        tests.append((_MINOR, rule.minor))
    if rule.allow and rule.access == ALL:
        return [(_IF_EQUAL, *test, "yes") for test in tests] or _ALWAYS
    body: list[_Line] = [(_IF_ANY, _WANTED, rule.access, "no")]
    if rule.allow:
        body = [(_AND, _WANTED, ~rule.access & ALL, ""), (_IF_EQUAL, _WANTED, 0, "yes")]
    return [*((_UNLESS_EQUAL, *test, "next") for test in tests), *body]
