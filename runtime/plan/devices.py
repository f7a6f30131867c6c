"""/dev: the devices every container has, those of linux.devices, and the usual links (config-linux.md "Default Devices")."""

from __future__ import annotations

import posixpath
import stat
from collections.abc import Mapping, Sequence
from typing import Any

from runtime.errors import ConfigError
from runtime.plan import steps

DEFAULT_DEVICES = (
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
)
LINKS = (
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
    ("pts/ptmx", "/dev/ptmx"),
)
TYPES = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}


def plan_devices(
    devices: Sequence[Mapping[str, Any]], *, bind: bool, taken: Sequence[str] = ()
) -> tuple[steps.Step, ...]:
    """Plan the default devices and linux.devices; later entries for a path override earlier ones.

    Args:
        bind: bind the host's nodes (a user namespace cannot create any).
        taken: destinations of mounts; a device whose path is mounted over (/dev/urandom on /dev/random, say) is left
            out.
    Raises:
        ConfigError: the type is unknown, or a required device number is missing.
    """
    nodes: dict[str, steps.Device] = {
        path: steps.Device(stat.S_IFCHR | 0o666, major, minor, 0, 0, bind, path)
        for path, major, minor in DEFAULT_DEVICES
    }
    for i, device in enumerate(devices):
        step = _device(device, i, bind=bind)
        nodes[step.path] = step
    for path in taken:
        nodes.pop(posixpath.normpath(path), None)
    return (*nodes.values(), *(steps.Symlink(content, path) for content, path in LINKS))


def _device(device: Mapping[str, Any], index: int, *, bind: bool) -> steps.Device:
    field = f"linux.devices[{index}]"
    kind, path = device["type"], device["path"].rstrip("/")
    if kind not in TYPES:
        raise ConfigError(f"{field}.type", f"unknown type of device {kind!r}; use one of {', '.join(TYPES)}")
    if not path.startswith("/"):
        raise ConfigError(f"{field}.path", f"{path!r} is not absolute; begin it with /")
    if kind != "p" and not ("major" in device and "minor" in device):
        raise ConfigError(field, "major or minor is missing; only a fifo (type p) has none")
    major, minor = device.get("major", 0), device.get("minor", 0)
    if not (0 <= major < 1 << 12 and 0 <= minor < 1 << 20):
        raise ConfigError(
            field, f"invalid device number {major}:{minor}; major must be below 4096, minor below 1048576"
        )
    return steps.Device(
        TYPES[kind] | (device.get("fileMode", 0o666) & 0o7777),
        major,
        minor,
        device.get("uid", 0),
        device.get("gid", 0),
        bind and kind != "p",
        path,
        index=index,
    )
