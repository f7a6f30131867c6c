"""Every limit of linux.resources in effect, measured from inside the container, with cgroupfs and with systemd's scopes.

What is compared is what the kernel did (a process killed, a fork refused, time taken), not what was written to a file.
Bounds are on one side only, and on the host's own clock, so that a slow or busy machine does not break them.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from tests.vm.fixtures import GuestBundles
from tests.vm.guest import Done, Guest

LOOP = ["sh", "-c", "while :; do sleep 1; done"]
ROOT = "/run/limits"
MIB = 1 << 20


class Limited:
    """One running container, by stele's own command line. path: of its cgroup on the host."""

    path = ""

    def __init__(self, guest: Guest, manager: str, name: str) -> None:
        self.guest, self.name = guest, name
        self.command = ("stele", "--root", ROOT, "--cgroup-manager", manager)

    def stele(self, verb: str, *args: str, **more: Any) -> str:
        """A command of stele about this container."""
        return self.guest.ok(*self.command, verb, *args, self.name, **more)

    def run(self, script: str, **more: Any) -> Done:
        """A shell script in the container."""
        return self.guest.run(*self.command, "exec", self.name, "sh", "-c", script, **more)

    def inside(self, script: str, **more: Any) -> str:
        """Run a shell script in the container, which must succeed; its output."""
        done = self.run(script, **more)
        assert done.code == 0, str(done)
        return done.stdout.strip()

    def update(self, resources: dict[str, Any]) -> None:
        """`update -r -`."""
        self.stele("update", "--resources", "-", input=json.dumps(resources))

    def cgroup(self) -> str:
        """Its cgroup as the host has it."""
        pid = json.loads(self.stele("state"))["pid"]
        return "/sys/fs/cgroup" + self.guest.read(f"/proc/{pid}/cgroup").strip().removeprefix("0::")

    def key(self, file: str, name: str) -> int:
        """A value of a flat keyed file of its cgroup, read inside."""
        return int(self.inside(f"grep '^{name} ' /sys/fs/cgroup/{file}").split()[1])


Start = Callable[..., Limited]


@pytest.fixture(params=["cgroupfs", "systemd"])
def start(request: pytest.FixtureRequest, guest: Guest, guest_bundle: GuestBundles) -> Iterator[Start]:
    """`start(resources)` is a container with these limits, removed at the end together with all of its cgroup.

    devices: nodes for it. mount: one more than a plain container has.
    """
    numbers = itertools.count(1)
    made: list[Limited] = []

    def start(
        resources: dict[str, Any],
        args: list[str] = LOOP,
        devices: Sequence[dict[str, Any]] = (),
        mount: dict[str, Any] | None = None,
    ) -> Limited:
        def edit(config: dict[str, Any]) -> None:
            """Lay the limits over those of the config; device rules go behind its own."""
            there = config["linux"].setdefault("resources", {})
            rules = [*there.get("devices", ()), *resources.get("devices", ())]
            there.update({**resources, "devices": rules})
            config["linux"]["devices"] = list(devices)
            config["mounts"] += [mount] if mount else []

        name = f"limited{next(numbers)}"
        bundle = guest_bundle(args, edit=edit)
        limited = Limited(guest, request.param, name)
        limited.stele("run", "--detach", "--bundle", bundle)
        limited.path = limited.cgroup()
        made.append(limited)
        return limited

    yield start
    for limited in made:
        limited.stele("delete", "--force")
        assert not guest.exists(limited.path)
    if request.param == "systemd":
        assert guest.ok("systemctl", "list-units", "--all", "--plain", "--no-legend", "stele-limited*") == ""


def test_memory(start: Start, guest: Guest) -> None:
    """memory.max: the OOM killer ends what needs more, `events` tells, and a higher limit lets it live."""
    limited = start({"memory": {"limit": 20 * MIB, "swap": 20 * MIB}})
    need = "head -c 40m /dev/zero | tail -c 40m | wc -c"
    with guest.start(*limited.command, "events", "--interval=1h", limited.name) as events:
        events.until('"stats"')
        # The exit code is open: the killer may take the shell as well.
        assert limited.run(need).stdout.strip() == "0", "the process that held it was killed"
        told = events.until('"oom"')
    assert [json.loads(line)["type"] for line in told.splitlines()].count("oom") >= 1
    assert limited.key("memory.events", "oom_kill") >= 1
    stats = json.loads(limited.stele("events", "--stats"))["data"]["memory"]
    assert stats["usage"]["limit"] == 20 * MIB and 0 < stats["usage"]["usage"] <= 20 * MIB
    limited.update({"memory": {"limit": 80 * MIB, "swap": 80 * MIB}})
    assert limited.inside(need) == str(40 * MIB)


