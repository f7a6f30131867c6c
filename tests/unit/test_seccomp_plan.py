"""linux.seccomp to rules: what each field means, and the sentence for each that is wrong."""

from __future__ import annotations

import hashlib
import re
import struct
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import ConfigError
from runtime.host.seccomp import COMPILER, program
from runtime.plan.disassembly import disassemble
from runtime.plan.seccomp import ACTIONS, ARCHITECTURES, Condition, Rule, SeccompRules, canonical, plan_seccomp
from runtime.plan.seccomp_program import Calls, assemble
from tests.harness.counting import calls
from tests.unit.bpf_interp import Call, run

ALLOW, ERRNO, NOTIFY, TRACE = (ACTIONS[f"SCMP_ACT_{name}"] for name in ("ALLOW", "ERRNO", "NOTIFY", "TRACE"))
READ = {"names": ["read"], "action": "SCMP_ACT_ALLOW"}
EQUAL = {"index": 0, "op": "SCMP_CMP_EQ"}


def planned(**fields: Any) -> SeccompRules:
    rules = plan_seccomp({"defaultAction": "SCMP_ACT_ERRNO", **fields})
    assert rules is not None
    return rules


@pytest.mark.parametrize("seccomp", [None, {}, {"syscalls": []}, {"defaultAction": "", "architectures": []}])
def test_no_seccomp(seccomp: dict[str, Any] | None) -> None:
    """Neither a default action nor calls: there is no filter, as runc has it."""
    assert plan_seccomp(seccomp) is None


def test_a_rule() -> None:
    """Each name, value and list arrives; absent lists may be null."""
    args = [{"index": 5, "value": 2**64 - 1, "valueTwo": 3, "op": "SCMP_CMP_MASKED_EQ"}]
    rules = planned(
        defaultErrnoRet=38,
        architectures=["SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        flags=None,
        syscalls=[
            {"names": ["a", "b"], "action": "SCMP_ACT_TRACE", "errnoRet": 65535, "args": args},
            {**READ, "args": None},
        ],
    )
    assert rules == SeccompRules(
        default=ERRNO | 38,
        architectures=("SCMP_ARCH_X86", "SCMP_ARCH_X32"),
        rules=(
            Rule(TRACE | 65535, ("a", "b"), (Condition(5, 7, 2**64 - 1, 3),), 0),
            Rule(ALLOW, ("read",), (), 1),
        ),
        flags=4,
    )


@pytest.mark.parametrize(
    ("action", "value"),
    [
        ("SCMP_ACT_KILL", 0),
        ("SCMP_ACT_KILL_THREAD", 0),
        ("SCMP_ACT_KILL_PROCESS", 0x80000000),
        ("SCMP_ACT_TRAP", 0x30000),
        ("SCMP_ACT_ERRNO", 0x50001),
        ("SCMP_ACT_TRACE", 0x7FF00001),
        ("SCMP_ACT_LOG", 0x7FFC0000),
        ("SCMP_ACT_ALLOW", 0x7FFF0000),
    ],
)
def test_actions(action: str, value: int) -> None:
    """Each action is the kernel's number; ERRNO and TRACE carry EPERM if nothing else is said."""
    rules = plan_seccomp({"defaultAction": action})
    assert rules is not None
    assert rules.default == value


@pytest.mark.parametrize(
    ("flags", "notify", "value"),
    [
        (None, False, 4),
        ([], False, 0),
        (["SECCOMP_FILTER_FLAG_TSYNC"], False, 0),
        (["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"], False, 6),
        (["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"], False, 0),
        (["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"], True, 32),
    ],
)
def test_flags(flags: list[str] | None, notify: bool, value: int) -> None:
    """Absent flags are SPEC_ALLOW, an empty list is none; WAIT_KILLABLE_RECV goes with a listener only."""
    syscalls = [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}] if notify else [READ]
    fields = {} if flags is None else {"flags": flags}
    assert planned(syscalls=syscalls, listenerPath="/s", **fields).flags == value


