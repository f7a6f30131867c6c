"""process and the parts of linux that act on it: in effect for the container's program, and for what exec adds."""

from __future__ import annotations

import array
import ctypes
import json
import os
import pty
import re
import select
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.host import facts
from tests.harness import leaks
from tests.harness.bundles import BundleFactory
from tests.harness.privileges import without
from tests.harness.runtime import Runtime

SLEEP = ["sleep", "1000"]
NOBODY = {"uid": 0, "gid": 0}
Inside = Callable[..., str]


def say(script: str) -> list[str]:
    return ["sh", "-c", script]


@pytest.fixture(params=["init", "exec"])
def inside(request: pytest.FixtureRequest, stele: Runtime, bundle: BundleFactory, tmp_path: Path) -> Inside:
    """`inside(script, process, linux)`: what a script says as the container's program, and as one that exec adds."""

    def run(script: str, process: dict[str, Any], linux: dict[str, Any] | None = None, **more: Any) -> str:
        changes = {"process": process, "linux": linux or {}}
        if request.param == "init":
            return stele.ok("run", "-b", bundle(say(script), changes, **more), stele.id())
        name = stele.detached(bundle(SLEEP, {"linux": linux or {}}, **more))
        config = json.loads((tmp_path / "bundle1/config.json").read_text())["process"]
        (tmp_path / "process").write_text(json.dumps({**config, **process, "args": say(script)}))
        said = stele.ok("exec", "--process", tmp_path / "process", name)
        stele.ok("delete", "-f", name)
        return said

    return run


def test_the_umask_is_022_unless_told(inside: Inside) -> None:
    assert inside("umask", {}) == "0022\n"


def test_umask(inside: Inside) -> None:
    assert inside("umask", {"user": {"uid": 0, "gid": 0, "umask": 0o007}}) == "0007\n"


def test_a_user_can_open_its_streams_by_name(inside: Inside) -> None:
    """As programs do that log to /dev/stdout. The pipes are root's, who called us."""
    script = "echo opened >/dev/stdout && echo also >/dev/stderr && stat -L -c %u /dev/stdout"
    assert inside(script, {"user": {"uid": 1000, "gid": 1000}}) == "opened\n1000\n"


def test_what_of_the_streams_is_not_the_users(stele: Runtime, bundle: BundleFactory, tmp_path: Path) -> None:
    """Files for output become so; an input file does not, nor a terminal or /dev/null, which are the host's."""
    (tmp_path / "in").touch()
    master, slave = pty.openpty()
    folder = bundle(["true"], {"process": {"user": {"uid": 1000, "gid": 1000}}})
    with (tmp_path / "in").open() as given, (tmp_path / "out").open("w") as taken:
        stele.ok("run", "-b", folder, stele.id(), stdin=given, stdout=taken, stderr=slave)
        assert [os.fstat(fd).st_uid for fd in (given.fileno(), taken.fileno(), slave)] == [0, 1000, 0]
    os.close(master)
    os.close(slave)
    stele.ok("run", "-b", folder, stele.id())
    assert os.stat("/dev/null").st_uid == 0


@pytest.mark.parametrize(
    ("scheduler", "policy", "nice"),
    [
        ({"policy": "SCHED_OTHER", "nice": 5}, 0, 5),
        ({"policy": "SCHED_BATCH", "nice": -5}, 3, -5),
        ({"policy": "SCHED_IDLE"}, 5, None),  # the kernel leaves the caller's nice as it is
    ],
)
def test_scheduler(inside: Inside, scheduler: dict[str, Any], policy: int, nice: int | None) -> None:
    # man 5 proc: field 19 of stat is nice, 41 the policy
    out = inside("cat /proc/self/stat", {"scheduler": scheduler})
    fields = out.rpartition(")")[2].split()
    assert int(fields[41 - 3]) == policy
    assert nice is None or int(fields[19 - 3]) == nice


