"""Seccomp programs: compiled with libseccomp's tables of calls, kept by content; and what this host can of seccomp(2).

Compiling a profile of the usual size takes milliseconds, reading it back a fraction of one. The cache is a folder of
files named by the digest of all that decides on a program; it may be removed at any time.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Mapping
from functools import cache
from typing import Any

from runtime.errors import ConfigError
from runtime.host.shim import ffi, lib
from runtime.plan.seccomp import (
    ACTIONS,
    ARCHITECTURES,
    FLAGS,
    OPERATORS,
    WAIT_KILLABLE_RECV,
    Condition,
    SeccompRules,
    canonical,
)
from runtime.plan.seccomp_program import Alternative, Calls, assemble, restrictive

INSTRUCTION = 8
"""Bytes of a struct sock_filter."""
MAX_INSTRUCTIONS = 4096
"""BPF_MAXINSNS: the kernel takes no longer filter."""
_TABLE = 1024
"""Above every number of the architectures that have calls within calls."""
MAX_ENTRIES = 256
"""Programs kept; one more, and the cache starts anew, so that profiles made per container cannot fill /run."""

COMPILER = 1
"""Part of each key. To be raised with every change of what is compiled, so that no older program is taken for it."""

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
        ConfigError: the kernel cannot do what the profile wants, or an architecture is unknown here.
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
    """The digest of all that decides on a program: the rules, the tables of calls, the native architecture.

    The kernel is no part of it: it is asked for nothing.
    """
    compiler = f"{COMPILER} {lib.stele_seccomp_version():x} {lib.stele_native_arch():x}"
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
    found = assemble(rules.default, known_calls(rules))
    if len(found) > MAX_INSTRUCTIONS * INSTRUCTION:
        raise ConfigError(
            "linux.seccomp",
            f"the rules need {len(found) // INSTRUCTION} instructions, more than the {MAX_INSTRUCTIONS} of the kernel;"
            " name fewer calls, conditions or architectures",
        )
    return found


def known_calls(rules: SeccompRules) -> dict[int, Calls]:
    """The rules by architecture and number.

    Raises:
        ConfigError: an architecture that libseccomp does not know.
    """
    by_name = _by_name(rules)
    archs = [int(lib.stele_native_arch())]
    for i, name in enumerate(rules.architectures):
        if number_of(ARCHITECTURES[name], "read") == -1:
            raise ConfigError(
                f"linux.seccomp.architectures[{i}]", f"libseccomp here does not know the calls of {name}; remove it"
            )
        archs.append(ARCHITECTURES[name])
    return {arch: _calls(arch, by_name, rules.default) for arch in dict.fromkeys(archs)}


def _by_name(rules: SeccompRules) -> dict[str, list[Alternative]]:
    """Each call that is named, with its rules as `Calls.answers` wants them; those that change nothing are left out.

    A rule without conditions beats those with, and the first such rule the others, as in libseccomp.
    """
    found: dict[str, list[Alternative]] = {}
    for rule in rules.rules:
        alternative = (rule.action, rule.conditions)
        for name in rule.names:
            own = found.setdefault(name, [])
            if own and not own[0][1]:
                continue
            if not rule.conditions:
                if rule.action != rules.default:
                    own[:] = [alternative]
            elif alternative not in own:
                own.append(alternative)
    for own in found.values():
        own.sort(key=lambda alternative: restrictive(alternative[0]))
    return found


def _calls(arch: int, by_name: Mapping[str, list[Alternative]], default: int) -> Calls:
    largest = 0
    answers: dict[int, list[Alternative]] = {}
    parts: dict[str, int] = {}
    for name, alternatives in by_name.items():
        number = number_of(arch, name)
        if -300 < number < -100:
            parts[name] = -number
            number = _numbers(arch).get(name, -1)
        if number >= 0:
            largest = max(largest, number)
            if alternatives:
                answers[number] = alternatives
    for whole, first in (("socketcall", 100), ("ipc", 200)):
        number = number_of(arch, whole)
        within = {name: part - first for name, part in parts.items() if first < part < first + 100}
        if number >= 0 and within and not by_name.get(whole):
            answers[number] = _parts(by_name, within, default)
    return Calls(largest, answers)


def _parts(by_name: Mapping[str, list[Alternative]], within: Mapping[str, int], default: int) -> list[Alternative]:
    """The rules of a call that serves for many, such as x86's socketcall for socket, by its first argument.

    The others are in memory, so conditions on them cannot be seen. A rule with conditions is then taken for certain if
    it restricts, and for nothing if it permits.
    """
    found: list[Alternative] = []
    for name, part in within.items():
        for action, conditions in by_name[name]:
            if not conditions or restrictive(action) < restrictive(default):
                found.append((action, (Condition(0, OPERATORS["SCMP_CMP_EQ"], part, 0),)))
                break
    return found


@cache
def _numbers(arch: int) -> dict[str, int]:
    """Names to numbers of an architecture, as its table of calls has them."""
    name = ffi.new("char[]", 64)
    lengths = ((number, lib.stele_syscall_name(arch, number, name, 64)) for number in range(_TABLE))
    return {ffi.string(name).decode(): number for number, length in lengths if length >= 0}


def number_of(arch: int, name: str) -> int:
    """A call's number on an architecture; -1 for no call at all, see cshim/syscalls.h."""
    data = name.encode("ascii", "replace")
    return -1 if b"\0" in data else int(lib.stele_syscall(arch, data))


def libseccomp_version() -> str:
    """The version of the library whose tables of calls this stele holds, as "2.5.4"."""
    number = int(lib.stele_seccomp_version())
    return f"{number >> 16}.{number >> 8 & 255}.{number & 255}"


def seccomp_features() -> dict[str, Any]:
    """What `stele features` says of seccomp (features-linux.md "Seccomp"): known names, and flags that work here."""
    return {
        "enabled": True,
        "actions": sorted(name for name, value in ACTIONS.items() if lib.stele_seccomp_has_action(value)),
        "operators": sorted(OPERATORS),
        "archs": sorted(name for name, value in ARCHITECTURES.items() if number_of(value, "read") >= 0),
        "knownFlags": sorted(FLAGS),
        "supportedFlags": sorted(name for name, value in FLAGS.items() if lib.stele_seccomp_has_flag(value or 1)),
    }
