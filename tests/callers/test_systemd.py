"""systemd starts containers: units of each kind, readiness and sockets passed on, scopes with properties, users' units."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.callers.conftest import state
from tests.vm.fixtures import GuestBundles
from tests.vm.guest import Guest, User

USER = User("vagrant", 1000, "/var/home/vagrant")
UNITS = "/run/systemd/system"
UNTIL_TERM = "trap 'exit 0' TERM; while :; do sleep 0.2; done"


def bind(path: str) -> dict[str, Any]:
    """A folder of the host's, read-only in the same place."""
    return {"destination": path, "type": "bind", "source": path, "options": ["rbind", "ro"]}


@contextmanager
def units(host: Guest, **texts: str) -> Iterator[None]:
    """Units of these names ("_" for the dot in them), stopped and removed at the end."""
    names = {name.replace("_", "."): text for name, text in texts.items()}
    for name, text in names.items():
        host.write(f"{UNITS}/{name}", text)
    host.ok("systemctl", "daemon-reload")
    try:
        yield
    finally:
        host.run("systemctl", "stop", *names)
        host.run("systemctl", "reset-failed", *names)
        host.ok("rm", *(f"{UNITS}/{name}" for name in names))
        host.ok("systemctl", "daemon-reload")


def shown(host: Guest, unit: str, *names: str) -> dict[str, str]:
    """Properties of a unit."""
    lines = host.ok("systemctl", "show", f"--property={','.join(names)}", unit).splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_forking(host: Guest, guest_bundle: GuestBundles) -> None:
    """A unit that forks: the container's process is its main one, in the unit's own cgroup, under the unit's limits."""
    path = "/system.slice/forking.service/container"
    bundle = guest_bundle(["sh", "-c", UNTIL_TERM], {"linux": {"cgroupsPath": path}})
    unit = f"""[Service]
Type=forking
PIDFile=/run/forking.pid
Delegate=yes
MemoryMax=64M
ExecStart=stele run --detach --pid-file /run/forking.pid --bundle {bundle} forking
ExecStop=stele kill forking TERM
ExecStopPost=stele delete --force forking
"""
    with units(host, forking_service=unit):
        host.ok("systemctl", "start", "forking.service")
        pid = state(host, "/run/stele", "forking")["pid"]
        assert shown(host, "forking.service", "MainPID", "ActiveState") == {
            "MainPID": str(pid),
            "ActiveState": "active",
        }
        assert host.read(f"/proc/{pid}/cgroup").strip() == f"0::{path}"
        host.ok("systemctl", "stop", "forking.service")
        assert shown(host, "forking.service", "ActiveState", "Result") == {
            "ActiveState": "inactive",
            "Result": "success",
        }
        assert "does not exist" in host.fails("stele", "state", "forking").stderr
        host.ok("systemctl", "start", "forking.service")
        host.ok("stele", "kill", "forking", "KILL")
        ended = ({"ActiveState": "failed"}, {"ActiveState": "inactive"})  # its last command, too
        host.eventually("the unit has ended", lambda: shown(host, "forking.service", "ActiveState") in ended)
        assert not host.exists(f"/sys/fs/cgroup{path}")


def test_notify(host: Guest, guest_bundle: GuestBundles) -> None:
    """A unit that is started when the program in the container says so; its scope has the annotations' properties."""
    script = f"until test -e /notify-go/now; do sleep 0.1; done; systemd-notify --ready --no-block; {UNTIL_TERM}"
    annotations = {"org.systemd.property.TimeoutStopSec": "7"}
    linux = {"cgroupsPath": "system.slice:told:ready", "resources": {"memory": {"limit": 64 << 20}}}
    go = {**bind("/run/notify-go"), "destination": "/notify-go"}
    more = [bind("/usr"), bind("/lib"), bind("/lib64"), go]
    bundle = guest_bundle(
        ["sh", "-c", script],
        {"annotations": annotations, "linux": linux},
        edit=lambda config: config["mounts"].extend(more),
    )
    unit = f"""[Service]
Type=notify
NotifyAccess=all
ExecStart=stele --systemd-cgroup run --bundle {bundle} ready
ExecStop=stele kill ready TERM
"""
    host.ok("sh", "-c", "mkdir -p /run/notify-go; rm -f /run/notify-go/now")
    with units(host, told_service=unit):
        host.ok("systemctl", "start", "--no-block", "told.service")
        host.eventually("the container runs", lambda: "running" in host.run("stele", "state", "ready").stdout)
        assert shown(host, "told.service", "ActiveState") == {"ActiveState": "activating"}
        host.ok("touch", "/run/notify-go/now")
        host.eventually(
            "the unit is active", lambda: shown(host, "told.service", "ActiveState") == {"ActiveState": "active"}
        )
        pid = state(host, "/run/stele", "ready")["pid"]
        assert shown(host, "told.service", "MainPID") == {"MainPID": str(pid)}
        wanted = {"MemoryMax": str(64 << 20), "TimeoutStopUSec": "7s", "Delegate": "yes", "Slice": "system.slice"}
        assert shown(host, "told-ready.scope", *wanted) == wanted
        host.ok("systemctl", "stop", "told.service")
        host.eventually("the container is deleted", lambda: host.run("stele", "state", "ready").code)