def test_listener() -> None:
    """A listener is asked for only if a rule notifies."""
    fields = {"listenerPath": "/run/agent", "listenerMetadata": "m"}
    rules = planned(syscalls=[{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}], **fields)
    assert rules.notify
    assert not planned(syscalls=[READ], **fields).notify


def test_two_conditions_on_one_argument_are_two_rules() -> None:
    """As runc does, and the plan says so; the other conditions of the rule become rules as well."""
    args = [{"index": i, "value": v, "op": "SCMP_CMP_EQ"} for i, v in ((0, 1), (0, 2), (1, 3))]
    rules = planned(syscalls=[{**READ, "args": args}])
    assert [rule.conditions for rule in rules.rules] == [
        (Condition(0, 4, 1, 0),),
        (Condition(0, 4, 2, 0),),
        (Condition(1, 4, 3, 0),),
    ]
    assert rules.notes == (
        "linux.seccomp.syscalls[0].args: an argument has several conditions, so any one of the conditions is enough",
    )


ARG = {"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"defaultAction": "ALLOW"},
            "defaultAction: 'ALLOW' is not an action; use one of SCMP_ACT_KILL_PROCESS, SCMP_ACT_KILL,",
        ),
        ({"defaultAction": None, "syscalls": [READ]}, "defaultAction: None is not an action"),
        ({"defaultAction": "SCMP_ACT_NOTIFY"}, "defaultAction: SCMP_ACT_NOTIFY cannot be used as default action;"),
        (
            {"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1},
            "defaultErrnoRet: SCMP_ACT_ALLOW returns no errno;",
        ),
        ({"defaultErrnoRet": 4096}, "defaultErrnoRet: 4096 is out of range; it must be from 0 to 4095"),
        ({"defaultErrnoRet": -1}, "defaultErrnoRet: -1 is out of range"),
        ({"defaultErrnoRet": True}, "defaultErrnoRet: True is out of range"),
        (
            {"architectures": ["SCMP_ARCH_X86", "amd64"]},
            r"architectures\[1\]: unknown architecture 'amd64'; names look like",
        ),
        ({"flags": ["TSYNC"]}, r"flags\[0\]: unknown flag 'TSYNC'; use one of SECCOMP_FILTER_FLAG_TSYNC,"),
        ({"listenerMetadata": "m"}, "listenerMetadata: it is for a listener; set listenerPath too or remove it"),
        (
            {"syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]},
            "listenerPath: it is missing, but a rule has",
        ),
        (
            {"syscalls": [READ, {"names": ["mkdir", "write"], "action": "SCMP_ACT_NOTIFY"}]},
            r"syscalls\[1\].names: SCMP_ACT_NOTIFY cannot be used for the write syscall: an agent that must answer",
        ),
        (
            {"syscalls": [{"names": ["sendmsg"], "action": "SCMP_ACT_NOTIFY"}]},
            r"syscalls\[0\].names: SCMP_ACT_NOTIFY cannot be used for the sendmsg syscall: the agent's file descriptor",
        ),
        ({"syscalls": [{"names": ["read"]}]}, r"syscalls\[0\].action: None is not an action"),
        (
            {"syscalls": [{"action": "SCMP_ACT_LOG"}]},
            r"syscalls\[0\].names: a name is missing; name at least one system call",
        ),
        ({"syscalls": [{**READ, "names": ["read", ""]}]}, r"syscalls\[0\].names: a name is missing"),
        ({"syscalls": [READ, {**READ, "errnoRet": 1}]}, r"syscalls\[1\].errnoRet: SCMP_ACT_ALLOW returns no errno;"),
        (
            {"syscalls": [{**READ, "args": [ARG, {**ARG, "op": "EQ"}]}]},
            r"syscalls\[0\].args\[1\].op: 'EQ' is not an operator;",
        ),
        (
            {"syscalls": [{**READ, "args": [{**ARG, "index": 6}]}]},
            r"syscalls\[0\].args\[0\].index: 6 is out of range; .* to 5",
        ),
        (
            {"syscalls": [{**READ, "args": [{**ARG, "value": 2**64}]}]},
            r"syscalls\[0\].args\[0\].value: 18446744073709551616 is",
        ),
        (
            {"syscalls": [{**READ, "args": [{**ARG, "valueTwo": -1}]}]},
            r"syscalls\[0\].args\[0\].valueTwo: -1 is out of range",
        ),
    ],
)
def test_faults(fields: dict[str, Any], sentence: str) -> None:
    """Every fault is reported with the JSON path of its field."""
    with pytest.raises(ConfigError, match=rf"^linux\.seccomp\.{sentence}"):
        planned(**fields)


