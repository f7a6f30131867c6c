"""A container for faults, and the search for what is left of it, with BPF programs recognised by their tag."""

from __future__ import annotations

import ctypes
import os
import random
import struct
import time
from pathlib import Path
from typing import Any

from tests.harness import cgroup2
from tests.harness.bundles import BundleFactory
from tests.harness.leaks import Watch
from tests.harness.runtime import Runtime

_BPF = 321  # x86-64
_GET_NEXT_ID, _GET_FD_BY_ID, _GET_INFO_BY_FD, _QUERY = 11, 13, 15, 16
_CGROUP_DEVICE = 6
PATIENCE = 30.0


def full_bundle(bundle: BundleFactory, args: list[str], **changes: Any) -> Path:
    """A bundle that needs all that `create` can do here: device rules, seccomp, hooks, sysctl."""
    hook = [{"path": "/bin/true", "args": ["true"]}]

    def edit(config: dict[str, Any]) -> None:
        rules = config["linux"]["resources"]["devices"]
        # A rule of its own makes the program's tag the test's own.
        rules.append(
            {
                "allow": True,
                "type": "c",
                "major": random.randrange(300, 4096),
                "minor": random.randrange(1 << 20),
                "access": "r",
            }
        )
        config["hooks"] = {"createRuntime": hook, "createContainer": hook, "startContainer": hook, "poststop": hook}
        config["linux"]["sysctl"] = {"net.ipv4.ip_default_ttl": "77"}

    return bundle(args, changes, edit=edit, seccomp=True)


def _bpf(command: int, attributes: bytes) -> tuple[int, bytes]:
    """bpf(2) with a union of 128 bytes; its result, and the union as it is then."""
    attr = ctypes.create_string_buffer(attributes, 128)
    return ctypes.CDLL(None, use_errno=True).syscall(_BPF, command, attr, 128), attr.raw


def _tag(number: int) -> bytes:
    """The tag of a BPF program; b"" when it is gone."""
    fd, _ = _bpf(_GET_FD_BY_ID, struct.pack("<I", number))
    if fd < 0:
        return b""
    info = ctypes.create_string_buffer(256)
    _bpf(_GET_INFO_BY_FD, struct.pack("<IIQ", fd, 256, ctypes.addressof(info)))
    os.close(fd)
    return info.raw[8:16]


def loaded() -> set[bytes]:
    """The tags of all BPF programs of this machine."""
    tags: set[bytes] = set()
    number = 0
    while True:
        result, attr = _bpf(_GET_NEXT_ID, struct.pack("<I", number))
        if result < 0:
            return tags
        number = struct.unpack_from("<I", attr, 4)[0]
        tags.add(_tag(number))


def attached(cgroup: Path) -> bytes:
    """The tag of the device program of a cgroup."""
    ids = (ctypes.c_uint32 * 8)()
    fd = os.open(cgroup, os.O_RDONLY)
    result, _ = _bpf(_QUERY, struct.pack("<IIIIQI", fd, _CGROUP_DEVICE, 0, 0, ctypes.addressof(ids), 8))
    os.close(fd)
    assert result == 0 and ids[0], "the container has no device program"
    return _tag(ids[0])


class World:
    """The runtime, and what must not be left of a container of the bundle."""

    def __init__(self, runtime: Runtime, bundle: Path) -> None:
        self.runtime, self.bundle = runtime, bundle
        self.watch = Watch(runtime)
        name = runtime.create(bundle)
        self.tag = attached(cgroup2.named(name)[0])
        runtime.ok("delete", "--force", name)

    def left(self) -> list[str]:
        """One line for each thing that should be gone.

        What needs time, not the runtime, gets it: the kernel frees BPF programs later, and an init ends after we, the
        reaper, have looked at those that exec sent in.
        """
        end = time.monotonic() + PATIENCE
        while True:
            left = self.watch.left()
            if self.tag in loaded():
                left.append(f"BPF program {self.tag.hex()}")
            if not left or time.monotonic() > end:
                return left
            time.sleep(0.01)
