"""What stands before libseccomp's program, because libseccomp cannot say it or says it wrong.

- Calls newer than the profile: their numbers are above the largest that it names. A profile that refuses by default
  would answer EPERM to them, but programs fall back to an older call on ENOSYS only (runc's behaviour since runc#2750).
- Calls with several rules that have conditions: libseccomp 2.5.4 merges such rules into one decision tree, and some of
  its branches then compare the wrong half of an argument (of two rules that refuse "argument 0 <= 0x1998eb926261834f"
  and "argument 0 <= 1", neither refuses 0xfffffffe). Here each rule is tested by itself.

Where several rules match, the most restrictive action is taken, as the kernel does between filters (seccomp(2)).
"""

from __future__ import annotations

import errno
import struct
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from runtime.plan.seccomp import ACTION_MASK, ARCHITECTURES, ERRNO, PERMISSIVE, X32, X86_64, Condition

X32_BIT = 1 << 30
"""Calls of x32 come as calls of X86_64 whose number has this bit."""
S390 = (ARCHITECTURES["SCMP_ARCH_S390"], ARCHITECTURES["SCMP_ARCH_S390X"])
_AUDIT_ARCH_64BIT = 0x8000_0000
_NARROW = (X32, ARCHITECTURES["SCMP_ARCH_MIPS64N32"], ARCHITECTURES["SCMP_ARCH_MIPSEL64N32"])
LOW_HALF = 0xFFFF_FFFF

ENOSYS = ERRNO | errno.ENOSYS
_INSTRUCTION = struct.Struct("=HBBI")
_LOAD, _AND, _JUMP, _RETURN = 0x20, 0x54, 0x05, 0x06
_EQUAL, _GREATER, _GREATER_EQUAL, _ANY_BIT = 0x15, 0x25, 0x35, 0x45
_NR, _ARCH, _ARGS = 0, 4, 16
"""Offsets in struct seccomp_data."""
_LOW, _HIGH = (0, 4) if sys.byteorder == "little" else (4, 0)
_NO, _YES = -1, -2
"""Targets inside a condition: it does not hold, it holds."""

Instruction = tuple[int, int, int, int]
Alternative = tuple[int, tuple[Condition, ...]]
"""(action, conditions that must all hold)."""


@dataclass(frozen=True, slots=True)
class Calls:
    """What the profile says of one architecture.

    Args:
        largest: the largest number of a call that it names; 0 if it names none.
        several: number of a call to its rules, each with conditions.
    """

    largest: int
    several: Mapping[int, Sequence[Alternative]] = field(default_factory=dict)


def width(arch: int) -> int:
    """The bits of an argument that are compared: all 64, or the lower half where arguments are that wide."""
    return (1 << 64) - 1 if arch & _AUDIT_ARCH_64BIT and arch not in _NARROW else LOW_HALF


def restrictive(action: int) -> int:
    """A key to sort actions by: the kernel's, which compares them as signed numbers."""
    whole = action & ACTION_MASK
    return whole - (1 << 32) if whole >> 31 else whole


def head(default: int, architectures: Mapping[int, Calls]) -> bytes:
    """Instructions that return, or run into what is put behind them. b"" if there is nothing to say.

    Args:
        default: the profile's default action.
        architectures: by SCMP_ARCH_*.
    """
    refuses = default & ACTION_MASK not in PERMISSIVE and default != ENOSYS
    blocks = {arch: _block(arch, calls, default, enosys=refuses) for arch, calls in architectures.items()}
    sections: list[list[Instruction]] = []
    for arch in dict.fromkeys(X86_64 if a == X32 else a for a in blocks):
        block, x32 = blocks.get(arch, []), blocks.get(X32, []) if arch == X86_64 else []
        if block or x32:
            sections.append(_section(arch, block, x32))
    if not sections:
        return b""
    program: list[Instruction] = [(_LOAD, 0, 0, _ARCH), *(i for section in sections for i in section)]
    # A jump that leaves the head has no distance yet: it is known only here.
    return b"".join(
        _INSTRUCTION.pack(code, yes, no, len(program) - at - 1 if (code, value) == (_JUMP, 0) else value)
        for at, (code, yes, no, value) in enumerate(program)
    )


