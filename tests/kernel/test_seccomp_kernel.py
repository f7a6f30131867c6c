"""The kernel as the judge of compiled programs: loaded in a child, which then makes calls and tells what they return.

The calls that are tried ignore their arguments, so that any value can be passed to them; x86's way in (int 0x80) and
x32's numbers are tried as well. On another processor only calls of its own are tried.

Seen red: with the halves of an argument exchanged, with LT made LE, with a range of calls one too long, and with
overlapping rules not sorted by what they restrict, the first test fails and names the call.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import random
import signal
import struct
from collections.abc import Callable, Sequence
from typing import Any

import prctl
import pytest

from runtime.host import seccomp as host
from runtime.host.shim import lib
from runtime.images.run.seccomp_default import default_profile
from runtime.plan.seccomp import (
    ACTIONS,
    ARCHITECTURES,
    ERRNO,
    FLAGS,
    OPERATORS,
    X32,
    X86_64,
    SeccompRules,
    plan_seccomp,
)
from runtime.plan.seccomp_program import X32_BIT
from tests.attacks.arena import payload
from tests.unit.bpf_interp import Call, Table, boundaries, expected, run

X86 = ARCHITECTURES["SCMP_ARCH_X86"]
LIBC = ctypes.CDLL(None, use_errno=True)
NATIVE = int(lib.stele_native_arch())
on_x86 = pytest.mark.skipif(NATIVE != X86_64, reason="calls as only x86-64 can")
OTHERS = ["SCMP_ARCH_X86", "SCMP_ARCH_X32"] if NATIVE == X86_64 else ["SCMP_ARCH_ARM"]
SET_MODE_FILTER, NEW_LISTENER = 1, 1 << 3
IGNORE_ARGUMENTS = ("getpid", "getppid", "getuid", "getgid", "geteuid", "getegid", "gettid", "sched_yield", "getpgrp")
IGNORE_ARGUMENTS = tuple(name for name in IGNORE_ARGUMENTS if host.number_of(0, name) >= 0)  # arm64 has no getpgrp
NEEDED = {"names": ["mmap", "munmap", "brk", "futex", "mprotect", "madvise", "exit_group", "rt_sigreturn", "write"]}


class Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def load(program: bytes, flags: int) -> int:
    """seccomp(2); raises OSError."""
    fprog = Program(len(program) // 8, program)
    result: int = LIBC.syscall(host.number_of(0, "seccomp"), SET_MODE_FILTER, flags, ctypes.byref(fprog))
    if result < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    return result


def in_child(body: Callable[[], None]) -> int:
    """Run it in a child: the wait status. A child that a wrong filter keeps from ending gets SIGALRM."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        code = 1
        try:
            body()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1]


def int_0x80() -> Callable[..., int]:
    """A function (nr, a, b) that calls the kernel as a 32-bit program does."""
    code = bytes.fromhex("53 89f8 89f3 89d1 cd80 5b c3")  # save rbx; eax, ebx, ecx = the arguments; int 0x80
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    function = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_uint, ctypes.c_uint)(address)
    function.page = page  # type: ignore[attr-defined]
    return function


def answers(program: bytes, calls: Sequence[Call]) -> list[int]:
    """What each call returns below the filter: a result, or -errno."""
    shared = mmap.mmap(-1, 8 * len(calls) or 8)
    slots = (ctypes.c_long * len(calls)).from_buffer(shared)
    old = int_0x80() if NATIVE == X86_64 else None

    def body() -> None:
        prctl.set_no_new_privs(1)
        load(program, 0)
        for i, call in enumerate(calls):
            if old and call.arch == X86:
                slots[i] = old(call.nr, *call.args[:2])
            else:
                result = LIBC.syscall(ctypes.c_long(call.nr), *(ctypes.c_ulong(a) for a in call.args))
                slots[i] = -ctypes.get_errno() if result == -1 else result

    assert in_child(body) == 0
    return list(slots)


