"""Hooks: all six kinds, their order, what each gets, and what a failure of each does (runtime.md "Lifecycle")."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.harness import leaks
from tests.harness.bundles import BundleFactory
from tests.harness.runtime import Runtime

KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
BY_CREATE, BY_START = KINDS[:3], KINDS[3:5]


def shell(script: str, **more: Any) -> dict[str, Any]:
    return {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"], **more}


def logging(log: Path, failing: str = "", how: str = "exit 3") -> dict[str, Any]:
    """A hook of each kind that notes its name, but startContainer, which cannot see the host's log."""
    hooks = {k: [shell(f"echo {k} >> {log}; {how if k == failing else ''}")] for k in KINDS if k != "startContainer"}
    hooks["startContainer"] = [shell(how if failing == "startContainer" else "true")]
    return {"hooks": hooks}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "log").touch()
    return tmp_path / "log"


@pytest.mark.parametrize("kind", BY_CREATE)
def test_a_hook_that_fails_at_create(
    stele: Runtime, bundle: BundleFactory, leftovers: leaks.Watch, log: Path, kind: str
) -> None:
    """The container is gone, the poststop hooks have run, and none after the one that failed but them."""
    done = stele("create", "-b", bundle(["true"], logging(log, kind)), stele.id(), stdout=-3)
    assert done.returncode == 1
    assert kind in done.stderr or "/bin/sh (index 0)" in done.stderr
    assert "exit status 3" in done.stderr
    assert log.read_text().split() == [*BY_CREATE[: BY_CREATE.index(kind) + 1], "poststop"]
    assert leftovers.left() == []


@pytest.mark.parametrize("kind", BY_START)
def test_a_hook_that_fails_at_start(
    stele: Runtime, bundle: BundleFactory, leftovers: leaks.Watch, log: Path, kind: str
) -> None:
    """start fails, the container is destroyed, and its poststop hooks have run (runtime.md "Lifecycle")."""
    name = stele.create(bundle(["sleep", "1000"], logging(log, kind)))
    pidfd = os.pidfd_open(stele.state(name)["pid"])
    done = stele("start", name)
    assert done.returncode == 1
    assert "exit status 3" in done.stderr
    stele.wait_ended(pidfd, timeout=0)
    assert log.read_text().split()[-1] == "poststop"
    assert "does not exist" in stele("state", name).stderr
    assert leftovers.left() == []


@pytest.mark.parametrize("kind", BY_START)
def test_a_poststop_hook_that_fails_after_another_is_reported_with_it(
    stele: Runtime, bundle: BundleFactory, kind: str
) -> None:
    hooks = {kind: [shell("exit 3")], "poststop": [shell("exit 4")]}
    done = stele("start", stele.create(bundle(["sleep", "1000"], {"hooks": hooks})))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "exit status 3" in done.stderr
    assert "and then hooks.poststop[0] /bin/sh failed: exit status 4" in done.stderr


def test_a_container_that_took_the_id_meanwhile_is_kept(stele: Runtime, bundle: BundleFactory, tmp_path: Path) -> None:
    """The poststart hook itself replaces its container, then fails."""
    other = bundle(["sleep", "1000"])
    script = tmp_path / "replace"
    name = stele.id()
    again = [stele.command("delete", "--force", name), stele.command("create", "-b", other, name)]
    script.write_text(
        "#!/bin/sh\n" + "".join(f"{shlex.join(line)} </dev/null >/dev/null 2>&1\n" for line in again) + "exit 3\n"
    )
    script.chmod(0o755)
    folder = bundle(["sleep", "1000"], {"hooks": {"poststart": [{"path": str(script), "env": ["PATH=/bin:/usr/bin"]}]}})
    stele.ok("create", "-b", folder, name, stdout=-3, stderr=-3)
    assert "exit status 3" in stele("start", name).stderr
    assert stele.state(name)["status"] == "created"
    stele.ok("delete", "--force", name)


def test_a_poststart_hook_that_fails_ends_what_has_no_cgroup(stele: Runtime, bundle: BundleFactory, log: Path) -> None:
    """As in Podman's --cgroups=disabled: the program is killed all the same."""

    def edit(config: dict[str, Any]) -> None:
        del config["linux"]["resources"]

    stele.argv += ["--cgroup-manager=disabled"]
    name = stele.create(bundle(["sleep", "1000"], logging(log, "poststart"), edit=edit))
    pidfd = os.pidfd_open(stele.state(name)["pid"])
    assert "exit status 3" in stele("start", name).stderr
    stele.wait_ended(pidfd, timeout=0)
    assert "does not exist" in stele("state", name).stderr


