"""Containers with next to no memory: what stele itself puts into a container's cgroup has to fit.

runc's init is a Go process, so that runc cannot start a container whose limit is below some 6 MiB.
"""

from __future__ import annotations

import json

import pytest

from tests.vm.fixtures import GuestBundles
from tests.vm.guest import Guest

MIB = 1 << 20


def limited(limit: int) -> dict[str, object]:
    return {"linux": {"resources": {"memory": {"limit": limit, "swap": limit}}}}


@pytest.mark.parametrize("limit", [2 * MIB, MIB], ids=["2 MiB", "1 MiB"])
def test_a_container_starts_in_very_little_memory(guest: Guest, guest_bundle: GuestBundles, limit: int) -> None:
    """A docker-like container with that limit, no swap: created, started, and its program ran to its end."""
    bundle = guest_bundle(["sh", "-c", "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory.events"], limited(limit))
    said = guest.ok("stele", "run", "--bundle", bundle, f"small-{limit}").split()
    assert said[0] == str(limit)
    assert said[said.index("oom_kill") + 1] == "0"


def test_a_waiting_container_is_charged_little(guest: Guest, guest_bundle: GuestBundles) -> None:
    """All that the kernel charges to a created container, its file systems and tables of pages included."""
    changes = {"linux": {"resources": {"memory": {"limit": 64 * MIB}}, "cgroupsPath": "/waiting"}}
    bundle = guest_bundle(["sleep", "1000"], changes)
    guest.ok("stele", "create", "--bundle", bundle, "waiting")
    try:
        current, peak = (int(guest.ok("cat", f"/sys/fs/cgroup/waiting/memory.{name}")) for name in ("current", "peak"))
        print(f"\na created container is charged {current >> 10} KiB, at most {peak >> 10}")
        assert peak < MIB
    finally:
        guest.ok("stele", "delete", "--force", "waiting")


def test_a_program_that_needs_more_says_so(guest: Guest, guest_bundle: GuestBundles) -> None:
    """`run` tells why its program is gone, in words and not as a broken pipe; `wait` keeps it."""
    hungry = ["tail", "-c", "50000000", "/dev/zero"]  # keeps them all
    done = guest.fails("stele", "run", "--bundle", guest_bundle(hungry, limited(4 * MIB)), "hungry")
    assert done.code == 137
    assert "the OOM killer ended the container: linux.resources.memory.limit is too low" in done.stderr
    guest.fails("stele", "run", "--keep", "--bundle", guest_bundle(hungry, limited(4 * MIB)), "kept")
    told = json.loads(guest.ok("stele", "wait", "kept"))
    assert (told["signal"], told["oomKilled"]) == (9, True)
    guest.ok("stele", "delete", "kept")
