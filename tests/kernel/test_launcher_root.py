"""The executable where there is nothing else, among libraries that would like to be loaded, and ten thousand times."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import probe as probes
from tests.harness.bundles import BundleFactory
from tests.harness.runtime import REPO, Runtime

STELE = REPO / "build/bin/stele"
COLD = {"STELE_NO_SNAPSHOT": "1"}
STARTS = pytest.mark.parametrize("env", [pytest.param({}, id="snapshot"), pytest.param(COLD, id="cold")])


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return probes.build(tmp_path_factory.mktemp("probe"))


def inside(root: Path) -> Callable[[], None]:
    def enter() -> None:
        os.chroot(root)
        os.chdir("/")

    return enter


def test_where_there_is_not_even_a_null_device(tmp_path: Path) -> None:
    """Output that cannot be written is told there, too; and that there is no procfs."""
    shutil.copy(STELE, tmp_path / "stele")
    with open("/dev/full", "w") as full:
        done = subprocess.run(["/stele", "--version"], stdout=full, stderr=-1, check=False, preexec_fn=inside(tmp_path))
    assert done.stderr == b"cannot write the output: No space left on device\n"
    (tmp_path / "rootfs").mkdir()
    for command in ("spec", "features"):
        done = subprocess.run(["/stele", command], capture_output=True, check=False, preexec_fn=inside(tmp_path))
        assert (done.returncode, done.stderr) == (0, b"")
    done = subprocess.run(["/stele", "run", "x"], capture_output=True, check=False, preexec_fn=inside(tmp_path))
    assert done.stderr == (
        b"stele run failed: cannot find the cgroup2 mount because /proc/self/mountinfo is missing; mount procfs on /proc\n"
    )


@STARTS
@pytest.mark.parametrize("command", [["--version"], ["--help"], ["spec"], ["state", "none"]], ids=" ".join)
def test_in_a_root_that_holds_nothing_else(tmp_path: Path, command: list[str], env: dict[str, str]) -> None:
    """Without /proc, /dev, libc and Python it prints the same as elsewhere."""
    empty, full = tmp_path / "empty", tmp_path / "full"
    for folder in (empty, full):
        folder.mkdir()
    shutil.copy(STELE, empty / "stele")
    there = subprocess.run(["/stele", *command], preexec_fn=inside(empty), env=env, capture_output=True, check=False)
    here = subprocess.run([STELE, *command], cwd=full, env=env, capture_output=True, check=False)
    assert (there.returncode, there.stdout, there.stderr) == (here.returncode, here.stdout, here.stderr)
    assert there.returncode == (1 if command[0] == "state" else 0)
    assert {p.name for p in empty.iterdir()} - {"stele"} == {p.name for p in full.iterdir()}


@STARTS
def test_closed_streams_where_there_is_no_dev_null(tmp_path: Path, program: Path, env: dict[str, str]) -> None:
    shutil.copy(program, tmp_path / "probe")

    def enter() -> None:
        inside(tmp_path)()
        os.closerange(0, 3)

    text = "fd = os.open('/out', os.O_WRONLY | os.O_CREAT); os.write(fd, str(fd).encode()); print('x')"
    assert subprocess.run(["/probe", text], preexec_fn=enter, env=env, check=False).returncode == 0
    assert int((tmp_path / "out").read_text()) > 2


@STARTS
def test_names_are_looked_up_without_plug_ins(tmp_path: Path, program: Path, env: dict[str, str]) -> None:
    """A host's nsswitch.conf names services whose libraries would end the process; files alone are read."""
    shutil.copy(program, tmp_path / "probe")
    etc = tmp_path / "etc"
    etc.mkdir()
    databases = ("passwd", "group", "shadow", "hosts", "services", "protocols", "initgroups", "networks")
    (etc / "nsswitch.conf").write_text("".join(f"{database}: evil files\n" for database in databases))
    (etc / "passwd").write_text("someone:x:1234:1234::/:/bin/sh\n")
    (etc / "group").write_text("some:x:1234:someone\n")
    (etc / "hosts").write_text("192.0.2.7 registry.example\n")
    (etc / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    (etc / "services").write_text("some 77/tcp\n")
    for folder in ("lib", "lib64", "usr/lib", f"lib/{os.uname().machine}-linux-gnu"):
        library = tmp_path / folder / "libnss_evil.so.2"
        library.parent.mkdir(parents=True, exist_ok=True)
        source = "__attribute__((constructor)) void f(void){__builtin_trap();}"
        subprocess.run(
            ["gcc", "-shared", "-nostdlib", "-o", library, "-x", "c", "-"], input=source, text=True, check=True
        )
    text = """
import grp, pwd
result = [pwd.getpwnam("someone").pw_uid, pwd.getpwuid(1234).pw_name, grp.getgrgid(1234).gr_name,
          os.getgrouplist("someone", 5), socket.getaddrinfo("registry.example", 443, socket.AF_INET)[0][4],
          socket.getservbyname("some")]
try: pwd.getpwnam("nobody else")
except KeyError: result.append("unknown")
"""
    done = subprocess.run(["/probe", text], preexec_fn=inside(tmp_path), env=env, capture_output=True, check=False)
    assert done.returncode == 0, done
    assert json.loads(done.stdout) == [
        1234, "someone", "some", [5, 1234], ["192.0.2.7", 443], 77, "unknown",
    ]  # fmt: skip


def test_containers_run_the_same_from_both_starts(
    stele: Runtime, bundle: BundleFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = bundle(["/bin/sh", "-c", "echo $0 said; exit 7"])
    said = []
    for value in (None, "1"):
        if value:
            monkeypatch.setenv("STELE_NO_SNAPSHOT", value)
        done = stele("run", "--bundle", made, stele.id())
        said.append((done.returncode, done.stdout, done.stderr))
    assert said[0] == said[1] == (7, "/bin/sh said\n", "")


def test_sealed_again_it_is_the_same(tmp_path: Path) -> None:
    """Another recording, later and from another folder, gives the same executable; none is told where it was built."""
    bare = tmp_path / "another folder" / "stele.bare"
    bare.parent.mkdir()
    shutil.copy(REPO / "build/launcher/stele.bare", bare)
    ours = hashlib.sha256(STELE.read_bytes()).hexdigest()
    sums = []
    for _ in range(2):  # a machine that was very busy once, then or now, is given another chance
        subprocess.run([sys.executable, REPO / "build-aux/seal.py", bare, tmp_path / "stele"], check=True)
        sums.append(hashlib.sha256((tmp_path / "stele").read_bytes()).hexdigest())
        if sums[-1] == ours:
            break
    assert ours in sums, "sealed again, the executable differs"
    assert str(REPO).encode() not in bare.read_bytes()


def test_ten_thousand_starts(tmp_path: Path) -> None:
    """Eight at a time, of four commands in turn: every one ends as the first did."""
    root = ["--root", str(tmp_path)]
    commands = ([*root, "--version"], [*root, "state", "none"], [*root, "list"], [*root, "kill", "none"])
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    actions = [(os.POSIX_SPAWN_DUP2, null, fd) for fd in (0, 1, 2)]
    running: dict[int, int] = {}
    ends: Counter[tuple[int, int]] = Counter()

    def reap() -> None:
        pid, status = os.wait()
        if pid in running:  # this process reaps others' orphans too
            ends[running.pop(pid), status] += 1

    for number in range(10_000):
        while len(running) >= 8:
            reap()
        which = number % len(commands)
        running[os.posix_spawn(STELE, ["stele", *commands[which]], {}, file_actions=actions)] = which
    while running:
        reap()
    os.close(null)
    assert ends == {(0, 0): 2500, (1, 256): 2500, (2, 0): 2500, (3, 256): 2500}