_LEAVE: Instruction = (_JUMP, 0, 0, 0)


def _section(arch: int, block: list[Instruction], x32: list[Instruction]) -> list[Instruction]:
    """The calls of an architecture as the kernel names it; others are passed on with A still the architecture."""
    body: list[Instruction] = [(_LOAD, 0, 0, _NR)]
    if arch == X86_64:
        body += [(_ANY_BIT, 0, 1, X32_BIT), (_JUMP, 0, 0, len(block) + 1), *block, _LEAVE, *x32, _LEAVE]
    else:
        body += [*block, _LEAVE]
    return [(_EQUAL, 1, 0, arch), (_JUMP, 0, 0, len(body)), *body]


def _block(arch: int, calls: Calls, default: int, *, enosys: bool) -> list[Instruction]:
    """With A the call's number; at its end A is the same."""
    block: list[Instruction] = []
    if enosys and calls.largest > 0:
        block += [(_GREATER, 0, 1, calls.largest), (_RETURN, 0, 0, ENOSYS)]
        if arch in S390:
            # Call 0 is how s390 makes calls with large numbers; one that the kernel does not know stays 0.
            block += [(_EQUAL, 0, 1, 0), (_RETURN, 0, 0, ENOSYS)]
    for number, alternatives in calls.several.items():
        rules: list[Instruction] = []
        for action, conditions in sorted(alternatives, key=lambda alternative: restrictive(alternative[0])):
            rules += _rule(action, conditions, width(arch))
        rules.append((_RETURN, 0, 0, default))
        block += [(_EQUAL, 1, 0, number), (_JUMP, 0, 0, len(rules)), *rules]
    return block


def _rule(action: int, conditions: Sequence[Condition], bits: int) -> list[Instruction]:
    """Return the action if all conditions hold; else go on behind it."""
    code: list[Instruction] = []
    for condition in conditions:
        test = _condition(condition, bits)
        for at, (op, yes, no, value) in enumerate(test):
            there = len(test) - at - 1  # the next condition
            code.append((op, there if yes == _YES else yes, there if no == _YES else no, value))
    code.append((_RETURN, 0, 0, action))
    return [
        (op, len(code) - at - 1 if yes == _NO else yes, len(code) - at - 1 if no == _NO else no, value)
        for at, (op, yes, no, value) in enumerate(code)
    ]


def _condition(c: Condition, bits: int) -> list[Instruction]:
    high, low = c.value >> 32, c.value & LOW_HALF
    load_low: Instruction = (_LOAD, 0, 0, _ARGS + 8 * c.index + _LOW)
    load_high: Instruction = (_LOAD, 0, 0, _ARGS + 8 * c.index + _HIGH)
    if c.op == 7:
        wanted = c.value & c.value_two
        test: list[Instruction] = [load_low, (_AND, 0, 0, low), (_EQUAL, 0, _NO, wanted & LOW_HALF)]
        if bits != LOW_HALF:
            test = [load_high, (_AND, 0, 0, high), (_EQUAL, 0, _NO, wanted >> 32), *test]
        return test
    code, yes, no = {
        1: (_EQUAL, _NO, 0),
        2: (_GREATER_EQUAL, _NO, 0),
        3: (_GREATER, _NO, 0),
        4: (_EQUAL, 0, _NO),
        5: (_GREATER_EQUAL, 0, _NO),
        6: (_GREATER, 0, _NO),
    }[c.op]
    test = [load_low, (code, yes, no, low)]
    if bits == LOW_HALF:
        return test
    # The lower half decides only where the upper halves are equal.
    unequal: list[Instruction] = {
        1: [(_EQUAL, 0, _YES, high)],
        2: [(_GREATER, _NO, 0, high), (_EQUAL, 0, _YES, high)],
        4: [(_EQUAL, 0, _NO, high)],
        5: [(_GREATER, _YES, 0, high), (_EQUAL, 0, _NO, high)],
    }[{3: 2, 6: 5}.get(c.op, c.op)]
    return [load_high, *unequal, *test]
