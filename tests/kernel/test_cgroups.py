"""The cgroupfs manager on real cgroups: created, used, distinguished, emptied, removed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runtime.errors import ConfigError, HostError, StateError
from runtime.host import cgroups
from runtime.host.cgroups import cgroupfs, limits, mount, tree
from runtime.host.cgroups.cgroupfs import MARK, OWN_MARK, CgroupfsManager
from runtime.plan.resources import KEEP, CgroupWrite, plan_resources
from tests.harness import cgroup2

HUGE = {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}]}


@pytest.fixture
def base(cgroup2_root: Path) -> Iterator[Path]:
    """A cgroup of this test's own; at the end everything in it is killed and removed."""
    path = cgroup2_root / f"stele-test-{uuid.uuid4().hex[:8]}"
    path.mkdir()
    yield path
    (path / "cgroup.freeze").write_text("0")
    (path / "cgroup.kill").write_text("1")
    parent = os.open(cgroup2_root, os.O_RDONLY | os.O_DIRECTORY)
    tree.remove(parent, path.name, 5)
    os.close(parent)


@pytest.fixture
def sleeper() -> Iterator[Callable[[Path], subprocess.Popen[bytes]]]:
    """`sleeper(cgroup)` is a process in a cgroup."""
    started: list[subprocess.Popen[bytes]] = []

    def start(cgroup: Path) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(["/bin/sleep", "1000"])
        started.append(process)
        (cgroup / "cgroup.procs").write_text(str(process.pid))
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def new(path: Path, *, rootless: bool = False) -> CgroupfsManager:
    manager = cgroups.open_manager("cgroupfs", f"/{path.relative_to(cgroup2.ROOT)}", "c", rootless=rootless)
    assert isinstance(manager, CgroupfsManager)
    return manager


def again(manager: cgroups.Manager) -> cgroups.Manager:
    """What another process makes of the record."""
    return cgroups.from_record(manager.record())


def in_cgroup(path: Path) -> list[int]:
    return [int(pid) for pid in (path / "cgroup.procs").read_text().split()]


# --- making -------------------------------------------------------------------------------------------------------


def test_a_life(base: Path, sleeper: Callable[[Path], subprocess.Popen[bytes]]) -> None:
    """prepare makes all of the path with its limits; a later process finds, empties and removes it by the record."""
    manager = new(base / "a/b")
    manager.prepare(plan_resources(HUGE))
    assert (base / "a/b/hugetlb.2MB.max").read_text() == f"{4 << 20}\n"
    assert (base / "a/b/hugetlb.2MB.rsvd.max").read_text() == f"{4 << 20}\n"
    assert os.fstat(manager.fd()).st_ino == (base / "a/b").stat().st_ino == manager.record()["id"]
    assert manager.path == str(base / "a/b")
    process = sleeper(base / "a/b")
    other = again(manager)
    assert other.pids() == [process.pid]
    other.kill()
    assert process.wait(5) == -signal.SIGKILL
    assert other.pids() == []
    other.destroy()
    assert not (base / "a/b").exists()
    other.destroy()
    again(manager).destroy()
    again(manager).kill()
    assert again(manager).pids() == []
    assert not again(manager).paused()
    assert again(manager).oom_kills() == 0


def test_a_used_cgroup_is_refused_and_left_alone(
    base: Path, sleeper: Callable[[Path], subprocess.Popen[bytes]]
) -> None:
    """The undoing of a refused create neither kills nor removes what is another's; nor does delete by its record."""
    (base / "used").mkdir()
    process = sleeper(base / "used")
    manager = new(base / "used")
    with pytest.raises(HostError, match=rf"{base}/used has processes"):
        manager.prepare(())
    for each in (manager, again(manager)):
        each.kill()
        assert each.signal(signal.SIGKILL) == 0
        each.destroy()
        assert each.pids() == []
    assert in_cgroup(base / "used") == [process.pid]
    assert process.poll() is None