def test_canonical_differs_wherever_the_program_may() -> None:
    """Names with any character, order, values: no two of these profiles have one key. Flags and listener do not count."""
    profiles: list[dict[str, Any]] = [
        {},
        {"defaultErrnoRet": 2},
        {"architectures": ["SCMP_ARCH_X86"]},
        {"syscalls": [READ]},
        {"syscalls": [{**READ, "names": ["read", "write"]}]},
        {"syscalls": [{**READ, "names": ["read', 'write"]}]},
        {"syscalls": [{**READ, "names": ["read,write"]}]},
        {"syscalls": [{**READ, "names": ["read\0write"]}]},
        {"syscalls": [{**READ, "names": ["r\ud800"]}]},
        {"syscalls": [READ, {**READ, "names": ["write"]}]},
        {"syscalls": [{**READ, "action": "SCMP_ACT_LOG"}]},
        {"syscalls": [{**READ, "args": [ARG]}]},
        {"syscalls": [{**READ, "args": [{**ARG, "valueTwo": 1}]}]},
        {"syscalls": [{**READ, "args": [{**ARG, "index": 1}]}]},
        {"syscalls": [{**READ, "args": [{**ARG, "op": "SCMP_CMP_GE"}]}]},
    ]
    keys = [canonical(planned(**profile)) for profile in profiles]
    assert len(set(keys)) == len(profiles)
    assert canonical(planned(syscalls=[READ], flags=[])) == canonical(planned(syscalls=[READ]))


X86_64, X32 = 0xC000003E, 0x4000003E


def test_a_program_in_words() -> None:
    """x86_64 and x32, as `stele plan` prints it: ranges of numbers, then what is newer; each answer in one place."""
    conditional = [(ALLOW, (Condition(1, 7, 0xF, 3),))]
    calls = {
        X86_64: Calls(300, {0: [(ALLOW, ())], 1: [(ALLOW, ())], 39: conditional}),
        X32: Calls(1 << 30 | 310, {}),
    }
    assert disassemble(assemble(ERRNO | 1, calls)) == [
        "0: load architecture",
        "1: if A == 0xc000003e goto 3",
        "2: goto 23",
        "3: load call",
        "4: if A & 0x40000000 goto 20",
        "5: if A >= 0x27 goto 7",
        "6: if A >= 0x2 goto 18 else 17",
        "7: if A >= 0x28 goto 16",
        "8: load arg1.high",
        "9: A &= 0x0",
        "10: unless A == 0x0 goto 15",
        "11: load arg1.low",
        "12: A &= 0xf",
        "13: unless A == 0x3 goto 15",
        "14: return ALLOW",
        "15: return ERRNO(1)",
        "16: if A >= 0x12d goto 19 else 18",
        "17: return ALLOW",
        "18: return ERRNO(1)",
        "19: return ERRNO(38)",
        "20: if A >= 0x40000137 goto 22",
        "21: return ERRNO(1)",
        "22: return ERRNO(38)",
        "23: return KILL_THREAD",
    ]


