"""Whose is it: what carries a container's name, or nothing of it any more, is still somebody's."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
from typing import Any

from tests.attacks.arena import BROKEN, HELD, NONE, REFUSED, UNKNOWN, Arena, Outcome, attack, background
from tests.attacks.doubles import Patch
from tests.harness import cgroup2
from tests.harness.image_runs import SHELL
from tests.harness.images import add_image, layer
from tests.harness.output import Output

PAIRS = """
ip link set lo up || exit 9
stele() { root=$1; shift; "$program" --root "$folder/$root" --cgroup-manager disabled --store "$folder/store" "$@" </dev/null >/dev/null; }
stele ours create --image plain --net veth:10.91.8.2/24 same /bin/busybox true || exit 8
stele ours start same || exit 7
while ip -o link | grep -q stele; do sleep 0.01; done
stele others create --image plain --net veth:10.91.8.3/24 same /bin/busybox sleep 60 || exit 6
ip -o link | grep -q stele || exit 5
stele ours delete --force same || exit 4
ip -o link | grep -q stele && echo still there
stele others delete --force same && echo done
"""


@attack(
    "G10",
    "-",
    "delete below one --root takes the network of the container of the same ID below another",
    Patch("runtime/host/veth.py", 'return "stele" + os.urandom(5).hex()', 'return "stele0000000000"'),
)
def pair_of_another_root(arena: Arena) -> Outcome:
    """In a network namespace of its own, which stands for the host's. Our container's pair has gone with its end."""
    help_text = subprocess.run([*arena.runtime.argv, "run", "--help"], capture_output=True, text=True, check=False)
    if "--image" not in help_text.stdout:
        return Outcome(NONE, "it runs no images")
    add_image(arena.folder / "store", "plain", [layer(SHELL)], {})
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", f"program=$1 folder=$2{PAIRS}", "sh", *arena.runtime.argv, arena.folder],
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    if "done" not in done.stdout:
        return Outcome(UNKNOWN, f"exit code {done.returncode}: {done.stderr[-200:]}")
    return Outcome(HELD) if "still there" in done.stdout else Outcome(BROKEN, "the other container's pair is gone")


def _own_cgroup(config: dict[str, Any]) -> None:
    (mount,) = (m for m in config["mounts"] if m["destination"] == "/sys/fs/cgroup")
    mount["options"].remove("ro")


FREEZE = "mkdir -p /sys/fs/cgroup/ice && echo 1 >/sys/fs/cgroup/ice/cgroup.freeze; exec sleep 1000"


@attack(
    "G11",
    "-",
    "exec waits, deaf to signals, for a process that the container freezes at its birth",
    Patch(
        "cshim/shim.c",
        "CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID |",
        "CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID | CLONE_VFORK |",
    ),
)
def frozen_at_birth(arena: Arena) -> Outcome:
    """The container owns its cgroup. An exec into a cgroup that it has frozen must end, at the latest by a signal."""

    name = arena.detached(arena.bundle(["sh", "-c", FREEZE], edit=_own_cgroup))
    found = [path / "ice" for path in cgroup2.named(name)]
    if len(found) != 1:
        return Outcome(UNKNOWN, f"cgroups: {found}")
    while not (found[0].exists() and (found[0] / "cgroup.freeze").read_text() == "1\n"):
        if arena.runtime.state(name)["status"] != "running":
            return Outcome(UNKNOWN, "it could not freeze its cgroup")
    words = arena.runtime.command("exec", "--cgroup", "ice", name, "true")
    with background(subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)) as running:
        for asked in (False, True):
            if asked:
                running.terminate()
            try:
                code = running.wait(timeout=5)
            except subprocess.TimeoutExpired:
                continue
            return Outcome(REFUSED) if code else Outcome(UNKNOWN, "it ran")
    return Outcome(BROKEN, "exec hangs, and hears no SIGTERM")


NAMES = "memory.events memory.current pids.current cpu.stat io.stat cpuset.cpus.effective hugetlb.64KB.current rdma.max misc.max"
NAME = f"cd /sys/fs/cgroup; for each in {NAMES}; do mkdir $each; done; mkdir named; exec sleep 1000"


@attack(
    "G11n",
    "-",
    "a container names cgroups like files of controllers that it does not have: commands on it fail",
    Patch("runtime/host/cgroups/tree.py", "if stat.S_ISDIR(os.fstat(file).st_mode):", "if False:"),
    Patch("runtime/host/stats.py", " and e.is_file(follow_symlinks=False)", ""),
)
def cgroups_named_like_files(arena: Arena) -> Outcome:
    name = arena.detached(arena.bundle(["sh", "-c", NAME], edit=_own_cgroup))
    found = cgroup2.named(name)
    while not (found[0] / "named").exists():
        if arena.runtime.state(name)["status"] != "running":
            return Outcome(UNKNOWN, "it could not make a cgroup")
    if not any((found[0] / each).is_dir() for each in NAMES.split()):
        return Outcome(UNKNOWN, "it has all controllers")
    for words in (["events", "--stats", name], ["update", "--pids-limit", "7", name], ["delete", "--force", name]):
        done = arena.runtime(*words)
        if "Is a directory" in done.stderr or "64KB" in done.stdout or (done.returncode and words[0] != "update"):
            return Outcome(BROKEN, f"{words[0]}: exit code {done.returncode}: {done.stdout[-99:]} {done.stderr}")
    return Outcome(HELD)


@attack(
    "G14",
    "-",
    "delete says done of a container whose state was removed by hand, and it runs on",
    Patch("runtime/container/lifecycle.py", "return cgroups.find(store.owner(container_id))", "return None"),
)
def state_removed_by_hand(arena: Arena) -> Outcome:
    """All of the state, or all that is in its folder. That another root has the ID is no reason to kill its container."""
    bundle = arena.bundle(["sleep", "1000"])
    for folder_too in (True, False):
        name = arena.detached(bundle)
        pidfd = os.pidfd_open(arena.runtime.state(name)["pid"])
        try:
            shutil.rmtree(arena.runtime.root / name)
            if not folder_too:
                (arena.runtime.root / name).mkdir(mode=0o700)
            arena.runtime("--root", arena.folder / "other", "delete", "--force", name)
            if _ended(pidfd):
                return Outcome(BROKEN, "delete below another --root killed it")
            done = arena.runtime("delete", "--force", name)
            if done.returncode == 0 and not _ended(pidfd):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                return Outcome(BROKEN, "delete says done, and it runs")
        finally:
            os.close(pidfd)
    return Outcome(HELD)


@attack(
    "G14m",
    "-",
    "a container takes its own mark off the cgroup, so that delete does not find it once its state is lost",
    Patch(
        "runtime/host/cgroups/cgroupfs.py",
        'MARK, OWN_MARK = "trusted.stele", "user.stele"',
        'MARK = OWN_MARK = "user.stele"',
    ),
)
def mark_removed(arena: Arena) -> Outcome:
    output = Output()
    name = arena.runtime.id()
    bundle = arena.bundle(["/bin/payload", "unmark"], edit=_own_cgroup)
    arena.runtime.ok("run", "--detach", "--bundle", bundle, name, stdout=output.write_fd, stderr=subprocess.STDOUT)
    output.until("done")
    pidfd = os.pidfd_open(arena.runtime.state(name)["pid"])
    try:
        shutil.rmtree(arena.runtime.root / name)
        arena.runtime("delete", "--force", name)
        if _ended(pidfd):
            return Outcome(HELD)
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        return Outcome(BROKEN, "it runs on")
    finally:
        os.close(pidfd)
        output.close()


@attack(
    "G14f",
    "-",
    "another runtime's container marks its cgroup as that of a container whose state is lost",
    Patch("runtime/host/cgroups/cgroupfs.py", "return (MARK,)", "return (MARK, OWN_MARK)"),
)
def forged_mark(arena: Arena) -> Outcome:
    """It is root there, without CAP_SYS_ADMIN; its cgroup is root's. Who has the mark is killed in the place of the other."""
    name = arena.detached(arena.bundle(["sleep", "1000"]))
    root = os.stat(arena.runtime.root)
    pidfd = os.pidfd_open(arena.runtime.state(name)["pid"])
    forged = cgroup2.ROOT / f"forged-{name}"
    forged.mkdir()
    try:
        os.setxattr(forged, "user.stele", f"token {root.st_dev}:{root.st_ino}/{name}".encode())
        shutil.rmtree(arena.runtime.root / name)
        arena.runtime("delete", "--force", name)
        if _ended(pidfd) and forged.exists():
            return Outcome(HELD)
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        return Outcome(BROKEN, "it runs on")
    finally:
        os.close(pidfd)
        with contextlib.suppress(FileNotFoundError):
            forged.rmdir()


def _ended(pidfd: int) -> bool:
    return bool(select.select([pidfd], [], [], 0)[0])
