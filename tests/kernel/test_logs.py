"""The output of detached containers: who writes never waits for a reader, and what is kept is bounded."""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.cli.logs import _shown
from runtime.container.logs import JOURNAL_SOCKET
from tests.harness.bundles import BundleFactory
from tests.harness.runtime import Runtime

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z"
SH = ("/bin/sh", "-c")


def run(stele: Runtime, folder: Path, *flags: str, driver: str = "file") -> str:
    """Run a container to its end; returns the id."""
    name = start(stele, folder, *flags, driver=driver)
    stele.ok("wait", name)
    return name


def start(stele: Runtime, folder: Path, *flags: str, driver: str = "file") -> str:
    """Start a container. Its streams are not ours, or reading them to their end would wait for its own."""
    name = stele.id()
    stele.ok("run", "--detach", "--log-driver", driver, *flags, "--bundle", folder, name)
    return name


def test_both_streams_come_back_as_written(stele: Runtime, bundle: BundleFactory) -> None:
    """With their order and an end without a line feed; the file has the format of the Kubernetes CRI."""
    name = run(stele, bundle([*SH, "echo one; echo two >&2; printf three"]))
    done = stele("logs", name)
    assert (done.stdout, done.stderr) == ("one\nthree", "two\n")
    lines = (stele.root / name / "log").read_text().splitlines()
    assert sorted(re.sub(TIME, "T", line) for line in lines) == ["T stderr F two", "T stdout F one", "T stdout P three"]
    assert (stele.root / name / "log").stat().st_mode & 0o777 == 0o600
    stele.ok("delete", name)


def test_anything_can_be_written(stele: Runtime, bundle: BundleFactory) -> None:
    """All bytes, empty lines, and lines longer than the waiter's buffer."""
    folder = bundle([*SH, "cat /data"])
    data = bytes(n for n in range(256)) + b"\n\n\n" + b"x" * 100_000 + b"\n" + b"y" * 8192 + b"\n" + b"z" * 8191 + b"\n"
    (folder / "rootfs/data").write_bytes(data)
    name = run(stele, folder)
    done = subprocess.run(stele.command("logs", name), capture_output=True, check=True)
    assert done.stdout == data
    last = subprocess.run(stele.command("logs", "--tail", "3", name), capture_output=True, check=True)
    assert last.stdout == data[-(100_001 + 8193 + 8192) :]
    stele.ok("delete", name)


def test_what_is_kept_is_bounded(stele: Runtime, bundle: BundleFactory) -> None:
    name = run(stele, bundle([*SH, "seq 100000"]), "--log-size", "64k", "--log-files", "3")
    kept = sorted(path.name for path in (stele.root / name).glob("log*"))
    assert kept == ["log", "log.1", "log.2"]
    assert all((stele.root / name / file).stat().st_size <= 65536 for file in kept)
    lines = stele.ok("logs", name).split()
    assert lines[-1] == "100000" and lines == [str(n) for n in range(int(lines[0]), 100001)]
    stele.ok("delete", name)


def test_one_file_is_begun_anew(stele: Runtime, bundle: BundleFactory) -> None:
    name = run(stele, bundle([*SH, "seq 10000"]), "--log-size", "65536", "--log-files", "1")
    assert [path.name for path in (stele.root / name).glob("log*")] == ["log"]
    assert stele.ok("logs", "--tail", "1", name) == "10000\n"
    stele.ok("delete", name)


def test_a_full_disk_does_not_hold_up_the_container(stele: Runtime, bundle: BundleFactory, memory: Path) -> None:
    """What cannot be written is counted, and the loss is noted once there is room."""
    stele.root = memory / "root"
    script = "seq 200000; : >/written; until [ -e /go ]; do sleep 0.05; done; seq 20000; echo end"
    folder = bundle([*SH, "until [ -e /full ]; do sleep 0.05; done; " + script])
    name = start(stele, folder, "--log-size", "32m")
    with (memory / "filler").open("wb", buffering=0) as filler:
        try:
            while filler.write(b"\0" * 65536):
                pass
        except OSError:
            pass
    (folder / "rootfs/full").touch()
    while not (folder / "rootfs/written").exists():  # more than a pipe holds, so most of it is read
        os.stat(memory)
    (memory / "filler").unlink()
    (folder / "rootfs/go").touch()
    assert json.loads(stele.ok("wait", name))["exitStatus"] == 0
    done = stele("logs", name)
    assert re.search(r"stele: \d+ bytes of output could not be logged\n", done.stderr)
    assert done.stdout.endswith("20000\nend\n")
    stele.ok("delete", name)


