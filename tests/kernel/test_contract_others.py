"""What CRI-O, conmon-rs, buildah and buildkit run and read, and the forms of output that people's scripts read."""

from __future__ import annotations

import json
import os
import pwd
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.harness.bundles import BundleFactory
from tests.harness.runtime import Runtime

SLEEP = ["/bin/sleep", "1000"]


# --- CRI-O --------------------------------------------------------------------------------------------------------


def test_crio_has_a_bare_environment(stele: Runtime, bundle: BundleFactory, tmp_path: Path) -> None:
    """PATH and little else; commands with --root alone; an exec in the foreground, its output streamed."""
    env = {"CRI_O_EXTERNAL": "1", "PATH": "/usr/bin:/bin"}
    name = stele.create(bundle(SLEEP), "c", env=env)
    stele.ok("start", name, env=env)
    assert json.loads(stele.ok("state", name, env=env))["status"] == "running"
    process = {
        "args": ["sh", "-c", "echo out; echo err >&2; exit 4"],
        "cwd": "/",
        "env": ["PATH=/bin"],
        "user": {"uid": 0, "gid": 0},
    }
    (tmp_path / "process").write_text(json.dumps(process))
    done = stele("exec", "--process", tmp_path / "process", name, env=env)
    assert (done.returncode, done.stdout, done.stderr) == (4, "out\n", "err\n")
    limits = json.dumps({"unified": {"cgroup.max.descendants": "9"}})
    assert stele("update", "--resources", "-", name, input=limits, env=env).returncode == 0
    pidfd = os.pidfd_open(stele.state(name)["pid"])
    stele.ok("kill", name, "KILL", env=env)
    stele.wait_ended(pidfd)
    assert stele("kill", "-a", name, "9", env=env).returncode == 0
    done = stele("kill", name, "TERM", env=env)
    assert (done.returncode, "container not running" in done.stderr) == (1, True)
    stele.ok("delete", "--force", name, env=env)


