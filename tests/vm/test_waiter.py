"""How detached containers end is known, on a kernel that does not keep the status for others (before Linux 6.15)."""

from __future__ import annotations

import json
import signal

import pytest

from tests.vm.fixtures import GuestBundles
from tests.vm.guest import Guest

QUIET = ("</dev/null", ">/dev/null", "2>&1")
NAMES = [n for n in range(1, 65) if n in signal.valid_signals()]
HARMLESS = {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH}
STOPPING = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}


def ends(guest: Guest, script: str) -> list[tuple[int, int, bool]]:
    """What `wait` says of each container that a script runs: exit status, signal and OOM."""
    said = guest.ok("sh", "-ec", f'S=stele; q() {{ "$@" {" ".join(QUIET)}; }}; {script}', timeout=1200)
    return [(end["exitStatus"], end["signal"], end["oomKilled"]) for end in map(json.loads, said.splitlines())]


def test_every_exit_code(guest: Guest, guest_bundle: GuestBundles) -> None:
    """Most have ended before `run` returned."""
    code = guest_bundle(["sh", "-c", "exit $(cat /code)"], {"root": {"readonly": False}}, writable=True)
    script = (
        f"for n in $(seq 0 255); do echo $n >{code}/rootfs/code; q $S run --detach --bundle {code} codes; "
        "$S wait codes; $S delete codes; done"
    )
    assert ends(guest, script) == [(n, 0, False) for n in range(256)]


def test_every_signal(guest: Guest, guest_bundle: GuestBundles) -> None:
    def host_pids(config: dict[str, object]) -> None:
        linux = config["linux"]
        assert isinstance(linux, dict)
        linux["namespaces"] = [space for space in linux["namespaces"] if space["type"] != "pid"]

    bundle = guest_bundle(["sleep", "1000"], edit=host_pids)
    ending = [n for n in NAMES if n not in HARMLESS | STOPPING]
    script = (
        f"for n in {' '.join(map(str, ending))}; do q $S run --detach --bundle {bundle} signals; $S kill signals $n; "
        "$S wait signals; $S delete signals; done"
    )
    assert ends(guest, script) == [(128 + n, n, False) for n in ending]


@pytest.mark.parametrize("manager", ["cgroupfs", "systemd"])
@pytest.mark.parametrize("victim", ["init", "child"])
def test_every_kill_for_memory(guest: Guest, guest_bundle: GuestBundles, manager: str, victim: str) -> None:
    """Also under systemd, which removes a cgroup once it is empty."""
    eat = "head -c 100m /dev/zero | tail >/dev/null"
    program = ["sh", "-c", "exec tail /dev/zero"] if victim == "init" else ["sh", "-c", f"{eat}; exit 5"]
    path = None if manager == "cgroupfs" else "system.slice:stele:eats"
    limits = {"memory": {"limit": 16 << 20, "swap": 16 << 20}}
    bundle = guest_bundle(program, {"linux": {"cgroupsPath": path, "resources": limits}})
    script = (
        f"for n in $(seq 20); do q $S --cgroup-manager {manager} run --detach --bundle {bundle} eats; "
        "$S wait eats; $S delete eats; done"
    )
    assert ends(guest, script) == [(137, 9, True) if victim == "init" else (5, 0, True)] * 20


def test_a_delete_does_not_take_the_status_from_who_waits(guest: Guest, guest_bundle: GuestBundles) -> None:
    """`wait` has it although `delete --force` removes the container at the same time, or says that it is gone."""
    bundle = guest_bundle(["sleep", "1000"])
    script = (
        f"for n in $(seq 20); do q $S run --detach --bundle {bundle} gone; "
        "$S wait gone 2>/run/said & $S delete --force gone; wait $! || grep -q 'does not exist' /run/said; done"
    )
    assert set(ends(guest, script)) <= {(137, 9, False)}
    assert json.loads(guest.ok("stele", "list", "--format", "json")) in ([], None)
    assert guest.run("pgrep", "stele-waiter").code == 1