@pytest.mark.parametrize(
    ("scheduler", "words"),
    [
        ({"policy": "SCHED_FIFO", "priority": 500}, "process.scheduler"),
        ({"policy": "SCHED_DEADLINE", "runtime": 5, "deadline": 3, "period": 4}, "process.scheduler"),
        ({"policy": "SCHED_NONE"}, "process.scheduler.policy"),
        ({"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_NONE"]}, "process.scheduler.flags[0]"),
        ({"policy": "SCHED_OTHER", "nice": 50}, "process.scheduler.nice"),
    ],
    ids=["priority", "deadline", "policy", "flag", "nice"],
)
def test_a_scheduler_that_cannot_be(
    stele: Runtime, bundle: BundleFactory, scheduler: dict[str, Any], words: str
) -> None:
    done = stele("run", "-b", bundle(["true"], {"process": {"scheduler": scheduler}}), stele.id())
    assert done.returncode == 1
    assert words in done.stderr


@pytest.mark.parametrize(
    ("priority", "said"),
    [
        ({"class": "IOPRIO_CLASS_BE", "priority": 6}, "best-effort: prio 6"),
        ({"class": "IOPRIO_CLASS_RT", "priority": 2}, "realtime: prio 2"),
        ({"class": "IOPRIO_CLASS_IDLE", "priority": 0}, "idle"),
    ],
)
def test_io_priority(inside: Inside, priority: dict[str, Any], said: str) -> None:
    assert said in inside("ionice", {"ioPriority": priority})


def test_cpu_affinity_of_the_program_and_of_an_exec(stele: Runtime, bundle: BundleFactory, tmp_path: Path) -> None:
    """initial is for the container's program; an exec has it until it runs, and then final (config.md)."""
    affinity = {"execCPUAffinity": {"initial": "0", "final": "1"}}
    script = "grep Cpus_allowed_list /proc/self/status"
    assert stele.ok("run", "-b", bundle(say(script), {"process": affinity}), stele.id()).split()[1] == "0"
    name = stele.detached(bundle(SLEEP, {"process": affinity}))
    assert stele.ok("exec", name, *say(script)).split()[1] == "1"
    stele.ok("delete", "-f", name)


def test_the_callers_affinity_is_not_inherited(stele: Runtime, bundle: BundleFactory) -> None:
    folder = bundle(say("grep Cpus_allowed_list /proc/self/status"))
    command = stele.command("run", "-b", folder, stele.id())
    done = subprocess.run(["taskset", "-c", "1", *command], capture_output=True, text=True, check=True)
    everything = re.search(r"Cpus_allowed_list:\s(.*)", Path("/proc/1/status").read_text())
    assert everything is not None
    assert done.stdout.split()[1] == everything[1]


def test_an_oom_score_that_takes_a_right(stele: Runtime, bundle: BundleFactory) -> None:
    """Below the caller's own score only CAP_SYS_RESOURCE leads, which a runtime may lack."""
    folder = bundle(["true"], {"process": {"oomScoreAdj": -900}})
    argv = stele.command("run", "-b", folder, stele.id())
    done = subprocess.run(argv, capture_output=True, text=True, check=False, preexec_fn=without("SYS_RESOURCE"))
    assert done.returncode == 1
    assert "process.oomScoreAdj: cannot set it to -900: permission denied (EACCES)" in done.stderr


@pytest.mark.parametrize("score", [500, 1000])
def test_oom_score(inside: Inside, score: int) -> None:
    assert inside("cat /proc/self/oom_score_adj", {"oomScoreAdj": score}) == f"{score}\n"


def test_limits(inside: Inside) -> None:
    text = inside("ulimit -n; ulimit -Hn; ulimit -c", {"rlimits": [
        {"type": "RLIMIT_NOFILE", "soft": 77, "hard": 99}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
    ]})  # fmt: skip
    assert text.split() == ["77", "99", "0"]