def test_a_reader_can_follow(stele: Runtime, bundle: BundleFactory) -> None:
    """Until the container's end, across replaced files."""
    folder = bundle([*SH, "echo 0; until [ -e /go ]; do sleep 0.05; done; seq 30000"])
    name = start(stele, folder, "--log-size", "512k", "--log-files", "9")
    with subprocess.Popen(stele.command("logs", "--follow", name), stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout
        assert follower.stdout.readline() == "0\n"  # so it has the first file open when that is replaced
        (folder / "rootfs/go").touch()
        assert follower.stdout.read().split() == [str(n) for n in range(1, 30001)]
    assert follower.returncode == 0
    stele.ok("delete", name)


def test_lines_are_chosen_by_time(stele: Runtime, bundle: BundleFactory) -> None:
    name = run(stele, bundle([*SH, "echo one; sleep 0.1; echo two"]))
    stamped = stele.ok("logs", "--timestamps", name).splitlines()
    assert [line.split()[1] for line in stamped] == ["one", "two"]
    assert stele.ok("logs", "--since", stamped[1].split()[0][:26] + "Z", name) == "two\n"
    assert stele.ok("logs", "--since", "1h", name) == "one\ntwo\n"
    assert stele.ok("logs", "--since", "2999-01-01", name) == ""
    assert "--since" in stele("logs", "--since", "yesterday", name).stderr
    stele.ok("delete", name)


def test_a_terminal_is_logged_too(stele: Runtime, bundle: BundleFactory) -> None:
    """Without a console socket: nobody types into it, and its output is read."""
    name = run(stele, bundle([*SH, "tty >&2; echo on"], terminal=True))
    done = subprocess.run(stele.command("logs", name), capture_output=True, check=True)
    assert done.stdout.replace(b"\r", b"") == b"/dev/pts/0\non\n"
    stele.ok("delete", name)


def test_output_that_nobody_wants(stele: Runtime, bundle: BundleFactory) -> None:
    for flags in ((), ("--no-waiter",)):
        name = start(stele, bundle([*SH, "seq 100000; exec sleep 1000"]), *flags, driver="none")
        assert "--log-driver none drops it" in stele("logs", name).stderr
        assert not (stele.root / name / "log").exists()
        stele.ok("delete", "--force", name)


def test_a_killed_waiter_loses_the_output_and_not_the_container(stele: Runtime, bundle: BundleFactory) -> None:
    """Who writes then gets EPIPE, as when any reader is gone; what was logged can still be read."""
    folder = bundle([*SH, "echo one; trap '' PIPE; until [ -e /go ]; do sleep 0.05; done; echo two; exec sleep 1000"])
    name = start(stele, folder)
    while stele.ok("logs", name) != "one\n":
        pass
    pid = json.loads((stele.root / name / "state.json").read_text())["waiter"]["pid"]
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    (folder / "rootfs/go").touch()
    while subprocess.run(stele.command("exec", name, "/bin/pidof", "sleep"), stdout=-3, check=False).returncode:
        pass
    assert stele.ok("logs", "--follow", name) == "one\n"
    assert stele.state(name)["waiter"] == "lost"
    stele.ok("delete", "--force", name)


@pytest.fixture
def journal() -> Iterator[socket.socket]:
    """journald's socket, in this process's mount namespace."""
    folder = Path(JOURNAL_SOCKET).parents[1]
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mount(b"stele-test", os.fsencode(folder), b"tmpfs", 0, None) == 0
    Path(JOURNAL_SOCKET).parent.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(JOURNAL_SOCKET)
        listener.settimeout(30)
        yield listener
    assert libc.umount2(os.fsencode(folder), 0) == 0
    if made:
        folder.rmdir()


def message(journal: socket.socket) -> dict[bytes, bytes]:
    """The fields of the next message, by systemd's native protocol."""
    data, fields = journal.recv(1 << 17), {}
    while data:
        line, _, rest = data.partition(b"\n")
        key, equals, value = line.partition(b"=")
        if not equals:
            size = int.from_bytes(rest[:8], "little")
            value, rest = rest[8 : 8 + size], rest[9 + size :]
        fields[key], data = value, rest
    return fields


def test_the_journal(stele: Runtime, bundle: BundleFactory, journal: socket.socket) -> None:
    """A message for each line, with the container's ID; nobody waits for a journald that does not read, or is gone."""
    name = start(stele, bundle([*SH, "echo one; sleep 0.2; printf 'tw=o' >&2; exit 3"]), driver="journald")
    common = {b"CONTAINER_ID": name.encode(), b"CONTAINER_ID_FULL": name.encode(), b"CONTAINER_NAME": name.encode()}
    common |= {b"SYSLOG_IDENTIFIER": name.encode(), b"STELE_ROOT": str(stele.root).encode()}
    assert message(journal) == {**common, b"PRIORITY": b"6", b"MESSAGE": b"one"}
    partial = {b"CONTAINER_PARTIAL_MESSAGE": b"true"}
    assert message(journal) == {**common, **partial, b"PRIORITY": b"3", b"MESSAGE": b"tw=o"}
    assert json.loads(stele.ok("wait", name))["exitStatus"] == 3
    stele.ok("delete", name)
    Path(JOURNAL_SOCKET).unlink()
    name = run(stele, bundle([*SH, "seq 100000"]), driver="journald")
    stele.ok("delete", name)


def test_its_options_are_checked(stele: Runtime, bundle: BundleFactory) -> None:
    folder = bundle(["true"])
    for flags, said in (
        (("--log-driver", "file"), "--log-driver is for --detach"),
        (("--detach", "--log-driver", "file", "--no-waiter"), "needs the waiter"),
        (("--detach", "--log-driver", "file", "--log-size", "1k"), "use at least 65536 bytes"),
        (("--detach", "--log-driver", "file", "--log-files", "0"), "use 1 to 99"),
        (("--detach", "--log-driver", "file", "--console-socket", "/x"), "exclude each other"),
        (("--detach", "--log-driver", "syslog"), "file"),
    ):
        done = stele("run", *flags, "--bundle", folder, stele.id())
        assert done.returncode == 1 and said in done.stderr, done.stderr


def test_what_journalctl_prints_commands_no_terminal(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert _shown(["/usr/bin/printf", r"\033[2Jone\ntwo"]) == 0
    assert capfdbinary.readouterr().out == b"\\x1b[2Jone\ntwo\n"
    assert _shown(["/bin/false"]) == 1