def test_cpu_quota(start: Start) -> None:
    """cpu.max: a fifth of a CPU is all it gets, until `update` takes the limit away."""
    limited = start({"cpu": {"quota": 20000, "period": 100000}})
    before = limited.key("cpu.stat", "nr_throttled")
    # 20 periods by the clock; usage by the kernel's own count.
    burn = (
        "use() { grep usage_usec /sys/fs/cgroup/cpu.stat | cut -d' ' -f2; }; now() { cut -d' ' -f1 /proc/uptime | tr -d .; }; "
        "u=$(use); t=$(now); while [ $(($(now) - t)) -lt 200 ]; do :; done; echo $(($(use) - u)) $(($(now) - t))"
    )
    usage, elapsed = (int(word) for word in limited.inside(burn).split())
    assert usage < elapsed * 10_000 * 0.3, f"{usage} µs in {elapsed * 10_000} µs"
    assert limited.key("cpu.stat", "nr_throttled") > before
    limited.update({"cpu": {"quota": -1}})
    before = limited.key("cpu.stat", "nr_throttled")
    limited.inside(burn)
    assert limited.key("cpu.stat", "nr_throttled") == before


def test_an_update_keeps_what_it_does_not_name(start: Start) -> None:
    """A period alone keeps the quota and the reverse; a memory limit keeps swap; in documents and in flags."""
    limited = start({"cpu": {"quota": 20000, "period": 100000}, "memory": {"limit": 64 * MIB, "swap": 96 * MIB}})

    def now() -> list[str]:
        return limited.inside("cd /sys/fs/cgroup; cat cpu.max memory.max memory.swap.max").split()

    limited.update({"cpu": {"period": 50000}})
    assert now()[:2] == ["20000", "50000"]
    limited.update({"cpu": {"quota": 30000}})
    assert now()[:2] == ["30000", "50000"]
    limited.stele("update", "--cpu-period", "40000", "--memory", "48m")
    assert now() == ["30000", "40000", str(48 * MIB), str(32 * MIB)]
    limited.stele("update", "--cpu-quota", "-1", "--memory-swap", "-1")
    assert now() == ["max", "40000", str(48 * MIB), "max"]


def test_a_memory_limit_is_checked_before(start: Start) -> None:
    """checkBeforeUpdate, also if only config.json says it: a limit below what is in use changes nothing at all."""
    limited = start({"memory": {"limit": 64 * MIB, "checkBeforeUpdate": True}, "pids": {"limit": 50}})
    limited.inside("dd if=/dev/zero of=/dev/shm/held bs=1M count=30 2>/dev/null")
    done = limited.guest.fails(*limited.command, "update", "--memory", "10m", "--pids-limit", "9", limited.name)
    assert "is not above the" in done.stderr and "checkBeforeUpdate" in done.stderr
    assert limited.inside("cd /sys/fs/cgroup; cat memory.max pids.max").split() == [str(64 * MIB), "50"]
    limited.stele("update", "--memory", "60m")
    assert limited.inside("cat /sys/fs/cgroup/memory.max") == str(60 * MIB)


def test_cpu_shares(start: Start) -> None:
    """cpu.weight: of two that want the same CPU, the heavier gets more; after `update`, the other one."""
    shares = {"light": 128, "heavy": 4096}
    burn = ["sh", "-c", "while :; do :; done"]
    light, heavy = (start({"cpu": {"shares": each, "cpus": "0"}}, burn) for each in shares.values())

    def used() -> tuple[int, int]:
        """What both used in one second."""
        usage = [f"{each.path}/cpu.stat" for each in (light, heavy)]
        script = f"sed -n 's/usage_usec //p' {' '.join(usage)}; sleep 1; sed -n 's/usage_usec //p' {' '.join(usage)}"
        a, b, c, d = (int(word) for word in light.guest.ok("sh", "-c", script).split())
        return c - a, d - b

    of_light, of_heavy = used()
    assert of_heavy > 3 * of_light
    light.update({"cpu": {"shares": 65536}})
    heavy.update({"cpu": {"shares": 128}})
    of_light, of_heavy = used()
    assert of_light > 3 * of_heavy


def test_pids(start: Start, guest: Guest) -> None:
    """pids.max: what forks meets it and nobody else is harmed, an exec says why it fails, `update` lets more live."""
    limited = start({"pids": {"limit": 12}}, ["sleep", "1000000"])
    spawn = "n=0; while [ $n -lt 30 ]; do sleep 100 & n=$((n+1)); done; echo all"
    done = limited.run(spawn)
    assert ("all" in done.stdout, "can't fork" in done.stderr) == (False, True), str(done)
    assert not guest.read(f"{limited.path}/pids.events").startswith("max 0")
    full = limited.run("true")
    assert (full.code, "linux.resources.pids.limit" in full.stderr) == (255, True), str(full)
    limited.update({"pids": {"limit": 60}})
    assert limited.inside(spawn) == "all"