def in_user_namespace(config: dict[str, Any]) -> None:
    """An edit: root inside is root outside, without its rights there."""
    config["linux"]["namespaces"].append({"type": "user"})
    for field in ("uidMappings", "gidMappings"):
        config["linux"][field] = [{"containerID": 0, "hostID": 0, "size": 65536}]


@pytest.mark.parametrize("edit", [None, in_user_namespace], ids=["", "user namespace"])
def test_limits_above_the_callers(
    stele: Runtime, bundle: BundleFactory, tmp_path: Path, edit: Callable[[dict[str, Any]], None] | None
) -> None:
    """The caller's rights count, in a user namespace too; without them it is told which limit, and what it could be."""
    name = stele.detached(bundle(SLEEP, edit=edit))
    process = json.loads(Path(stele.state(name)["bundle"], "config.json").read_text())["process"]
    process |= {"args": ["sh", "-c", "ulimit -n; ulimit -Hn"]}

    def asked(number: int) -> list[str]:
        process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 300, "hard": number}]
        (tmp_path / "process.json").write_text(json.dumps(process))
        return stele.command("exec", "--process", tmp_path / "process.json", name)

    assert subprocess.run(asked(400), capture_output=True, text=True, check=True).stdout.split() == ["300", "400"]
    less, drop = ["prlimit", "--nofile=500:500"], without("SYS_RESOURCE")
    done = subprocess.run([*less, *asked(501)], capture_output=True, text=True, check=False, preexec_fn=drop)
    assert done.returncode == 255
    words = "process.rlimits[0]: cannot set RLIMIT_NOFILE to 300:501: stele's own hard limit is 500"
    assert done.stderr.count("\n") == 1 and words in done.stderr
    folder = bundle(["true"], {"process": {"rlimits": process["rlimits"]}}, edit=edit)
    argv = [*less, *stele.command("run", "-b", folder, stele.id())]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, preexec_fn=drop)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and words in done.stderr
    stele.ok("delete", "--force", name)


@pytest.mark.parametrize("edit", [None, in_user_namespace], ids=["", "user namespace"])
def test_a_low_limit_is_not_in_force_while_the_container_is_made(
    stele: Runtime, bundle: BundleFactory, tmp_path: Path, edit: Callable[[dict[str, Any]], None] | None
) -> None:
    """More mounts than the program may have files: init holds a descriptor of each."""

    def many(config: dict[str, Any]) -> None:
        if edit:
            edit(config)
        for i in range(20):
            config["mounts"].append({"destination": f"/m{i}", "source": str(tmp_path), "options": ["bind"]})

    limits = [{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 20}]
    folder = bundle(say("ulimit -n; ulimit -Hn; ls -d /m19"), {"process": {"rlimits": limits}}, edit=many)
    assert stele.ok("run", "-b", folder, stele.id()).split() == ["10", "20", "/m19"]


@pytest.mark.parametrize("field", ["apparmorProfile", "selinuxLabel"])
def test_an_lsm_that_is_off_or_has_no_such_profile_is_told_of_run_and_exec(
    stele: Runtime, bundle: BundleFactory, field: str
) -> None:
    """The kernel judges a profile when it is written, just before the program is executed: create succeeds then."""
    is_on = {"apparmorProfile": facts.apparmor, "selinuxLabel": facts.selinux}[field]()
    words = f'process.{field} "x"' if is_on else f"process.{field}: 'x' cannot be applied: "
    done = stele("run", "-b", bundle(["true"], {"process": {field: "x"}}), stele.id())
    assert (done.returncode, words in done.stderr) == (1, True), done.stderr
    name = stele.detached(bundle(SLEEP))
    flag = {"apparmorProfile": "--apparmor", "selinuxLabel": "--process-label"}[field]
    done = stele("exec", flag, "x", name, "true")
    assert (done.returncode, words in done.stderr) == (255, True), done.stderr
    stele.ok("delete", "-f", name)


