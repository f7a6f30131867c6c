"""Commands in the test host, by their argv, without a shell: what a test says to the agent (agent/agent.c).

guest = Guest(stream)
guest.ok("podman", "run", "--rm", "busybox", "true")     # its stdout; fails with all it said where it failed
done = guest.run("stele", "state", "x")                  # code, stdout, stderr
with guest.start("podman", "run", "-it", "busybox", tty=True) as job:
    job.type("exit 3\\n")
    assert job.wait().code == 3
"""

from __future__ import annotations

import contextlib
import itertools
import json
import shlex
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

HEADER = struct.Struct("<III")
CHUNK = 256 * 1024
PATIENCE = 300.0
"""Seconds to wait for what comes at all: much more than the longest, on a machine that is slow, busy, and emulates another."""
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "TMPDIR": "/tmp",
}


class GuestLost(Exception):
    """The host ended or its agent did, while somebody still waited for an answer."""


class Stream(Protocol):
    """A stream of bytes both ways: a socket's file, or a pair of pipes."""

    def read(self, size: int, /) -> bytes: ...
    def write(self, data: bytes, /) -> object: ...
    def flush(self) -> None: ...


class Pipes:
    """Two one-way files as one stream."""

    def __init__(self, reader: IO[bytes], writer: IO[bytes]) -> None:
        self.read = reader.read
        self.write = writer.write
        self.flush = writer.flush


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended: exit code (128 + n after signal n), and what it wrote."""

    argv: tuple[str, ...]
    code: int
    stdout: str
    stderr: str

    def __str__(self) -> str:
        said = "".join(f"\n{name}: {text}" for name, text in (("out", self.stdout), ("err", self.stderr)) if text)
        return f"{shlex.join(self.argv)}: exit code {self.code}{said}"

    def json(self) -> Any:
        """What it wrote to stdout, as JSON."""
        return json.loads(self.stdout)


@dataclass(frozen=True, slots=True)
class User:
    """An ordinary user of the test host."""

    name: str
    uid: int
    home: str

    @property
    def environment(self) -> dict[str, str]:
        """What a login gives: enough to reach the user's own systemd."""
        runtime = f"/run/user/{self.uid}"
        bus = f"unix:path={runtime}/bus"
        return {"HOME": self.home, "USER": self.name, "XDG_RUNTIME_DIR": runtime, "DBUS_SESSION_BUS_ADDRESS": bus}


