"""Load and attach a cgroup's device program, replacing the previous one atomically (bpf(2)).

A cgroup can have several such programs (systemd attaches its own), and an access must be allowed by all of them. Ours
is identified by its name. It lives as long as the cgroup; nothing is pinned.
"""

from __future__ import annotations

import errno
import os
from typing import Any

from runtime.errors import HostError
from runtime.host.shim import ffi, lib

NAME = "stele_devices"
INSTRUCTION = 8
"""Size of a struct bpf_insn in bytes."""
_LOG = 64 << 10
_LOG_LINES = 3
_MAX_PROGRAMS = 64
"""BPF_CGROUP_MAX_PROGS, the most that a cgroup can have."""


def attach_devices(cgroup_fd: int, program: bytes) -> None:
    """Attach `program` to a cgroup, replacing our previous one.

    The replacement is atomic; the cgroup is never without a program.

    Args:
        cgroup_fd: a cgroup2 directory.
        program: the result of `runtime.plan.device_rules.device_program`.
    Raises:
        HostError: the kernel refused to load the program (with the verifier's last lines) or to attach it.
    """
    new = _load(program)
    try:
        old = _ours(cgroup_fd)
        try:
            _checked(lib.stele_bpf_attach(cgroup_fd, new, old), "cannot attach the device rules to the cgroup")
        finally:
            if old >= 0:
                os.close(old)
    finally:
        os.close(new)


def _load(program: bytes) -> int:
    count = len(program) // INSTRUCTION
    fd: int = lib.stele_bpf_load(program, count, NAME.encode(), ffi.NULL, 0)
    if fd >= 0:
        return fd
    # A log slows the verifier down, so request it only after a failure.
    log: Any = ffi.new("char[]", _LOG)
    again: int = lib.stele_bpf_load(program, count, NAME.encode(), log, _LOG)
    if again >= 0:
        return again
    words = [line for line in ffi.string(log).decode("utf-8", "replace").splitlines() if line.strip()][-_LOG_LINES:]
    raise _refusal("cannot load the device rules", -fd, f" (verifier: {'; '.join(words)})" if words else "")


def _ours(cgroup_fd: int) -> int:
    """Open our program on this cgroup; the caller owns the fd. -1 if there is none."""
    ids, count = ffi.new("uint32_t[]", _MAX_PROGRAMS), ffi.new("uint32_t *")
    _checked(lib.stele_bpf_query(cgroup_fd, ids, _MAX_PROGRAMS, count), "cannot list the cgroup's device programs")
    name = ffi.new("char[16]")
    for number in ids[0 : count[0]]:
        fd: int = lib.stele_bpf_open(number)
        if fd == -errno.ENOENT or fd == -errno.EACCES or fd == -errno.EPERM:
            continue  # gone, or hidden by an LSM: not ours
        _checked(fd, f"cannot open BPF program {number} of the cgroup")
        if lib.stele_bpf_name(fd, name) == 0 and ffi.string(name) == NAME.encode():
            return fd
        os.close(fd)
    return -1


def _checked(result: int, problem: str) -> None:
    if result < 0:
        raise _refusal(problem, -result)


def _refusal(problem: str, error: int, detail: str = "") -> HostError:
    hint = {
        errno.EPERM: "; this needs CAP_BPF and CAP_NET_ADMIN on the host: run as root, or without device rules",
        errno.ENOSYS: "; the kernel has no bpf(2)",
        errno.EINVAL: "; the kernel needs CONFIG_CGROUP_BPF, and the cgroup must be cgroup2" if not detail else "",
        errno.E2BIG: "; there are too many rules: remove some from linux.resources.devices",
    }.get(error, "")
    return HostError(f"{problem}: {os.strerror(error)} ({errno.errorcode.get(error, error)}){detail}{hint}", error)