def test_personality(inside: Inside) -> None:
    assert inside("uname -m", {}, {"personality": {"domain": "LINUX32"}}) in ("i686\n", "armv8l\n")


def test_memory_policy(inside: Inside) -> None:
    """set_mempolicy(2), as numa_maps(5) shows it of the program's own memory."""
    policy = {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}
    assert "bind=static:0" in inside("cat /proc/self/numa_maps", {}, {"memoryPolicy": policy})


@pytest.mark.parametrize("nodes", [{}, {"nodes": ""}], ids=["absent", "empty"])
@pytest.mark.parametrize(
    ("mode", "shown"), [("MPOL_DEFAULT", "default"), ("MPOL_LOCAL", "local"), ("MPOL_PREFERRED", "local")]
)
def test_a_memory_policy_without_nodes(inside: Inside, nodes: dict[str, str], mode: str, shown: str) -> None:
    text = inside("cat /proc/self/numa_maps", {}, {"memoryPolicy": {"mode": mode, **nodes}})
    assert {line.split()[1] for line in text.splitlines()} == {shown}


def test_a_memory_policy_that_the_host_cannot_have(stele: Runtime, bundle: BundleFactory) -> None:
    linux = {"memoryPolicy": {"mode": "MPOL_BIND", "nodes": "500"}}
    done = stele("run", "-b", bundle(["true"], {"linux": linux}), stele.id())
    assert done.returncode == 1
    assert "linux.memoryPolicy" in done.stderr


def test_time_offsets(inside: Inside) -> None:
    linux = {"timeOffsets": {"boottime": {"secs": 86_400_000, "nanosecs": 5}, "monotonic": {"secs": 7}}}
    edit: Any = lambda config: config["linux"]["namespaces"].append({"type": "time"})  # noqa: E731
    assert float(inside("cat /proc/uptime", {}, linux, edit=edit).split()[0]) > 86_400_000


@pytest.mark.parametrize("joined", [False, True], ids=["new", "joined"])
def test_time_offsets_with_a_user_namespace(stele: Runtime, bundle: BundleFactory, joined: bool) -> None:
    """They are written from outside: a process that has changed its ids may not open the file."""

    def shifted(config: dict[str, Any]) -> None:
        in_user_namespace(config)
        for field in ("uidMappings", "gidMappings"):
            config["linux"][field][0]["hostID"] = 100_000

    first = stele.detached(bundle(SLEEP, edit=shifted))

    def edit(config: dict[str, Any]) -> None:
        shifted(config)
        config["linux"]["namespaces"].append({"type": "time"})
        if joined:
            config["linux"]["namespaces"][-2]["path"] = f"/proc/{stele.state(first)['pid']}/ns/user"

    changes = {"linux": {"timeOffsets": {"boottime": {"secs": 86_400_000}}}}
    out = stele.ok("run", "-b", bundle(say("cat /proc/uptime"), changes, edit=edit), stele.id())
    assert float(out.split()[0]) > 86_400_000
    stele.ok("delete", "-f", first)


def test_time_offsets_that_cannot_be(stele: Runtime, bundle: BundleFactory) -> None:
    edit: Any = lambda config: config["linux"]["namespaces"].append({"type": "time"})  # noqa: E731
    folder = bundle(["true"], {"linux": {"timeOffsets": {"monotonic": {"secs": -(1 << 40)}}}}, edit=edit)
    done = stele("run", "-b", folder, stele.id())
    assert (done.returncode, "linux.timeOffsets: the kernel refuses them" in done.stderr) == (1, True), done.stderr


def test_sysctls_by_both_separators(inside: Inside) -> None:
    linux = {"sysctl": {"net/ipv4/ip_forward": "1", "net.ipv4.ping_group_range": "0 5", "kernel.msgmax": "9000"}}
    out = inside("cd /proc/sys; cat net/ipv4/ip_forward net/ipv4/ping_group_range kernel/msgmax", {}, linux)
    assert out.split() == ["1", "0", "5", "9000"]


