"""Classic BPF as seccomp(2) runs it, and rules of a profile evaluated straight: two ways to one answer."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from runtime.plan.seccomp import (
    ACTION_MASK,
    ARCHITECTURES,
    PERMISSIVE,
    X32,
    X86_64,
    Condition,
    SeccompRules,
)
from runtime.plan.seccomp_program import ENOSYS, X32_BIT

INSTRUCTION = struct.Struct("=HBBI")
MASK64 = (1 << 64) - 1
KILL_THREAD = 0
AUDIT_ARCH_64BIT = 0x8000_0000


@dataclass(frozen=True)
class Call:
    """struct seccomp_data without the instruction pointer, which no profile can name."""

    nr: int
    arch: int
    args: tuple[int, ...] = (0, 0, 0, 0, 0, 0)

    def pack(self) -> bytes:
        return struct.pack("=IIQ6Q", self.nr, self.arch, 0, *self.args)


def run(program: bytes, call: Call) -> int:
    """What the program returns for a call.

    Raises: ValueError for a program that the kernel would not take (unknown code, jump out of it, no return).
    """
    code_of = list(INSTRUCTION.iter_unpack(program))
    data = call.pack()
    a = 0
    at = 0
    while at < len(code_of):
        code, yes, no, k = code_of[at]
        at += 1
        if code == 0x20:  # ld [k]
            if k % 4 or k + 4 > len(data):
                raise ValueError(f"load from {k}")
            (a,) = struct.unpack_from("=I", data, k)
        elif code == 0x06:  # ret k
            return k
        elif code == 0x05:  # ja k
            at += k
        elif code == 0x54:  # and k
            a &= k
        elif code in (0x15, 0x25, 0x35, 0x45):  # jeq, jgt, jge, jset
            holds = {0x15: a == k, 0x25: a > k, 0x35: a >= k, 0x45: bool(a & k)}[code]
            at += yes if holds else no
        else:
            raise ValueError(f"code {code:#x}")
    raise ValueError("ran out of the program")


def holds(condition: Condition, args: tuple[int, ...], width: int) -> bool:
    """A condition, as <seccomp.h> words it: unsigned comparison of one argument.

    On architectures with 32-bit arguments (x32 among them) libseccomp compares the lower halves, of both sides.
    """
    value, wanted, two = (x & width for x in (args[condition.index], condition.value, condition.value_two))
    return {
        1: value != wanted,
        2: value < wanted,
        3: value <= wanted,
        4: value == wanted,
        5: value >= wanted,
        6: value > wanted,
        7: value & wanted == two & wanted,
    }[condition.op]


@dataclass
class Table:
    """Numbers of calls: (SCMP_ARCH_* number, name) to number, and the native architecture."""

    native: int
    numbers: dict[tuple[int, str], int]


def expected(rules: SeccompRules, table: Table, call: Call) -> int:
    """The action that the filter must take.

    A rule without conditions beats one with them, whichever comes first, as libseccomp has it; of several that match,
    the most restrictive wins. A rule with the default action and nothing beside it says nothing.
    """
    arch = scmp_arch(rules, table, call)
    if arch is None:
        return KILL_THREAD
    default = rules.default
    known = [table.numbers[arch, name] for name in {name for rule in rules.rules for name in rule.names}]
    foreign = arch == X86_64 and call.nr & X32_BIT
    if default & ACTION_MASK not in PERMISSIVE and not foreign and call.nr > max(known, default=0) > 0:
        return ENOSYS
    mask = MASK64 if arch & AUDIT_ARCH_64BIT and arch != X32 else 0xFFFF_FFFF
    own = [r for r in rules.rules if any(table.numbers[arch, name] == call.nr for name in r.names)]
    sure = [r.action for r in own if not r.conditions and r.action != default]
    if sure:
        return sure[0]
    matching = [r.action for r in own if r.conditions and all(holds(c, call.args, mask) for c in r.conditions)]
    # The kernel ranks actions as signed numbers (seccomp(2)); Python's min() takes the first of equals.
    return min(matching, key=lambda action: action & ACTION_MASK ^ 1 << 31, default=default)


def scmp_arch(rules: SeccompRules, table: Table, call: Call) -> int | None:
    """Which of the profile's architectures a call belongs to; None for a foreign one."""
    mine = {table.native, *(ARCHITECTURES[name] for name in rules.architectures)}
    if call.arch == X86_64:
        # Minus one is what a tracer sets to skip a call: no call of x32, though it has the bit.
        arch = X32 if call.nr & X32_BIT and (X32 in mine or call.nr != 0xFFFF_FFFF) else X86_64
    else:
        arch = call.arch
    return arch if arch in mine else None


def boundaries(conditions: Iterable[Condition]) -> list[tuple[int, int]]:
    """(index, value) that make a comparison change its mind, were it made wrongly in one 32-bit half or the other."""
    found = []
    for c in conditions:
        for value in (c.value, c.value_two):
            for v in (value, value - 1, value + 1, value ^ 1 << 32, value & 0xFFFF_FFFF, value >> 32 << 32, ~value):
                found.append((c.index, v & MASK64))
    return found