def profile_of(r: random.Random) -> dict[str, Any]:
    """Rules on calls that ignore their arguments; each answer has an errno of its own."""
    values = [0, 1, 2, 0xFFFFFFFF, 1 << 32, (1 << 32) + 1, 1 << 63, (1 << 64) - 1, r.randrange(1 << 64)]
    syscalls: list[dict[str, Any]] = [{**NEEDED, "action": "SCMP_ACT_ALLOW"}]
    for _ in range(r.randrange(1, 12)):
        args = [
            {"index": i, "op": r.choice(list(OPERATORS)), "value": r.choice(values), "valueTwo": r.choice(values)}
            for i in r.sample(range(6), r.choice((0, 1, 1, 2, 3)))
        ]
        action = r.choice(
            ({"action": "SCMP_ACT_ALLOW"}, {"action": "SCMP_ACT_ERRNO", "errnoRet": r.randrange(200, 4095)})
        )
        syscalls.append({"names": r.choices(IGNORE_ARGUMENTS, k=r.randrange(1, 4)), "args": args, **action})
    default = r.choice(
        ({"defaultAction": "SCMP_ACT_ALLOW"}, {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 199})
    )
    return {**default, "architectures": OTHERS, "syscalls": syscalls}


def calls_of(rules: SeccompRules, table: Table, r: random.Random) -> list[Call]:
    made = []
    for name in IGNORE_ARGUMENTS:
        own = [c for rule in rules.rules if name in rule.names for c in rule.conditions]
        edges = r.sample(boundaries(own), min(len(own), 8))
        for index, value in [(0, 0), (0, 1), *edges]:
            args = [r.choice((0, 1, 2, (1 << 64) - 1)) for _ in range(6)]
            args[index] = value
            made.append(Call(table.numbers[NATIVE, name], NATIVE, tuple(args)))
            if NATIVE == X86_64:
                made.append(Call(table.numbers[X32, name], X86_64, tuple(args)))
                low = [a & 0xFFFFFFFF for a in args[:2]]
                made.append(Call(table.numbers[X86, name], X86, (*low, 0, 0, 0, 0)))
    return made


def returned(action: int) -> int | None:
    """-errno for an action that answers itself; None where the call is made."""
    return None if action == ACTIONS["SCMP_ACT_ALLOW"] else -(action & 0xFFFF)


@pytest.mark.parametrize("seed", range(40))
def test_kernel_interpreter_and_rules_agree(seed: int) -> None:
    """Three ways to the same answer, on x86-64 for calls of three architectures."""
    r = random.Random(seed)
    rules = plan_seccomp(profile_of(r))
    assert rules is not None
    names = {name for rule in rules.rules for name in rule.names} | set(IGNORE_ARGUMENTS)
    archs = [NATIVE, *(ARCHITECTURES[name] for name in OTHERS)]
    table = Table(NATIVE, {(arch, name): host.number_of(arch, name) for arch in archs for name in names})
    program = host.compile_program(rules)
    calls = calls_of(rules, table, r)
    # x86 passes ebx and ecx only; what the others hold nobody knows, so rules on them are not asked.
    unknown = {
        table.numbers.get((X86, name))
        for rule in rules.rules
        for name in rule.names
        if any(c.index > 1 for c in rule.conditions)
    }
    calls = [c for c in calls if c.arch != X86 or c.nr not in unknown]
    asked = 0
    for call, answer in zip(calls, answers(program, calls), strict=True):
        action = run(program, call)
        assert action == expected(rules, table, call), call
        wanted = returned(action)
        # A call that is made succeeds, or is unknown (x32 is off in most kernels).
        assert answer == wanted if wanted is not None else answer >= 0 or answer == -errno.ENOSYS, (call, answer)
        asked += wanted is not None
    assert len(calls) > (30 if NATIVE == X86_64 else 15)
    # Of one architecture there are few calls, so a seed may have none that is refused.
    assert asked or NATIVE != X86_64 or not any(rule.action & 0xFFFF0000 == ERRNO for rule in rules.rules)