@pytest.mark.parametrize(
    ("sysctl", "words"),
    [
        ("vm.swappiness", "belongs to the host"),
        ("kernel.shmmax/../../vm/swappiness", "is not a valid sysctl name"),
        ("user.max_user_namespaces", "needs a user namespace"),
    ],
)
def test_a_sysctl_of_the_host_is_refused(stele: Runtime, bundle: BundleFactory, sysctl: str, words: str) -> None:
    before = Path("/proc/sys/vm/swappiness").read_text()
    done = stele("create", "-b", bundle(["true"], {"linux": {"sysctl": {sysctl: "1"}}}), stele.id(), stdout=-3)
    assert (done.returncode, words in done.stderr) == (1, True), done.stderr
    assert Path("/proc/sys/vm/swappiness").read_text() == before


def test_a_range_of_groups_that_may_ping_beyond_the_id_map(stele: Runtime, bundle: BundleFactory) -> None:
    linux = {"sysctl": {"net.ipv4.ping_group_range": "0 2147483647"}}
    done = stele("run", "-b", bundle(["true"], {"linux": linux}, edit=in_user_namespace), stele.id())
    assert (done.returncode, "both must be mapped in linux.gidMappings" in done.stderr) == (1, True), done.stderr


def test_the_callers_groups_are_kept_if_an_annotation_asks(
    stele: Runtime, bundle: BundleFactory, tmp_path: Path
) -> None:
    """As crun does for Podman's --group-add keep-groups; exec keeps those of its own caller."""
    groups = ["setpriv", "--groups", "77,78"]
    changes = {
        "process": {"user": {"uid": 1000, "gid": 1000, "additionalGids": [5]}},
        "annotations": {"run.oci.keep_original_groups": "1"},
    }
    script = say("grep Groups /proc/self/status")
    for kept in ({"annotations": changes["annotations"]}, {"annotations": None}):
        argv = [*groups, *stele.command("run", "-b", bundle(script, {**changes, **kept}), stele.id())]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.stdout.split()[1:] == (["77", "78"] if kept["annotations"] else ["5"]), done.stderr
    name = stele.detached(bundle(SLEEP, changes))
    argv = [*groups, *stele.command("exec", name, *script)]
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()[1:] == ["77", "78"]
    stele.ok("delete", "-f", name)


def test_fields_for_other_systems_are_ignored(inside: Inside) -> None:
    """commandLine and username are Windows', and what the specification does not know is ignored as it says."""
    process = {"commandLine": "cmd /c dir", "user": {"uid": 0, "gid": 0, "username": "admin"}, "future": {"a": 1}}
    assert inside("echo fine", process) == "fine\n"


def test_huge_pages(stele: Runtime, bundle: BundleFactory) -> None:
    """hugepageLimits, as the container's own cgroup has it, reservations with it."""
    limits = [{"pageSize": "2MB", "limit": 4 << 20}]
    script = "cat /sys/fs/cgroup/hugetlb.2MB.max /sys/fs/cgroup/hugetlb.2MB.rsvd.max"
    folder = bundle(say(script), {"linux": {"resources": {"hugepageLimits": limits}}})
    assert stele.ok("run", "-b", folder, stele.id()).split() == [str(4 << 20)] * 2


# --- network ------------------------------------------------------------------------------------------------------


@pytest.fixture
def veth(own_network: None) -> tuple[str, str]:
    """A pair of network devices of the host's; the first has an address."""
    names = ("host0", "host1")
    subprocess.run(["ip", "link", "add", names[0], "type", "veth", "peer", "name", names[1]], check=True)
    subprocess.run(["ip", "address", "add", "10.99.1.2/24", "dev", names[0]], check=True)
    subprocess.run(["ip", "link", "set", names[1], "up"], check=True)
    return names