@pytest.mark.parametrize("kind", KINDS[:5])
def test_run_does_all_of_it(
    stele: Runtime, bundle: BundleFactory, leftovers: leaks.Watch, log: Path, kind: str
) -> None:
    """A hook that fails in `run`, before or after the program begins: nothing is left, and poststop has run."""
    done = stele("run", "-b", bundle(["sleep", "1000"], logging(log, kind)), stele.id(), stdout=-3)
    assert done.returncode == 1
    assert "exit status 3" in done.stderr
    assert log.read_text().split()[-1] == "poststop"
    assert leftovers.left() == []


@pytest.mark.parametrize("command", ["create", "run"])
def test_two_failures_are_one_sentence(stele: Runtime, bundle: BundleFactory, tmp_path: Path, command: str) -> None:
    """The poststop hook fails too: it is told beside the cause, in the one line that callers read."""
    hooks = {"createRuntime": [shell("exit 3")], "poststop": [shell("exit 4")]}
    log = tmp_path / "log.json"
    globals_ = ("--log", log, "--log-format", "json")
    stele(*globals_, command, "-b", bundle(["true"], {"hooks": hooks}), stele.id(), stdout=-3)
    entry = json.loads(log.read_text())
    assert "hooks.createRuntime[0] /bin/sh failed: exit status 3" in entry["msg"]
    assert "and then hooks.poststop[0] /bin/sh failed: exit status 4" in entry["msg"]


def test_a_failed_poststop_hook_is_a_warning_and_the_next_one_runs(
    stele: Runtime, bundle: BundleFactory, log: Path
) -> None:
    hooks = {"poststop": [shell("echo oh no >&2; exit 3"), shell(f"echo second >> {log}")]}
    name = stele.create(bundle(["true"], {"hooks": hooks}))
    done = stele("delete", name)
    assert done.returncode == 0
    assert done.stderr == "warning: hooks.poststop[0] /bin/sh failed: exit status 3: oh no\n"
    assert log.read_text() == "second\n"
    done = stele("run", "-b", bundle(["true"], {"hooks": hooks}), stele.id())
    assert (done.returncode, done.stderr) == (
        0,
        "warning: hooks.poststop[0] /bin/sh failed: exit status 3: oh no\n",
    )


@pytest.mark.parametrize("kind", KINDS[:5])
def test_a_hook_that_does_not_end_is_killed_with_its_children(
    stele: Runtime, bundle: BundleFactory, leftovers: leaks.Watch, kind: str
) -> None:
    hooks = {kind: [shell("trap '' TERM; sleep 1000 & sleep 1000", timeout=1)]}
    done = stele("run", "-b", bundle(["sleep", "1000"], {"hooks": hooks}), stele.id(), stdout=-3)
    assert done.returncode == 1
    assert "did not end within its timeout of 1 s and was killed" in done.stderr
    assert leftovers.left() == []


@pytest.mark.parametrize(
    "script",
    ["yes | head -c 1000000", "head -c 300000 >/dev/null", "exec <&-; true"],
    ids=["more than a pipe holds", "all of a long state", "none of it"],
)
@pytest.mark.parametrize("kind", KINDS[:5])
def test_a_hook_may_read_and_write_as_it_likes(
    stele: Runtime, bundle: BundleFactory, leftovers: leaks.Watch, kind: str, script: str
) -> None:
    changes = {"hooks": {kind: [shell(script, timeout=20)]}, "annotations": {"long": "x" * 200_000}}
    done = stele("run", "-b", bundle(["true"], changes), stele.id(), stdout=-3)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_hook_may_leave_a_process_that_writes_on(stele: Runtime, bundle: BundleFactory) -> None:
    made = bundle(["true"], {"hooks": {"startContainer": [shell("yes & true")]}})
    done = stele("run", "-b", made, stele.id(), stdout=-3, timeout=20)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("script", ["exec yes", "exec sleep 1000"])
