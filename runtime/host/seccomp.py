"""Seccomp programs: compiled by libseccomp, kept by content; and what this host can of seccomp(2).

Compiling a profile of the usual size takes milliseconds, reading it back a fraction of one. The cache is a folder of
files named by the digest of all that decides on a program; it may be removed at any time.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from typing import Any

from runtime.errors import ConfigError, HostError
from runtime.host.shim import ffi, lib
from runtime.plan.seccomp import (
    ACTIONS,
    ARCHITECTURES,
    FLAGS,
    OPERATORS,
    WAIT_KILLABLE_RECV,
    SeccompRules,
    canonical,
)
from runtime.plan.seccomp_head import Alternative, Calls, head

INSTRUCTION = 8
"""Bytes of a struct sock_filter."""
MAX_INSTRUCTIONS = 4096
"""BPF_MAXINSNS: the kernel takes no longer filter."""
TREE_FROM = 8
"""Calls in a profile from which the program is a binary tree. libseccomp 2.5 builds broken trees of nothing, and for a
few calls a list is as fast; for a large profile the tree loads and answers in a third of the time."""
MAX_ENTRIES = 256
"""Programs kept; one more, and the cache starts anew, so that profiles made per container cannot fill /run."""

_MAGIC = b"stele bpf 1\0\0\0\0\0"
_DIGEST = hashlib.sha256().digest_size
_OVERHEAD = len(_MAGIC) + _DIGEST


def open_cache(root_fd: int) -> int | None:
    """The folder of programs below --root, made if it is missing; an fd that is the caller's.

    Returns:
        None where none can be had: on a read-only root, or when somebody else owns what is there.
    """
    try:
        outer = _folder(root_fd, ".cache")
        try:
            return _folder(outer, "seccomp")
        finally:
            os.close(outer)
    except OSError as e:
        if e.errno not in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.ELOOP, errno.ENOTDIR):
            raise
        return None  # a program is then compiled each time


def _folder(parent: int, name: str) -> int:
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
    except FileExistsError:
        pass
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    if not _ours(os.fstat(fd)):
        os.close(fd)
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), name)
    return fd


def _ours(status: os.stat_result) -> bool:
    """Nobody but us (and root, who may anything) can have written it."""
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def program(rules: SeccompRules, cache_dir_fd: int | None) -> bytes:
    """The program for seccomp(2), an array of struct sock_filter.

    Args:
        cache_dir_fd: what `open_cache` gave, or None for no cache.
    Raises:
        ConfigError: libseccomp or the kernel cannot do what the profile wants.
    """
    if rules.flags & WAIT_KILLABLE_RECV and not lib.stele_seccomp_has_flag(WAIT_KILLABLE_RECV):
        raise ConfigError(
            "linux.seccomp.flags",
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV needs Linux 5.19; remove it or use a newer kernel",
        )
    if cache_dir_fd is None:
        return compile_program(rules)
    key = _key(rules)
    found = _read(cache_dir_fd, key)
    if found is None:
        found = compile_program(rules)
        _write(cache_dir_fd, key, found)
    return found


def _key(rules: SeccompRules) -> str:
    """The digest of all that decides on a program: the rules, the compiler, the native architecture.

    The kernel is not part of it: libseccomp asks it only whether it has an action, and all that it asks for are older
    than the oldest kernel that is supported.
    """
    compiler = f"{lib.stele_seccomp_version():x} {lib.stele_native_arch():x} {TREE_FROM} "
    return hashlib.sha256(_MAGIC + compiler.encode() + canonical(rules)).hexdigest()


def _seal(key: str, content: bytes) -> bytes:
    """A checksum over name and content, so that an entry under another's name is not taken either."""
    return hashlib.sha256(key.encode() + content).digest()


def _read(cache: int, key: str) -> bytes | None:
    try:
        fd = os.open(key, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=cache)
    except OSError:
        return None  # whatever is wrong with the entry, compiling helps
    try:
        status = os.fstat(fd)
        limit = _OVERHEAD + MAX_INSTRUCTIONS * INSTRUCTION
        if not stat.S_ISREG(status.st_mode) or not _ours(status) or status.st_size > limit:
            return None
        data = os.read(fd, limit)
    finally:
        os.close(fd)
    content = data[_OVERHEAD:]
    if not content or len(content) % INSTRUCTION or data[:_OVERHEAD] != _MAGIC + _seal(key, content):
        return None
    return content


def _write(cache: int, key: str, content: bytes) -> None:
    """Keep a program, whole or not at all. That it cannot be kept is no failure: it is only slower next time."""
    temporary = f".{key[:32]}.{os.getpid()}"
    try:
        entries = os.listdir(cache)
        if len(entries) >= MAX_ENTRIES:
            for name in entries:
                os.unlink(name, dir_fd=cache)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(temporary, flags, 0o600, dir_fd=cache)
        try:
            os.write(fd, _MAGIC + _seal(key, content) + content)
        finally:
            os.close(fd)
        os.rename(temporary, key, src_dir_fd=cache, dst_dir_fd=cache)
    except OSError:
        try:
            os.unlink(temporary, dir_fd=cache)
        except OSError:
            pass  # it was not made, or another process started the cache anew