@pytest.mark.parametrize("name", ["", "eth7"])
def test_a_network_device_is_moved_in(stele: Runtime, bundle: BundleFactory, veth: tuple[str, str], name: str) -> None:
    """It is gone from the host, up, keeps its addresses, and has the name that config.json gives (spec 1.3)."""
    linux = {"netDevices": {veth[0]: {"name": name} if name else {}}}
    container = stele.detached(bundle(SLEEP, {"linux": linux}))
    inside = stele.ok("exec", container, "ip", "address", "show", name or veth[0])
    assert "10.99.1.2/24" in inside and "UP" in inside
    assert subprocess.run(["ip", "link", "show", veth[0]], check=False, capture_output=True).returncode != 0
    stele.ok("delete", "-f", container)


def test_a_network_device_that_is_not_there(stele: Runtime, bundle: BundleFactory) -> None:
    folder = bundle(["true"], {"linux": {"netDevices": {"nothere0": {}}}})
    done = stele("create", "-b", folder, stele.id(), stdout=-3)
    assert done.returncode == 1
    assert "linux.netDevices.nothere0: this host has no such network device" in done.stderr


def test_a_network_device_whose_name_is_taken(stele: Runtime, bundle: BundleFactory, veth: tuple[str, str]) -> None:
    """It stays the host's, and nothing of the container is left."""
    done = stele(
        "create", "-b", bundle(["true"], {"linux": {"netDevices": {veth[0]: {"name": "lo"}}}}), stele.id(), stdout=-3
    )
    assert done.returncode == 1
    assert f'linux.netDevices.{veth[0]}: the container already has a "lo"' in done.stderr
    assert subprocess.run(["ip", "link", "show", veth[0]], check=False, capture_output=True).returncode == 0


def test_devices_are_moved_only_if_all_can_be(stele: Runtime, bundle: BundleFactory, veth: tuple[str, str]) -> None:
    """One that is not there: the other, which comes first, stays the host's."""
    folder = bundle(["true"], {"linux": {"netDevices": {veth[0]: {}, "nothere0": {}}}})
    done = stele("create", "-b", folder, stele.id(), stdout=-3)
    assert (done.returncode, "netDevices.nothere0: this host has no such" in done.stderr) == (1, True), done.stderr
    assert subprocess.run(["ip", "link", "show", veth[0]], check=False, capture_output=True).returncode == 0


# --- seccomp's listener -------------------------------------------------------------------------------------------

RECEIVE, SEND = 0xC0502100, 0xC0182101  # SECCOMP_IOCTL_NOTIF_RECV, _SEND


def answer(listener: int, value: int) -> int:
    """Answer one call of whoever has the filter with a value of our own; returns the caller's pid, as we see it."""
    ready, _, _ = select.select([listener], [], [], 30)
    assert ready, "no call came"
    libc = ctypes.CDLL(None, use_errno=True)
    request = ctypes.create_string_buffer(80)
    assert libc.ioctl(listener, ctypes.c_ulong(RECEIVE), request) == 0
    identity, pid = struct.unpack_from("=QI", request.raw)
    reply = ctypes.create_string_buffer(struct.pack("=QqiI", identity, value, 0, 0), 24)
    assert libc.ioctl(listener, ctypes.c_ulong(SEND), reply) == 0
    return int(pid)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(tmp_path / "agent"))
        listening.listen(4)
        listening.settimeout(30)
        yield listening


def notifying(tmp_path: Path) -> dict[str, Any]:
    return {
        "seccomp": {
            "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": str(tmp_path / "agent"), "listenerMetadata": "mine",
            "syscalls": [{"names": ["getuid"], "action": "SCMP_ACT_NOTIFY"}],
        }
    }  # fmt: skip


def receive(agent: socket.socket) -> tuple[dict[str, Any], int]:
    """The container process state and the one fd that comes with it (config-linux.md); the connection then ends."""
    connection, _ = agent.accept()
    with connection:
        connection.settimeout(30)
        message, ancillary, _, _ = connection.recvmsg(1 << 16, socket.CMSG_SPACE(16))
        ((_, _, content),) = ancillary
        (listener,) = array.array("i", content)
        assert connection.recv(1) == b""
    return json.loads(message), listener