@pytest.mark.parametrize("kind", KINDS[:5])
def test_whatever_a_hook_does_its_timeout_holds(
    stele: Runtime, bundle: BundleFactory, leftovers: leaks.Watch, kind: str, script: str
) -> None:
    """It writes without end, or leaves a state document unread that is longer than a pipe holds."""
    changes = {"hooks": {kind: [shell(script, timeout=1)]}, "annotations": {"long": "x" * 200_000}}
    done = stele("run", "-b", bundle(["true"], changes), stele.id(), stdout=-3, timeout=20)
    assert done.returncode == 1
    assert "did not end within its timeout of 1 s and was killed" in done.stderr
    assert "killed: : " not in done.stderr
    assert leftovers.left() == []


@pytest.mark.parametrize("number", ["x", "9" * 30])
def test_a_hook_may_say_what_it_likes(stele: Runtime, bundle: BundleFactory, number: str) -> None:
    words = f"it could not be executed, errno {number}"
    made = bundle(["true"], {"hooks": {"startContainer": [shell(f"echo {words}; exit 3")]}})
    done = stele("run", "-b", made, stele.id(), stdout=-3)
    assert done.stderr == f"stele run failed: hook /bin/sh (index 0) failed: exit status 3: {words}\n"


def test_a_hook_within_its_timeout_is_not_killed(stele: Runtime, bundle: BundleFactory, log: Path) -> None:
    hooks = {k: [shell(f"echo {k} >> {log}" if k != "startContainer" else "true", timeout=60)] for k in KINDS}
    assert stele("run", "-b", bundle(["true"], {"hooks": hooks}), stele.id()).returncode == 0
    assert log.read_text().split() == [k for k in KINDS if k != "startContainer"]


@pytest.mark.parametrize("kind", KINDS[:5])
def test_a_hook_that_is_not_there(stele: Runtime, bundle: BundleFactory, leftovers: leaks.Watch, kind: str) -> None:
    hooks = {kind: [{"path": "/no/such/hook"}]}
    done = stele("run", "-b", bundle(["true"], {"hooks": hooks}), stele.id(), stdout=-3)
    assert done.returncode == 1
    assert "/no/such/hook" in done.stderr
    assert "o such file or directory" in done.stderr
    assert leftovers.left() == []


@pytest.mark.parametrize(
    ("hook", "words"),
    [
        ({"path": "bin/sh"}, ".path: 'bin/sh' is not absolute"),
        ({"path": "/bin/sh", "timeout": 0}, ".timeout: 0 is out of range"),
        ({"path": "/bin/sh", "timeout": -1}, ".timeout"),
        ({"args": ["x"]}, ".path"),
        ({"path": "/bin/sh", "args": ["", "-c", "true"]}, ".args[0]: is empty"),
        ({"path": "/bin/sh", "env": ["A=1", "=2"]}, ".env[1]: '=2' is not NAME=VALUE"),
    ],
    ids=["relative", "timeout-0", "timeout-negative", "no-path", "no-name", "no-variable"],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_hook_that_cannot_be_meant(
    stele: Runtime, bundle: BundleFactory, leftovers: leaks.Watch, kind: str, hook: dict[str, Any], words: str
) -> None:
    """It is said by create, before anything is made, of whichever kind it is."""
    done = stele("create", "-b", bundle(["true"], {"hooks": {kind: [hook]}}), stele.id(), stdout=-3)
    assert done.returncode == 1
    assert f"hooks.{kind}[0]{words}" in done.stderr
    assert leftovers.left() == []


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer", "poststart"])
def test_where_a_hook_runs(stele: Runtime, bundle: BundleFactory, log: Path, kind: str) -> None:
    """In the bundle; all but createContainer in the host's namespaces, that one in the container's, with the host's files
    still there."""
    script = f"for n in pid mnt uts net ipc; do readlink /proc/self/ns/$n; done >> {log}; pwd >> {log}; ls / >> {log}"
    folder = bundle(["sleep", "1000"], {"hooks": {kind: [shell(script)]}})
    name = stele.detached(folder)
    pid = stele.state(name)["pid"]
    found = log.read_text().split()
    host = [os.readlink(f"/proc/self/ns/{n}") for n in ("pid", "mnt", "uts", "net", "ipc")]
    container = [os.readlink(f"/proc/{pid}/ns/{n}") for n in ("pid", "mnt", "uts", "net", "ipc")]
    assert found[:5] == (container if kind == "createContainer" else host)
    assert "boot" in found[6:], "the host's own /"
    assert found[5] == str(folder)
    stele.ok("delete", "--force", name)


def test_a_poststop_hook_runs_in_the_bundle_too(stele: Runtime, bundle: BundleFactory, log: Path) -> None:
    """Wherever `delete` is called; a bundle that is gone by then keeps the hook from nothing."""
    folder = bundle(["true"], {"hooks": {"poststop": [shell(f"pwd >> {log}")]}})
    stele.ok("delete", stele.create(folder), cwd="/")
    name = stele.create(folder)
    folder.rename(folder.with_name("gone"))
    stele.ok("delete", name, cwd="/")
    assert log.read_text().split() == [str(folder), "/"]


SHOWN = "grep -E '^(Uid|CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status; umask; pwd"


@pytest.mark.parametrize("no_new_privileges", [True, False], ids=["no-new-privileges", "with"])
def test_a_start_container_hook_is_confined_as_the_process_is(
    stele: Runtime, bundle: BundleFactory, *, no_new_privileges: bool
) -> None:
    """It is the image's program that runs: with the process's user, capabilities, filter, umask and directory."""
    hook = shell(f"{{ {SHOWN}; }} >/tmp/hook")
    process = {
        "user": {"uid": 1000, "gid": 1000, "umask": 0o027},
        "cwd": "/home",
        "noNewPrivileges": no_new_privileges,
        "capabilities": {"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"]},
    }
    changes = {"process": process, "hooks": {"startContainer": [hook]}}
    folder = bundle(["sh", "-c", f"cat /tmp/hook; {SHOWN}"], changes, seccomp=True)
    told, shown = stele.ok("run", "-b", folder, stele.id()).split("/home\n")[:2]
    assert told == shown
    assert "Uid:\t1000" in told and "Seccomp:\t2" in told and "0027" in told


