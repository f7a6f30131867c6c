"""A reader of archives that has fallen to one: what it then tries with the rights of its process is stopped.

The attacks are planted in the unpacker's own C code, which is built and called by a small program. Each is tried twice: on
the confinement as it is, and on one from which the part that stops it was taken, where it must succeed.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.host.trees import open_dir
from runtime.host.unpack import OVERLAY, Budget, LayerError, Unpacking, unpacked
from tests.harness.layers import entry, layer
from tests.harness.runtime import REPO

SOURCES = ("unpack", "confined", "stream", "sha256", *(path.stem for path in (REPO / "cshim").glob("tar*.c")))

ATTACKS = r"""
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sched.h>
__attribute__((noinline)) static long smash(int size)
{
	volatile char small[8];
	for (int i = 0; i < size; i++)
		small[i] = 'x';
	return small[0];
}
static long by_name(const char *name)
{
	const char *canary = getenv("CANARY");
	char up[4096];
	if (!strcmp(name, "open"))
		return open(canary, O_RDONLY);
	if (!strcmp(name, "create"))
		return open(getenv("OUTSIDE"), O_WRONLY | O_CREAT, 0600);
	if (!strcmp(name, "upwards")) {
		snprintf(up, sizeof(up), "../../../../../../../../../../../..%s", canary);
		for (int fd = 0; fd < 20; fd++)
			if (openat(fd, up, O_RDONLY) >= 0)
				return 0;
		return -1;
	}
	if (!strcmp(name, "chmod"))
		return fchmodat(AT_FDCWD, canary, 04755, 0);
	if (!strcmp(name, "device"))
		return mknodat(AT_FDCWD, "device", S_IFCHR | 0600, makedev(1, 5)) < 0 ? -1 : open("device", O_RDONLY);
	if (!strcmp(name, "node"))
		return mknodat(AT_FDCWD, "node", S_IFSOCK | 0600, 0);
	if (!strcmp(name, "socket"))
		return socket(AF_INET, SOCK_STREAM, 0);
	if (!strcmp(name, "execve"))
		return execve("/proc/self/exe", (char *[]){ "again", NULL }, NULL) < 0 && errno != ENOENT ? -1 : 0;
	if (!strcmp(name, "setuid"))
		return setuid(1000);
	if (!strcmp(name, "fork")) {
		pid_t pid = fork();
		return pid ? pid : (_exit(0), 0);
	}
	if (!strcmp(name, "kill"))
		return kill(getppid(), 0);
	if (!strcmp(name, "ptrace"))
		return ptrace(PTRACE_SEIZE, getppid(), 0, 0);
	if (!strcmp(name, "unshare"))
		return unshare(CLONE_NEWNS);
#if defined(__x86_64__)
	if (!strcmp(name, "int80")) {
		long result = 20; /* getpid of i386 */
		__asm__ volatile("int $0x80" : "+a"(result) : : "memory");
		return result;
	}
#endif
	if (!strcmp(name, "crash"))
		*(volatile int *)8 = 1;
	if (!strcmp(name, "smash"))
		return smash(64);
	return -1;
}
static int apply(struct work *w)
{
	long result = by_name(w->e->path);
	return bad(w, result < 0 ? "stopped: %s" : "succeeded%.0s", strerror(errno));
}
"""

MAIN = r"""
#include "unpack.h"
#include <fcntl.h>
#include <stdio.h>
int main(int argc, char **argv)
{
	struct stele_unpack u = {
		.blob = open(argv[argc - 2], O_RDONLY), .directory = open(argv[argc - 1], O_RDONLY | O_DIRECTORY),
		.limits = { 1 << 20, 500, 1 << 20, 1 << 20 }, .most_entries = 100,
	};
	int result = stele_unpack(&u);
	printf("%d %s", result, u.problem);
	return 0;
}
"""

# The parts of the confinement, and how to take each away.
ROOT = ('chroot(".") < 0', "0")
LANDLOCK = ("if (version < 2)", "if (version)")
MOUNT = ("if (tree < 0)", "if (tree)")
NODEV = ("MOUNT_ATTR_NODEV | ", "")
CALLS = ("SECCOMP_RET_KILL_PROCESS", "SECCOMP_RET_ALLOW")
CAPABILITIES = ("permitted &= (uint32_t)(keep >> 32 * i)", "permitted |= 0")

FORBIDDEN = "stopped at a forbidden system call"
CASES = {
    "open": ((ROOT, LANDLOCK), "stopped: No such file"),
    "create": ((ROOT, LANDLOCK), "stopped: No such file"),
    "upwards": ((ROOT, LANDLOCK, MOUNT), "stopped: "),
    "chmod": ((ROOT,), "stopped: No such file"),
    "device": ((NODEV,), "stopped: Permission denied"),
    "node": ((LANDLOCK,), "stopped: Permission denied"),
    "socket": ((CALLS,), FORBIDDEN),
    "execve": ((CALLS,), FORBIDDEN),
    "setuid": ((CALLS, CAPABILITIES), FORBIDDEN),
    "fork": ((CALLS,), FORBIDDEN),
    "kill": ((CALLS, LANDLOCK), FORBIDDEN),
    "ptrace": ((CALLS, CAPABILITIES, LANDLOCK), FORBIDDEN),
    "unshare": ((CALLS,), FORBIDDEN),
    "int80": ((CALLS,), FORBIDDEN),
}
Build = Callable[..., Path]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """A program that unpacks by code with the attacks planted, and without some parts of the confinement."""
    folder = tmp_path_factory.mktemp("confined")
    built: dict[tuple[tuple[str, str], ...], Path] = {}

    def made(*faults: tuple[str, str]) -> Path:
        if faults not in built:
            place = folder / str(len(built))
            place.mkdir()
            for name in SOURCES:
                text = (REPO / f"cshim/{name}.c").read_text()
                if name == "unpack":
                    text, places = re.subn(
                        r"static int apply\(struct work \*w\)\n\{.*?\n\}\n", lambda _: ATTACKS, text, flags=re.DOTALL
                    )
                    assert places == 1
                for old, new in faults if name == "confined" else ():
                    assert old in text
                    text = text.replace(old, new)
                (place / f"{name}.c").write_text(text)
            (place / "main.c").write_text(MAIN)
            files = [str(path) for path in sorted(place.glob("*.c"))]
            options = ["-std=gnu11", "-O1", "-D_GNU_SOURCE", "-fstack-protector-strong", f"-I{REPO}/cshim", "-w"]
            libraries = ["-lz", "-lzstd", "-llzma", "-lpthread"]
            subprocess.run(["gcc", *options, "-o", place / "program", *files, *libraries], check=True)
            built[faults] = place / "program"
        return built[faults]

    return made


def attempt(program: Path, attack: str, place: Path) -> str:
    place.mkdir(exist_ok=True)
    (place / "blob").write_bytes(layer(entry(attack)))
    (place / "canary").write_text("the host's")
    (place / "canary").chmod(0o600)
    (place / "tree").mkdir()
    variables = {"CANARY": str(place / "canary"), "OUTSIDE": str(place / "made")}
    done = subprocess.run([program, place / "blob", place / "tree"], capture_output=True, text=True, env=variables)
    assert done.returncode == 0, done
    return done.stdout


@pytest.mark.parametrize("attack", CASES)
def test_stopped(build: Build, tmp_path: Path, attack: str) -> None:
    """What the fallen reader tries fails; without the part that stops it, it succeeds."""
    parts, words = CASES[attack]
    if attack == "int80" and os.uname().machine != "x86_64":
        pytest.skip("an instruction of x86")
    said = attempt(build(), attack, tmp_path / "sound")
    assert words in said
    assert not (tmp_path / "sound/made").exists()
    assert (tmp_path / "sound/canary").stat().st_mode & 0o7777 == 0o600
    assert "succeeded" in attempt(build(*parts), attack, tmp_path / "broken")


@pytest.mark.parametrize(("attack", "words"), [("crash", "Segmentation fault"), ("smash", "Aborted")])
def test_a_crash_is_one_sentence(build: Build, tmp_path: Path, attack: str, words: str) -> None:
    """A fault ends the child, not the caller, which says so."""
    said = attempt(build(), attack, tmp_path / "sound")
    assert said == f"-74 the process that reads it crashed ({words}); it may be hostile"


MANY = 20_000
LAST = f"f{MANY - 1}"


class Slow:
    """An unpacking of many files that has begun, and its child."""

    def __init__(self, place: Path) -> None:
        place.mkdir(exist_ok=True)
        (place / "blob").write_bytes(layer(*(entry(f"f{i}", data=b"x" * 2000) for i in range(MANY))))
        (place / "tree").mkdir()
        self.tree = place / "tree"
        blob, directory = os.open(place / "blob", os.O_RDONLY), open_dir(str(self.tree))
        self.work = Unpacking(blob, directory, OVERLAY, Budget(), durable=False)
        self.failure: list[BaseException] = []
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        while not (self.tree / "f0").exists():
            assert self.thread.is_alive()
        self.child = int(Path(f"/proc/self/task/{self.thread.native_id}/children").read_text())

    def _run(self) -> None:
        try:
            self.work.run()
        except BaseException as e:
            self.failure.append(e)


def test_the_child_as_the_kernel_sees_it(tmp_path: Path) -> None:
    """Filter, capabilities, fds and the lock of a child of the real unpacker; if it is killed, the error says so."""
    slow = Slow(tmp_path / "a")
    try:
        os.kill(slow.child, signal.SIGSTOP)  # while it works, it opens and closes fds
        status = {"State": ""}
        while status["State"][:1] not in ("T", "Z"):
            status = dict(line.split(":\t", 1) for line in Path(f"/proc/{slow.child}/status").read_text().splitlines())
        capabilities = {"CapPrm", "CapEff"}
        assert {status[name] for name in capabilities} == {
            f"{1 << 0 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 21 | 1 << 27 | 1 << 31:016x}"
        }
        assert {status[name].strip("0") for name in ("CapInh", "CapBnd", "CapAmb")} == {""}
        assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")
        links = {int(fd): os.readlink(f"/proc/{slow.child}/fd/{fd}") for fd in os.listdir(f"/proc/{slow.child}/fd")}
        assert {links[fd] for fd in (0, 1, 2)} == {"/dev/null"}
        assert links[3] == str(tmp_path / "a/blob")
        with pytest.raises(BlockingIOError):
            fcntl.flock(open_dir(str(slow.tree)), fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.kill(slow.child, signal.SIGKILL)
        slow.thread.join()
    assert "the process that reads it was killed, perhaps for lack of memory" in str(slow.failure[0])
    assert not Path(f"/proc/{slow.child}").exists()


def test_stopped_by_the_caller(tmp_path: Path) -> None:
    """`stop` kills the child at once."""
    slow = Slow(tmp_path / "a")
    slow.work.stop()
    slow.thread.join()
    assert str(slow.failure[0]) == "interrupted"
    assert not (slow.tree / LAST).exists(), "it was let finish"
    assert not Path(f"/proc/{slow.child}").exists()


def children() -> set[str]:
    return set(Path("/proc/thread-self/children").read_text().split())


def test_a_packed_archive_is_read_by_a_child(tmp_path: Path) -> None:
    """It has no rights at all; given up midway, it is gone."""
    (tmp_path / "packed").write_bytes(os.urandom(8 << 20))
    before = children()
    pieces = unpacked(os.open(tmp_path / "packed", os.O_RDONLY), Budget())
    whole = next(pieces)
    (child,) = children() - before
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{child}/status").read_text().splitlines())
    assert {status[name].strip("0") for name in ("CapPrm", "CapEff", "CapInh", "CapBnd", "CapAmb")} == {""}
    assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")
    os.kill(int(child), 9)
    with pytest.raises(Exception, match="the process that reads it was killed"):
        whole += b"".join(pieces)
    assert not Path(f"/proc/{child}").exists()
    pieces = unpacked(os.open(tmp_path / "packed", os.O_RDONLY), Budget())
    next(pieces)
    pieces.close()
    assert children() == before
    assert b"".join(unpacked(os.open(tmp_path / "packed", os.O_RDONLY), Budget())) == (tmp_path / "packed").read_bytes()
    with pytest.raises(LayerError, match="packed by bzip2"):
        (tmp_path / "b").write_bytes(b"BZh9" + bytes(100))
        next(unpacked(os.open(tmp_path / "b", os.O_RDONLY), Budget()))