def test_socket(host: Guest, guest_bundle: GuestBundles) -> None:
    """A unit that its socket starts: the container has the socket as fd 3, and LISTEN_FDS says so."""
    bundle = guest_bundle(["sh", "-c", "read line <&3; echo $line $LISTEN_FDS $LISTEN_PID $LISTEN_FDNAMES"])
    socket = "[Socket]\nListenFIFO=/run/knock.fifo\nFileDescriptorName=knocking\nRemoveOnStop=yes\n"
    service = f"[Service]\nExecStart=stele run --bundle {bundle} knock\nStandardOutput=file:/run/knock.out\n"
    with units(host, knock_socket=socket, knock_service=service):
        host.ok("systemctl", "start", "knock.socket")
        host.ok("sh", "-c", "echo hello >/run/knock.fifo")
        host.eventually("the container answers", lambda: host.run("test", "-s", "/run/knock.out").code == 0)
        assert host.read("/run/knock.out") == "hello 1 1 knocking\n"
    host.ok("rm", "/run/knock.out")


def test_users_unit(host: Guest, guest_bundle: GuestBundles) -> None:
    """An ordinary user's systemd: a scope below the user's own, with limits, and root inside who is nobody outside."""

    def mapped(config: dict[str, Any]) -> None:
        linux = config["linux"]
        linux["namespaces"].append({"type": "user"})
        for kind in ("uidMappings", "gidMappings"):
            linux[kind] = [
                {"containerID": 0, "hostID": 1000, "size": 1},
                {"containerID": 1, "hostID": 100000, "size": 65536},
            ]
        linux["resources"] = {"memory": {"limit": 32 << 20}, "pids": {"limit": 16}}

    script = "cat /proc/self/uid_map /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max; id -u; exit 7"
    bundle = guest_bundle(["sh", "-c", script], edit=mapped)
    unit = ("systemd-run", "--user", "--quiet", "--wait", "--pipe")
    done = host.run(*unit, "stele", "--systemd-cgroup", "run", "--bundle", bundle, "mine", user=USER)
    assert (done.code, done.stdout.split()) == (
        7,
        ["0", "1000", "1", "1", "100000", "65536", str(32 << 20), "16", "0"],
    ), str(done)


@pytest.mark.parametrize("path", ["machine.slice:stele:x", "a-b.slice::y", ""])
def test_slices(host: Guest, guest_bundle: GuestBundles, path: str) -> None:
    """--systemd-cgroup: slice:prefix:name, in slices that are made when they are needed."""
    bundle = guest_bundle(["sh", "-c", UNTIL_TERM], {"linux": {"cgroupsPath": path or None}})
    host.ok("stele", "--systemd-cgroup", "run", "--detach", "--bundle", bundle, "sliced")
    pid = state(host, "/run/stele", "sliced")["pid"]
    places = {
        "machine.slice:stele:x": "/machine.slice/stele-x.scope",
        "a-b.slice::y": "/a.slice/a-b.slice/y.scope",
        "": "/system.slice/stele-sliced.scope",
    }
    assert host.read(f"/proc/{pid}/cgroup").strip() == f"0::{places[path]}"
    host.ok("stele", "delete", "--force", "sliced")
    assert not host.exists(f"/sys/fs/cgroup{places[path]}")
    assert json.loads(host.ok("stele", "list", "--format=json")) in ([], None)
