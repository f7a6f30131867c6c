"""The commands of a container's life, as runc's callers use them: states, exit codes, output, what is left."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.harness import leaks
from tests.harness.bundles import BundleFactory
from tests.harness.output import Output
from tests.harness.runtime import Runtime
from tests.harness.runtime import command as command_line

SLEEP = ["/bin/sleep", "1000"]


def test_run_returns_the_exit_status_and_leaves_nothing(stele: Runtime, bundle: BundleFactory) -> None:
    done = stele("run", "-b", bundle(["sh", "-c", "echo out; echo err >&2; exit 7"]), stele.id())
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")


def test_run_returns_128_and_the_signal(stele: Runtime, bundle: BundleFactory) -> None:
    """KILL comes from outside: process 1 of a pid namespace cannot send it to itself."""
    name = stele.id()
    command = stele.command("run", "-b", bundle(["sh", "-c", "echo ready; exec sleep 1000"]), name)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        stele.ok("kill", name, "KILL")
        assert process.wait(30) == 137
    done = stele("run", "-b", bundle(["sh", "-c", "sh -c 'kill -TERM $$'; exit $?"]), stele.id())
    assert done.returncode == 143


def test_run_passes_stdin(stele: Runtime, bundle: BundleFactory) -> None:
    assert stele("run", "-b", bundle(["cat"]), stele.id(), input="hello").stdout == "hello"


def test_run_forwards_signals(stele: Runtime, bundle: BundleFactory) -> None:
    script = "trap 'exit 33' USR1; echo ready; while :; do sleep 0.05; done"
    process = subprocess.Popen(
        stele.command("run", "-b", bundle(["sh", "-c", script]), stele.id()), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGUSR1)
    process.stdout.close()
    assert process.wait(30) == 33


def test_keep_keeps_the_exit_status_in_the_state(stele: Runtime, bundle: BundleFactory) -> None:
    name = stele.id()
    assert stele("run", "--keep", "-b", bundle(["sh", "-c", "exit 5"]), name).returncode == 5
    assert stele.state(name)["status"] == "stopped"
    assert json.loads(stele.ok("wait", name))["exitStatus"] == 5
    stele.ok("delete", name)


def test_states_from_created_to_stopped(stele: Runtime, bundle: BundleFactory) -> None:
    folder = bundle(SLEEP)
    name = stele.create(folder)
    state = stele.state(name)
    assert state["status"] == "created"
    assert state["pid"] > 0
    assert state["bundle"] == str(folder)
    assert state["rootfs"] == str(folder / "rootfs")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", state["created"])
    stele.ok("start", name)
    assert stele.state(name)["status"] == "running"
    stele.ok("pause", name)
    assert stele.state(name)["status"] == "paused"
    stele.ok("resume", name)
    assert stele.state(name)["status"] == "running"
    stele.ok("kill", name, "KILL")
    stele.wait_stopped(name)
    state = stele.state(name)
    assert (state["status"], state["pid"]) == ("stopped", 0)
    stele.ok("delete", name)


def test_a_start_that_was_killed_does_not_hide_that_the_program_runs(stele: Runtime, bundle: BundleFactory) -> None:
    """It let init go, and was killed before it could remove the socket that init waited at."""
    name = stele.create(bundle(SLEEP))
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as start:
        start.connect(str(stele.root / name / "start"))
        while start.recv(4096):
            pass
    assert stele.state(name)["status"] == "running"
    assert "already running" in stele("start", name).stderr
    stele.ok("delete", "--force", name)


def test_state_has_no_newline_at_its_end_and_two_spaces(stele: Runtime, bundle: BundleFactory) -> None:
    name = stele.create(bundle(SLEEP))
    text = stele.ok("state", name)
    assert text.startswith('{\n  "ociVersion"') and text.endswith("}")
    stele.ok("delete", name)


def test_the_pid_file_holds_digits_only(stele: Runtime, bundle: BundleFactory, tmp_path: Path) -> None:
    name = stele.create(bundle(SLEEP), "c", "--pid-file", tmp_path / "pid")
    assert (tmp_path / "pid").read_bytes() == str(stele.state(name)["pid"]).encode()
    stele.ok("delete", name)


def test_a_waiting_init_is_small_and_has_no_host_file_as_its_program(stele: Runtime, bundle: BundleFactory) -> None:
    """CVE-2019-5736: /proc/self/exe must not lead to a file of the host."""
    name = stele.create(bundle(SLEEP))
    pid = stele.state(name)["pid"]
    assert os.readlink(f"/proc/{pid}/exe").startswith("/memfd:stele-init")
    pss = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
    assert pss is not None
    assert int(pss[1]) < 300
    stele.ok("delete", name)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["start", "NAME"], "cannot start an already running container"),
        (["delete", "NAME"], "that is not stopped: running"),
        (["resume", "NAME"], "container not paused"),
        (["create", "-b", "BUNDLE", "NAME"], "container with given ID already exists"),
        (["kill", "NAME", "FOO"], 'unknown signal "FOO"'),
    ],
    ids=lambda v: v[0] if isinstance(v, list) else "",
)
def test_a_running_container_refuses(stele: Runtime, bundle: BundleFactory, command: list[str], words: str) -> None:
    folder = bundle(SLEEP)
    name = stele.detached(folder)
    done = stele(*[{"NAME": name, "BUNDLE": str(folder)}.get(w, w) for w in command])
    assert done.returncode == 1
    assert words in done.stderr
    stele.ok("delete", "--force", name)


def test_a_stopped_container_refuses_kill_in_the_words_that_callers_look_for(
    stele: Runtime, bundle: BundleFactory
) -> None:
    name = stele.detached(bundle(["true"]))
    stele.wait_stopped(name)
    done = stele("kill", name, "9")
    assert (done.returncode, "container not running" in done.stderr) == (1, True)
    assert stele("exec", name, "true").returncode == 255
    assert stele("kill", "--all", name, "9").returncode == 0
    stele.ok("delete", name)


@pytest.mark.parametrize("command", ["state", "start", "delete", "kill", "pause", "resume", "ps"])
def test_a_container_that_is_not_there(stele: Runtime, command: str) -> None:
    done = stele(command, "nobody")
    assert done.returncode == 1
    assert 'container "nobody" does not exist' in done.stderr
    assert done.stderr.count("\n") == 1


def test_delete_force_of_nobody_succeeds(stele: Runtime) -> None:
    assert stele("delete", "--force", "nobody").returncode == 0


def test_exec_of_nobody_is_255(stele: Runtime) -> None:
    assert stele("exec", "nobody", "true").returncode == 255


@pytest.mark.parametrize("name", ["..", ".", "a/b", "", "a b", "x" * 256, "ü"])
def test_an_id_that_is_no_name_is_refused(stele: Runtime, bundle: BundleFactory, name: str) -> None:
    done = stele("create", "-b", bundle(SLEEP), name)
    assert done.returncode == 1
    assert "invalid container ID format" in done.stderr


@pytest.mark.parametrize("sig", ["KILL", "SIGKILL", "9", "sigkill"])
def test_signals_by_name_and_number(stele: Runtime, bundle: BundleFactory, sig: str) -> None:
    name = stele.detached(bundle(SLEEP))
    pidfd = os.pidfd_open(stele.state(name)["pid"])
    stele.ok("kill", name, sig)
    stele.wait_ended(pidfd)
    stele.ok("delete", name)


def test_delete_force_kills_everything_in_the_cgroup(
    stele: Runtime, bundle: BundleFactory, leftovers: leaks.Watch
) -> None:
    name = stele.detached(bundle(["sh", "-c", "for i in 1 2 3 4; do sleep 1000 & done; wait"]))
    stele.ok("pause", name)
    stele.ok("delete", "--force", name)
    assert leftovers.left() == []


def test_list_in_all_forms(stele: Runtime, bundle: BundleFactory) -> None:
    assert stele.ok("list", "-q") == ""
    name = stele.create(bundle(SLEEP))
    assert stele.ok("list", "-q") == f"{name}\n"
    assert [(row["id"], row["status"], row["owner"]) for row in json.loads(stele.ok("list", "-f", "json"))] == [
        (name, "created", "root")
    ]
    assert stele.ok("list").splitlines()[0].split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    stele.ok("delete", name)


def test_list_of_a_root_that_is_not_there(stele: Runtime, tmp_path: Path) -> None:
    done = subprocess.run(
        [*stele.argv, "--root", tmp_path / "none", "list"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "none: no such file or directory; " in done.stderr
    assert (
        "/etc/hostname: it is not a directory; "
        in subprocess.run(
            [*stele.argv, "--root", "/etc/hostname", "list"], capture_output=True, text=True, check=False
        ).stderr
    )


def test_ps(stele: Runtime, bundle: BundleFactory) -> None:
    name = stele.detached(bundle(SLEEP))
    pid = stele.state(name)["pid"]
    assert json.loads(stele.ok("ps", "-f", "json", name)) == [pid]
    assert stele.ok("ps", name).splitlines()[1].split()[1] == str(pid)
    assert "sleep 1000" in stele.ok("ps", name, "-ef")
    stele.ok("delete", "-f", name)


def test_events_stats(stele: Runtime, bundle: BundleFactory) -> None:
    name = stele.detached(bundle(SLEEP))
    event = json.loads(stele.ok("events", "--stats", name))
    assert (event["type"], event["id"]) == ("stats", name)
    assert {"cpu", "memory", "pids", "blkio", "hugetlb"} <= event["data"].keys()
    stele.ok("delete", "-f", name)


def test_wait_tells_the_signal(stele: Runtime, bundle: BundleFactory) -> None:
    name = stele.detached(bundle(SLEEP))
    waiting = subprocess.Popen(stele.command("wait", name), stdout=subprocess.PIPE, text=True)
    stele.ok("kill", name, "KILL")
    out, _ = waiting.communicate(timeout=30)
    assert {k: json.loads(out)[k] for k in ("exitStatus", "signal", "oomKilled")} == {
        "exitStatus": 137,
        "signal": 9,
        "oomKilled": False,
    }
    stele.ok("delete", name)


def test_errors_go_to_the_log_as_one_json_object(stele: Runtime, tmp_path: Path) -> None:
    log = tmp_path / "log.json"
    done = stele("--log", log, "--log-format", "json", "state", "nobody")
    entry = json.loads(log.read_text())
    assert entry["level"] == "error"
    assert entry["msg"] == done.stderr.strip()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", entry["time"])


def test_an_unknown_flag_prints_the_usage_on_stdout_for_a_caller(stele: Runtime, tmp_path: Path) -> None:
    """Callers give --log and get what runc prints; a person gets two lines."""
    done = stele("--log", tmp_path / "log", "create", "--nonsense", "x")
    assert done.returncode == 1
    assert done.stdout.startswith("Incorrect Usage.")
    assert done.stderr.strip() == "flag provided but not defined: --nonsense"
    done = stele("create", "--bundel", "x")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "flag provided but not defined: --bundel",
        'did you mean "--bundle"? `stele create --help` shows how it is used',
    ]


def test_preserved_fds_are_the_next_numbers(stele: Runtime, bundle: BundleFactory) -> None:
    folder = bundle(["sh", "-c", "echo hi >&3; ls /proc/self/fd"])
    command = stele.command("run", "--preserve-fds", "1", "-b", folder, stele.id())
    done = subprocess.run(["sh", "-c", '"$@" 3>&1', "sh", *command], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["hi", "0", "1", "2", "3", "4"], "4 is the one that ls opens"


def test_exec_has_the_confinement_of_init_and_its_own_exit_status(stele: Runtime, bundle: BundleFactory) -> None:
    name = stele.detached(bundle(SLEEP, seccomp=True))
    status = "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/%s/status"
    theirs = stele.ok("exec", name, "sh", "-c", status % "self")
    assert theirs == stele.ok("exec", name, "sh", "-c", status % "1")
    assert stele("exec", name, "sh", "-c", "exit 9").returncode == 9
    namespaces = "for n in cgroup ipc mnt net pid uts; do readlink /proc/%s/ns/$n; done"
    assert stele.ok("exec", name, "sh", "-c", namespaces % "self") == stele.ok(
        "exec", name, "sh", "-c", namespaces % "1"
    )
    stele.ok("delete", "-f", name)


def test_exec_options(stele: Runtime, bundle: BundleFactory) -> None:
    name = stele.detached(bundle(SLEEP))
    done = stele.ok(
        "exec", "-u", "1000:1000", "-g", "5", "-e", "A=b", "--cwd", "/tmp", "--no-new-privs", name,
        "sh", "-c", "id -u; id -g; id -G; echo $A $HOME; pwd; grep NoNewPrivs /proc/self/status",
    )  # fmt: skip
    assert done.split("\n")[:5] == ["1000", "1000", "1000 5", "b /home", "/tmp"]
    assert done.endswith("NoNewPrivs:\t1\n")
    stele.ok("delete", "-f", name)


def test_exec_reads_a_process_file(stele: Runtime, bundle: BundleFactory, tmp_path: Path) -> None:
    name = stele.detached(bundle(SLEEP))
    process = {
        "args": ["sh", "-c", "echo $X; id -u"],
        "cwd": "/",
        "env": ["X=y", "PATH=/bin"],
        "user": {"uid": 5, "gid": 5},
    }
    (tmp_path / "process.json").write_text(json.dumps(process))
    assert stele.ok("exec", "--process", tmp_path / "process.json", name) == "y\n5\n"
    stele.ok("delete", "-f", name)


@pytest.mark.parametrize(
    ("said", "bits"),
    [({}, 1 << 5), ({"capabilities": {}}, 0), ({"capabilities": {"bounding": ["CAP_CHOWN"]}}, 1)],
    ids=["as the container has it", "none", "its own"],
)
def test_exec_is_confined_as_the_container_where_a_process_file_says_nothing(
    stele: Runtime, bundle: BundleFactory, said: dict[str, Any], bits: int
) -> None:
    name = stele.detached(
        bundle(SLEEP, edit=lambda config: config["process"].update(capabilities={"bounding": ["CAP_KILL"]}))
    )
    process = {"args": ["grep", "CapBnd", "/proc/self/status"], "cwd": "/", "env": ["PATH=/bin"], **said}
    assert stele.ok("exec", "--process", "/dev/stdin", name, input=json.dumps(process)) == f"CapBnd:\t{bits:016x}\n"
    stele.ok("delete", "-f", name)


def test_exec_reads_a_process_from_a_pipe(stele: Runtime, bundle: BundleFactory) -> None:
    """As a shell's <(...) has it; runc reads it too."""
    name = stele.detached(bundle(SLEEP))
    process = json.dumps({"args": ["echo", "piped"], "cwd": "/", "env": ["PATH=/bin"]})
    assert stele.ok("exec", "--process", "/dev/stdin", name, input=process) == "piped\n"
    refused = stele("exec", "--process", "/dev/null", name)
    assert (refused.returncode, "is not a regular file" in refused.stderr) == (255, True)
    stele.ok("delete", "-f", name)


