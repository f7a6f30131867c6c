"""Compile seccomp rules to the program that the kernel runs: classic BPF (seccomp(2), "struct seccomp_data").

libseccomp knows the names and numbers of calls, but its compiler is not used: 2.5.4 merges the rules of one call into a
decision tree and shares blocks between architectures, and both go wrong now and then, so that a call that a rule refuses
goes through (tests/unit/test_seccomp_program.py shows one of each). Here nothing is merged or shared:

    architecture -> its section -> binary search in ranges of call numbers -> an action, or rules tried one by one

Where several rules with conditions hold, the most restrictive action is taken, as the kernel does between filters.
"""

from __future__ import annotations

import errno
import struct
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runtime.plan.seccomp import (
    ACTION_MASK,
    ACTIONS,
    ARCHITECTURES,
    ERRNO,
    OPERATORS,
    PERMISSIVE,
    X32,
    X86_64,
    Condition,
)

X32_BIT = 1 << 30
"""Calls of x32 appear as calls of X86_64 with this bit in their number."""
SKIPPED = 0xFFFF_FFFF
"""The number that a tracer sets to skip a call."""
S390 = (ARCHITECTURES["SCMP_ARCH_S390"], ARCHITECTURES["SCMP_ARCH_S390X"])
_AUDIT_ARCH_64BIT = 0x8000_0000
_NARROW = (X32, ARCHITECTURES["SCMP_ARCH_MIPS64N32"], ARCHITECTURES["SCMP_ARCH_MIPSEL64N32"])
LOW_HALF = 0xFFFF_FFFF

ENOSYS = ERRNO | errno.ENOSYS
FOREIGN = ACTIONS["SCMP_ACT_KILL_THREAD"]
"""The action for calls of an architecture that the profile does not list, as in libseccomp."""

Instruction = tuple[int, int, int, int]
Alternative = tuple[int, tuple[Condition, ...]]
"""(action, conditions that must all hold)."""

_INSTRUCTION = struct.Struct("=HBBI")
_LOAD, _AND, _JUMP, _RETURN = 0x20, 0x54, 0x05, 0x06
_EQUAL, _GREATER, _GREATER_EQUAL, _ANY_BIT = 0x15, 0x25, 0x35, 0x45
_NR, _ARCH, _ARGS = 0, 4, 16
_LOW, _HIGH = (0, 4) if sys.byteorder == "little" else (4, 0)
_FAR = 255
"""The maximum distance of a conditional jump."""
_NO, _YES = -1, -2
"""Targets inside a condition: it is false, it is true."""
_SHARED = -3
"""Targets inside a search: this number is the first of the shared returns, one less the second, and so on."""


@dataclass(frozen=True, slots=True)
class Calls:
    """The profile's rules for one architecture.

    Args:
        largest: the largest number of a call that it names; 0 if it names none.
        answers: number of a call to its rules, the first one that holds being the answer, else the default action.
    """

    largest: int
    answers: Mapping[int, Sequence[Alternative]]


def width(arch: int) -> int:
    """The bits of an argument to compare: all 64, or the lower half if arguments have 32 bits."""
    return (1 << 64) - 1 if arch & _AUDIT_ARCH_64BIT and arch not in _NARROW else LOW_HALF


def restrictive(action: int) -> int:
    """A key to sort actions by, the most restrictive first: the kernel compares them as signed numbers."""
    whole = action & ACTION_MASK
    return whole - (1 << 32) if whole >> 31 else whole


def assemble(default: int, architectures: Mapping[int, Calls]) -> bytes:
    """The program, an array of struct sock_filter. Its length is not limited here.

    A call newer than the profile, that is with a number above `largest`, gets ENOSYS where the default action would
    refuse it: programs then fall back to an older call, which they do not for EPERM (runc does so since runc#2750).

    Args:
        default: the profile's default action.
        architectures: by SCMP_ARCH_*.
    """
    program: list[Instruction] = [(_LOAD, 0, 0, _ARCH)]
    for arch in dict.fromkeys(X86_64 if a == X32 else a for a in architectures):
        section: list[Instruction] = [(_LOAD, 0, 0, _NR)]
        if arch == X86_64:
            own, x32 = (_calls(a, architectures.get(a), default) for a in (X86_64, X32))
            section += [*_branch(_ANY_BIT, X32_BIT, len(own)), *own, *x32]
        else:
            section += _calls(arch, architectures[arch], default)
        program += [(_EQUAL, 1, 0, arch), (_JUMP, 0, 0, len(section)), *section]
    program.append((_RETURN, 0, 0, FOREIGN))
    return b"".join(_INSTRUCTION.pack(*instruction) for instruction in program)


def _branch(code: int, value: int, distance: int) -> list[Instruction]:
    """Jump over `distance` instructions if the comparison of A with the value is true."""
    return [(code, distance, 0, value)] if distance <= _FAR else [(code, 0, 1, value), (_JUMP, 0, 0, distance)]