def test_crio_reads_features_and_errors_together(stele: Runtime) -> None:
    """CombinedOutput must be JSON: a single warning would disable it. Also from the caller's bare environment."""
    done = subprocess.run(
        [*stele.argv, "features"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True,
        env={"PATH": "/usr/bin", "PYTHONPATH": os.getcwd()},
    )  # fmt: skip
    document = json.loads(done.stdout)
    assert re.fullmatch(r"\d+\.\d+\.\d+", document["ociVersionMin"])
    assert re.fullmatch(r"\d+\.\d+\.\d+", document["ociVersionMax"])
    assert "rro" in document["mountOptions"]


# --- buildah, buildkit --------------------------------------------------------------------------------------------


def test_buildah_polls_the_state_until_it_has_stopped(stele: Runtime, bundle: BundleFactory, tmp_path: Path) -> None:
    name = stele.create(bundle(["sh", "-c", "read x < /tmp/go"]), "c", "--pid-file", tmp_path / "pid", "--no-pivot")
    os.mkfifo(tmp_path / "bundle1/rootfs/tmp/go")
    stele.ok("start", name)
    seen = [stele.state(name)["status"]]
    with (tmp_path / "bundle1/rootfs/tmp/go").open("w") as go:
        go.write("x\n")
    os.waitpid(int((tmp_path / "pid").read_text()), 0)
    seen.append(stele.state(name)["status"])
    assert seen == ["running", "stopped"]
    assert stele("kill", name).returncode == 1
    stele.ok("delete", name)


def test_buildkit_runs_in_the_foreground(stele: Runtime, bundle: BundleFactory, tmp_path: Path) -> None:
    """`--log F --log-format json run --bundle B [--no-pivot] [--keep] ID`, then delete what was kept."""
    log, name = tmp_path / "runc-log.json", stele.id()
    words = ("--log", log, "--log-format", "json", "run", "--bundle", bundle(["sh", "-c", "exit 3"]))
    assert stele(*words, "--no-pivot", "--keep", name).returncode == 3
    assert stele.state(name)["status"] == "stopped"
    stele.ok("delete", name)
    assert not log.read_text()
    done = stele("--log", log, "--log-format", "json", "run", "--bundle", bundle(["nothere"]), stele.id())
    assert done.returncode == 1
    assert json.loads(log.read_text())["msg"].startswith("stele run failed: exec: ")


# --- outputs ------------------------------------------------------------------------------------------------------


def test_the_state_document(stele: Runtime, bundle: BundleFactory) -> None:
    folder = bundle(SLEEP, {"annotations": {"a": "b"}})
    name = stele.create(folder)
    text = stele.ok("state", name)
    state = json.loads(text)
    assert list(state) == ["ociVersion", "id", "pid", "status", "bundle", "rootfs", "created", "annotations"]
    assert text == json.dumps(state, indent=2), "two spaces, no newline at the end"
    (folder / "state").write_text(text)
    assert stele.ok("validate", folder / "state").endswith("is a valid state document\n")
    stele.ok("delete", name)


def test_list_has_the_same_and_the_owner(stele: Runtime, bundle: BundleFactory) -> None:
    assert json.loads(stele.ok("list", "--format", "json")) is None, "as runc prints an empty list"
    name = stele.create(bundle(SLEEP))
    (row,) = json.loads(stele.ok("list", "-f", "json"))
    assert row == {**stele.state(name), "owner": pwd.getpwuid(os.geteuid()).pw_name}
    head, line = stele.ok("list").splitlines()
    assert head.split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    assert line.split() == [name, str(row["pid"]), "created", row["bundle"], row["created"], row["owner"]]
    assert stele.ok("list", "--quiet") == f"{name}\n"
    stele.ok("delete", name)


def test_list_of_a_default_root_that_is_not_there(stele: Runtime, tmp_path: Path) -> None:
    """Nothing was created yet: empty, and no error; only a --root that was named must be there."""
    env = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "USER": "user"}
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", *stele.argv, "list"],
        capture_output=True,
        text=True,
        check=False,
        env=env,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    assert not (tmp_path / "stele").exists()


STATS: dict[str, Any] = {
    "cpu": {
        "usage": {"total", "kernel", "user"},
        "throttling": {"periods", "throttledPeriods", "throttledTime"},
    },
    "cpuset": set(),
    "memory": {"usage": {"usage"}, "swap": set(), "kernel": set(), "kernelTCP": set(), "raw": set()},
    "pids": {"current"},
    "blkio": set(),
    "hugetlb": set(),
    "intel_rdt": set(),
    "network_interfaces": set(),
}


def test_events_stats(stele: Runtime, bundle: BundleFactory) -> None:
    """One line; what types/events.go reads of it (`runc events --stats`)."""
    limits = {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}]}
    name = stele.detached(bundle(SLEEP, {"linux": {"resources": limits}}))
    text = stele.ok("events", "--stats", name)
    assert text.count("\n") == 1
    event = json.loads(text)
    assert list(event) == ["type", "id", "data"]
    assert (event["type"], event["id"]) == ("stats", name)
    data = event["data"]
    assert set(data) <= set(STATS)
    for group, parts in STATS.items():
        if isinstance(parts, dict) and group in data:
            for part, keys in parts.items():
                assert keys <= set(data[group].get(part, keys)), (group, part)
    assert data["hugetlb"]["2MB"] == {"usage": 0, "failcnt": 0}
    assert data["cpu"]["usage"]["total"] > 0
    stele.ok("delete", "-f", name)


@pytest.mark.parametrize(("interval", "seen"), [("50ms", 3), ("1000h", 1)])
def test_events_come_at_their_interval_until_the_end(
    stele: Runtime, bundle: BundleFactory, interval: str, seen: int
) -> None:
    name = stele.detached(bundle(SLEEP))
    events = subprocess.Popen(stele.command("events", "--interval", interval, name), stdout=subprocess.PIPE, text=True)
    assert events.stdout is not None
    lines = [events.stdout.readline() for _ in range(seen)]
    assert [json.loads(line)["type"] for line in lines] == ["stats"] * seen
    stele.ok("delete", "-f", name)
    events.stdout.read()
    events.stdout.close()
    assert events.wait(30) == 0


