"""stele on the read-only host."""

from __future__ import annotations

import json

from tests.vm.fixtures import GuestBundles
from tests.vm.guest import Guest


def test_life_of_a_container(guest: Guest, guest_bundle: GuestBundles) -> None:
    """create, start, exec, kill and delete, with limits of every controller, on a root nobody can write."""
    limits = {
        "memory": {"limit": 64 << 20},
        "cpu": {"quota": 50000, "period": 100000, "cpus": "0"},
        "pids": {"limit": 32},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 0}],
    }
    bundle = guest_bundle(["sleep", "1000"], {"linux": {"resources": limits}})
    guest.ok("stele", "create", "--bundle", bundle, "life")
    assert json.loads(guest.ok("stele", "state", "life"))["status"] == "created"
    guest.ok("stele", "start", "life")
    read = "cd /sys/fs/cgroup; cat memory.max cpu.max pids.max cpuset.cpus hugetlb.2MB.max"
    said = guest.ok("stele", "exec", "life", "sh", "-c", read).splitlines()
    assert said == [str(64 << 20), "50000 100000", "32", "0", "0"]
    guest.ok("stele", "kill", "life", "KILL")
    guest.run("stele", "wait", "life")  # it cannot say how: nobody of stele is its parent
    assert json.loads(guest.ok("stele", "state", "life"))["status"] == "stopped"
    guest.ok("stele", "delete", "life")
    assert json.loads(guest.ok("stele", "list", "--format", "json")) in ([], None)
