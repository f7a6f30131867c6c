"""Section C, what is left of it: what a container, its image or another user gets of the host by what the runtime does."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.attacks.arena import BROKEN, HELD, REFUSED, UNKNOWN, Arena, Outcome, attack
from tests.attacks.doubles import Patch
from tests.attacks.measure import MUCH, measured

TRY_CGROUPS = """
grep -q ' - cgroup ' /proc/self/mountinfo && echo a hierarchy of v1 is here
cd /sys/fs/cgroup && mkdir made 2>/dev/null && echo made a cgroup
for file in release_agent notify_on_release cgroup.procs cgroup.freeze cgroup.max.depth; do
    [ -e $file ] && (cat $file > $file) 2>/dev/null && echo wrote $file
done
echo payload ran
"""


@attack(
    "C8",
    "CVE-2022-0492",
    "a hierarchy of cgroup v1 with its release_agent, or a writable v2, by the type and options of a mount",
    Patch("runtime/plan/mounts.py", '"cgroup2" if kind == "cgroup" else kind', "kind"),
    Patch("runtime/plan/mounts.py", "attr_set=options.set,", "attr_set=0,"),
)
def hierarchy_of_v1(arena: Arena) -> Outcome:
    """A hierarchy without controllers, which takes nothing from the host's; not where the kernel has no v1."""
    outcome, name = Outcome(UNKNOWN), f"name={arena.runtime.token}"
    hosts = arena.folder / "hierarchy"
    hosts.mkdir()
    mount = ["mount", "-t", "cgroup", "-o", f"none,{name}", "cgroup", str(hosts)]
    of_v1 = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    for kind, more in (("cgroup2", []), ("cgroup", ["none", name])) if of_v1 else (("cgroup2", []),):

        def edit(config: dict[str, Any], kind: str = kind, more: Sequence[str] = more) -> None:
            (mount,) = (m for m in config["mounts"] if m["destination"] == "/sys/fs/cgroup")
            mount.update(type=kind, options=[*mount["options"], *more])

        ran = arena.run(arena.bundle(["sh", "-c", TRY_CGROUPS], edit=edit))
        hit = [line for line in ran.out.splitlines() if line.startswith(("a hierarchy", "made", "wrote"))]
        outcome = ran.outcome(", ".join(hit), "payload ran")
        if outcome.verdict not in (HELD, REFUSED):
            break
    return outcome


TRAPS = (
    "etc/ld.so.preload", "etc/ld.so.cache", "etc/ld.so.conf", "etc/nsswitch.conf", "etc/host.conf", "etc/localtime",
    "lib64/ld-linux-x86-64.so.2", "lib/x86_64-linux-gnu/libc.so.6", "lib/x86_64-linux-gnu/libnss_files.so.2",
    "lib/x86_64-linux-gnu/libgcc_s.so.1", "usr/lib/locale/locale-archive", "usr/lib/python3.11/site.py",
    *(f"usr/bin/{name}" for name in ("newuidmap", "newgidmap", "getent", "mkfs.erofs", "tar", "xz", "unpigz", "ip", "stele")),
    *(f"usr/sbin/{name}" for name in ("nsenter", "modprobe", "ldconfig", "stele", "runc", "crun")),
)  # fmt: skip
IN_OPEN = 0x20