def test_a_real_profile() -> None:
    """What engines give to every container: known calls work, refused ones get EPERM, newer ones ENOSYS."""
    rules = plan_seccomp(default_profile(()))
    assert rules is not None
    number = {name: host.number_of(0, name) for name in ("getpid", "kexec_load", "add_key", "clone3")}
    calls = [Call(nr, NATIVE) for nr in (*number.values(), 480, 100_000)]
    found = answers(host.compile_program(rules), calls)
    assert found[0] > 0
    assert found[1:] == [-errno.EPERM, -errno.EPERM, -errno.ENOSYS, -errno.ENOSYS, -errno.ENOSYS]


EPERM, ENOSYS = errno.EPERM, errno.ENOSYS
DENIED_FAMILIES = (12, 19, 20, 23, 25, 34, 37, 38, 40)


@pytest.fixture(scope="module")
def asked() -> dict[str, int]:
    """What each call of `payload profile` got by the filter of a container without capabilities: an errno, or 0."""
    rules = plan_seccomp(default_profile((), os.uname().machine))
    assert rules is not None
    program = host.compile_program(rules)
    reading, writing = os.pipe()

    def body() -> None:
        os.dup2(writing, 1)
        load(program, 0)
        os.execv(payload(), ["payload", "profile"])

    assert in_child(body) == 0
    os.close(writing)
    with open(reading) as said:
        lines = said.read().splitlines()
    assert lines[-1] == "done"
    return {name: int(number) for name, number in map(str.split, lines[:-1])}


def test_families_of_sockets(asked: dict[str, int]) -> None:
    """As in Docker's profile. What is allowed may be unknown to the kernel, or wait for a module."""
    denied = [family for family in range(50) if asked[f"family-{family}"] == EPERM]
    assert denied == [family for family in range(50) if family in DENIED_FAMILIES or family > 45]
    assert [asked[f"family-{family}"] for family in (1, 2, 10, 16, 17)] == [0] * 5


def test_calls_that_escapes_are_made_of(asked: dict[str, int]) -> None:
    """No io_uring, no keys, no foreign memory, no namespaces and mounts."""
    names = (
        "io_uring_setup", "io_uring_enter", "io_uring_register", "add_key", "request_key", "keyctl", "userfaultfd",
        "perf_event_open", "bpf", "unshare", "setns", "mount", "fsopen", "open_by_handle_at", "kexec_load",
        "init_module", "pidfd_getfd",
    )  # fmt: skip
    assert {name: asked[name] for name in names} == dict.fromkeys(names, EPERM)
    assert asked["clone3"] == ENOSYS


@on_x86
def test_calls_of_i386(asked: dict[str, int]) -> None:
    """Any 64-bit program can make them. socketcall has the family in memory, so it makes no socket at all."""
    found = {name.removeprefix("i386-"): number for name, number in asked.items() if name.startswith("i386-")}
    if found["socketcall-pair"] == ENOSYS:
        pytest.skip("this kernel has no calls of i386")
    assert found == {
        "socket-2": 0, "socket-38": EPERM, "socket-40": EPERM,
        "socketcall-2": EPERM, "socketcall-38": EPERM, "socketcall-40": EPERM, "socketcall-pair": 0,
        "keyctl": EPERM, "io_uring_setup": EPERM, "unshare": EPERM,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("action", "status"),
    [("SCMP_ACT_KILL_PROCESS", signal.SIGSYS), ("SCMP_ACT_KILL", signal.SIGSYS), ("SCMP_ACT_TRAP", signal.SIGSYS)],
)
def test_actions_that_end_the_process(action: str, status: int) -> None:
    """The process dies by SIGSYS at the call, not before."""
    rules = plan_seccomp({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["getppid"], "action": action}]})
    assert rules is not None
    program = host.compile_program(rules)
    reading, writing = os.pipe()

    def body() -> None:
        load(program, 0)
        os.write(writing, b"alive")
        os.getppid()

    assert os.WTERMSIG(in_child(body)) == status
    assert os.read(reading, 10) == b"alive"
    os.close(reading)
    os.close(writing)