def test_exec_in_a_container_that_shares_out_controllers(stele: Runtime, bundle: BundleFactory) -> None:
    """As systemd in a container does: then its cgroup can hold no process, and an exec goes where its init is."""
    script = (
        "cd /sys/fs/cgroup; mkdir -p init/deep; echo 1 >init/deep/cgroup.procs; echo +hugetlb >cgroup.subtree_control; "
        "echo $? >/ready; exec sleep 1000"
    )
    limits = {"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]}
    folder = bundle(["sh", "-c", script], {"linux": {"resources": limits}}, edit=_writable_cgroups)
    os.mkfifo(folder / "rootfs/ready")
    name = stele.detached(folder)
    assert (folder / "rootfs/ready").read_text() == "0\n"
    assert stele.ok("exec", name, "grep", "^0:", "/proc/self/cgroup") == "0::/init/deep\n"
    assert "EBUSY" in stele("exec", "--cgroup", "/", name, "true").stderr, "what is asked for is not changed"
    stele.ok("delete", "-f", name)


def _writable_cgroups(config: dict[str, Any]) -> None:
    for mount in config["mounts"]:
        if mount["type"] == "cgroup":
            mount["options"].remove("ro")


@pytest.mark.parametrize("user", ["4294967296", "4294967295", "-1", "1x", ""])
def test_exec_refuses_what_is_no_uid(stele: Runtime, bundle: BundleFactory, user: str) -> None:
    """CVE-2024-40635: a wide uid must not wrap to root."""
    name = stele.detached(bundle(SLEEP))
    done = stele("exec", f"--user={user}", name, "id", "-u")
    if user:
        assert done.returncode != 0
        assert "0\n" not in done.stdout
    stele.ok("delete", "-f", name)


def test_a_paused_container_that_was_not_started(stele: Runtime, bundle: BundleFactory) -> None:
    """Its init hears nothing: `start` says so, and does not wait for it."""
    name = stele.create(bundle(SLEEP))
    stele.ok("pause", name)
    assert stele.state(name)["status"] == "paused"
    done = stele("start", name)
    assert done.returncode == 1
    assert done.stderr == f'cannot start a container in the paused state: "{name}"; resume it first\n'
    stele.ok("resume", name)
    assert stele.state(name)["status"] == "created"
    stele.ok("start", name)
    stele.ok("delete", "-f", name)


@pytest.mark.parametrize("own", [True, False], ids=["own pid namespace", "the host's"])
def test_kill_leaves_no_process(stele: Runtime, bundle: BundleFactory, output: Output, *, own: bool) -> None:
    """KILL, without --all: where the kernel does not end the others with the first process, we do, as runc since 1.2."""

    def edit(config: dict[str, Any]) -> None:
        if not own:
            config["linux"]["namespaces"].remove({"type": "pid"})

    name = stele.id()
    folder = bundle(["sh", "-c", "sleep 1000 & sleep 1000 & echo ready; wait"], edit=edit)
    stele.ok("run", "--detach", "-b", folder, name, stdout=output.write_fd, stderr=output.write_fd)
    output.until("ready")
    pidfds = [os.pidfd_open(pid) for pid in json.loads(stele.ok("ps", "-f", "json", name))]
    assert len(pidfds) == 3
    stele.ok("kill", name, "KILL")
    for pidfd in pidfds:
        stele.wait_ended(pidfd)
    assert stele("kill", name, "KILL").returncode == 1
    stele.ok("delete", name)


def test_signal_0_asks_whether_it_runs(stele: Runtime, bundle: BundleFactory) -> None:
    """kill(2): nothing is sent, but an error tells that there is nobody."""
    name = stele.detached(bundle(SLEEP))
    for flags in ([], ["--all"]):
        assert stele.ok("kill", *flags, name, "0") == ""
    stele.ok("kill", name, "KILL")
    stele.wait_stopped(name)
    done = stele("kill", name, "0")
    assert (done.returncode, "container not running" in done.stderr) == (1, True)
    stele.ok("delete", name)


def _ignored(status: str) -> list[int]:
    mask = int(status.split()[1], 16)
    return [n for n in range(1, 65) if mask >> (n - 1) & 1]


def test_what_the_caller_ignores_the_container_does_not(stele: Runtime, bundle: BundleFactory) -> None:
    """Under nohup(1), or a service manager that ignores signals: a program in a container begins with none ignored."""
    look = ["grep", "SigIgn", "/proc/self/status"]
    hook = {"path": "/bin/sh", "args": ["sh", "-c", "grep SigIgn /proc/self/status >$OUT"]}
    folder = bundle(look)
    config = json.loads((folder / "config.json").read_text())
    hooks = ("createRuntime", "createContainer")
    config["hooks"] = {kind: [{**hook, "env": [f"OUT={folder}/{kind}", "PATH=/bin"]}] for kind in hooks}
    (folder / "config.json").write_text(json.dumps(config))
    ignoring = [
        "sh",
        "-c",
        "trap '' HUP INT QUIT PIPE TERM USR1 USR2 ALRM CHLD CONT TSTP TTIN TTOU WINCH; exec \"$@\"",
        "sh",
    ]
    name = stele.detached(bundle(SLEEP))
    for words in (("run", "-b", folder, stele.id()), ("exec", name, *look)):
        done = subprocess.run([*ignoring, *stele.command(*words)], capture_output=True, text=True, check=True)
        assert _ignored(done.stdout) == []
    for kind in hooks:
        # posix_spawn(3) of glibc ignores the two signals that are its own.
        assert set(_ignored((folder / kind).read_text())) <= {32, 33}, kind
    stele.ok("delete", "-f", name)


def test_a_list_writes_no_control_characters(stele: Runtime, bundle: BundleFactory) -> None:
    """A bundle's path is anybody's: as it is in JSON, but with escapes in what goes to a terminal."""
    folder = bundle(SLEEP)
    odd = folder.with_name("b \x1b[31m\n\u00fc")
    folder.rename(odd)
    name = stele.create(odd)
    assert [row["bundle"] for row in json.loads(stele.ok("list", "-f", "json"))] == [str(odd)]
    table = stele.ok("list").splitlines()
    assert len(table) == 2
    assert "b \\x1b[31m\\n\u00fc" in table[1]
    stele.ok("delete", "-f", name)


def test_too_few_file_descriptors(stele: Runtime, bundle: BundleFactory) -> None:
    argv = ["prlimit", "--nofile=12", *stele.command("run", "-b", bundle(["true"]), stele.id())]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert (
        done.stderr == "stele run failed: cannot start init: too many open files; raise RLIMIT_NOFILE of the caller\n"
    )


def test_exec_in_a_paused_container(stele: Runtime, bundle: BundleFactory) -> None:
    name = stele.detached(bundle(SLEEP))
    stele.ok("pause", name)
    done = stele("exec", name, "true")
    assert (done.returncode, "paused" in done.stderr) == (255, True)
    stele.ok("resume", name)
    stele.ok("delete", "-f", name)


def test_a_detached_exec_leaves_a_pid_file(stele: Runtime, bundle: BundleFactory, tmp_path: Path) -> None:
    name = stele.detached(bundle(SLEEP))
    # Its output must not be our pipe, whose end would then not come.
    with (tmp_path / "out").open("w") as out:
        stele.ok("exec", "--detach", "--pid-file", tmp_path / "pid", name, "sleep", "1000", stdout=out, stderr=out)
    pid = int((tmp_path / "pid").read_text())
    assert pid in json.loads(stele.ok("ps", "-f", "json", name))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)  # it is this process's child now, as it would be conmon's
    stele.ok("delete", "-f", name)


