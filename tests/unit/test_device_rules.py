"""Device rules to a program for the kernel: the program run by an evaluator agrees with the rules applied one by one.

Seen red: with the rules gone through from first to last, with `deny` comparing for equality instead of any bit, with
the jump over a test one too short, `test_program_agrees_with_rules` fails and names the access.
"""

from __future__ import annotations

import itertools
import os
import random
import struct
from typing import Any

import pytest

from runtime.errors import ConfigError
from runtime.plan.device_rules import ALL, ANY, DEFAULT_RULES, device_program, explain

EXAMPLES = int(os.environ.get("STELE_EXAMPLES", "300"))
INSTRUCTION = struct.Struct("=BBhi")
BITS = {"r": 2, "w": 4, "m": 1}
TYPES = {"b": 1, "c": 2}


def evaluate(program: bytes, kind: str, major: int, minor: int, access: int) -> int:
    """Run the eBPF that device programs are made of; anything else raises."""
    context = struct.pack("=III", access << 16 | TYPES[kind], major, minor)
    registers: dict[int, int] = {}
    code = list(INSTRUCTION.iter_unpack(program))
    at = 0
    while True:
        op, both, jump, value = code[at]
        to, source, value = both & 15, both >> 4, value & 0xFFFFFFFF
        at += 1
        match op:
            case 0x61:  # ldxw
                assert source == 1
                (registers[to],) = struct.unpack_from("=I", context, jump)
            case 0xB4:  # mov32 imm
                registers[to] = value
            case 0xBC:  # mov32 reg
                registers[to] = registers[source]
            case 0x54:  # and32
                registers[to] &= value
            case 0x64:  # lsh32
                registers[to] = registers[to] << value & 0xFFFFFFFF
            case 0x4C:  # or32 reg
                registers[to] |= registers[source]
            case 0x16:  # jeq32
                at += jump if registers[to] == value else 0
            case 0x74:  # rsh32
                registers[to] >>= value
            case 0x05:  # ja
                at += jump
            case 0x56:  # jne32
                at += jump if registers[to] != value else 0
            case 0x46:  # jset32
                at += jump if registers[to] & value else 0
            case 0x95:  # exit
                return registers[0]
            case _:
                raise ValueError(f"operation {op:#x}")


def allowed(rules: list[dict[str, Any]], kind: str, major: int, minor: int, access: int) -> int:
    """The rules applied one after the other to each single access."""
    state = dict.fromkeys(BITS, False)
    defaults = [
        {
            "allow": True,
            "type": r.type,
            "major": r.major,
            "minor": r.minor,
            "access": "".join(b for b in BITS if r.access & BITS[b]),
        }
        for r in DEFAULT_RULES
    ]
    for rule in rules + defaults:
        numbers = ((rule.get("major"), major), (rule.get("minor"), minor))
        if (rule.get("type") or "a") not in ("a", kind) or any(n not in (None, -1, mine) for n, mine in numbers):
            continue
        for letter in rule.get("access") or ("rwm" if (rule.get("type") or "a") == "a" or not rule["allow"] else ""):
            state[letter] = rule["allow"]
    return int(all(state[letter] for letter, bit in BITS.items() if access & bit))


def rule_of(r: random.Random) -> dict[str, Any]:
    rule: dict[str, Any] = {"allow": r.random() < 0.5}
    for key, choices in (
        ("type", ("a", "b", "c", "c", None)),
        ("major", (None, -1, 1, 5, 8, 10, 4095, 4096 + 8, 0xFFFFFFFF)),
        ("minor", (None, -1, 0, 3, 200, 0xFFFFF, 1 << 20, 0x80000000)),
        ("access", ("rwm", "r", "w", "m", "rw", "wm", "", None)),
    ):
        value = r.choice(choices)
        if value is not None:
            rule[key] = value
    return rule