def test_an_empty_cgroup_is_taken_as_it_is(base: Path) -> None:
    """Who makes the cgroup beforehand can have set things in it."""
    (base / "mine").mkdir()
    (base / "mine/cgroup.max.depth").write_text("7")
    manager = new(base / "mine")
    manager.prepare(())
    assert (base / "mine/cgroup.max.depth").read_text() == "7\n"
    with pytest.raises(HostError, match="belongs to another stele container"):
        new(base / "mine").prepare(())
    assert (base / "mine").is_dir()
    manager.destroy()
    assert not (base / "mine").exists()


def test_a_frozen_parent_is_refused(base: Path) -> None:
    """A process born there would never run, and create would wait for it for ever."""
    (base / "ice").mkdir()
    (base / "ice/cgroup.freeze").write_text("1")
    with pytest.raises(HostError, match="is frozen"):
        new(base / "ice/a/b").prepare(())
    assert [p.name for p in (base / "ice").iterdir() if p.is_dir()] == []


def test_a_threaded_parent_is_refused(base: Path) -> None:
    """A threaded cgroup takes no new process: clone3 would only say "operation not supported"."""
    (base / "t").mkdir()
    (base / "t/cgroup.type").write_text("threaded")
    with pytest.raises(HostError, match="is in a threaded cgroup"):
        new(base / "t/c").prepare(())
    assert not (base / "t/c").exists()


def test_a_missing_controller_names_the_field(base: Path) -> None:
    """Then no trace is left, not even of the cgroups above. A controller that is there is switched on all the way down."""
    manager = new(base / "x/y/z")
    limit = plan_resources({"pids": {"limit": 5}})
    if "pids" in cgroup2.controllers():
        manager.prepare(limit)
        assert (base / "x/y/z/pids.max").read_text() == "5\n"
        manager.destroy()
        return
    with pytest.raises(ConfigError, match='needs the cgroup controller "pids"') as e:
        manager.prepare(limit)
    assert e.value.path == "linux.resources.pids.limit"
    assert not (base / "x").exists()


def test_a_limit_that_the_kernel_refuses_can_be_undone(base: Path) -> None:
    """The cgroup is there by then; destroy removes it, also by a record from before it was made."""
    manager = new(base / "c")
    early = manager.record()
    with pytest.raises(
        HostError, match=r"unified\.cgroup\.max\.depth: cannot write 'no' to cgroup\.max\.depth: .*EINVAL"
    ):
        manager.prepare(plan_resources({"unified": {"cgroup.max.depth": "no"}}))
    assert (base / "c").is_dir()
    cgroups.from_record(early).destroy()
    assert not (base / "c").exists()


def test_no_more_cgroups_allowed(base: Path) -> None:
    """EAGAIN of mkdir is told as what it means."""
    (base / "cgroup.max.descendants").write_text("0")
    with pytest.raises(HostError, match=r"the limit cgroup.max.descendants"):
        new(base / "c").prepare(())


# --- whose it is --------------------------------------------------------------------------------------------------


def test_a_creator_that_died_at_once(base: Path, sleeper: Callable[[Path], subprocess.Popen[bytes]]) -> None:
    """The record from before the cgroup was made still finds it, by its mark, with all that is in it."""
    manager = new(base / "c")
    early = manager.record()
    assert early["id"] == 0
    manager.prepare(())
    process = sleeper(base / "c")
    late = cgroups.from_record(early)
    late.kill()
    assert process.wait(5) == -signal.SIGKILL
    late.destroy()
    assert not (base / "c").exists()


def test_a_cgroup_made_anew_is_another(base: Path, sleeper: Callable[[Path], subprocess.Popen[bytes]]) -> None:
    """A path says nothing: a container whose cgroup was removed has none, though the path is there again."""
    manager = new(base / "c")
    manager.prepare(())
    old = again(manager)
    (base / "c").rmdir()
    (base / "c").mkdir()
    os.setxattr(base / "c", MARK, manager.token.encode())  # what a payload could do, too: the id decides
    process = sleeper(base / "c")
    old.kill()
    old.destroy()
    assert old.pids() == []
    with pytest.raises(StateError, match="has no cgroup"):
        old.freeze()
    with pytest.raises(HostError, match="has no cgroup"):
        old.apply(plan_resources(HUGE))
    assert process.poll() is None
    assert in_cgroup(base / "c") == [process.pid]