def test_spec_refuses_to_overwrite(stele: Runtime, tmp_path: Path) -> None:
    stele.ok("spec", cwd=tmp_path, env={**os.environ, "PYTHONPATH": os.getcwd()})
    text = (tmp_path / "config.json").read_text()
    assert text.startswith('{\n\t"ociVersion"'), "indented by tabs"
    done = stele("spec", cwd=tmp_path, env={**os.environ, "PYTHONPATH": os.getcwd()})
    assert (done.returncode, done.stderr) == (1, "File config.json exists. Remove it first\n")
    assert (tmp_path / "config.json").read_text() == text
    (tmp_path / "other").mkdir()
    stele.ok("spec", "--rootless", "-b", tmp_path / "other")
    assert (tmp_path / "other/config.json").read_text() != text


@pytest.mark.parametrize("rootless", [False, True])
def test_what_spec_writes_is_valid_and_runs(
    stele: Runtime, bundle: BundleFactory, tmp_path: Path, rootless: bool
) -> None:
    folder = bundle(["true"])
    (folder / "config.json").unlink()
    stele.ok("spec", "-b", folder, *(["--rootless"] if rootless else []))
    stele.ok("validate", folder / "config.json")
    config = json.loads((folder / "config.json").read_text())
    config["process"] |= {"args": ["id", "-u"], "terminal": False}
    (folder / "config.json").write_text(json.dumps(config))
    assert stele.ok("run", "-b", folder, stele.id()) == "0\n"


def test_start_words(stele: Runtime, bundle: BundleFactory) -> None:
    name = stele.detached(bundle(["true"]))
    stele.wait_stopped(name)
    assert "cannot start a container that has stopped" in stele("start", name).stderr
    stele.ok("delete", name)


def test_delete_of_a_created_one_ends_it(stele: Runtime, bundle: BundleFactory) -> None:
    """Without --force, as runc and crun do it though the specification has it fail."""
    name = stele.create(bundle(SLEEP))
    pidfd = os.pidfd_open(stele.state(name)["pid"])
    stele.ok("delete", name)
    stele.wait_ended(pidfd)


def test_delete_force_of_half_a_container(stele: Runtime) -> None:
    """A creator that died at once left a folder, perhaps with a record that is not whole."""
    for names in ([], [".cgroup.new"]):
        folder = stele.root / stele.id()
        folder.mkdir(mode=0o700)
        for name in names:
            (folder / name).write_text("{")
        stele.ok("delete", "--force", folder.name)
        assert not folder.exists()


def test_kill_reaches_a_paused_one(stele: Runtime, bundle: BundleFactory) -> None:
    name = stele.detached(bundle(SLEEP))
    stele.ok("pause", name)
    pidfd = os.pidfd_open(stele.state(name)["pid"])
    stele.ok("kill", name, "KILL")
    stele.wait_ended(pidfd)
    stele.ok("delete", name)


def test_the_default_signal_is_term(stele: Runtime, bundle: BundleFactory) -> None:
    script = "trap 'exit 7' TERM; echo > /tmp/begun; while :; do sleep 0.05; done"
    folder = bundle(["sh", "-c", script])
    os.mkfifo(folder / "rootfs/tmp/begun")
    running = subprocess.Popen(stele.command("run", "-b", folder, name := stele.id()))
    (folder / "rootfs/tmp/begun").read_text()
    stele.ok("kill", name)
    assert running.wait(30) == 7