@pytest.mark.parametrize("seed", range(5))
def test_program_agrees_with_rules(seed: int) -> None:
    """Any rules in any order, each access to devices that they name and to others."""
    answers = set()
    for i in range(EXAMPLES // 5):
        r = random.Random(f"{seed}.{i}")
        rules = [rule_of(r) for _ in range(r.randrange(r.choice((2, 5, 20))))]
        program = device_program(rules)
        for access in itertools.product("bc", (1, 5, 7, 8, 10, 4095), (0, 3, 200, 0xFFFFF), range(1, 8)):
            answer = evaluate(program, *access)
            assert answer == allowed(rules, *access), (rules, access)
            answers.add(answer)
    assert answers == {0, 1}


@pytest.mark.parametrize(
    ("rules", "lines"),
    [
        pytest.param([], [], id="none"),
        pytest.param([{"allow": False, "access": "rwm"}], [], id="deny-all-is-the-start"),
        pytest.param([{"allow": True}, {"allow": False, "type": "a"}], [], id="hidden-by-deny-all"),
        pytest.param(
            [{"allow": False}, {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"}],
            ["allow c 10:229 rw"],
            id="fuse",
        ),
        pytest.param(
            [
                {"allow": True, "type": "b", "major": 8, "access": "rwm"},
                {"allow": False, "type": "b", "major": 8, "minor": 1, "access": "w"},
                {"allow": False, "type": "b", "major": 8, "minor": 1, "access": "rw"},
            ],
            ["allow b 8:* rwm", "deny b 8:1 rw"],
            id="hole-in-a-wildcard",
        ),
        pytest.param(
            [{"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"}],
            [],
            id="hidden-by-a-default",
        ),
        pytest.param([{"allow": True, "access": "rwm"}], ["allow a *:* rwm"], id="privileged"),
        pytest.param([{"allow": True, "type": "c", "major": 4, "minor": 4}], [], id="allows-nothing"),
    ],
)
def test_explain(rules: list[dict[str, Any]], lines: list[str]) -> None:
    """The rules that count, then the default ones."""
    assert [str(rule) for rule in explain(rules)] == lines + [str(rule) for rule in DEFAULT_RULES]


def test_default_rules() -> None:
    """What every container may use, and making any node, which gives no access to it."""
    assert [str(rule) for rule in DEFAULT_RULES] == [
        "allow c *:* m", "allow b *:* m", "allow c 1:3 rwm", "allow c 1:8 rwm", "allow c 1:7 rwm", "allow c 5:0 rwm",
        "allow c 1:5 rwm", "allow c 1:9 rwm", "allow c 136:* rwm", "allow c 5:2 rwm", "allow c 10:200 rwm",
    ]  # fmt: skip


def test_a_wildcard_is_not_a_number() -> None:
    """ANY never reaches the program: a major of 0xffffffff is compared, one left out is not."""
    base = {"allow": True, "type": "c", "access": "r"}
    some = device_program([{**base, "major": 0xFFFFFFFF}])
    every = device_program([base])
    assert [evaluate(program, "c", 7, 7, 2) for program in (some, every)] == [0, 1]
    assert explain([{**base, "major": ANY}])[0].major == ANY
    assert explain([base])[0].access != ALL


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ({"allow": True, "type": "p"}, r"\[1\].type: unknown type of device rule 'p'; use a, b or c"),
        ({"type": "c"}, r"\[1\].allow: None is neither true nor false"),
        ({"allow": True, "access": "rx"}, r"\[1\].access: unknown access 'x'; use any of r, w and m"),
        (
            {"allow": True, "major": -2},
            r"\[1\].major: invalid device number -2; use 0 to 4294967295, or omit it for all",
        ),
        ({"allow": True, "minor": 2**32}, r"\[1\].minor: invalid device number 4294967296"),
        ({"allow": True, "minor": "*"}, r"\[1\].minor: invalid device number '\*'"),
    ],
)
def test_faults(rule: dict[str, Any], sentence: str) -> None:
    """Every fault is reported with the JSON path of its field."""
    with pytest.raises(ConfigError, match=rf"^linux\.resources\.devices{sentence}"):
        explain([{"allow": False}, rule])