@pytest.mark.parametrize("no_new_privs", [True, False])
def test_an_agent_answers_for_the_kernel(
    stele: Runtime, bundle: BundleFactory, tmp_path: Path, agent: socket.socket, no_new_privs: bool
) -> None:
    """The agent gets the listener and the state, and decides what getuid says, of the program and of an exec."""
    process = {"noNewPrivileges": no_new_privs}
    folder = bundle(say("id -u; sleep 1000"), {"linux": notifying(tmp_path), "process": process})
    name = stele.create(folder)
    starting = subprocess.Popen(stele.command("start", name))
    state, listener = receive(agent)
    pid = stele.state(name)["pid"]
    assert {k: state[k] for k in ("fds", "pid", "metadata")} == {"fds": ["seccompFd"], "pid": pid, "metadata": "mine"}
    assert state["ociVersion"]
    assert {k: state["state"][k] for k in ("id", "pid", "status", "bundle")} == {
        "id": name, "pid": pid, "status": "created", "bundle": str(folder),
    }  # fmt: skip
    # busybox asks getuid at its own start too, so each call gets the same answer until the script has gone on
    seen = answer_until(listener, 4321, lambda: "4321" in (folder / "stdout").read_text())
    assert seen
    assert starting.wait(30) == 0
    running = subprocess.Popen(stele.command("exec", name, "id", "-u"), stdout=subprocess.PIPE, text=True)
    state, second = receive(agent)
    assert state["state"]["status"] == "running"
    answer_until(second, 55, lambda: running.poll() is not None)
    out, _ = running.communicate(timeout=30)
    assert out == "55\n"
    os.close(listener)
    os.close(second)
    stele.ok("delete", "-f", name)


def answer_until(listener: int, value: int, done: Callable[[], bool]) -> int:
    """Answer every call until `done`; returns how many."""
    count = 0
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    while not done():
        for _, events in poll.poll(50):
            # Once the last process has ended, older kernels would wait for ever for a call to receive.
            if not events & select.POLLIN:
                return count
            answer(listener, value)
            count += 1
    return count


def test_no_agent_no_container(stele: Runtime, bundle: BundleFactory, tmp_path: Path) -> None:
    done = stele("run", "-b", bundle(["true"], {"linux": notifying(tmp_path)}), stele.id())
    assert done.returncode == 1
    assert f'linux.seccomp.listenerPath "{tmp_path}/agent": cannot send the file descriptor' in done.stderr


# --- terminals ----------------------------------------------------------------------------------------------------


def on_terminal(command: list[str], typed: bytes = b"") -> tuple[int, str]:
    """Run a command on a terminal of its own, 33 by 44; type something; its exit code and all it wrote."""
    pid, master = pty.fork()
    if pid == 0:
        os.execvp(command[0], command)
    import fcntl
    import termios

    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 44, 0, 0))
    if typed:
        os.write(master, typed)
    said = b""
    while True:
        ready, _, _ = select.select([master], [], [], 30)
        assert ready, said
        try:
            part = os.read(master, 4096)
        except OSError:
            break
        if not part:
            break
        said += part
    os.close(master)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said.decode().replace("\r", "")


def test_a_terminal_is_relayed_by_run(stele: Runtime, bundle: BundleFactory) -> None:
    folder = bundle(say("read x; echo got $x; tty; exit 6"), terminal=True)
    code, said = on_terminal(stele.command("run", "-b", folder, stele.id()), b"word\n")
    assert (code, "got word" in said, "/dev/" in said) == (6, True, True), said