def test_one_of_many_creators_of_an_id_wins(stele: Runtime, bundle: BundleFactory) -> None:
    folder, name = bundle(SLEEP), stele.id()
    with ThreadPoolExecutor(8) as pool:
        codes = list(
            pool.map(
                lambda _: (
                    stele("create", "-b", folder, name, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
                ),
                range(8),
            )
        )
    assert sorted(codes) == [0] + [1] * 7
    assert stele.state(name)["status"] == "created"
    stele.ok("delete", name)


def test_500_lives_16_at_a_time(stele: Runtime, bundle: BundleFactory, leftovers: leaks.Watch) -> None:
    folder = bundle(SLEEP)

    def live(i: int) -> None:
        name = f"{stele.token}-many{i}"
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        for command in (
            ["create", "-b", folder, name],
            ["start", name],
            ["kill", name, "KILL"],
            ["delete", "-f", name],
        ):
            assert stele(*command, **quiet).returncode == 0, command

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(live, range(500)))
    assert leftovers.left() == []
    assert stele.ok("list", "-q") == ""


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\0" * 50, b"[]", b'{"id": 1}'], ids=["empty", "half", "nul", "list", "types"]
)
def test_a_damaged_state_hides_no_other_and_can_still_be_deleted(
    stele: Runtime, bundle: BundleFactory, leftovers: leaks.Watch, content: bytes
) -> None:
    good, bad = stele.detached(bundle(SLEEP)), stele.detached(bundle(SLEEP))
    (stele.root / bad / "state.json").write_bytes(content)
    assert "damaged" in stele("state", bad).stderr
    rows = {row["id"]: row["status"] for row in json.loads(stele.ok("list", "-f", "json"))}
    assert rows == {good: "running", bad: "damaged"}
    assert stele("delete", bad).returncode == 1
    stele.ok("delete", "--force", bad)
    stele.ok("delete", "--force", good)
    assert leftovers.left() == []