def test_ps_in_both_forms(stele: Runtime, bundle: BundleFactory) -> None:
    """json: the host's pids; table: the host's ps, of whose options all is passed, filtered by its PID column."""
    name = stele.detached(bundle(SLEEP))
    pid = stele.state(name)["pid"]
    assert stele.ok("ps", "-f", "json", name) == f"[{pid}]\n"
    assert stele.ok("ps", name, "-o", "pid,args").splitlines()[1].split() == [str(pid), *SLEEP]
    head, line = stele.ok("ps", name).splitlines()
    assert head.split() == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"], "as of ps -ef"
    assert (line.split()[:2], line.split()[7:]) == (["root", str(pid)], SLEEP)
    done = stele("ps", name, "-o", "args")
    assert (done.returncode, "no PID column" in done.stderr) == (1, True)
    stele.ok("delete", "-f", name)


def test_exec_merges_its_flags_with_the_containers_process(stele: Runtime, bundle: BundleFactory) -> None:
    process = {"env": ["PATH=/bin", "A=1"], "user": {"uid": 7, "gid": 8}, "cwd": "/tmp"}
    name = stele.detached(bundle(SLEEP, {"process": process}))
    script = "id -u; id -g; pwd; echo $A $B; grep -E '^Cap(Eff|Bnd)' /proc/self/status"
    out = stele.ok("exec", "--env", "B=2", "--env", "A=3,4", name, "sh", "-c", script).split("\n")
    assert out[:4] == ["7", "8", "/tmp", "3,4 2"], "no comma splits a value"
    out = stele.ok("exec", "-u", "0:5", "-c", "CAP_SYS_TIME", "-c", "net_admin", name, "sh", "-c", script).split("\n")
    assert out[:2] == ["0", "5"]
    for line in out[4:6]:
        assert int(line.split()[1], 16) & (1 << 25 | 1 << 12) == 1 << 25 | 1 << 12
    stele.ok("delete", "-f", name)


def test_exec_in_a_cgroup_below(stele: Runtime, bundle: BundleFactory) -> None:
    """--cgroup [controllers:]path, which must be there; v2 has one hierarchy, so the controllers say nothing."""

    def edit(config: dict[str, Any]) -> None:
        config["mounts"].append({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"})

    name = stele.detached(bundle(SLEEP, edit=edit))
    stele.ok("exec", name, "mkdir", "/sys/fs/cgroup/below")
    for given in ("below", "/below", "cpu,memory:below"):
        assert stele.ok("exec", "--cgroup", given, name, "tail", "-1", "/proc/self/cgroup") == "0::/below\n"
    assert "no such cgroup" in stele("exec", "--cgroup", "nothing", name, "true").stderr
    assert "leaves the container's cgroup" in stele("exec", "--cgroup", "../x", name, "true").stderr
    stele.ok("delete", "-f", name)


def test_a_preserved_fd_that_is_not_there(stele: Runtime, bundle: BundleFactory) -> None:
    done = stele("create", "--preserve-fds", "40", "-b", bundle(SLEEP), stele.id(), stdout=-3)
    assert done.returncode == 1
    assert re.search(r"--preserve-fds 40: file descriptor \d+ is not open", done.stderr)


def test_a_relative_root_and_bundle(stele: Runtime, bundle: BundleFactory) -> None:
    folder, env = bundle(SLEEP), {**os.environ, "PYTHONPATH": os.getcwd()}
    name = stele.id()
    argv = [*stele.argv, "--root", os.path.relpath(stele.root, folder.parent)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([*argv, "create", "-b", folder.name, name], check=True, cwd=folder.parent, env=env, **quiet)
    assert stele.state(name)["bundle"] == str(folder)
    stele.ok("delete", name)


def test_debug_passes_no_word_to_the_container(stele: Runtime, bundle: BundleFactory) -> None:
    done = stele("--debug", "run", "-b", bundle(["sh", "-c", "env; ls /proc/self/fd"]), stele.id())
    assert "STELE" not in done.stdout
    assert done.stdout.endswith("0\n1\n2\n3\n")
    assert done.stderr.startswith("debug: ")
