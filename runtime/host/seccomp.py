"""Compile and cache seccomp programs, and report what seccomp(2) supports on this host.

Compiling a typical profile takes milliseconds, reading it from the cache a fraction of one. The cache is a directory
of files, each named by the digest of all inputs to its program; it may be removed at any time.
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
"""Size of a struct sock_filter in bytes."""
MAX_INSTRUCTIONS = 4096
"""BPF_MAXINSNS: the kernel rejects longer filters."""
_TABLE = 1024
"""Above every call number of the architectures that have multiplexed calls (socketcall, ipc)."""
MAX_ENTRIES = 256
"""When the cache has this many programs it is emptied, so that per-container profiles cannot fill /run."""

COMPILER = 1
"""Part of each key. Increment it whenever the compiler's output changes, so that older programs are not used."""

_MAGIC = b"stele bpf 1\0\0\0\0\0"
_DIGEST = hashlib.sha256().digest_size
_OVERHEAD = len(_MAGIC) + _DIGEST


def open_cache(root_fd: int) -> int | None:
    """Open the cache directory below --root, creating it if missing; the caller owns the fd.

    Returns:
        None if there can be no cache: the root is read-only, or someone else owns the directory.
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
        return None  # compile every time instead


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
    """Whether only we (and root) can have written the file."""
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def program(rules: SeccompRules, cache_dir_fd: int | None) -> bytes:
    """The program for seccomp(2), an array of struct sock_filter.

    Args:
        cache_dir_fd: the result of `open_cache`; None for no cache.
    Raises:
        ConfigError: the kernel does not support what the profile asks for, or an architecture is unknown.
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
    """The digest of all inputs to a program: the rules, the system call tables, the native architecture.

    The kernel is not an input.
    """
    compiler = f"{COMPILER} {lib.stele_seccomp_version():x} {lib.stele_native_arch():x}"
    return hashlib.sha256(_MAGIC + compiler.encode() + canonical(rules)).hexdigest()


def _seal(key: str, content: bytes) -> bytes:
    """A checksum over name and content, so that a renamed entry is rejected too."""
    return hashlib.sha256(key.encode() + content).digest()


def _read(cache: int, key: str) -> bytes | None:
    try:
        fd = os.open(key, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=cache)
    except OSError:
        return None  # whatever is wrong with the entry, compile again
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
    """Store a program atomically. Failure is ignored; the next start is only slower."""
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
            pass  # it was not created, or another process emptied the cache


def compile_program(rules: SeccompRules) -> bytes:
    """Compile without a cache. Raises as `program` does."""
    found = assemble(rules.default, known_calls(rules))
    if len(found) > MAX_INSTRUCTIONS * INSTRUCTION:
        raise ConfigError(
            "linux.seccomp",
            f"the rules need {len(found) // INSTRUCTION} instructions, but the kernel allows {MAX_INSTRUCTIONS};"
            " use fewer calls, conditions or architectures",
        )
    return found


def known_calls(rules: SeccompRules) -> dict[int, Calls]:
    """Resolve the rules to call numbers, by architecture.

    Raises:
        ConfigError: an architecture that libseccomp does not know.
    """
    by_name = _by_name(rules)
    archs = [int(lib.stele_native_arch())]
    for i, name in enumerate(rules.architectures):
        if number_of(ARCHITECTURES[name], "read") == -1:
            raise ConfigError(
                f"linux.seccomp.architectures[{i}]", f"this libseccomp does not support {name}; remove it"
            )
        archs.append(ARCHITECTURES[name])
    return {arch: _calls(arch, by_name, rules.default) for arch in dict.fromkeys(archs)}


def _by_name(rules: SeccompRules) -> dict[str, list[Alternative]]:
    """Group the rules by call name, in the form of `Calls.answers`, without rules that change nothing.

    As in libseccomp, an unconditional rule overrides conditional ones, and the first unconditional rule wins.
    """
    found: dict[str, dict[Alternative, None]] = {}  # ordered sets
    for rule in rules.rules:
        alternative = (rule.action, rule.conditions)
        for name in rule.names:
            own = found.setdefault(name, {})
            if own and not next(iter(own))[1]:
                continue
            if not rule.conditions:
                if rule.action != rules.default:
                    found[name] = {alternative: None}
            else:
                own[alternative] = None
    return {name: sorted(own, key=lambda alternative: restrictive(alternative[0])) for name, own in found.items()}


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
    """The rules of a multiplexed call, such as x86's socketcall, selected by its first argument.

    The other arguments are in memory, where a filter cannot see them. So a conditional rule always applies if it
    restricts, and never if it permits.
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
    """Map an architecture's call names to numbers."""
    name = ffi.new("char[]", 64)
    lengths = ((number, lib.stele_syscall_name(arch, number, name, 64)) for number in range(_TABLE))
    return {ffi.string(name).decode(): number for number, length in lengths if length >= 0}


def number_of(arch: int, name: str) -> int:
    """A call's number on an architecture; -1 for an unknown call, see cshim/syscalls.h."""
    data = name.encode("ascii", "replace")
    return -1 if b"\0" in data else int(lib.stele_syscall(arch, data))


def libseccomp_version() -> str:
    """The version of the libseccomp whose tables are built in, such as "2.5.4"."""
    number = int(lib.stele_seccomp_version())
    return f"{number >> 16}.{number >> 8 & 255}.{number & 255}"


def seccomp_features() -> dict[str, Any]:
    """The seccomp part of `stele features` (features-linux.md "Seccomp"): known names, and flags supported here."""
    return {
        "enabled": True,
        "actions": sorted(name for name, value in ACTIONS.items() if lib.stele_seccomp_has_action(value)),
        "operators": sorted(OPERATORS),
        "archs": sorted(name for name, value in ARCHITECTURES.items() if number_of(value, "read") >= 0),
        "knownFlags": sorted(FLAGS),
        "supportedFlags": sorted(name for name, value in FLAGS.items() if lib.stele_seccomp_has_flag(value or 1)),
    }