def compile_program(rules: SeccompRules) -> bytes:
    """Compile without a cache. Raises as `program` does."""
    archs = [ARCHITECTURES[name] for name in rules.architectures]
    decided = _sure(rules) | _decided_by_head(rules, archs)
    calls = [
        (rule, number)
        for rule in rules.rules
        if rule.action != rules.default
        for name in rule.names
        if not (rule.conditions and name in decided) and (number := _number(0, name)) != -1
    ]
    first: dict[int, int] = {}
    conditions: list[tuple[int, int, int, int]] = []
    for rule, _ in calls:
        if id(rule) not in first:
            first[id(rule)] = len(conditions)
            conditions += [(c.index, c.op, c.value, c.value_two) for c in rule.conditions]
    c_archs = ffi.new("uint32_t[]", archs)
    c_conditions = ffi.new("struct stele_condition[]", conditions)
    c_rules = ffi.new(
        "struct stele_rule[]",
        [(number, rule.action, first[id(rule)], len(rule.conditions)) for rule, number in calls],
    )
    request = ffi.new("struct stele_filter *")
    request.default_action = rules.default
    request.optimize = 2 if len(calls) >= TREE_FROM else 1
    request.archs, request.n_archs = c_archs, len(archs)
    request.rules, request.n_rules = c_rules, len(calls)
    request.conditions = c_conditions
    fd = lib.stele_seccomp_compile(request)
    if fd < 0:
        raise _refusal(rules, [rule.index for rule, _ in calls], request, -fd)
    try:
        size = os.fstat(fd).st_size
        body = os.pread(fd, size, 0)
    finally:
        os.close(fd)
    whole = head(rules.default, known_calls(rules)) + body
    if len(whole) > MAX_INSTRUCTIONS * INSTRUCTION:
        raise ConfigError(
            "linux.seccomp",
            f"the rules need {len(whole) // INSTRUCTION} instructions, more than the {MAX_INSTRUCTIONS} of the kernel;"
            " name fewer calls, conditions or architectures",
        )
    return whole


def _number(arch: int, name: str) -> int:
    """A call's number on an architecture (0: native); -1 for no call at all."""
    data = name.encode("ascii", "replace")
    return -1 if b"\0" in data else int(lib.stele_syscall(arch, data))


def known_calls(rules: SeccompRules) -> dict[int, Calls]:
    """What `head` needs to know of each architecture of the program."""
    names = {name for rule in rules.rules for name in rule.names}
    several = _several(rules)
    native = int(lib.stele_native_arch())
    found = {}
    for arch in dict.fromkeys((native, *(ARCHITECTURES[name] for name in rules.architectures))):
        own = {}
        for name, alternatives in several.items():
            number = _number(arch, name)
            if number < -1:
                number = int(lib.stele_direct_syscall(arch, name.encode("ascii")))
            if number >= 0:
                own[number] = alternatives
        found[arch] = Calls(max((_number(arch, name) for name in names), default=0), own)
    return found


def _decided_by_head(rules: SeccompRules, archs: list[int]) -> set[str]:
    """Calls whose rules libseccomp need not see: all but those that are part of another call somewhere.

    How libseccomp finds those in socketcall and ipc is its own knowledge (<seccomp-syscalls.h>, numbers -101 to -299).
    """
    return {name for name in _several(rules) if not any(-300 < _number(arch, name) < -100 for arch in (0, *archs))}


def _sure(rules: SeccompRules) -> set[str]:
    """Calls with a rule that has no conditions: it beats those that have."""
    return {name for rule in rules.rules if not rule.conditions and rule.action != rules.default for name in rule.names}


def _several(rules: SeccompRules) -> dict[str, list[Alternative]]:
    """Calls that have several rules with conditions, and none without."""
    sure = _sure(rules)
    found: dict[str, list[Alternative]] = {}
    for rule in rules.rules:
        if rule.conditions:
            for name in rule.names:
                alternatives = found.setdefault(name, [])
                if name not in sure and (rule.action, rule.conditions) not in alternatives:
                    alternatives.append((rule.action, rule.conditions))
    return {name: alternatives for name, alternatives in found.items() if len(alternatives) > 1}


def _refusal(rules: SeccompRules, indices: list[int], request: Any, error: int) -> Exception:
    failed, index = ffi.string(request.failed).decode(), request.failed_index
    words = os.strerror(error)
    if failed == "architectures":
        return ConfigError(
            f"linux.seccomp.architectures[{index}]",
            f"libseccomp here does not have {rules.architectures[index]} beside the native one ({words}); remove it",
        )
    if failed == "syscalls":
        return ConfigError(f"linux.seccomp.syscalls[{indices[index]}]", f"libseccomp refuses the rule: {words}")
    return HostError(f"cannot compile linux.seccomp ({failed}): {words}", error)


def seccomp_features() -> dict[str, Any]:
    """What `stele features` says of seccomp (features-linux.md "Seccomp"): known names, and flags that work here."""
    return {
        "enabled": True,
        "actions": sorted(name for name, value in ACTIONS.items() if lib.stele_seccomp_has_action(value)),
        "operators": sorted(OPERATORS),
        "archs": sorted(name for name, value in ARCHITECTURES.items() if _number(value, "read") >= 0),
        "knownFlags": sorted(FLAGS),
        "supportedFlags": sorted(name for name, value in FLAGS.items() if lib.stele_seccomp_has_flag(value or 1)),
    }