def test_fork_bomb(start: Start, guest: Guest) -> None:
    """A fork bomb stays within pids.max, and ends with its container."""
    limited = start({"pids": {"limit": 20}}, ["sleep", "1000000"])
    with guest.start(*limited.command, "exec", limited.name, "sh", "-c", "bomb() { bomb & bomb & sleep 100; }; bomb"):
        guest.eventually(
            "the bomb meets its limit", lambda: not guest.read(f"{limited.path}/pids.events").startswith("max 0")
        )
        assert int(guest.read(f"{limited.path}/pids.current")) <= 20
        guest.ok(*limited.command, "kill", limited.name, "KILL")
        events = ("cat", f"{limited.path}/cgroup.events")  # systemd removes the cgroup as soon as it is empty
        guest.eventually("all of it has ended", lambda: "populated 1" not in guest.run(*events).stdout)


@pytest.fixture
def loop_device(guest: Guest) -> Iterator[tuple[str, int, int]]:
    """A block device of 32 MiB: its path and number."""
    guest.ok("truncate", "--size=32M", "/var/lib/loop.img")
    path = guest.ok("losetup", "--find", "--show", "/var/lib/loop.img")
    major, minor = (int(word, 16) for word in guest.ok("stat", "-c", "%t %T", path).split())
    yield path, major, minor
    guest.ok("losetup", "--detach", path)
    guest.ok("rm", "/var/lib/loop.img")


def test_io(start: Start, loop_device: tuple[str, int, int]) -> None:
    """io.max: writing 2 MiB at 1 MiB/s takes two seconds, and much less when `update` allows more."""
    path, major, minor = loop_device

    def limit(rate: int) -> dict[str, Any]:
        return {"blockIO": {"throttleWriteBpsDevice": [{"major": major, "minor": minor, "rate": rate}]}}

    device = {"path": path, "type": "b", "major": major, "minor": minor}
    rule = {"allow": True, "type": "b", "major": major, "minor": minor, "access": "rw"}
    limited = start({**limit(MIB), "devices": [rule]}, devices=[device])
    write = (
        "now() { cut -d' ' -f1 /proc/uptime | tr -d .; }; t=$(now); "
        f"dd if=/dev/zero of={path} bs=64k count=32 oflag=direct 2>/dev/null && echo $(($(now) - t))"
    )
    slow = int(limited.inside(write))
    assert slow >= 150, f"{slow} hundredths of a second"
    limited.update(limit(1024 * MIB))
    assert int(limited.inside(write)) < slow / 2
    stat = limited.inside(f"grep '^{major}:{minor} ' /sys/fs/cgroup/io.stat")
    assert int(dict(word.split("=") for word in stat.split()[1:])["wbytes"]) >= 4 * MIB


def test_cpuset(start: Start) -> None:
    """cpuset: the CPUs that it may run on, for processes there are and to come; `update` moves them."""
    limited = start({"cpu": {"cpus": "1", "mems": "0"}})
    allowed = "grep Cpus_allowed_list /proc/1/status /proc/self/status | cut -f2; nproc"
    assert limited.inside(allowed).split() == ["1", "1", "1"]
    limited.update({"cpu": {"cpus": "0"}})
    assert limited.inside(allowed).split() == ["0", "0", "1"]
    limited.update({"cpu": {"cpus": "0-1"}})
    assert limited.inside(allowed).split() == ["0-1", "0-1", "2"]


def test_hugetlb(start: Start, guest: Guest) -> None:
    """hugetlb: of the host's 16 MiB of huge pages it gets 4, and 8 when `update` says so."""
    guest.ok("sysctl", "-q", "vm.nr_hugepages=8")
    mount = {"destination": "/huge", "type": "hugetlbfs", "source": "none", "options": ["pagesize=2M", "rw"]}
    pages = {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]}
    limited = start(pages, mount=mount)
    limited.inside("fallocate -l 4m /huge/a && rm /huge/a")
    assert limited.run("fallocate -l 8m /huge/a").code != 0
    assert limited.key("hugetlb.2MB.events", "max") >= 1
    limited.inside("rm -f /huge/a")
    limited.update({"hugepageLimits": [{"pageSize": "2MB", "limit": 8 * MIB}]})
    limited.inside("fallocate -l 8m /huge/a && rm /huge/a")
    guest.ok("sysctl", "-q", "vm.nr_hugepages=0")