class Job:
    """A running command. As a context manager it is killed at the end where it still runs."""

    def __init__(self, guest: Guest, number: int, argv: tuple[str, ...]) -> None:
        self.argv = argv
        self._guest = guest
        self._number = number
        self._output = {"O": b"", "E": b""}
        self._taken = 0  # of stdout, by read()
        self._code: int | None = None
        self._fault = ""
        self._changed = threading.Condition()
        self.listener: Callable[[str, bytes], object] | None = None

    @property
    def stdout(self) -> str:
        """What it has written to stdout, or to its terminal, so far."""
        return self._output["O"].decode(errors="replace")

    @property
    def stderr(self) -> str:
        """What it has written to stderr so far."""
        return self._output["E"].decode(errors="replace")

    def type(self, text: str | bytes) -> None:
        """Give it input."""
        data = text.encode() if isinstance(text, str) else text
        for at in range(0, len(data), CHUNK):
            self._guest.send("I", self._number, data[at : at + CHUNK])

    def end_input(self) -> None:
        """Its input ends here."""
        self._guest.send("I", self._number, b"")

    def resize(self, rows: int, columns: int) -> None:
        """Set its terminal's size."""
        self._guest.send("W", self._number, struct.pack("<HH", rows, columns))

    def signal(self, number: int) -> None:
        """Send a signal to its process group."""
        self._guest.send("K", self._number, struct.pack("<i", number))

    def until(self, word: str, timeout: float = PATIENCE) -> str:
        """Wait until it has written `word` to stdout or its terminal; returns all of that."""
        ended = self._wait(lambda: word in self.stdout or self._code is not None, timeout)
        assert word in self.stdout, f"{'the end' if ended else f'{timeout} s'} came before {word!r}:\n{self._told()}"
        return self.stdout

    def read(self, timeout: float = PATIENCE) -> bytes:
        """What it has written to stdout since the last read(), waiting for some; nothing once it has ended."""
        came = self._wait(lambda: len(self._output["O"]) > self._taken or self._code is not None, timeout)
        assert came, f"nothing more in {timeout} s:\n{self._told()}"
        new = self._output["O"][self._taken :]
        self._taken += len(new)
        return new

    def wait(self, timeout: float = PATIENCE) -> Done:
        """Wait for its end."""
        ended = self._wait(lambda: self._code is not None, timeout)
        assert ended, f"not ended after {timeout} s:\n{self._told()}"
        if self._fault:
            raise FileNotFoundError(f"the test host cannot run it: {self._fault}")
        return self._told()

    def _wait(self, over: Callable[[], bool], timeout: float) -> bool:
        with self._changed:
            came = self._changed.wait_for(lambda: over() or bool(self._guest.lost), timeout)
        if not over() and self._guest.lost:
            raise GuestLost(f"{shlex.join(self.argv)}: {self._guest.lost}\n{self._told()}")
        return came

    def _told(self) -> Done:
        return Done(self.argv, -1 if self._code is None else self._code, self.stdout, self.stderr)

    def take(self, kind: str, payload: bytes) -> None:
        """Called by the reader for each frame of this job."""
        with self._changed:
            if kind in self._output:
                self._output[kind] += payload
                if self.listener:
                    self.listener(kind, payload)
            elif kind == "X":
                self._code = struct.unpack("<i", payload)[0]
            elif kind == "F":
                self._code, self._fault = -1, payload.decode(errors="replace")
            self._changed.notify_all()

    def wake(self) -> None:
        """Called by the reader when the guest is lost."""
        with self._changed:
            self._changed.notify_all()

    def __enter__(self) -> Job:
        return self

    def __exit__(self, *_: object) -> None:
        if self._code is None:
            with contextlib.suppress(GuestLost):
                self.signal(9)