def test_a_terminal_is_relayed_by_exec(stele: Runtime, bundle: BundleFactory) -> None:
    """exec -t in the foreground: a new pty in the container, of the caller's size, input and output through it."""
    name = stele.detached(bundle(SLEEP))
    code, said = on_terminal(
        stele.command("exec", "-t", name, "sh", "-c", "read x; echo got $x; tty; exit 6"), b"word\n"
    )
    assert (code, "got word" in said, "/dev/pts/0" in said) == (6, True, True), said
    stele.ok("delete", "-f", name)


def test_a_terminal_that_is_relayed_to_a_pipe_keeps_line_ends(stele: Runtime, bundle: BundleFactory) -> None:
    """A carriage return is for terminals; also of the very first line, which the program may write before we relay."""
    name = stele.detached(bundle(SLEEP))
    for args in (
        ["run", "-b", bundle(say("tty; echo two"), terminal=True), stele.id()],
        ["exec", "-t", name, *say("tty; echo two")],
    ):
        done = subprocess.run(stele.command(*args), stdin=subprocess.DEVNULL, capture_output=True, check=True)
        assert done.stdout == b"/dev/pts/0\ntwo\n"
    stele.ok("delete", "-f", name)


def test_exec_without_a_terminal_has_none(stele: Runtime, bundle: BundleFactory) -> None:
    name = stele.detached(bundle(SLEEP))
    assert stele("exec", name, "tty").stdout == "not a tty\n"
    stele.ok("delete", "-f", name)


@pytest.fixture
def resctrl(tmp_path: Path) -> Iterator[Path]:
    """A directory tree in the place of resctrl, with a group "gold": no processor here has the real one."""
    fs = tmp_path / "fs"
    tree = fs / "resctrl"
    for group in (tree, tree / "gold"):
        group.mkdir(parents=True)
        (group / "tasks").touch()
        (group / "schemata").write_text("    L3:0=7ff\n")
    (fs / "cgroup").mkdir()
    subprocess.run(["mount", "--rbind", "/sys/fs/cgroup", fs / "cgroup"], check=True)
    subprocess.run(["mount", "--rbind", fs, "/sys/fs"], check=True)
    yield tree
    subprocess.run(["umount", "-l", "/sys/fs"], check=True)
    subprocess.run(["umount", "-l", fs / "cgroup"], check=True)


def test_a_group_of_resctrl_is_joined(stele: Runtime, bundle: BundleFactory, resctrl: Path) -> None:
    """The container's process before it begins, each exec likewise; the group stays, since it was not made for it."""
    rdt = {"closID": "gold", "l3CacheSchema": "L3:0=7FF"}
    folder = bundle(["sleep", "1000"], {"linux": {"intelRdt": rdt}})
    name = stele.create(folder)
    assert (resctrl / "gold/tasks").read_text() == str(stele.state(name)["pid"])
    stele.ok("start", name)
    before = (resctrl / "gold/tasks").read_text()
    stele.ok("exec", name, "true")
    assert (resctrl / "gold/tasks").read_text() != before
    stele.ok("update", "--l3-cache-schema", "L3:0=1", name)
    assert (resctrl / "gold/schemata").read_text().startswith("L3:0=1\n")
    assert stele("create", "-b", folder, stele.id()).stderr.endswith(
        'linux.intelRdt: the group "gold" exists with another schema (L3:0 differs); use another closID, '
        "or correct the schema\n"
    )
    stele.ok("delete", "-f", name)
    assert (resctrl / "gold").is_dir()


def test_a_group_of_resctrl_that_is_not_there(
    stele: Runtime, bundle: BundleFactory, resctrl: Path, leftovers: leaks.Watch
) -> None:
    done = stele("run", "-b", bundle(["true"], {"linux": {"intelRdt": {"closID": "silver"}}}), stele.id())
    assert done.returncode == 1
    assert 'linux.intelRdt.closID "silver": there is no such group' in done.stderr
    assert sorted(p.name for p in resctrl.iterdir()) == ["gold", "schemata", "tasks"]
    assert leftovers.left() == []