def test_a_container_of_a_newer_stele_is_left_alone(
    stele: Runtime, bundle: BundleFactory, leftovers: leaks.Watch
) -> None:
    name = stele.detached(bundle(SLEEP))
    state = stele.root / name / "state.json"
    before = state.read_text()
    state.write_text(before.replace('"format": 1', '"format": 999'))
    done = stele("delete", "--force", name)
    assert done.returncode == 1
    assert "newer stele" in done.stderr
    state.write_text(before)
    assert json.loads(stele.ok("state", name))["status"] == "running"
    stele.ok("delete", "--force", name)
    assert leftovers.left() == []


@pytest.mark.parametrize(("name", "code"), [(".cgroup.new", 0), (".state.json.new", 1), ("start", 1)])
def test_what_a_dead_creator_left_is_deleted_if_nothing_can_run(stele: Runtime, name: str, code: int) -> None:
    """Without any record of its cgroup only the very first file can be there; else somebody removed the record."""
    folder = stele.root / stele.id()
    folder.mkdir(parents=True)
    (folder / name).touch()
    assert stele("delete", "--force", folder.name).returncode == code
    assert folder.exists() == bool(code)
    shutil.rmtree(folder, ignore_errors=True)


def test_what_fails_at_start_is_told_by_its_field(
    stele: Runtime, bundle: BundleFactory, leftovers: leaks.Watch
) -> None:
    mappings = [{"containerID": 0, "hostID": 100000, "size": 10}]
    folder = bundle(
        SLEEP,
        {
            "process": {"user": {"uid": 0, "gid": 0, "additionalGids": [77]}},
            "linux": {
                "namespaces": [{"type": t} for t in ("mount", "user", "pid", "ipc", "uts", "network")],
                "uidMappings": mappings,
                "gidMappings": mappings,
            },
        },
    )
    name = stele.create(folder)
    # init ends after it has told what failed; here it takes a second for that.
    slowly = [
        "strace",
        "-etrace=exit_group",
        "--inject=exit_group:delay_enter=1000000",
        f"-p{stele.state(name)['pid']}",
    ]
    with subprocess.Popen(slowly, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr and "attached" in tracer.stderr.readline()
        done = stele("start", name)
        status = stele.state(name)["status"]
    assert done.returncode == 1
    assert "process.user 0:0" in done.stderr
    assert "map these ids" in done.stderr
    assert status == "stopped"
    stele.ok("delete", name)
    assert leftovers.left() == []


def test_podmans_way_without_root(bundle: BundleFactory, tmp_path: Path) -> None:
    """Root of a user namespace, USER unset: state is below XDG_RUNTIME_DIR, and no other user namespace is needed."""
    folder = bundle(["sh", "-c", "cat /proc/self/uid_map; id -u"], edit=_as_rootless_podman)
    runtime = tmp_path / "user"
    runtime.mkdir()
    env = {"XDG_RUNTIME_DIR": str(runtime), "PATH": os.environ["PATH"]}
    command = ["unshare", "--user", "--map-root-user", "--mount", "--net", *command_line(), "run", "-b", folder, "x"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (0, ["0", "0", "1", "0"]), done.stderr
    assert (runtime / "stele").is_dir()


def _as_rootless_podman(config: dict[str, Any]) -> None:
    config["linux"]["resources"] = {}
    kinds = ("pid", "ipc", "uts", "mount", "network", "cgroup")
    config["linux"]["namespaces"] = [{"type": kind} for kind in kinds]
    for mount in config["mounts"]:
        mount["options"] = [o for o in mount["options"] if o != "gid=5"]


def test_exec_and_ps_when_init_was_moved_to_another_cgroup(stele: Runtime, bundle: BundleFactory) -> None:
    """By somebody on the host: exec goes where init is, and ps shows both, but no stranger that is there, too."""
    name = stele.detached(bundle(["sleep", "1000"]))
    pid = stele.state(name)["pid"]
    beside = Path(f"/sys/fs/cgroup/{stele.token}-beside")
    beside.mkdir()
    stranger = subprocess.Popen(["sleep", "1000"])
    try:
        for moved in (pid, stranger.pid):
            (beside / "cgroup.procs").write_text(str(moved))
        stele.ok("exec", "-d", name, "sleep", "1001", stdout=-3, stderr=-3)
        inside = set(map(int, (beside / "cgroup.procs").read_text().split())) - {stranger.pid}
        assert len(inside) == 2 and pid in inside
        assert set(json.loads(stele.ok("ps", "-f", "json", name))) == inside
    finally:
        stranger.kill()
        stranger.wait()
        stele.ok("delete", "-f", name)
        beside.rmdir()


def test_json_for_programs_is_compact(stele: Runtime, bundle: BundleFactory) -> None:
    name = stele.detached(bundle(["sleep", "1000"]))
    for args in (["list", "-f", "json"], ["events", "--stats", name], ["ps", "-f", "json", name]):
        text = stele.ok(*args)
        assert text == json.dumps(json.loads(text), separators=(",", ":")) + "\n"
    stele.ok("delete", "-f", name)