@pytest.mark.parametrize("env", [None, ["A=own"]], ids=["absent", "its own"])
def test_a_start_container_hook_has_the_environment_of_the_process(
    stele: Runtime, bundle: BundleFactory, env: list[str] | None
) -> None:
    hook = {"path": "/bin/sh", "args": ["sh", "-c", "echo $A >/seen"], **({"env": env} if env else {})}
    changes = {"process": {"env": ["PATH=/bin", "A=image"]}, "hooks": {"startContainer": [hook]}}
    assert stele.ok("run", "-b", bundle(["cat", "/seen"], changes), stele.id()) == ("own\n" if env else "image\n")


def test_what_a_create_container_hook_makes_is_not_for_all_to_write(
    stele: Runtime, bundle: BundleFactory, tmp_path: Path
) -> None:
    stele.ok(
        "delete", stele.create(bundle(["true"], {"hooks": {"createContainer": [shell(f"umask >{tmp_path}/log")]}}))
    )
    assert (tmp_path / "log").read_text() == "0022\n"


def test_prestart_hooks_can_still_mount_into_the_root(stele: Runtime, bundle: BundleFactory, tmp_path: Path) -> None:
    """What NVIDIA's and others' hooks do: enter the container's mount namespace by its pid before pivot_root."""
    (tmp_path / "given").write_text("given\n")
    folder = bundle(["cat", "/tmp/given"])
    config = json.loads((folder / "config.json").read_text())
    (folder / "rootfs/tmp/given").touch()
    target = f"{folder}/rootfs/tmp/given"
    script = f"pid=$(sed 's/.*\"pid\": \\([0-9]*\\).*/\\1/'); nsenter -t $pid -m mount --bind {tmp_path}/given {target}"
    config["hooks"] = {"createRuntime": [shell(script)]}
    (folder / "config.json").write_text(json.dumps(config))
    done = stele("run", "-b", folder, stele.id())
    assert (done.returncode, done.stdout) == (0, "given\n"), done.stderr
    assert (folder / "rootfs/tmp/given").read_text() == ""


def test_many_hooks_of_a_kind_run_in_their_order(stele: Runtime, bundle: BundleFactory, log: Path) -> None:
    hooks = {k: [shell(f"echo {k}{i} >> {log}") for i in range(3)] for k in KINDS if k != "startContainer"}
    hooks["startContainer"] = [shell(f"echo {i} >> /tmp/order") for i in range(3)]
    done = stele("run", "-b", bundle(["cat", "/tmp/order"], {"hooks": hooks}), stele.id())
    assert done.stdout.split() == ["0", "1", "2"]
    assert log.read_text().split() == [f"{k}{i}" for k in KINDS if k != "startContainer" for i in range(3)]