def test_a_removed_mark_hides_nothing(base: Path, sleeper: Callable[[Path], subprocess.Popen[bytes]]) -> None:
    """A payload that owns its cgroup can take the mark off; once the id is recorded that changes nothing."""
    manager = new(base / "c")
    manager.prepare(())
    os.removexattr(base / "c", MARK)
    process = sleeper(base / "c")
    again(manager).kill()
    assert process.wait(5) == -signal.SIGKILL


def test_two_who_claim_to_be_the_lost_container_are_both_left(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ordinary user's mark is one that the user's containers can set, too."""
    assert cgroupfs._marks() == (MARK,)
    monkeypatch.setattr(cgroupfs, "_marks", lambda: (MARK, OWN_MARK))
    for name in ("one", "two"):
        (base / name).mkdir()
        os.setxattr(base / name, OWN_MARK, b"token owner")
        if name == "one":
            found = cgroups.find("owner")
            assert found and found.path == str(base / name)
    with pytest.raises(StateError, match="both marked as the container's"):
        cgroups.find("owner")


def test_a_cgroup_that_another_removes_meanwhile(base: Path) -> None:
    """As two deletes at once do: what there was to kill is gone."""
    manager = new(base / "c")
    manager.prepare(())
    write = os.write

    def late(fd: int, data: bytes) -> int:
        if (base / "c").exists():
            (base / "c").rmdir()
        return write(fd, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", late)
        manager.kill()
    assert not (base / "c").exists()


# --- processes ----------------------------------------------------------------------------------------------------


def test_freeze_and_thaw(base: Path) -> None:
    """freeze returns when nothing runs any more; thaw when it can."""
    manager = new(base / "c")
    manager.prepare(())
    read, write = os.pipe()
    process = subprocess.Popen(["/bin/sh", "-c", "while :; do echo; done"], stdout=write)
    os.close(write)
    manager.attach(process.pid)
    assert os.read(read, 1) == b"\n"
    other = again(manager)
    assert not other.paused()
    other.freeze()
    assert again(manager).paused()
    os.set_blocking(read, False)
    with contextlib.suppress(BlockingIOError):
        while os.read(read, 65536):
            pass
    with pytest.raises(BlockingIOError):  # it would have written by now: it was awake all the time before
        os.read(read, 1)
    os.set_blocking(read, True)
    other.thaw()
    assert os.read(read, 1) == b"\n"
    assert not again(manager).paused()
    other.freeze()
    other.kill()  # a frozen one dies too
    assert process.wait(5) == -signal.SIGKILL
    os.close(read)


def test_thaw_below_a_frozen_cgroup_says_so(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own freezer is off, and yet nothing runs: the reason is above."""
    monkeypatch.setattr("runtime.host.cgroups.cgroupfs.FREEZE_TIMEOUT", 0.1)
    manager = new(base / "p/c")
    manager.prepare(())
    (base / "p/cgroup.freeze").write_text("1")
    with pytest.raises(HostError, match="a cgroup above"):
        manager.thaw()


FORKER = """
exec 3<&0
read go
i=0
while [ $i -lt 720 ]; do (read never <&3) & i=$((i + 1)); done
echo ready
read never <&3
"""


def test_hundreds_of_processes(base: Path) -> None:
    """cgroup.procs is longer than one read(2) gives; each process is seen, signalled and killed."""
    manager = new(base / "c")
    manager.prepare(())
    program = subprocess.Popen(["/bin/dash", "-c", FORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert program.stdin and program.stdout
    manager.attach(program.pid)
    program.stdin.write(b"go\n")
    program.stdin.flush()
    assert program.stdout.readline() == b"ready\n"
    found = again(manager).pids()
    assert len(found) == len(set(found)) == 721
    assert again(manager).signal(0) == 721
    assert tree.kill_one_by_one(manager.fd(), 20)
    assert again(manager).pids() == []
    assert program.wait(5) == -signal.SIGKILL
    program.stdin.close()
    program.stdout.close()
    again(manager).destroy()
    assert not (base / "c").exists()


BOMB = """
import os, signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.write(1, b"x")
while True:
    try:
        if not os.fork():
            os._exit(0) if os.getpid() % 2 else None
    except OSError:
        pass
    if os.getpid() % 7 == 0:
        signal.pause()
"""


@pytest.mark.parametrize("one_by_one", [False, True], ids=["cgroup.kill", "one-by-one"])
def test_what_forks_all_the_time_is_killed(base: Path, one_by_one: bool) -> None:
    """Whichever way: no child escapes between the reading and the killing."""
    manager = new(base / "c")
    manager.prepare(())
    program = subprocess.Popen(
        [sys.executable, "-ISc", "import os; os.read(0, 1)\n" + BOMB], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert program.stdin and program.stdout
    manager.attach(program.pid)
    program.stdin.write(b"x")
    program.stdin.close()
    assert program.stdout.read(1) == b"x"
    if one_by_one:
        assert tree.kill_one_by_one(manager.fd(), 20)
    else:
        again(manager).kill()
    assert again(manager).pids() == []
    program.wait(5)
    program.stdout.close()
    again(manager).destroy()


def test_a_signal_reaches_all_below_and_no_other(
    base: Path, sleeper: Callable[[Path], subprocess.Popen[bytes]]
) -> None:
    """A process of a sub-cgroup gets it, one beside the container does not."""
    manager = new(base / "c")
    manager.prepare(())
    (base / "c/sub").mkdir()
    (base / "beside").mkdir()
    inside, below, beside = sleeper(base / "c"), sleeper(base / "c/sub"), sleeper(base / "beside")
    assert sorted(manager.pids()) == sorted([inside.pid, below.pid])
    assert manager.pids(recursive=False) == [inside.pid]
    assert again(manager).signal(signal.SIGUSR1) == 2
    assert (inside.wait(5), below.wait(5)) == (-signal.SIGUSR1, -signal.SIGUSR1)
    assert beside.poll() is None


def test_threaded_cgroups_of_a_payload(base: Path) -> None:
    """cgroup.procs of a threaded cgroup cannot be read; the domain above lists its processes."""
    manager = new(base / "c")
    manager.prepare(())
    process = subprocess.Popen(["/bin/sleep", "1000"])
    manager.attach(process.pid)
    (base / "c/t").mkdir()
    (base / "c/t/cgroup.type").write_text("threaded")
    (base / "c/t/cgroup.threads").write_text(str(process.pid))
    assert again(manager).pids() == [process.pid]
    again(manager).kill()
    assert process.wait(5) == -signal.SIGKILL
    again(manager).destroy()
    assert not (base / "c").exists()


def test_open_for_exec(base: Path) -> None:
    """An exec goes into the container's cgroup or one below it, and nowhere else."""
    manager = new(base / "c")
    manager.prepare(())
    (base / "c/a/b").mkdir(parents=True)
    for below, path in (("", "c"), ("a/b", "c/a/b"), ("/a", "c/a")):
        fd = again(manager).open(below)
        assert os.fstat(fd).st_ino == (base / path).stat().st_ino
        os.close(fd)
    with pytest.raises(StateError, match="leaves the container's cgroup"):
        manager.open("../other")
    with pytest.raises(StateError, match=r'--cgroup "nope": the container has no such cgroup'):
        manager.open("nope")


# --- removing -----------------------------------------------------------------------------------------------------


def test_destroy_at_any_depth_and_width(base: Path) -> None:
    """A payload can nest cgroups deeper than Python recurses and than there are file descriptors."""
    manager = new(base / "c")
    manager.prepare(())
    here = manager.open("")
    for _ in range(1100):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    for i in range(100):
        (base / f"c/w{i}").mkdir()
        (base / f"c/w{i}/x").mkdir()
    before = len(os.listdir("/proc/self/fd"))
    assert sum(1 for _ in tree.walk(manager.fd())) == 1301
    manager.destroy()
    assert not (base / "c").exists()
    assert len(os.listdir("/proc/self/fd")) == before - 1  # the manager's own fd


def test_destroy_waits_for_those_who_are_dying(base: Path, sleeper: Callable[[Path], subprocess.Popen[bytes]]) -> None:
    """SIGKILL is not an end yet; EBUSY of rmdir is waited out."""
    manager = new(base / "c")
    manager.prepare(())
    (base / "c/sub").mkdir()
    sleepers = [sleeper(base / "c/sub") for _ in range(20)]
    for process in sleepers:
        process.send_signal(signal.SIGKILL)
    manager.destroy()
    assert not (base / "c").exists()


def test_destroy_of_what_lives_says_who(
    base: Path, sleeper: Callable[[Path], subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody was killed, so the removal gives up in time and names a process."""
    monkeypatch.setattr("runtime.host.cgroups.cgroupfs.REMOVE_TIMEOUT", 0.1)
    manager = new(base / "c")
    manager.prepare(())
    process = sleeper(base / "c")
    with pytest.raises(HostError, match=rf"cannot remove the cgroup {base}/c: .*processes \[{process.pid}\]"):
        again(manager).destroy()
    assert process.poll() is None


# --- limits -------------------------------------------------------------------------------------------------------


def test_an_update_enables_its_controller(base: Path) -> None:
    """The create asked for no hugetlb limit, so the controller is not on in the cgroups between; the update needs it."""
    manager = new(base / "a/c")
    manager.prepare(())
    assert not (base / "a/c/hugetlb.2MB.max").exists()
    again(manager).apply(plan_resources(HUGE, update=True))
    assert (base / "a/c/hugetlb.2MB.max").read_text() == f"{4 << 20}\n"
    limit = plan_resources({"pids": {"limit": 5}}, update=True)
    if "pids" in cgroup2.controllers():
        again(manager).apply(limit)
        assert (base / "a/c/pids.max").read_text() == "5\n"
        return
    with pytest.raises(ConfigError, match=r'^linux\.resources\.pids\.limit: needs the cgroup controller "pids"'):
        again(manager).apply(limit)


def test_writes_that_depend_on_what_is_there(base: Path) -> None:
    """KEEP, minus, below, optional and otherwise, each on a real file."""
    (base / "cgroup.max.depth").write_text("100")
    (base / "cgroup.max.descendants").write_text("max")
    fd = os.open(base, os.O_RDONLY | os.O_DIRECTORY)

    def apply(file: str, value: str, **more: object) -> str:
        limits.apply(fd, limits.concrete(fd, [CgroupWrite("", file, value, "the.field", **more)]))  # type: ignore[arg-type]
        return (base / "cgroup.max.depth").read_text().strip()

    try:
        assert apply("cgroup.max.depth", KEEP) == "100"
        assert apply("cgroup.max.depth", "130", minus="cgroup.max.depth") == "30"
        assert apply("cgroup.max.depth", "50", minus="cgroup.max.descendants") == "50"
        with pytest.raises(ConfigError, match=r"^the\.field: 40 is below the memory limit 50"):
            apply("cgroup.max.depth", "40", minus="cgroup.max.depth")
        assert apply("cgroup.max.depth", "51", below="cgroup.max.depth") == "51"
        with pytest.raises(HostError, match=r"^the\.field: 51 is not above the 51 bytes"):
            apply("cgroup.max.depth", "51", below="cgroup.max.depth")
        assert apply("cgroup.nothing", "1", optional=True) == "51"
        assert apply("cgroup.nothing", "1", otherwise=("cgroup.max.depth", "9")) == "9"
        with pytest.raises(HostError, match=r"^the.field: there is no file cgroup\.nothing: this kernel does not have"):
            apply("cgroup.nothing", "1")
        with pytest.raises(HostError, match=r"^the.field: cannot write '1' to cgroup\.events: .*read-only"):
            apply("cgroup.events", "1")
    finally:
        os.close(fd)


def test_nothing_is_written_when_a_check_fails(base: Path) -> None:
    """checkBeforeUpdate of a later limit stops those before it as well."""
    manager = new(base / "c")
    manager.prepare(())
    (base / "c/cgroup.max.depth").write_text("5")
    with pytest.raises(HostError, match="as checkBeforeUpdate requires"):
        manager.apply([
            CgroupWrite("", "cgroup.max.descendants", "3", "first"),
            CgroupWrite("", "cgroup.max.depth", "4", "second", below="cgroup.max.depth"),
        ])  # fmt: skip
    assert (base / "c/cgroup.max.descendants").read_text() == "max\n"


# --- other users, other hosts -------------------------------------------------------------------------------------


def in_child(work: Callable[[], str], uid: int = 0) -> str:
    """What `work` says in a child process, as a user without groups."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            if uid:
                os.setgroups([])
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
            said = work()
        except BaseException as e:
            said = f"{type(e).__name__}: {e}"
        os.write(write, said.encode())
        os._exit(0)
    os.close(write)
    with open(read) as f:
        said = f.read()
    os.waitpid(pid, 0)
    return said


def as_user(work: Callable[[], str]) -> str:
    """What `work` says as nobody."""
    return in_child(work, 65534)


def test_a_delegated_cgroup(base: Path) -> None:
    """Its user makes cgroups in it and moves among them, but does not change its limits."""
    manager = new(base / "c")
    manager.prepare(plan_resources(HUGE))
    manager.delegate(65534)

    def work() -> str:
        (base / "c/mine").mkdir()
        (base / "c/cgroup.subtree_control").write_text("+hugetlb")
        (base / "c/mine/hugetlb.2MB.max").write_text("0")
        (base / "c/hugetlb.2MB.max").write_text("max")
        return "nobody may do everything"

    assert as_user(work) == f"PermissionError: [Errno 13] Permission denied: '{base}/c/hugetlb.2MB.max'"
    assert (base / "c/mine/hugetlb.2MB.max").read_text() == "0\n"
    manager.destroy()


def test_rootless_without_delegation(base: Path) -> None:
    """Nothing asked: the caller's own cgroup will do. A limit asked: the sentence says how to get it."""

    def ask(resources: dict[str, object]) -> str:
        manager = new(base / "c", rootless=True)
        manager.prepare(plan_resources(resources))
        later = again(manager)
        later.kill()
        later.destroy()
        return f"{manager.fd()} {later.open('')} {later.pids()}"

    assert as_user(lambda: ask({})) == "-1 -1 []"
    assert "cannot enable the cgroup controller" in as_user(lambda: ask(HUGE))
    (base / "cgroup.subtree_control").write_text("+hugetlb")
    said = as_user(lambda: ask(HUGE))
    assert said.startswith(f"HostError: linux.cgroupsPath: cannot create the cgroup {base}/c: Permission denied; ")
    assert "Delegate=yes" in said


def test_rootless_with_delegation(base: Path) -> None:
    """In a cgroup of one's own all goes as for root."""
    (base / "home").mkdir()
    os.chown(base / "home", 65534, 65534)

    def work() -> str:
        manager = new(base / "home/c", rootless=True)
        manager.prepare(())
        found = again(manager)
        fd = found.open("")
        found.kill()
        found.destroy()
        return f"{manager.record()['id'] == os.fstat(fd).st_ino} {(base / 'home/c').exists()}"

    assert as_user(work) == "True False"


def in_mounts(commands: str) -> str:
    """The mount point that is found after shell commands in a mount namespace of their own."""
    script = f"mount --make-rprivate / && umount -l /sys/fs/cgroup && {commands} && exec {sys.executable} -c "
    program = "from runtime.host.cgroups import mount_point\ntry: print(mount_point())\nexcept Exception as e: print(e)"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", f'{script} "$0"', program], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_record_of_another_manager() -> None:
    with pytest.raises(ConfigError, match="unknown cgroup manager 'x'"):
        cgroups.from_record({"manager": "x"})
    assert not cgroups.from_record({"manager": "disabled"}).paused()


def test_whole_hierarchies_are_looked_at_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (
        "1 0 0:1 /a /a-part rw - cgroup2 x rw\n",
        "2 0 0:1 / /the\\040whole rw - cgroup2 x rw\n",
        "3 0 0:2 / /p rw - proc x rw\n",
    )
    (tmp_path / "mountinfo").write_text("".join(lines))
    monkeypatch.setattr(mount, "MOUNTS", str(tmp_path / "mountinfo"))
    assert mount._mounted() == ["/the whole", "/a-part"]


@pytest.mark.parametrize("event", ["populated", "frozen"])
def test_a_cgroup_that_is_gone_is_neither_populated_nor_frozen(base: Path, event: str) -> None:
    (base / "c").mkdir()
    fd = os.open(base / "c", os.O_RDONLY | os.O_DIRECTORY)
    (base / "c").rmdir()
    assert tree.wait_event(fd, event, value=False, timeout=0)
    assert not tree.wait_event(fd, event, value=True, timeout=0)
    os.close(fd)


def test_a_hybrid_host(tmp_path: Path) -> None:
    """cgroup2 beside cgroup v1 serves wherever it is mounted; a directory that only looks like it does not."""
    odd = tmp_path / "a b\tc"
    odd.mkdir()
    tmpfs = "mount -t tmpfs tmpfs /sys/fs/cgroup && touch /sys/fs/cgroup/cgroup.controllers"
    assert in_mounts(f"{tmpfs} && mount -t cgroup2 cgroup2 '{odd}'") == str(odd)
    unified = f"{tmpfs} && mkdir /sys/fs/cgroup/unified && mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified"
    assert in_mounts(unified) == "/sys/fs/cgroup/unified"
    assert in_mounts("mount -t cgroup2 cgroup2 /sys/fs/cgroup") == "/sys/fs/cgroup"
    assert in_mounts(tmpfs).startswith("this host has no cgroup2 hierarchy, and stele does not support cgroup v1; boot")


def test_the_time_does_not_grow_with_what_is_there(base: Path) -> None:
    """With 300 cgroups beside it a new one opens and lists the same: none of them is looked at, nor are the mounts."""

    def life() -> str:
        seen: list[str] = []
        sys.addaudithook(lambda event, args: seen.append(f"{event} {args[:1]}") if event in watched else None)
        manager = new(base / "c")
        manager.prepare(())
        later = again(manager)
        assert not later.paused()
        later.kill()
        later.destroy()
        return "\n".join(sorted(seen))

    watched = ("open", "os.listdir", "os.scandir", "os.mkdir", "os.rmdir")
    in_child(life)  # the first one enables controllers in the cgroup above, where there are any
    few = in_child(life)
    assert "os.mkdir ('c',)" in few
    assert "mountinfo" not in few
    for i in range(300):
        (base / f"n{i}").mkdir()
    assert in_child(life) == few


def test_waiting_is_by_events(base: Path, sleeper: Callable[[Path], subprocess.Popen[bytes]]) -> None:
    """It returns soon after the end, far before its own time is over."""
    manager = new(base / "c")
    manager.prepare(())
    process = sleeper(base / "c")
    killer = os.posix_spawn("/bin/sh", ["sh", "-c", f"sleep 0.2; kill -9 {process.pid}"], os.environ)
    begin = time.monotonic()
    assert tree.wait_event(manager.fd(), "populated", value=False, timeout=30)
    assert time.monotonic() - begin < 10
    os.waitpid(killer, 0)
