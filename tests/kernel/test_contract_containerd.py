"""What containerd's shim and Docker run, argument by argument (go-runc), and what they read from it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.harness.bundles import BundleFactory
from tests.harness.runtime import Runtime

SLEEP = ["/bin/sleep", "1000"]
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


class Shim:
    """One container as containerd-shim-runc-v2 sees it: --root of a namespace, the log in the bundle, stdio in fifos."""

    def __init__(self, stele: Runtime, folder: Path) -> None:
        self.stele, self.folder, self.name = stele, folder, stele.id()
        self.log = folder / "log.json"

    def __call__(self, *args: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
        return self.stele("--log", self.log, "--log-format", "json", *args, **more)

    def create(self, *flags: str | Path) -> subprocess.CompletedProcess[str]:
        with (self.folder / "out").open("w") as out:
            return self(
                "create", "--bundle", self.folder, "--pid-file", self.folder / "init.pid", *flags, self.name,
                stdout=out, stderr=out,
            )  # fmt: skip

    def last_error(self) -> str:
        """go-runc's getLastRuntimeError: a stream of JSON objects; the last of level "error", its time well-formed."""
        message, rest, decoder = "", self.log.read_text(), json.JSONDecoder()
        while rest.strip():
            entry, end = decoder.raw_decode(rest.lstrip())
            rest = rest.lstrip()[end:]
            assert RFC3339.fullmatch(entry["time"])
            if entry["level"] == "error":
                message = entry["msg"]
        return message


@pytest.fixture
def shim(stele: Runtime, bundle: BundleFactory) -> Any:
    def make(args: list[str], changes: dict[str, Any] | None = None, **more: Any) -> Shim:
        return Shim(stele, bundle(args, changes, **more))

    return make