class Guest:
    """The test host, seen through its agent."""

    def __init__(self, stream: Stream, *, boot_timeout: float = PATIENCE) -> None:
        """Wait for the agent's hello. Raises: GuestLost where it does not come."""
        self.lost = ""  # why there is nobody to talk to
        self._stream = stream
        self._numbers = itertools.count(1)
        self._jobs: dict[int, Job] = {}
        self._sending = threading.Lock()
        self._hello = threading.Event()
        threading.Thread(target=self._read_frames, daemon=True).start()
        if not self._hello.wait(boot_timeout) or self.lost:
            raise GuestLost(self.lost or f"no agent answered within {boot_timeout} s")

    def start(
        self,
        *argv: str | Path,
        tty: bool = False,
        cwd: str = "/",
        user: User | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Job:
        """Start a command. Its input stays open until `end_input`."""
        words = tuple(map(str, argv))
        number = next(self._numbers)
        job = self._jobs[number] = Job(self, number, words)
        variables = {**ENVIRONMENT, **(user.environment if user else {}), **({"TERM": "xterm"} if tty else {})}
        variables.update(env or {})
        strings = [cwd, f"{user.uid}:{user.uid}" if user else "", str(len(words)), *words]
        strings += [f"{name}={value}" for name, value in variables.items()]
        assert not any("\0" in string for string in strings), f"a NUL byte in {strings}"
        self.send("R", number, struct.pack("<I", 1 if tty else 0) + "".join(s + "\0" for s in strings).encode())
        return job

    def run(self, *argv: str | Path, input: str | bytes = b"", timeout: float = PATIENCE, **more: Any) -> Done:
        """Run a command to its end. `more` goes to start()."""
        with self.start(*argv, **more) as job:
            if input:
                job.type(input)
            job.end_input()
            return job.wait(timeout)

    def ok(self, *argv: str | Path, **more: Any) -> str:
        """Run a command, insist that it succeeds, return its stdout without the last line end."""
        done = self.run(*argv, **more)
        assert done.code == 0, str(done)
        return done.stdout.removesuffix("\n")

    def fails(self, *argv: str | Path, **more: Any) -> Done:
        """Run a command and insist that it fails."""
        done = self.run(*argv, **more)
        assert done.code != 0, f"this should fail: {done}"
        return done

    def read(self, path: str | Path) -> str:
        """A file's text."""
        return self.run_checked("cat", path).stdout

    def write(self, path: str | Path, content: str | bytes, *, mode: str = "0644") -> None:
        """Write a file, and the folders above it."""
        self.ok("mkdir", "-p", Path(path).parent)
        self.ok("dd", f"of={path}", "bs=64k", "status=none", input=content)
        self.ok("chmod", mode, path)

    def put(self, source: Path, path: str | Path, *, mode: str = "0644") -> None:
        """Copy a file of this machine to the test host."""
        self.write(path, source.read_bytes(), mode=mode)

    def exists(self, path: str | Path) -> bool:
        """Whether there is something at the path."""
        return self.run("test", "-e", path).code == 0

    def run_checked(self, *argv: str | Path, **more: Any) -> Done:
        """Like run(), and insist that it succeeds."""
        done = self.run(*argv, **more)
        assert done.code == 0, str(done)
        return done

    def eventually(self, what: str, test: Callable[[], object], timeout: float = PATIENCE) -> Any:
        """Ask again and again until `test()` is true; returns its answer. For what no event tells."""
        deadline = time.monotonic() + timeout
        while True:
            if answer := test():
                return answer
            assert time.monotonic() < deadline, f"not so after {timeout} s: {what}"
            time.sleep(0.05)

    def send(self, kind: str, number: int, payload: bytes) -> None:
        """Send one frame."""
        if self.lost:
            raise GuestLost(self.lost)
        with self._sending:
            try:
                self._stream.write(HEADER.pack(len(payload), number, ord(kind)) + payload)
                self._stream.flush()
            except OSError as error:
                raise GuestLost(f"the test host is gone: {error}") from error

    def _read_frames(self) -> None:
        """The reader's thread: hand each frame to its job, until the stream ends."""
        try:
            while head := self._read(HEADER.size):
                length, number, kind = HEADER.unpack(head)
                payload = self._read(length)
                if chr(kind) == "H":
                    self._hello.set()
                elif job := self._jobs.get(number):
                    job.take(chr(kind), payload)
        except (OSError, ValueError) as error:
            self.lost = f"the test host is gone: {error}"
        self.lost = self.lost or "the test host is gone"
        self._hello.set()
        for job in list(self._jobs.values()):
            job.wake()

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self._stream.read(size - len(data))
            if not more:
                return b""
            data += more
        return data


# Away from the login's own session, which would end with it and has no cgroup to call its own.
AGENT_BY_SSH = (
    "sudo systemd-run --quiet --pipe --wait --collect -p Delegate=yes -p KillMode=process -p TasksMax=infinity "
    "-p OOMPolicy=continue /var/lib/vm-agent"
)


@contextlib.contextmanager
def over_ssh(config: Path) -> Iterator[Guest]:
    """The host that ssh's `config` calls default, as `vagrant ssh-config` writes it."""
    ssh = ["ssh", "-F", str(config), "-o", "LogLevel=ERROR", "default", AGENT_BY_SSH]
    with subprocess.Popen(ssh, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        try:
            yield Guest(Pipes(process.stdout, process.stdin))
        finally:
            process.terminate()
