"""linux.resources.devices: which devices a cgroup may use, as a program for the kernel.

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
        """As the kernel's own lists have it: "allow c 1:3 rwm"."""
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
        raise ConfigError(f"{field}.type", f"{kind!r} is no type of device rule; use a, b or c")
    allow = rule.get("allow")
    if not isinstance(allow, bool):
        raise ConfigError(f"{field}.allow", f"{allow!r} is neither true nor false; say which")
    access = 0
    for letter in rule.get("access") or "":
        if letter not in _ACCESS:
            raise ConfigError(f"{field}.access", f"{letter!r} is no access; use some of r, w and m")
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
        raise ConfigError(f"{field}.{name}", f"{number!r} is no device number; use 0 to {_LARGEST}, or none for all")
    return number


# --- eBPF ---

_INSTRUCTION = struct.Struct("=BBhi")
# Registers of the program.
_RESULT, _CONTEXT, _TYPE, _WANTED, _MAJOR, _MINOR = range(6)
# Operations of <linux/bpf_common.h> and <linux/bpf.h>; those on numbers are the 32-bit ones.
_LOAD_WORD = 0x61
_MOVE, _AND, _SHIFT_RIGHT = 0xB4, 0x54, 0x74
_MOVE_REGISTER = 0xBC
_UNLESS_EQUAL, _UNLESS_ANY = 0x56, 0x46  # JNE; JSET jumps if any of the bits is there
_EXIT = 0x95


def _instruction(code: int, target: int, source: int = 0, jump: int = 0, value: int = 0) -> bytes:
    return _INSTRUCTION.pack(code, target | source << 4, jump, value - (1 << 32) if value > 0x7FFF_FFFF else value)


def _answer(value: int) -> list[bytes]:
    return [_instruction(_MOVE, _RESULT, value=value), _instruction(_EXIT, 0)]


def device_program(rules: Sequence[Mapping[str, Any]]) -> bytes:
    """linux.resources.devices as an array of struct bpf_insn. Raises as `explain` does.

    Its context is struct bpf_cgroup_dev_ctx: u32 access << 16 | type, u32 major, u32 minor. It answers 1 or 0.
    """
    program = [
        _instruction(_LOAD_WORD, _TYPE, _CONTEXT, 0),
        _instruction(_MOVE_REGISTER, _WANTED, _TYPE),
        _instruction(_AND, _TYPE, value=0xFFFF),
        _instruction(_SHIFT_RIGHT, _WANTED, value=16),
        _instruction(_LOAD_WORD, _MAJOR, _CONTEXT, 4),
        _instruction(_LOAD_WORD, _MINOR, _CONTEXT, 8),
    ]
    for rule in reversed(explain(rules)):
        program += _code(rule)
    program += _answer(0)
    return b"".join(program)


def _code(rule: DeviceRule) -> list[bytes]:
    """Allow: take its access off what is wanted, and answer 1 when nothing is left. Deny: answer 0 if any is wanted."""
    if rule.allow:
        body = [
            _instruction(_AND, _WANTED, value=~rule.access & ALL),
            _instruction(_UNLESS_EQUAL, _WANTED, jump=2, value=0),
            *_answer(1),
        ]
    else:
        body = [
            _instruction(_UNLESS_ANY, _WANTED, jump=1, value=rule.access),
            _instruction(0x05, 0, jump=2),  # JA, over the answer
            *_answer(0),
        ]
    tests = [(_TYPE, _TYPES.get(rule.type, ANY)), (_MAJOR, rule.major), (_MINOR, rule.minor)]
    wanted = [(register, value) for register, value in tests if value != ANY]
    return [
        *(
            _instruction(_UNLESS_EQUAL, register, jump=len(wanted) - at - 1 + len(body), value=value)
            for at, (register, value) in enumerate(wanted)
        ),
        *body,
    ]
