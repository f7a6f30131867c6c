"""Debian's conmon, started as Podman starts it: it creates the container, holds its output, and keeps its exit code.

Source of the words: conmon(8) and `conmon --help`; Podman's side was read from what its documentation and debug log
tell (sync, start and attach pipes named by environment variables; one JSON object on the sync pipe).
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.harness.patience import seconds
from tests.harness.runtime import Runtime

STDIN_END, STDOUT, STDERR = 1, 2, 3  # the first byte of a packet on the attach socket


@dataclass
class Monitor:
    """One running conmon.

    Attributes:
        pid: of the container's process, as conmon told, or -1 where the runtime failed.
        message: the runtime's words then, as conmon passed them on.
        folder: conmon's files: log, pid file, exit code, the runtime's log.
        sockets: where the attach socket and the control pipe are: the bundle, or for an exec the folder.
        attached: the client of an exec, connected before its program began.
    """

    conmon_pid: int
    pid: int
    message: str
    folder: Path
    sockets: Path
    exit_file: Path
    attached: Attached | None

    def exit_code(self, timeout: float = 30) -> int:
        """Wait for conmon's end; returns the code it wrote for the container."""
        pidfd = os.pidfd_open(self.conmon_pid)
        ready, _, _ = select.select([pidfd], [], [], seconds(timeout))
        os.close(pidfd)
        assert ready, f"conmon did not end within {timeout} s"
        os.waitpid(self.conmon_pid, 0)
        return int(self.exit_file.read_text())

    def log(self) -> list[tuple[str, str]]:
        """The container's output as conmon logged it: (stream, text) for each line."""
        lines = (self.folder / "log").read_text().splitlines()
        return [(stream, text) for _, stream, _, text in (line.split(" ", 3) for line in lines)]

    def attach(self) -> Attached:
        """Connect to the attach socket."""
        return Attached(self.sockets / "attach")

    def resize(self, rows: int, columns: int) -> None:
        """Tell conmon the terminal's new size."""
        (self.sockets / "ctl").write_text(f"1 {rows} {columns}\n")


class Attached:
    """A client of the attach socket: what a person at `podman attach` types and sees."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # A socket's path has 108 bytes at most; the folder's fd makes it short.
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
        self._socket.connect(f"/proc/self/fd/{folder}/{path.name}")
        os.close(folder)
        self.seen: dict[int, str] = {STDOUT: "", STDERR: ""}

    def type(self, text: str) -> None:
        """Send to the container's stdin."""
        self._socket.send(text.encode())

    def until(self, word: str, stream: int = STDOUT, timeout: float = 30) -> None:
        """Read until `word` came on the stream."""
        self._socket.settimeout(seconds(timeout))
        while word not in self.seen[stream]:
            packet = self._socket.recv(65536)
            assert packet, f"the attach socket ended before {word!r} came, after {self.seen}"
            self.seen[packet[0]] += packet[1:].decode().replace("\r\n", "\n")

    def close(self) -> None:
        """Leave; the container goes on."""
        self._socket.close()


def start(
    runtime: Runtime,
    bundle: Path,
    name: str,
    *,
    folder: Path,
    terminal: bool = False,
    stdin: bool = False,
    process: dict[str, Any] | None = None,
) -> Monitor:
    """Start conmon for a new container, or with `process` for an exec in the container `name`.

    Args:
        folder: where conmon's files go: pid files, log, attach socket. Made here.
        process: the process.json of an exec.
    """
    folder.mkdir(exist_ok=True)
    exits = folder / "exits"
    exits.mkdir(exist_ok=True)
    sockets = bundle if process is None else folder
    argv = [
        "conmon", "--api-version", "1", "-c", name, "-u", name, "-n", name,
        "-r", str(runtime.program(folder)), "-b", str(sockets),
        "-p", str(folder / "pidfile"), "-P", str(folder / "conmon.pid"),
        "-l", f"k8s-file:{folder / 'log'}", "--exit-dir", str(exits), "--full-attach",
        "--runtime-arg", f"--root={runtime.root}",
        "--runtime-arg", "--log-format=json", "--runtime-arg", "--log", "--runtime-arg", str(folder / "oci-log"),
        "--log-level", "error",
    ]  # fmt: skip
    argv += ["-t"] if terminal else []
    argv += ["-i"] if stdin else []
    if process is not None:
        (folder / "process.json").write_text(json.dumps(process))
        argv += ["-e", "--exec-attach", "--exec-process-spec", str(folder / "process.json")]
    sync, start_, attach = os.pipe(), os.pipe(), os.pipe()
    told = {"_OCI_SYNCPIPE": str(sync[1]), "_OCI_STARTPIPE": str(start_[0]), "_OCI_ATTACHPIPE": str(attach[1])}
    if process is None:
        del told["_OCI_ATTACHPIPE"]
    child = subprocess.Popen(
        argv, env={**os.environ, **told}, pass_fds=(sync[1], start_[0], attach[1]), cwd=folder,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    for fd in (sync[1], start_[0], attach[1]):
        os.close(fd)
    os.write(start_[1], b"\0")
    child.wait(30)  # it forks and lives on as our child, since we are the subreaper
    assert child.returncode == 0
    attached = None
    if process is not None:
        answer(attach[0])  # the attach socket is there; a second byte lets the program begin
        attached = Attached(folder / "attach")
        os.write(start_[1], b"\0")
    said = answer(sync[0])
    for fd in (sync[0], start_[1], attach[0]):
        os.close(fd)
    return Monitor(
        conmon_pid=int((folder / "conmon.pid").read_text()),
        pid=said["data"],
        message=said.get("message", ""),
        folder=folder,
        sockets=sockets,
        exit_file=exits / name,
        attached=attached,
    )


def answer(fd: int, timeout: float = 30) -> dict[str, Any]:
    """The one line of JSON that conmon writes to a pipe."""
    text = b""
    while not text.endswith(b"\n"):
        ready, _, _ = select.select([fd], [], [], seconds(timeout))
        assert ready, f"conmon said nothing within {timeout} s, after {text!r}"
        part = os.read(fd, 65536)
        assert part, f"conmon closed its pipe after {text!r}"
        text += part
    said: dict[str, Any] = json.loads(text)
    return said
