"""Disassemble seccomp programs for `stele plan`: classic BPF, one line for each instruction."""

from __future__ import annotations

import struct

from runtime.plan.seccomp import ACTION_MASK, ACTIONS

_INSTRUCTION = struct.Struct("=HBBI")
_COMPARISONS = {0x15: "==", 0x25: ">", 0x35: ">=", 0x45: "&"}
_ARITHMETIC = {0x54: "&=", 0x44: "|=", 0x04: "+=", 0x14: "-=", 0x64: "<<=", 0x74: ">>="}
_WORDS = {value: name.removeprefix("SCMP_ACT_") for name, value in ACTIONS.items()}  # KILL_THREAD for 0


def disassemble(program: bytes) -> list[str]:
    """One line for each struct sock_filter; jump targets are line numbers, from 0.

    Raises:
        ValueError: the bytes are not a whole number of instructions.
    """
    if len(program) % _INSTRUCTION.size:
        raise ValueError("not a whole number of instructions")
    return [f"{at}: {_line(at, *fields)}" for at, fields in enumerate(_INSTRUCTION.iter_unpack(program))]


def _line(at: int, code: int, yes: int, no: int, value: int) -> str:
    if code == 0x20:
        return f"load {_field(value)}"
    if code == 0x06:
        return f"return {_action(value)}"
    if code == 0x05:
        return f"goto {at + 1 + value}"
    if code in _COMPARISONS:
        return _branch(f"{_COMPARISONS[code]} {value:#x}", at + 1, yes, no)
    if code in _ARITHMETIC:
        return f"A {_ARITHMETIC[code]} {value:#x}"
    return f"code {code:#x} jt {yes} jf {no} k {value:#x}"


def _branch(condition: str, following: int, yes: int, no: int) -> str:
    if no == 0:
        return f"if A {condition} goto {following + yes}"
    if yes == 0:
        return f"unless A {condition} goto {following + no}"
    return f"if A {condition} goto {following + yes} else {following + no}"


def _field(offset: int) -> str:
    """A word of struct seccomp_data; its arguments are little-endian here, low half first."""
    if offset in (0, 4):
        return ("call", "architecture")[offset // 4]
    if 16 <= offset < 64:
        argument, half = divmod(offset - 16, 8)
        return f"arg{argument}.{'high' if half else 'low'}"
    return f"data[{offset}]"


def _action(value: int) -> str:
    name = _WORDS.get(value & ACTION_MASK, f"{value & ACTION_MASK:#x}")
    data = value & ~ACTION_MASK
    return f"{name}({data})" if data else name