def _calls(arch: int, calls: Calls | None, default: int) -> list[Instruction]:
    """Return the action for the call whose number is in A."""
    if calls is None:
        # Half of X86_64's numbers belong to an architecture that the profile does not have.
        return [(_EQUAL, 0, 1, SKIPPED), (_RETURN, 0, 0, default), (_RETURN, 0, 0, FOREIGN)]
    newer = ENOSYS if calls.largest > 0 and default & ACTION_MASK not in PERMISSIVE else default
    answers = dict(calls.answers)
    if arch in S390 and newer == ENOSYS:
        # Call 0 is how s390 makes calls with large numbers; one that the kernel does not know stays 0.
        answers[0] = [(ENOSYS, ())]
    # Ranges of numbers with one answer: each begins where the one before it ends.
    starts: list[int] = [0]
    leaves: list[list[Instruction]] = [[(_RETURN, 0, 0, default)]]

    def begin(number: int, leaf: list[Instruction]) -> None:
        if starts[-1] == number:
            starts.pop()
            leaves.pop()
        if not leaves or leaves[-1] != leaf:
            starts.append(number)
            leaves.append(leaf)

    otherwise = leaves[0]
    for number in sorted(answers):
        begin(number, _leaf(answers[number], default, width(arch)))
        begin(number + 1, otherwise)
    if newer != default:
        begin(max(calls.largest, *answers, 0) + 1, [(_RETURN, 0, 0, newer)])
    return _near(starts, leaves) or _search(starts, leaves, 0, len(starts), [])


def _near(starts: list[int], leaves: list[list[Instruction]]) -> list[Instruction]:
    """The search with one shared return for each action; [] if that is too far for a conditional jump.

    It is half as long, and so loads faster, than with returns in place.
    """
    returns = list(dict.fromkeys(leaf[0][3] for leaf in leaves if len(leaf) == 1))
    search = _search(starts, leaves, 0, len(starts), returns)
    if len(starts) == 1:
        return search
    code: list[Instruction] = []
    for at, (op, yes, no, value) in enumerate([*search, *((_RETURN, 0, 0, action) for action in returns)]):
        targets = [len(search) - at - 1 + _SHARED - target if target <= _SHARED else target for target in (yes, no)]
        if max(targets) > _FAR:
            return []
        code.append((op, targets[0], targets[1], value))
    return code


def _search(
    starts: list[int], leaves: list[list[Instruction]], low: int, high: int, returns: list[int]
) -> list[Instruction]:
    """A binary search for the range of A among ranges low..high-1.

    Args:
        returns: actions that are returned elsewhere: the jumps to them are left open, see _SHARED.
    """
    if high - low == 1:
        return leaves[low]
    middle = (low + high) // 2
    targets, sides = [], []
    for begin, end in ((low, middle), (middle, high)):
        shared = end - begin == 1 and len(leaves[begin]) == 1 and bool(returns)
        targets.append(_SHARED - returns.index(leaves[begin][0][3]) if shared else 0)
        sides.append([] if shared else _search(starts, leaves, begin, end, returns))
    below, above = sides
    if returns:
        return [(_GREATER_EQUAL, targets[1] or len(below), targets[0], starts[middle]), *below, *above]
    return [*_branch(_GREATER_EQUAL, starts[middle], len(below)), *below, *above]


def _leaf(alternatives: Sequence[Alternative], default: int, bits: int) -> list[Instruction]:
    code: list[Instruction] = []
    for action, conditions in alternatives:
        code += _rule(action, conditions, bits)
        if not conditions:
            return code
    return [*code, (_RETURN, 0, 0, default)]


def _rule(action: int, conditions: Sequence[Condition], bits: int) -> list[Instruction]:
    """Return the action if all conditions hold; otherwise continue after it."""
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


_NE, _LT, _LE, _EQ, _GE, _GT, _MASKED_EQ = OPERATORS.values()
_LOWER_HALVES = {
    _NE: (_EQUAL, _NO, 0),
    _LT: (_GREATER_EQUAL, _NO, 0),
    _LE: (_GREATER, _NO, 0),
    _EQ: (_EQUAL, 0, _NO),
    _GE: (_GREATER_EQUAL, 0, _NO),
    _GT: (_GREATER, 0, _NO),
}
_LESS, _MORE = ((_GREATER, _NO, 0), (_EQUAL, 0, _YES)), ((_GREATER, _YES, 0), (_EQUAL, 0, _NO))
# The lower halves decide only where the upper ones are equal.
_UPPER_HALVES = {
    _NE: ((_EQUAL, 0, _YES),),
    _LT: _LESS,
    _LE: _LESS,
    _EQ: ((_EQUAL, 0, _NO),),
    _GE: _MORE,
    _GT: _MORE,
}


def _condition(c: Condition, bits: int) -> list[Instruction]:
    high, low = c.value >> 32, c.value & LOW_HALF
    load_low: Instruction = (_LOAD, 0, 0, _ARGS + 8 * c.index + _LOW)
    load_high: Instruction = (_LOAD, 0, 0, _ARGS + 8 * c.index + _HIGH)
    if c.op == _MASKED_EQ:
        wanted = c.value & c.value_two
        test: list[Instruction] = [load_low, (_AND, 0, 0, low), (_EQUAL, 0, _NO, wanted & LOW_HALF)]
        return test if bits == LOW_HALF else [load_high, (_AND, 0, 0, high), (_EQUAL, 0, _NO, wanted >> 32), *test]
    test = [load_low, (*_LOWER_HALVES[c.op], low)]
    return test if bits == LOW_HALF else [load_high, *((*jump, high) for jump in _UPPER_HALVES[c.op]), *test]