def test_the_number_of_the_compiler() -> None:
    """Whoever changes what is compiled changes this digest, and raises runtime.host.seccomp.COMPILER with it."""
    conditions = tuple(Condition(op - 1 if op < 7 else 0, op, 0x1_0000_0002, 3) for op in range(1, 8))
    several = [(ERRNO | 5, conditions), *((ALLOW, (condition,)) for condition in conditions)]
    calls = {
        X86_64: Calls(448, {number: several if number % 9 == 0 else [(ALLOW, ())] for number in range(0, 449, 3)}),
        X32: Calls(1 << 30 | 448, {(1 << 30) + number: [(TRACE, ())] for number in range(20)}),
        0x40000003: Calls(0, {7: several}),
        0x80000016: Calls(300, {4: [(ALLOW, ())]}),
    }
    programs = assemble(ERRNO | 1, calls) + assemble(ALLOW, calls)
    assert (COMPILER, hashlib.sha256(programs).hexdigest()[:16]) == (1, "28101edb4b5855b9")


def test_no_enosys_where_nothing_is_refused_or_known() -> None:
    """A permissive default, or no call known of the architecture: what is not named gets the default."""
    arm = 0xC00000B7
    for default, largest in ((ALLOW, 5), (TRACE | 1, 5), (ERRNO | 1, 0)):
        assert disassemble(assemble(default, {arm: Calls(largest, {})}))[3:] == [
            "3: load call",
            f"4: return {disassemble(struct.pack('=HBBI', 6, 0, 0, default))[0][10:]}",
            "5: return KILL_THREAD",
        ]


def test_s390_call_zero() -> None:
    """s390 makes calls with large numbers as call 0, which stays 0 if the kernel does not know the number."""
    program = assemble(ERRNO | 1, {0x80000016: Calls(300, {4: [(ALLOW, ())]})})
    assert [run(program, Call(nr, 0x80000016)) for nr in (0, 1, 4, 300, 301)] == [
        ERRNO | 38, ERRNO | 1, ALLOW, ERRNO | 1, ERRNO | 38,
    ]  # fmt: skip


def test_disassembly_of_what_is_no_program() -> None:
    """A torn program is refused; an unknown instruction is shown as numbers."""
    with pytest.raises(ValueError, match="not a whole number of instructions"):
        disassemble(b"\0" * 7)
    assert disassemble(b"\x87\0\1\2\3\0\0\0") == ["0: code 0x87 jt 1 jf 2 k 0x3"]


def test_architectures_have_the_kernels_numbers() -> None:
    """AUDIT_ARCH_* of linux/audit.h; those that it calls by another name are left out."""
    headers = "".join(Path(f"/usr/include/linux/{name}.h").read_text() for name in ("elf-em", "audit"))
    machines = {
        m[1]: int(m[2], 0) for m in re.finditer(r"^#define (EM_\w+)\s+(\w+)", headers, re.M) if m[2][0].isdigit()
    }
    flags = {"__AUDIT_ARCH_64BIT": 1 << 31, "__AUDIT_ARCH_LE": 1 << 30, "__AUDIT_ARCH_CONVENTION_MIPS64_N32": 1 << 29}
    numbers = {}
    for name, words in re.findall(r"^#define AUDIT_ARCH_(\w+)\s+\(([\w|\\\s]+)\)", headers, re.M):
        parts = [word.strip(" \\\t\n") for word in words.split("|")]
        numbers[name] = sum({**machines, **flags}[part] for part in parts)
    seen = {name: number for name, number in ARCHITECTURES.items() if name.removeprefix("SCMP_ARCH_") in numbers}
    assert seen.pop("SCMP_ARCH_SH") == numbers["SHEL"]  # the kernel's SH is libseccomp's SHEB
    assert len(seen) >= 12, seen
    assert seen == {name: numbers[name.removeprefix("SCMP_ARCH_")] for name in seen}


def test_work_grows_with_the_rules_and_not_with_their_square() -> None:
    """In calls of functions, which a slow machine does not change."""
    few, more = (
        calls(_too_many, planned(syscalls=[{**READ, "args": [{**EQUAL, "value": i}]} for i in range(n)]))
        for n in (1000, 8000)
    )
    assert more < 8 * few * 1.5


def _too_many(rules: SeccompRules) -> None:
    with pytest.raises(ConfigError, match="the kernel allows 4096"):
        program(rules, None)