def test_devices(start: Start, guest: Guest) -> None:
    """Device rules: what is allowed works, what is not does not, whatever nodes there are; `update` changes none."""
    numbers = {}
    for name in ("vda", "vdb"):
        numbers[name] = [int(word, 16) for word in guest.ok("stat", "-c", "%t %T", f"/dev/{name}").split()]
    nodes = [{"path": f"/dev/{name}", "type": "b", "major": a, "minor": b} for name, (a, b) in numbers.items()]
    major, minor = numbers["vdb"]
    rules = [{"allow": True, "type": "b", "major": major, "minor": minor, "access": "r"}]
    limited = start({"devices": rules}, devices=nodes)
    # A default device; the one that may be read only; the one that no rule names.
    attempts = (":>/dev/zero", ":</dev/vdb", ":>>/dev/vdb", ":</dev/vda")
    look = "; ".join(f"({each}) 2>/dev/null && echo yes || echo no" for each in attempts)
    assert limited.inside(look).split() == ["yes", "yes", "no", "no"]
    limited.update({"pids": {"limit": 100}, "devices": [{"allow": True, "access": "rwm"}]})
    assert limited.inside(look).split() == ["yes", "yes", "no", "no"]


def test_freezer(start: Start, guest: Guest) -> None:
    """pause stops every process, from its next instruction on; resume lets them go on where they were."""
    count = ["sh", "-c", "n=0; while :; do n=$((n+1)); echo $n >/count; done"]
    mount = {"destination": "/count", "type": "bind", "source": "/run/count", "options": ["bind", "rw"]}
    guest.write("/run/count", "")
    limited = start({}, count, mount=mount)
    guest.eventually("it counts", lambda: guest.read("/run/count").strip())
    limited.stele("pause")
    assert json.loads(limited.stele("state"))["status"] == "paused"
    stopped = guest.read("/run/count")
    assert guest.ok("sh", "-c", "sleep 0.3; cat /run/count").strip() == stopped.strip()
    assert "frozen 1" in guest.read(f"{limited.path}/cgroup.events")
    limited.stele("resume")
    guest.eventually("it goes on", lambda: guest.read("/run/count") not in ("", stopped))


def test_systemd_knows_the_limits(guest: Guest, guest_bundle: GuestBundles) -> None:
    """The scope's properties are the limits, also after `update`, so that a daemon-reload takes nothing away."""
    first = {
        "memory": {"limit": 64 * MIB, "reservation": 32 * MIB},
        "cpu": {"quota": 50000, "period": 100000, "shares": 1024, "cpus": "0"},
        "pids": {"limit": 20},
        "blockIO": {"weight": 500},
    }
    bundle = guest_bundle(LOOP, {"linux": {"resources": first, "cgroupsPath": "system.slice:known:limits"}})
    limited = Limited(guest, "systemd", "known")
    limited.stele("run", "--detach", "--bundle", bundle)

    def shown() -> dict[str, str]:
        names = "MemoryMax,MemoryLow,TasksMax,CPUQuotaPerSecUSec,CPUWeight,AllowedCPUs,Delegate,Slice"
        lines = guest.ok("systemctl", "show", f"--property={names}", "known-limits.scope").splitlines()
        return dict(line.split("=", 1) for line in lines)

    known = {
        "MemoryMax": str(64 * MIB), "MemoryLow": str(32 * MIB), "TasksMax": "20", "CPUQuotaPerSecUSec": "500ms",
        "CPUWeight": "100", "AllowedCPUs": "0", "Delegate": "yes", "Slice": "system.slice",
    }  # fmt: skip
    assert shown() == known
    limited.update({"memory": {"limit": 48 * MIB}, "pids": {"limit": 30}})
    assert shown() == {**known, "MemoryMax": str(48 * MIB), "TasksMax": "30"}
    guest.ok("systemctl", "daemon-reload")
    read = "cd /sys/fs/cgroup; cat memory.max pids.max cpu.max cpuset.cpus"
    assert limited.inside(read).splitlines() == [str(48 * MIB), "30", "50000 100000", "0"]
    for idle, weight in ((1, "0"), (0, "100")):
        limited.update({"cpu": {"idle": idle}})
        guest.ok("systemctl", "daemon-reload")
        assert limited.inside("cd /sys/fs/cgroup; cat cpu.idle cpu.weight").splitlines() == [str(idle), weight]
    limited.stele("delete", "--force")
    assert guest.ok("systemctl", "list-units", "--all", "--no-legend", "known-limits.scope") == ""