@on_x86
def test_a_foreign_architecture_kills() -> None:
    """A profile for x86_64 alone ends a process that calls as x86 does, whatever its default action."""
    rules = plan_seccomp({"defaultAction": "SCMP_ACT_LOG"})
    assert rules is not None
    program = host.compile_program(rules)
    old = int_0x80()

    def body() -> None:
        load(program, 0)
        old(20, 0, 0)

    assert os.WTERMSIG(in_child(body)) == signal.SIGSYS


def test_features_are_what_the_kernel_takes() -> None:
    """Each flag that `features` offers loads, and one that no kernel has is not found; likewise actions."""
    rules = plan_seccomp(
        {
            "defaultAction": "SCMP_ACT_ALLOW",
            "listenerPath": "/s",
            "syscalls": [{"names": ["getppid"], "action": "SCMP_ACT_NOTIFY"}],
        }
    )
    assert rules is not None
    program = host.compile_program(rules)
    features = host.seccomp_features()
    for name in features["supportedFlags"]:

        def body(flag: int = FLAGS[name]) -> None:
            assert load(program, flag | NEW_LISTENER) >= 0

        assert in_child(body) == 0, name
    assert set(features["supportedFlags"]) <= set(features["knownFlags"]) == set(FLAGS)
    assert features["actions"] == sorted(ACTIONS)
    assert {"SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64"} <= set(features["archs"])
    assert not lib.stele_seccomp_has_flag(1 << 20)
    assert not lib.stele_seccomp_has_action(0x12340000)


def test_a_notified_call_reaches_the_listener() -> None:
    """NOTIFY hands the call to whoever holds the listener, and its answer is the call's result."""
    rules = plan_seccomp(
        {
            "defaultAction": "SCMP_ACT_ALLOW",
            "listenerPath": "/s",
            "syscalls": [{"names": ["getppid"], "action": "SCMP_ACT_NOTIFY"}],
        }
    )
    assert rules is not None
    assert rules.notify
    program = host.compile_program(rules)
    reading, writing = os.pipe()
    go_reading, go_writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.write(writing, struct.pack("i", load(program, NEW_LISTENER)))
            os.read(go_reading, 1)
            result = LIBC.syscall(host.number_of(0, "getppid"))
            code = 0 if result == 4242 else 2
        finally:
            os._exit(code)
    (number,) = struct.unpack("i", os.read(reading, 4))
    pidfd = os.pidfd_open(pid)
    listener = LIBC.syscall(host.number_of(0, "pidfd_getfd"), pidfd, number, 0)
    assert listener >= 0
    os.write(go_writing, b".")
    request = bytearray(80)  # struct seccomp_notif: u64 id, u32 pid, u32 flags, struct seccomp_data
    receive, send = 0xC0502100, 0xC0182101  # SECCOMP_IOCTL_NOTIF_RECV, _SEND
    buffer = (ctypes.c_char * 80).from_buffer(request)
    assert LIBC.ioctl(listener, ctypes.c_ulong(receive), buffer) == 0
    identity, caller, _, nr = struct.unpack_from("=QIIi", request)
    assert (caller, nr) == (pid, host.number_of(0, "getppid"))
    answer = ctypes.create_string_buffer(struct.pack("=QqiI", identity, 4242, 0, 0), 24)
    assert LIBC.ioctl(listener, ctypes.c_ulong(send), answer) == 0
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    for fd in (reading, writing, go_reading, go_writing, pidfd, listener):
        os.close(fd)


@on_x86
def test_x32_is_another_architecture() -> None:
    """A call with x32's bit is killed where the profile does not name x32, though its number looks like x86_64's."""
    rules = plan_seccomp({"defaultAction": "SCMP_ACT_ALLOW"})
    assert rules is not None
    program = host.compile_program(rules)

    def body() -> None:
        load(program, 0)
        LIBC.syscall(ctypes.c_long(host.number_of(0, "getppid") | X32_BIT))

    assert os.WTERMSIG(in_child(body)) == signal.SIGSYS