@contextlib.contextmanager
def _opened(files: Sequence[Path]) -> Iterator[list[str]]:
    """Which of the files are opened meanwhile, by whom ever (inotify(7)): the list is filled at the end."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    watches = {libc.inotify_add_watch(fd, str(path).encode(), IN_OPEN): path for path in files}
    assert fd >= 0 and min(watches) >= 0, os.strerror(ctypes.get_errno())
    found: list[str] = []
    try:
        yield found
        with contextlib.suppress(BlockingIOError):
            while events := os.read(fd, 65536):
                while events:
                    watch, _, _, size = struct.unpack_from("iIII", events)
                    found.append(watches[watch].name)
                    events = events[16 + size :]
    finally:
        os.close(fd)


@attack(
    "C11",
    "CVE-2019-14271",
    "libraries, their lists and helpers of the image are opened by the runtime itself",
    Patch(
        "cshim/init/process.c",
        "\tif (fd < 0)\n\t\treturn;\n\tif (st.stx_size",
        '\tSYS(__NR_openat, AT_FDCWD, "/lib/x86_64-linux-gnu/libnss_files.so.2", O_RDONLY | O_CLOEXEC, 0);\n'
        "\tif (fd < 0)\n\t\treturn;\n\tif (st.stx_size",
    ),
)
def libraries_of_the_image(arena: Arena) -> Outcome:
    """In run and exec of a static program, which has none of its own."""
    bundle = arena.bundle(["/bin/payload", "thief"])
    for trap in TRAPS:
        path = bundle / "rootfs" / trap
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/busybox sh\n/bin/busybox touch /ran\n")
        path.chmod(0o755)
    with _opened([bundle / "rootfs" / trap for trap in TRAPS]) as found:
        name = arena.detached(bundle)
        inside = arena.runtime("exec", "--user", "1000:1000", name, "/bin/payload", "cwd", timeout=90)
    if "done" not in inside.stdout:
        return Outcome(UNKNOWN, inside.stderr)
    return Outcome(BROKEN, f"it opened {', '.join(sorted(set(found)))}") if found else Outcome(HELD)


SHOWN = 24 << 20


@attack(
    "C16",
    "CVE-2022-23471",
    "output without end through the runtime's terminal stays in its memory",
    Patch("runtime/container/terminal.py", "CHUNK = 65536\n", "CHUNK = 65536\nKEPT: list[bytes] = []\n"),
    Patch("runtime/container/terminal.py", "        return bool(self.shown)\n", "        KEPT.append(self.shown)\n        return bool(self.shown)\n"),
)  # fmt: skip
def endless_output(arena: Arena) -> Outcome:
    peaks = []
    for size in (0, SHOWN):
        script = f"dd if=/dev/zero bs=64k count={size >> 16} 2>/dev/null; echo payload ran"
        bundle = arena.bundle(["sh", "-c", script], terminal=True)
        ran, peak = measured(arena, "run", "--bundle", bundle, arena.runtime.id(), bounded=False)
        peaks.append(peak)
        if ran.code or len(ran.out) < size:
            return ran.outcome("", "payload ran")
    grew = peaks[1] - peaks[0]
    hit = f"it took {grew >> 20} MiB more for {SHOWN >> 20} MiB of output" if grew > SHOWN // 2 else ""
    return ran.outcome(hit, "payload ran")


STORMS, STORM = 20, 500
END_OF_FILE = b"\x04"


@attack(
    "C16r",
    "CVE-2025-64329",
    "a storm of resizes leaves memory or file descriptors behind",
    Patch(
        "runtime/container/terminal.py",
        "        fcntl.ioctl(self.master, termios.TIOCSWINSZ, size)",
        "        fcntl.ioctl(os.dup(self.master), termios.TIOCSWINSZ, size)",
    ),
)
def resize_storm(arena: Arena) -> Outcome:
    script = "echo ready; while read word; do stty size; done"
    bundle = arena.bundle(["sh", "-c", script], terminal=True)
    master, slave = pty.openpty()
    child = subprocess.Popen(
        arena.runtime.command("run", "--bundle", bundle, arena.runtime.id()),
        stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(slave)
    try:
        if "ready" not in (said := _until(master, "ready")):
            return Outcome(REFUSED if child.wait(30) else UNKNOWN, said[-200:])
        before = _fds(child.pid)
        for last in range(STORMS):  # each of its resizes sends SIGWINCH to the runtime, in the terminal's foreground
            for number in range(STORM):
                fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 10 + number % 50, 20 + number % 70, 0, 0))
            fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 100 + last, 44, 0, 0))
            if child.poll() is not None:
                return Outcome(BROKEN, "it has ended")
            if not _has_size(master, f"{100 + last} 44"):
                return Outcome(UNKNOWN, "the last size did not come")
        left, peak = _fds(child.pid) - before, _peak(child.pid)
        os.write(master, END_OF_FILE)
        child.wait(30)
    finally:
        child.kill()
        child.wait()
        os.close(master)
    if left > 8 or peak > MUCH:
        return Outcome(BROKEN, f"{left} file descriptors more, {peak >> 20} MiB")
    return Outcome(HELD)


def _has_size(master: int, size: str) -> bool:
    """Ask the program in it for its terminal's size until it is that: the runtime may not have come to it yet."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        os.write(master, b"\n")
        if size in _until(master, size, 0.1):
            return True
    return False


def _until(master: int, word: str, silence: float = 30) -> str:
    """What comes until a word was said, or nothing for so many seconds, or to the end."""
    said = b""
    with contextlib.suppress(OSError):
        while word.encode() not in said and select.select([master], [], [], silence)[0]:
            said += os.read(master, 65536)
    return said.decode(errors="replace")


def _fds(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def _peak(pid: int) -> int:
    (line,) = (x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("VmHWM:"))
    return int(line.split()[1]) << 10


@attack(
    "C17o",
    "CVE-2022-47952",
    "another user learns by the answers whether a container exists that is closed to them",
    Patch("runtime/container/state.py", "mode=0o1700, exist_ok=True)", "mode=0o1711, exist_ok=True)"),
)
def told_by_the_answer(arena: Arena) -> Outcome:
    """The state becomes another user's, and root asks, without the capabilities that open everything to it."""
    bundle = arena.bundle(["sleep", "1000"])
    arena.runtime.root = arena.folder / "made by the runtime"
    name = arena.runtime.create(bundle)
    missing = arena.runtime.id()
    powerless = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"]
    paths = [arena.runtime.root, *arena.runtime.root.rglob("*")]
    try:
        for path in paths:
            os.chown(path, 4242, 4242, follow_symlinks=False)
        for verb in (["state"], ["start"], ["delete"], ["delete", "--force"], ["kill"], ["exec"], ["ps"]):
            tail = ["true"] if verb == ["exec"] else []
            said = []
            for asked in (name, missing):
                words = [*powerless, *arena.runtime.command(*verb, asked, *tail)]
                done = subprocess.run(words, capture_output=True, text=True, timeout=90, check=False)
                told = re.sub(r'time="[^"]*"', "", done.stdout + done.stderr)
                said.append((done.returncode, told.replace(asked, "NAME")))
            if said[0] != said[1]:
                return Outcome(
                    BROKEN, f"{' '.join(verb)}: {said[0][1].strip()[-100:]!r} or {said[1][1].strip()[-100:]!r}"
                )
            if verb == ["state"] and not said[0][0]:
                return Outcome(UNKNOWN, "nothing is closed")
    finally:
        for path in paths:
            os.chown(path, 0, 0, follow_symlinks=False)
        arena.runtime("delete", "--force", name, timeout=90)
    return Outcome(HELD)
