"""Nothing of the host is written but --root, --store and cgroupfs."""

from __future__ import annotations

import json
import re

import pytest

from tests.vm.fixtures import GuestBundles
from tests.vm.guest import Guest
from tests.vm.trace import STRACE, written

ROOT, STORE = "/run/traced", "/var/lib/traced"
TRACE = "/run/trace"
# A life, all of it below one strace, which ends when the container has.
LIFE = """
stele="stele --root $1 --store $2 $3"
$stele create --bundle . --pid-file $4 life
$stele start life
$stele exec life true
$stele kill life KILL
until $stele state life | grep -q stopped; do sleep 0.1; done
$stele delete life
"""
# procfs is no file of the host: a process may set what the kernel does with itself, no more.
OF_ITSELF = re.compile(r"(/proc)?/\d+/(oom_score_adj|attr/(apparmor/)?exec)")
DEVICE = re.compile(r"/dev/(null|tty)<char .*>")  # written to, it changes nothing


def life(guest: Guest, bundle: str, *flags: str, pid_file: str = f"{ROOT}/pid") -> list[str]:
    """Trace a life; returns what was written of the host outside of --root, --store and cgroupfs."""
    guest.ok("mkdir", "-p", ROOT)
    words = ["sh", "-euc", LIFE, "life", ROOT, STORE, " ".join(flags), pid_file]
    guest.ok(*STRACE, TRACE, *words, cwd=bundle, timeout=120)
    writes = written(guest.read(TRACE))
    assert ("mkdir", f"{ROOT}/life") in writes  # the trace has seen it
    config = json.loads(guest.read(f"{bundle}/config.json"))
    # What the container's own file systems hold is not the host's.
    own = [config["root"]["path"] + mount["destination"] for mount in config["mounts"]]
    return [
        f"{call} {path}"
        for call, path in writes
        if not path.startswith((f"{ROOT}/", f"{STORE}/", "/sys/fs/cgroup/", *(f"{mount}/" for mount in own)))
        and not OF_ITSELF.fullmatch(path)
        and not DEVICE.fullmatch(path)
    ]


@pytest.mark.parametrize("flags", [(), ("--systemd-cgroup",)], ids=["cgroupfs", "systemd"])
def test_nothing_else_is_written(guest: Guest, guest_bundle: GuestBundles, flags: tuple[str, ...]) -> None:
    """create, start, exec, kill and delete write nothing outside of --root, --store and cgroupfs."""
    limits = {"memory": {"limit": 64 << 20}, "pids": {"limit": 32}}
    path = "system.slice:stele:life" if flags else "/life"
    bundle = guest_bundle(["sleep", "1000"], {"linux": {"resources": limits, "cgroupsPath": path}})
    assert life(guest, bundle, *flags) == []


def test_what_is_written_is_seen(guest: Guest, guest_bundle: GuestBundles) -> None:
    """A file that the caller wants elsewhere is found: so the trace does see what is written."""
    bundle = guest_bundle(["sleep", "1000"])
    assert life(guest, bundle, pid_file="/run/outside") == [
        "openat /run/.outside",
        "rename /run/.outside",
        "rename /run/outside",
    ]
