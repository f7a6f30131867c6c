"""What Podman and conmon run and read. tests/callers_local has conmon itself; Podman is tested in a machine of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.harness.bundles import BundleFactory
from tests.harness.runtime import Runtime

SLEEP = ["/bin/sleep", "1000"]
NOT_PERMITTED = re.compile(r"permission denied|operation not permitted", re.IGNORECASE)
NOT_FOUND = re.compile(r"executable file not found in|no such file or directory|open executable", re.IGNORECASE)


def test_a_life(stele: Runtime, bundle: BundleFactory, tmp_path: Path) -> None:
    """conmon: --log-format=json --log F create; Podman itself: start, kill, pause, resume, update, delete without a log."""
    folder, name, pid_file = bundle(SLEEP), stele.id(), tmp_path / "pidfile"
    globals_ = ("--log-format=json", "--log", tmp_path / "oci-log")
    with (tmp_path / "out").open("w") as out:
        done = stele(
            *globals_, "create", "--bundle", folder, "--pid-file", pid_file, "--no-pivot", "--no-new-keyring", name,
            stdout=out, stderr=out,
        )  # fmt: skip
    assert done.returncode == 0
    pid = int(pid_file.read_text())
    stele.ok("start", name)
    stele.ok("pause", name)
    stele.ok("resume", name)
    (tmp_path / "resources").write_text(json.dumps({"hugepageLimits": [{"pageSize": "2MB", "limit": 2 << 20}]}))
    stele.ok("update", f"--resources={tmp_path / 'resources'}", name)
    stele.ok("kill", "--all", name, "15")
    stele.ok("kill", name, "9")
    os.waitpid(pid, 0)
    assert stele("kill", "--all", name, "9").returncode == 0
    stele.ok("delete", "--force", name)


@pytest.mark.parametrize(
    ("args", "expression"),
    [
        (["nothere"], NOT_FOUND),
        (["/no/where"], NOT_FOUND),
        (["/etc/passwd"], NOT_PERMITTED),
    ],
)
def test_the_log_is_one_object_that_podman_classifies(
    stele: Runtime, bundle: BundleFactory, tmp_path: Path, args: list[str], expression: re.Pattern[str]
) -> None:
    """json.Unmarshal of the whole file: a second line, a warning for instance, would lose the message."""
    log = tmp_path / "oci-log"
    capabilities = {name: ["CAP_FLY", "CAP_KILL"] for name in ("bounding", "permitted", "effective")}
    folder = bundle(args, {"process": {"capabilities": capabilities}})
    done = stele("--log-format=json", "--log", log, "create", "--bundle", folder, stele.id(), stdout=-3)
    assert done.returncode == 1
    entry = json.loads(log.read_text())
    assert entry["level"] == "error"
    assert expression.search(entry["msg"])
    other = NOT_FOUND if expression is NOT_PERMITTED else NOT_PERMITTED
    assert not other.search(entry["msg"])
    assert done.stderr == entry["msg"] + "\n"


def test_what_cannot_be_given_is_a_warning_once_all_is_made(
    stele: Runtime, bundle: BundleFactory, tmp_path: Path
) -> None:
    """config.md: a capability that cannot be granted must be told as a warning, and should not be a failure."""
    log = tmp_path / "log"
    capabilities = {"bounding": ["CAP_FLY"]}
    name = stele.id()
    folder = bundle(SLEEP, {"process": {"capabilities": capabilities}})
    with (tmp_path / "err").open("w") as err:
        done = stele("--log-format=json", "--log", log, "create", "--bundle", folder, name, stdout=err, stderr=err)
    assert (done.returncode, (tmp_path / "err").read_text()) == (0, "")
    entry = json.loads(log.read_text())
    assert (entry["level"], "CAP_FLY" in entry["msg"]) == ("warning", True)
    stele.ok("delete", "-f", name)


def test_the_probes_for_checkpoint(stele: Runtime) -> None:
    """`checkpoint --help` must exit 0 where it is offered; `restore --lsm-mount-context` then misses an argument."""
    assert stele("checkpoint", "--help").returncode != 0
    done = stele("restore", "--lsm-mount-context")
    assert done.returncode != 0
    assert not re.search(r"flag needs an argument|requires an argument", done.stdout + done.stderr)


def test_no_cgroups(stele: Runtime, bundle: BundleFactory) -> None:
    """podman run --cgroups=disabled, where containers.conf names stele in runtime_supports_nocgroups."""

    def edit(config: dict[str, Any]) -> None:
        config["linux"].pop("resources", None)

    folder, name = bundle(["cat", "/proc/self/cgroup"], edit=edit), stele.id()
    done = stele("--cgroup-manager", "disabled", "run", "--bundle", folder, name)
    assert done.returncode == 0, done.stderr
    assert stele.token not in done.stdout


def test_ps_without_a_cgroup_shows_init(stele: Runtime, bundle: BundleFactory) -> None:
    stele.argv += ["--cgroup-manager=disabled"]
    name = stele.detached(bundle(["sleep", "1000"], edit=lambda config: config["linux"].pop("resources", None)))
    assert json.loads(stele.ok("ps", "-f", "json", name)) == [stele.state(name)["pid"]]
    stele.ok("delete", "-f", name)


def test_an_exec_of_conmon(stele: Runtime, bundle: BundleFactory, tmp_path: Path) -> None:
    """exec --pid-file P --process F --detach ID, and conmon-rs' exec -d --pid-file=P ID cmd... with -t and a console."""
    name = stele.detached(bundle(SLEEP))
    process = {"args": ["sleep", "1000"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}}
    (tmp_path / "process").write_text(json.dumps(process))
    pids = []
    with (tmp_path / "out").open("w") as out:
        for i, words in enumerate((
            ["--process", str(tmp_path / "process"), "--detach", name],
            ["-d", name, "sleep", "1000"],
        )):  # fmt: skip
            stele.ok("exec", f"--pid-file={tmp_path / str(i)}", *words, stdout=out, stderr=out)
            pids.append(int((tmp_path / str(i)).read_bytes()))
    for pid in pids:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    stele.ok("delete", "-f", name)


def test_the_runtime_dies_with_conmon_and_leaves_no_half_container(
    stele: Runtime, bundle: BundleFactory, tmp_path: Path
) -> None:
    """conmon sets PDEATHSIG=SIGKILL: killed in a hook, create leaves what `delete --force` removes entirely."""
    (tmp_path / "hook").write_text(f"#!/bin/sh\necho $$ > {tmp_path}/begun\nexec sleep 1000\n")
    (tmp_path / "hook").chmod(0o755)
    os.mkfifo(tmp_path / "begun")
    folder = bundle(
        SLEEP, {"hooks": {"createRuntime": [{"path": str(tmp_path / "hook"), "env": ["PATH=/bin:/usr/bin"]}]}}
    )
    name = stele.id()
    creating = subprocess.Popen(
        stele.command("create", "-b", folder, name), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    hook = int((tmp_path / "begun").read_text())
    creating.kill()
    creating.wait()
    os.kill(hook, 9)  # a process of the host's, which nobody but its author knows how to end
    os.waitpid(hook, 0)
    assert stele.state(name)["status"] in ("creating", "stopped")
    stele.ok("delete", "--force", name)
