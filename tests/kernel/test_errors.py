"""What a user can do wrong: one sentence, the right exit code, the log line that callers parse, and nothing left."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.harness import cgroup2, leaks
from tests.harness.bundles import BundleFactory
from tests.harness.runtime import Runtime

SLEEP = ["sleep", "1000"]


def refused(stele: Runtime, folder: Path, log: Path, *words: str, leftovers: leaks.Watch) -> str:
    """`create` fails with one sentence, which is on stderr and in the log; returns it."""
    done = stele("--log", log, "--log-format", "json", "create", "-b", folder, stele.id(), stdout=-3)
    assert done.returncode == 1
    lines = log.read_text().splitlines()
    assert len(lines) == 1
    entry = json.loads(lines[0])
    assert entry["level"] == "error"
    assert entry["msg"] == done.stderr.strip()
    assert "\n" not in entry["msg"]
    for word in words:
        assert word in entry["msg"], entry["msg"]
    assert leftovers.left() == []
    return str(entry["msg"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param(
            {"process": {"args": ["nothere"]}}, ['"nothere"', "executable file not found in $PATH"], id="not-in-path"
        ),
        pytest.param(
            {"process": {"args": ["/no/where"]}}, ['"/no/where"', "no such file or directory"], id="no-such-file"
        ),
        pytest.param(
            {"process": {"args": ["/etc"]}}, ['"/etc"', "permission denied", "is a directory"], id="a-directory"
        ),
        pytest.param(
            {"process": {"args": ["/etc/passwd"]}}, ['"/etc/passwd"', "permission denied"], id="not-executable"
        ),
        pytest.param(
            {"process": {"cwd": "/etc/passwd"}}, ["process.cwd", "/etc/passwd", "not a directory"], id="cwd-a-file"
        ),
        pytest.param({"process": {"user": {"uid": "x"}}}, ["process.user.uid", "must be an integer"], id="wrong-type"),
        pytest.param({"root": {"path": "nowhere"}}, ["root.path", "no such file or directory"], id="rootfs-missing"),
        pytest.param(
            {"mounts": [{"destination": "/d", "source": "/not/there", "options": ["bind"]}]},
            ["mounts[0].destination", '"/not/there"', "no such file or directory"],
            id="bind-source-missing",
        ),
        pytest.param(
            {"mounts": [{"destination": "/d", "type": "nofs", "source": "x"}]},
            ["mounts[0]", "nofs", "does not know this file system"],
            id="unknown-file-system",
        ),
        pytest.param(
            {"mounts": [{"destination": "/d", "type": "tmpfs", "options": ["nonsense=1"]}]},
            ["mounts[0]", "nonsense"],
            id="bad-mount-option",
        ),
        pytest.param(
            {"linux": {"namespaces": [{"type": "mount"}, {"type": "uts", "path": "/not/there"}]}},
            ["linux.namespaces[1].path", "/not/there", "no such file"],
            id="namespace-path-missing",
        ),
        pytest.param(
            {"linux": {"namespaces": [{"type": "mount"}, {"type": "uts", "path": "/etc/passwd"}]}},
            ["linux.namespaces[1].path", "is not a namespace"],
            id="no-namespace",
        ),
        pytest.param(
            {"linux": {"namespaces": [{"type": "uts"}, {"type": "network", "path": "/etc/passwd"}, {"type": "mount"}]}},
            ["is not a namespace; use a file such as /proc/PID/ns/net"],
            id="no-network-namespace",
        ),
        pytest.param(
            {"linux": {"resources": {"network": {"classID": 5}}}}, ["linux.resources.network.classID"], id="v1-only"
        ),
        pytest.param({"linux": {"sysctl": {"net.no.such": "1"}}}, ["net", "no such file"], id="sysctl-missing"),
        pytest.param(
            {"linux": {"intelRdt": {"closID": "x"}}},
            ["linux.intelRdt: no resctrl file system is mounted on /sys/fs/resctrl"],
            id="no-resctrl",
        ),
    ],
)
def test_a_bad_config(
    stele: Runtime,
    bundle: BundleFactory,
    tmp_path: Path,
    leftovers: leaks.Watch,
    changes: dict[str, Any],
    words: list[str],
) -> None:
    refused(stele, bundle(SLEEP, changes), tmp_path / "log", *words, leftovers=leftovers)


def test_a_limit_without_its_controller(
    stele: Runtime, bundle: BundleFactory, tmp_path: Path, leftovers: leaks.Watch
) -> None:
    """The limit is set where the kernel lends cgroup v2 its controller; elsewhere its field is named, and nothing is left."""
    made = bundle(["cat", "/sys/fs/cgroup/pids.max"], {"linux": {"resources": {"pids": {"limit": 77}}}})
    if "pids" in cgroup2.controllers():
        assert stele.ok("run", "-b", made, stele.id()) == "77\n"
    else:
        words = ["linux.resources.pids.limit", 'needs the cgroup controller "pids"']
        refused(stele, made, tmp_path / "log", *words, leftovers=leftovers)


def test_a_missing_bundle(stele: Runtime, tmp_path: Path, leftovers: leaks.Watch) -> None:
    refused(stele, tmp_path / "none", tmp_path / "log", "bundle", "no such file or directory", leftovers=leftovers)


def test_a_bundle_without_config(stele: Runtime, tmp_path: Path, leftovers: leaks.Watch) -> None:
    (tmp_path / "b").mkdir()
    refused(stele, tmp_path / "b", tmp_path / "log", "config.json", "no such file or directory", leftovers=leftovers)


def test_broken_json(stele: Runtime, bundle: BundleFactory, tmp_path: Path, leftovers: leaks.Watch) -> None:
    folder = bundle(SLEEP)
    (folder / "config.json").write_text('{"ociVersion": "1.2.0",\n  oops')
    refused(stele, folder, tmp_path / "log", "not valid JSON", "line 2 column 3", leftovers=leftovers)


def test_a_config_that_is_a_directory(
    stele: Runtime, bundle: BundleFactory, tmp_path: Path, leftovers: leaks.Watch
) -> None:
    folder = bundle(SLEEP)
    (folder / "config.json").unlink()
    (folder / "config.json").mkdir()
    refused(stele, folder, tmp_path / "log", 'config.json" is not a regular file', leftovers=leftovers)


def test_a_pid_file_that_cannot_be_written(
    stele: Runtime, bundle: BundleFactory, tmp_path: Path, leftovers: leaks.Watch
) -> None:
    """Nothing of it is left either."""
    (tmp_path / "pids/p").mkdir(parents=True)
    done = stele("create", "--pid-file", tmp_path / "pids/p", "-b", bundle(SLEEP), stele.id(), stdout=-3)
    assert done.returncode == 1
    assert f'--pid-file "{tmp_path}/pids/p": cannot write it: Is a directory' in done.stderr
    assert os.listdir(tmp_path / "pids") == ["p"]
    assert leftovers.left() == []


def test_a_pid_file_that_was_left_half_written(stele: Runtime, bundle: BundleFactory, tmp_path: Path) -> None:
    """By a creator that was killed: runc then refuses that pid file until somebody removes what it left."""
    (tmp_path / ".pid").write_text("12")
    name = stele.create(bundle(SLEEP), "c", "--pid-file", tmp_path / "pid")
    assert (tmp_path / "pid").read_text() == str(stele.state(name)["pid"])
    assert not (tmp_path / ".pid").exists()
    stele.ok("delete", "-f", name)


def test_a_terminal_without_a_console_socket(
    stele: Runtime, bundle: BundleFactory, tmp_path: Path, leftovers: leaks.Watch
) -> None:
    refused_text = stele("create", "-b", bundle(SLEEP, terminal=True), stele.id(), stdout=-3)
    assert refused_text.returncode == 1
    assert "--console-socket" in refused_text.stderr
    assert leftovers.left() == []


def test_a_console_socket_that_nobody_has(
    stele: Runtime, bundle: BundleFactory, tmp_path: Path, leftovers: leaks.Watch
) -> None:
    done = stele(
        "create", "--console-socket", tmp_path / "no", "-b", bundle(SLEEP, terminal=True), stele.id(), stdout=-3
    )
    assert done.returncode == 1
    assert "--console-socket" in done.stderr and "no such file" in done.stderr.lower()
    assert leftovers.left() == []


def test_a_console_socket_gets_the_master(stele: Runtime, bundle: BundleFactory, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "console"))
        listener.listen(1)
        name = stele.create(
            bundle(["sh", "-c", "echo on the terminal"], terminal=True), "c", "--console-socket", tmp_path / "console"
        )
        connection, _ = listener.accept()
        with connection:
            _, fds, _, _ = socket.recv_fds(connection, 100, 1)
    stele.ok("start", name)
    assert os.read(fds[0], 100).startswith(b"on the terminal")
    os.close(fds[0])
    stele.wait_stopped(name)
    stele.ok("delete", name)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("#!/no/interpreter\n", 'its interpreter "/no/interpreter" is missing'),
        ("#!/bin/sh\r\necho x\r\n", "carriage return"),
        ("just text\n", "exec format error"),
    ],
    ids=["interpreter", "crlf", "format"],
)
def test_why_a_script_does_not_execute(stele: Runtime, bundle: BundleFactory, content: str, words: str) -> None:
    folder = bundle(["/bin/script"])
    (folder / "rootfs/bin/script").write_text(content)
    (folder / "rootfs/bin/script").chmod(0o755)
    done = stele("run", "-b", folder, stele.id())
    assert done.returncode == 1
    assert words in done.stderr


def test_a_dynamic_program_without_its_loader(stele: Runtime, bundle: BundleFactory) -> None:
    folder = bundle(["/bin/dynamic"])
    (folder / "rootfs/bin/dynamic").write_bytes(Path("/bin/cat").read_bytes())
    (folder / "rootfs/bin/dynamic").chmod(0o755)
    done = stele("run", "-b", folder, stele.id())
    assert done.returncode == 1
    assert "its dynamic loader" in done.stderr and "is missing in the container" in done.stderr


def test_a_program_of_another_machine(stele: Runtime, bundle: BundleFactory) -> None:
    folder = bundle(["/bin/other"])
    program = bytearray(Path("/bin/busybox").read_bytes())
    program[18:20] = (0xF3).to_bytes(2, "little")  # EM_RISCV
    (folder / "rootfs/bin/other").write_bytes(program)
    (folder / "rootfs/bin/other").chmod(0o755)
    done = stele("run", "-b", folder, stele.id())
    assert done.returncode == 1
    assert "built for another machine" in done.stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"#!/no/interpreter\n", 'its interpreter "/no/interpreter" is missing'),
        (b"#!/bin/sh\r\necho x\r\n", "carriage return"),
        (b"just text\n", "exec format error"),
        (None, "no such file or directory"),
    ],
    ids=["interpreter", "crlf", "format", "missing"],
)
def test_exec_says_why_too(stele: Runtime, bundle: BundleFactory, content: bytes | None, words: str) -> None:
    """The same explanations for what exec adds; its own failure is 255."""
    folder = bundle(SLEEP)
    name = stele.detached(folder)
    if content is not None:
        (folder / "rootfs/bin/script").write_bytes(content)
        (folder / "rootfs/bin/script").chmod(0o755)
    done = stele("exec", name, "/bin/script")
    assert done.returncode == 255
    assert done.stderr.startswith('exec failed: exec: "/bin/script": ')
    assert words in done.stderr
    stele.ok("delete", "-f", name)


HUNGRY = ["tail", "-c", "50000000", "/dev/zero"]  # keeps them all


@pytest.mark.parametrize(("limit", "command"), [(2 << 20, ["/bin/true"]), (4 << 20, HUNGRY)], ids=["small", "hungry"])
def test_too_little_memory_says_so(stele: Runtime, bundle: BundleFactory, limit: int, command: list[str]) -> None:
    """A container of 2 MiB starts; one whose program needs more than it has says that, not "broken pipe".

    Where the kernel lends cgroup v2 no memory controller, that is what is said.
    """
    resources = {"memory": {"limit": limit, "swap": limit}}
    done = stele("run", "-b", bundle(command, {"linux": {"resources": resources}}), stele.id())
    if "memory" not in cgroup2.controllers():
        assert 'linux.resources.memory.limit: needs the cgroup controller "memory"' in done.stderr
    elif command == HUNGRY:
        assert done.returncode != 0
        assert "the OOM killer ended the container" in done.stderr
    else:
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("no_new_privileges", [True, False], ids=["no-new-privileges", "with"])
def test_a_filter_that_allows_nothing(
    stele: Runtime, bundle: BundleFactory, leftovers: leaks.Watch, *, no_new_privileges: bool
) -> None:
    """Not even to end: init neither hangs nor turns for ever."""
    seccomp = {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38}
    process = {"noNewPrivileges": no_new_privileges}
    done = stele("run", "-b", bundle(["true"], {"process": process, "linux": {"seccomp": seccomp}}), stele.id())
    assert done.returncode == 1
    assert done.stderr.startswith("stele run failed: init was killed by SIGILL before it could execute the program")
    assert [left for left in leftovers.left() if ".cache" not in left] == []


def test_exec_of_a_missing_program_is_255(stele: Runtime, bundle: BundleFactory) -> None:
    name = stele.detached(bundle(SLEEP))
    done = stele("exec", name, "nothere")
    assert done.returncode == 255
    assert done.stderr.startswith('exec failed: exec: "nothere": executable file not found in $PATH')
    stele.ok("delete", "-f", name)


def test_checkpoint_is_not_offered(stele: Runtime) -> None:
    for command in ("checkpoint", "restore"):
        done = stele(command, "x")
        assert done.returncode == 1
        assert "not offered" in done.stderr


def test_a_program_on_a_noexec_mount(stele: Runtime, bundle: BundleFactory) -> None:
    """ "chmod +x" would be no help: the mount forbids it."""
    mount = {"destination": "/bin", "type": "bind", "source": "rootfs/bin", "options": ["bind", "noexec"]}
    done = stele("run", "-b", bundle(["/bin/busybox"], edit=lambda c: c["mounts"].append(mount)), stele.id())
    assert done.returncode == 1
    assert 'exec: "/bin/busybox": permission denied: the file system that it is on is mounted noexec' in done.stderr