def test_a_life(shim: Any) -> None:
    """create, start, ps, pause, resume, update, exec, kill, delete: the words of the shim."""
    one = shim(SLEEP)
    assert one.create().returncode == 0
    pid = int((one.folder / "init.pid").read_text())  # strconv.Atoi on the raw bytes: no newline
    assert (one.folder / "init.pid").read_bytes() == b"%d" % pid
    assert one("start", one.name).returncode == 0
    assert json.loads(one("ps", "--format", "json", one.name).stdout) == [pid]
    assert one("pause", one.name).returncode == 0
    assert one("resume", one.name).returncode == 0
    limits = json.dumps({"hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}]})
    assert one("update", "--resources=-", one.name, input=limits).returncode == 0
    process = {"args": ["sleep", "1000"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}}
    (one.folder / "process").write_text(json.dumps(process))
    with (one.folder / "exec.out").open("w") as out:
        done = one(
            "exec", "--process", one.folder / "process", "--detach", "--pid-file", one.folder / "e1.pid", one.name,
            stdout=out, stderr=out,
        )  # fmt: skip
    assert done.returncode == 0
    second = int((one.folder / "e1.pid").read_bytes())
    assert json.loads(one("ps", "--format", "json", one.name).stdout) == sorted([pid, second])
    os.kill(second, signal.SIGKILL)  # the shim kills an exec'd process itself
    assert os.waitpid(second, 0)[1] == signal.SIGKILL, "and is its parent"
    assert one("kill", one.name, "9").returncode == 0
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL, "and of the first one too, being the subreaper"
    assert one("delete", one.name).returncode == 0
    assert not one.log.exists() or one.log.read_text() == ""


def test_the_flags_of_create(shim: Any) -> None:
    one = shim(SLEEP)
    assert one.create("--no-pivot", "--no-new-keyring", "--preserve-fds", "0").returncode == 0
    assert one("delete", "--force", one.name).returncode == 0


def test_a_terminal_and_a_pidfd(shim: Any, tmp_path: Path) -> None:
    """--console-socket and --pidfd-socket: each gets one fd over one connection."""
    one = shim(["sh", "-c", "tty"], terminal=True)
    with socket.socket(socket.AF_UNIX) as console, socket.socket(socket.AF_UNIX) as pidfds:
        for listener, name in ((console, "console"), (pidfds, "pidfd")):
            listener.bind(str(tmp_path / name))
            listener.listen(1)
        done = one.create("--console-socket", tmp_path / "console", "--pidfd-socket", tmp_path / "pidfd")
        assert done.returncode == 0, (one.folder / "out").read_text()
        connection, _ = console.accept()
        with connection:
            message, (master,), _, _ = socket.recv_fds(connection, 4096, 1)
            assert message == b"/dev/pts/ptmx", "runc's name of it"
            assert connection.recv(1) == b""
        connection, _ = pidfds.accept()
        with connection:
            _, (pidfd,), _, _ = socket.recv_fds(connection, 4096, 1)
    pid = int((one.folder / "init.pid").read_bytes())
    info = Path(f"/proc/self/fdinfo/{pidfd}").read_text()
    assert re.search(rf"^Pid:\s+{pid}$", info, re.MULTILINE)
    assert one("start", one.name).returncode == 0
    one.stele.wait_ended(pidfd)
    assert os.read(master, 100).startswith(b"/dev/")
    os.close(master)
    assert one("delete", one.name).returncode == 0


def test_an_exec_with_a_terminal_and_a_pidfd(shim: Any, tmp_path: Path) -> None:
    one = shim(SLEEP)
    one.create()
    one("start", one.name)
    process = {
        "args": ["sh", "-c", "stty size"], "cwd": "/", "env": ["PATH=/bin"], "terminal": True,
        "consoleSize": {"height": 11, "width": 22}, "user": {"uid": 0, "gid": 0},
    }  # fmt: skip
    (one.folder / "process").write_text(json.dumps(process))
    with socket.socket(socket.AF_UNIX) as console, socket.socket(socket.AF_UNIX) as pidfds:
        for listener, name in ((console, "console"), (pidfds, "pidfd")):
            listener.bind(str(tmp_path / name))
            listener.listen(1)
        done = one(
            "exec", "--process", one.folder / "process", "--console-socket", tmp_path / "console",
            "--pidfd-socket", tmp_path / "pidfd", "--detach", "--pid-file", one.folder / "e.pid", one.name,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        connection, _ = console.accept()
        with connection:
            _, (master,), _, _ = socket.recv_fds(connection, 4096, 1)
        connection, _ = pidfds.accept()
        with connection:
            _, (pidfd,), _, _ = socket.recv_fds(connection, 4096, 1)
    one.stele.wait_ended(pidfd)
    os.waitpid(int((one.folder / "e.pid").read_bytes()), 0)
    assert os.read(master, 100) == b"11 22\r\n"
    os.close(master)
    assert one("delete", "--force", one.name).returncode == 0


def test_the_crash_cleanup_knows_the_cgroup_manager_by_itself(shim: Any) -> None:
    """`delete --force` comes without --systemd-cgroup, without a log, and for containers that are not there."""
    one = shim(SLEEP)
    one.create()
    one("start", one.name)
    assert one.stele("delete", "--force", one.name).returncode == 0
    assert one.stele("delete", "--force", one.name).returncode == 0


def test_words_that_the_shim_looks_for(shim: Any) -> None:
    """kill: "container not running" or "does not exist"; delete: "does not exist" (process/utils.go, init.go)."""
    one = shim(["true"])
    assert "does not exist" in one("kill", one.name, "9").stderr
    assert "does not exist" in one("delete", one.name).stderr
    assert "does not exist" in one.last_error()
    one.create()
    one("start", one.name)
    one.stele.wait_stopped(one.name)
    done = one("kill", one.name, "9")
    assert (done.returncode, "container not running" in done.stderr) == (1, True)
    assert one("kill", "--all", one.name, "9").returncode == 0
    assert one("delete", one.name).returncode == 0


@pytest.mark.parametrize(
    ("args", "words", "code"),
    [
        (["nothere"], "executable file not found", 127),
        (["/no/where"], "no such file or directory", 127),
        (["/etc"], "is a directory", 126),
        (["/etc/passwd"], "permission denied", 126),
    ],
)
def test_dockers_exit_codes_follow_from_the_words(shim: Any, args: list[str], words: str, code: int) -> None:
    """moby's daemon/errors.go, on the lower-cased text: 126 words first, then 127."""
    one = shim(args)
    assert one.create().returncode == 1
    message = one.last_error()
    assert words in message.lower()
    found = 126 if any(w in message.lower() for w in ("permission denied", "is a directory")) else 127
    assert found == code
    assert (one.folder / "out").read_text() == message + "\n", "the same text on stderr"
    assert not (one.folder / "init.pid").exists()


def test_a_file_on_a_directory_is_the_mount_hint(shim: Any, tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    mounts = [{"destination": "/tmp", "source": str(tmp_path / "f"), "type": "bind", "options": ["rbind"]}]
    one = shim(["true"], {"mounts": mounts})
    assert one.create().returncode == 1
    assert "not a directory" in one.last_error()
    assert "no such file" not in one.last_error()


def test_the_errors_of_exec(shim: Any) -> None:
    """A failure of exec itself is 255; no pid file tells conmon and the shim that nothing runs."""
    one = shim(SLEEP)
    one.create()
    one("start", one.name)
    for args, words in ((["nothere"], "executable file not found"), (["/etc/passwd"], "permission denied")):
        process = {"args": args, "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}}
        (one.folder / "process").write_text(json.dumps(process))
        done = one(
            "exec", "--process", one.folder / "process", "--detach", "--pid-file", one.folder / "e.pid", one.name
        )
        assert done.returncode == 255
        assert done.stderr == one.last_error() + "\n"
        assert one.last_error().startswith("exec failed: ")
        assert words in one.last_error()
        assert not (one.folder / "e.pid").exists()
    assert one("delete", "--force", one.name).returncode == 0


def test_an_exec_that_comes_too_late(shim: Any) -> None:
    """A probe of Kubernetes', say: the container ends after exec has looked, and before it joins. That is what is told."""
    one = shim(SLEEP)
    one.create()
    one("start", one.name)
    os.mkfifo(one.folder / "process")
    program = {"args": ["true"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}}
    with ThreadPoolExecutor() as pool:
        late = pool.submit(one, "exec", "--process", one.folder / "process", "--detach", one.name)
        with (one.folder / "process").open("w") as process:  # which exec opens when it has found the container running
            assert one("kill", one.name, "9").returncode == 0
            os.waitpid(int((one.folder / "init.pid").read_text()), 0)
            process.write(json.dumps(program))
        assert late.result().returncode == 255
    assert one.last_error() == f'exec failed: cannot exec in a stopped container: container not running: "{one.name}"'
    assert one("delete", one.name).returncode == 0


def test_restore_and_checkpoint_say_that_they_are_not_offered(shim: Any) -> None:
    one = shim(SLEEP)
    images = one.folder / "images"
    for words in (
        ["checkpoint", "--image-path", images, "--work-path", images, "--tcp-established", "--ext-unix-sk",
         "--shell-job", "--file-locks", "--empty-ns", "network", "--leave-running", one.name],
        ["restore", "--image-path", images, "--detach", "--pid-file", one.folder / "p", "--no-pivot", "-no-subreaper",
         "--bundle", one.folder, one.name],
    ):  # fmt: skip
        assert one(*words).returncode == 1
        assert "not offered by stele" in one.last_error()


def test_features_are_one_document(stele: Runtime) -> None:
    """Called as `<abs binary> features` without globals; containerd takes `linux` for granted and reads idmap and rro."""
    done = subprocess.run([*stele.argv, "features"], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    document = json.loads(done.stdout)
    assert document["ociVersionMin"] and document["ociVersionMax"]
    assert "rro" in document["mountOptions"]
    assert "user" in document["linux"]["namespaces"]
    assert document["linux"]["mountExtensions"]["idmap"]["enabled"] is True
    assert done.stdout.startswith('{\n    "ociVersionMin"'), "indented by four, as runc's"


def test_version_lines(stele: Runtime) -> None:
    """moby's parseRuntimeVersion: lines of "NAME version X" and "key: value"."""
    done = subprocess.run([*stele.argv, "--version"], capture_output=True, text=True, check=True)
    first, *others = done.stdout.splitlines()
    assert re.fullmatch(r"stele version \S+", first)
    assert all(re.fullmatch(r"\w+: \S+", line) for line in others)


def test_a_wrapper_with_arguments(stele: Runtime, bundle: BundleFactory, tmp_path: Path) -> None:
    """Docker's runtimeArgs become a script: `exec <bin> <args> "$@"`; the globals then come twice."""
    log, own = tmp_path / "log", tmp_path / "own"
    command = [*stele.argv, "--root", str(own), "--debug", "--root", str(stele.root), "--log", str(log)]
    name = stele.id()
    done = subprocess.run(
        [*command, "run", "-b", bundle(["echo", "hi"]), name], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "hi\n")
    assert not own.exists(), "the later one counts"
