"""Apply a plan's writes to a cgroup."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Sequence
from dataclasses import replace

from runtime.errors import ConfigError, HostError, SteleError
from runtime.host.cgroups.tree import read, read_if_there, write
from runtime.plan.resources import KEEP, CgroupWrite

ADVICE = {
    errno.EACCES: "the file is read-only, or the cgroup is not delegated to you",
    errno.EPERM: "the file is read-only, or the cgroup is not delegated to you",
    errno.EBUSY: "more than the limit is in use; free it first, or choose a higher limit",
    errno.ENODEV: "there is no such device on this host",
    errno.EINVAL: "the kernel does not accept this value here, or the file is read-only",
    errno.ERANGE: "the value is out of the kernel's range",
    errno.EOPNOTSUPP: "the kernel does not support this for this device or cgroup",
    errno.EIO: "the device does not have this control; for io.weight, enable it in io.cost.qos",
}


def missing_controller(controller: str, field: str, where: str, *, rootless: bool) -> ConfigError:
    """The error for a limit whose controller is not available in the cgroup `where`, "" for the root."""
    if rootless:
        how = "delegate it to you (Delegate= of user@.service), or remove the limit"
    elif where:
        how = "enable it in cgroup.subtree_control of every ancestor, or remove the limit"
    else:
        how = "boot without cgroup_disable= and without cgroup v1 controllers, or remove the limit"
    return ConfigError(field, f'needs the cgroup controller "{controller}", which /{where} does not have; {how}')


def concrete(fd: int, writes: Sequence[CgroupWrite]) -> list[CgroupWrite]:
    """Fill in the parts of the writes that depend on the cgroup's current state. Writes nothing.

    Raises:
        HostError: a limit is below current usage, and the plan forbids that.
    """
    return [_concrete(fd, w) for w in writes]


def _concrete(fd: int, w: CgroupWrite) -> CgroupWrite:
    value = w.value
    if w.minus:
        memory = read_if_there(fd, w.minus).strip()
        if memory.isdecimal():
            if int(value) < int(memory):
                raise ConfigError(w.field, f"{value} is below the memory limit {memory}; swap includes memory")
            value = str(int(value) - int(memory))
    if KEEP in value.split():
        there = read_if_there(fd, w.file).split()
        value = " ".join(there[i] if word == KEEP and i < len(there) else word for i, word in enumerate(value.split()))
    if w.below:
        used = int(read_if_there(fd, w.below) or 0)
        if used >= int(value):
            raise HostError(
                f"{w.field}: {value} is not above the {used} bytes in use, as checkBeforeUpdate requires; "
                "choose a higher limit"
            )
    return replace(w, value=value, minus="", below="")


def apply(fd: int, writes: Sequence[CgroupWrite]) -> None:
    """Apply the writes in order.

    Raises:
        HostError: the kernel refused one; the earlier ones are in effect.
    """
    for w in writes:
        file, value = w.file, w.value
        try:
            try:
                write(fd, file, value)
            except FileNotFoundError:
                if w.otherwise is None:
                    raise
                file, value = w.otherwise
                write(fd, file, value)
        except FileNotFoundError as e:
            if w.optional:
                continue
            raise _no_file(fd, w, file) from e
        except OSError as e:
            advice = ADVICE.get(e.errno or 0, "correct the value")
            raise HostError(
                f"{w.field}: cannot write {value!r} to {file}: {os.strerror(e.errno or 0)} "
                f"({errno.errorcode.get(e.errno or 0, e.errno)}); {advice}",
                e.errno or 0,
            ) from e


def change(fd: int, writes: Sequence[CgroupWrite]) -> None:
    """Like `apply`, but restores the previous limits if the kernel refuses a write.

    Raises:
        HostError: the kernel refused one.
    """
    files = dict.fromkeys(name for w in writes for name in (w.file, *(w.otherwise or ())[:1]))
    before = [(file, read_if_there(fd, file)) for file in files]
    try:
        apply(fd, writes)
    except SteleError:
        for file, content in reversed(before):
            for line in filter(None, content.split("\n")):
                with contextlib.suppress(OSError):  # best effort; the refusal is the error to report
                    write(fd, file, line)
        raise


def _no_file(fd: int, w: CgroupWrite, file: str) -> HostError:
    try:
        offered = read(fd, "cgroup.controllers").split()
    except FileNotFoundError:
        return HostError(f"{w.field}: the container's cgroup is gone, so it cannot be limited", errno.ENOENT)
    if w.controller and w.controller not in offered:
        why = f'its controller "{w.controller}" is not enabled for this cgroup'
    else:
        why = "this kernel does not have it"
    return HostError(
        f"{w.field}: there is no file {file}: {why}; remove the limit, or enable the controller", errno.ENOENT
    )
