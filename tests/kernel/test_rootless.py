"""stele as an ordinary user: a user made for these tests, with and without ranges of ids, in cgroups of root's and of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.harness import cgroup2
from tests.harness.runtime import Runtime

SLEEP = ["sleep", "1000"]
RANGE, SIZE = 700_000, 65_536
ENVIRONMENT = {"PATH": "/usr/bin:/bin"}


@dataclass
class User:
    """An ordinary user; `home` is a folder that it and root can reach."""

    uid: int
    gid: int
    home: Path

    def becoming(self) -> list[str]:
        """What a command of root's begins with to be this user's."""
        return ["setpriv", "--reuid", str(self.uid), "--regid", str(self.gid), "--clear-groups", "--"]


@pytest.fixture(scope="module")
def user() -> Iterator[User]:
    """Made with a range of ids of its own (/etc/subuid), and removed."""
    name = f"stele-test-{os.getpid()}"
    home = Path(f"/tmp/{name}")
    subprocess.run(["useradd", "--system", "--no-create-home", "--home-dir", home, "--user-group", name], check=True)
    try:
        ranges = f"{RANGE}-{RANGE + SIZE - 1}"
        subprocess.run(["usermod", "--add-subuids", ranges, "--add-subgids", ranges, name], check=True)
        ids = [int(subprocess.run(["id", o, name], check=True, capture_output=True).stdout) for o in ("-u", "-g")]
        home.mkdir(mode=0o755)
        os.chown(home, *ids)
        yield User(*ids, home)
    finally:
        subprocess.run(["userdel", name], check=True, capture_output=True)
        shutil.rmtree(home, ignore_errors=True)
    assert name not in Path("/etc/subuid").read_text()


@pytest.fixture
def theirs(user: User, stele: Runtime) -> Runtime:
    """The runtime as that user calls it; its executable lies where the user can reach it."""
    program = user.home / "stele"
    if not program.exists():
        shutil.copy(stele.argv[0] if len(stele.argv) == 1 else "build/bin/stele", program)
        program.chmod(0o755)
    root = user.home / stele.token
    root.mkdir(mode=0o700)
    os.chown(root, user.uid, user.gid)
    return Runtime(root, stele.token, [*user.becoming(), str(program)])


Make = Callable[..., Path]


@pytest.fixture
def bundle_of(user: User, theirs: Runtime, busybox_master: Path) -> Iterator[Make]:
    """`bundle_of(args, edit)`: what `spec --rootless` writes, for this user's files."""
    made: list[Path] = []

    def make(args: list[str], edit: Callable[[dict[str, Any]], None] | None = None) -> Path:
        folder = user.home / f"{theirs.token}-bundle{len(made)}"
        made.append(folder)
        shutil.copytree(busybox_master, folder / "rootfs", symlinks=True)
        subprocess.run(["chown", "-R", f"{user.uid}:{user.gid}", folder], check=True)
        theirs.ok("spec", "--rootless", "--bundle", folder)
        config = json.loads((folder / "config.json").read_text())
        config["process"] |= {"args": args, "terminal": False}
        config["root"]["readonly"] = False
        if edit:
            edit(config)
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    yield make
    for folder in made:
        shutil.rmtree(folder)


def ranges(user: User) -> Callable[[dict[str, Any]], None]:
    """An edit: root is the user, all others are of its range."""

    def edit(config: dict[str, Any]) -> None:
        for field, own in (("uidMappings", user.uid), ("gidMappings", user.gid)):
            config["linux"][field] = [
                {"containerID": 0, "hostID": own, "size": 1},
                {"containerID": 1, "hostID": RANGE, "size": SIZE},
            ]

    return edit


def test_with_one_id(theirs: Runtime, bundle_of: Make, user: User) -> None:
    """No help of root's at all: the user is root inside, and what root makes there is the user's."""
    folder = bundle_of(["sh", "-c", "id -u; id -g; echo > /tmp/made; cat /proc/self/uid_map"])
    done = theirs("run", "-b", folder, theirs.id())
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0", "0", "0", str(user.uid), "1"]
    made = (folder / "rootfs/tmp/made").stat()
    assert (made.st_uid, made.st_gid) == (user.uid, user.gid)


def test_no_pivot_leaves_no_procfs_of_the_host(theirs: Runtime, bundle_of: Make) -> None:
    """The host's cannot be unmounted in a user namespace: it is covered, and another one refused as elsewhere."""
    script = "unshare -Urmpf mount -t proc proc /tmp; unshare -Urmn mount -t sysfs sysfs /tmp; echo end"

    def edit(config: dict[str, Any]) -> None:
        for kind in ("bounding", "effective", "permitted"):
            config["process"]["capabilities"][kind].append("CAP_SETFCAP")  # to map root to root

    done = theirs("run", "--no-pivot", "-b", bundle_of(["sh", "-c", script], edit), theirs.id())
    assert done.stdout == "end\n", done.stderr
    assert done.stderr.splitlines() == ["mount: permission denied (are you root?)"] * 2


def test_with_a_range_of_ids(theirs: Runtime, bundle_of: Make, user: User) -> None:
    """By newuidmap and newgidmap; another user inside is another one outside."""

    def edit(config: dict[str, Any]) -> None:
        ranges(user)(config)
        config["process"]["user"] = {"uid": 33, "gid": 44}

    folder = bundle_of(["sh", "-c", "id -u; id -g; echo > /tmp/made"], edit)
    done = theirs("run", "-b", folder, theirs.id())
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["33", "44"]
    made = (folder / "rootfs/tmp/made").stat()
    assert (made.st_uid, made.st_gid) == (RANGE + 32, RANGE + 43)


@pytest.mark.parametrize("option", ["suid", "noexec"])
def test_a_flag_of_the_hosts_mount_stays_if_no_option_clears_it(
    theirs: Runtime, bundle_of: Make, user: User, option: str
) -> None:
    """The kernel locks it for user namespaces; an option that would clear it is an error that says so."""
    place = user.home / "locked"
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nosuid,nodev", "tmpfs", place], check=True)

    def edit(config: dict[str, Any]) -> None:
        config["mounts"].append({"destination": "/mnt", "source": str(place), "options": ["bind", option]})

    try:
        done = theirs("run", "-b", bundle_of(["sh", "-c", "grep ' /mnt ' /proc/mounts"], edit), theirs.id())
    finally:
        subprocess.run(["umount", place], check=True)
    if option == "suid":
        assert done.returncode == 1
        assert "a user namespace cannot take ro, nosuid" in done.stderr
    else:
        assert {"nosuid", "nodev", "noexec"} <= set(done.stdout.split()[3].split(",")), done.stderr


def test_an_exec_that_wants_a_limit_above_the_users(theirs: Runtime, bundle_of: Make) -> None:
    """Nobody can raise it for them: it is told which limit, and what it could be."""
    folder = bundle_of(SLEEP)
    name = theirs.detached(folder)
    process = json.loads((folder / "config.json").read_text())["process"]
    limit = {"type": "RLIMIT_CORE", "soft": 50, "hard": 100}
    (folder / "process.json").write_text(json.dumps({**process, "args": ["true"], "rlimits": [limit]}))
    prefix = ["prlimit", "--core=50:99"]
    command = [*prefix, *theirs.command("exec", "--process", folder / "process.json", name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 255
    words = "process.rlimits[0]: cannot set RLIMIT_CORE to 50:100: stele's own hard limit is 99"
    assert done.stderr.count("\n") == 1 and words in done.stderr
    theirs.ok("delete", "--force", name)


def test_a_life(theirs: Runtime, bundle_of: Make) -> None:
    """Each command that needs no cgroup works as root's does."""
    name = theirs.create(bundle_of(SLEEP))
    assert theirs.state(name)["status"] == "created"
    theirs.ok("start", name)
    assert theirs.state(name)["status"] == "running"
    assert theirs.ok("exec", name, "id", "-u") == "0\n"
    assert theirs("exec", name, "sh", "-c", "exit 7").returncode == 7
    assert theirs.ok("list", "-q") == f"{name}\n"
    pidfd = os.pidfd_open(theirs.state(name)["pid"])
    theirs.ok("kill", name, "KILL")
    theirs.wait_ended(pidfd)
    assert theirs.state(name)["status"] == "stopped"
    theirs.ok("delete", name)
    assert theirs.ok("list", "-q") == ""


def test_delete_force_ends_it(theirs: Runtime, bundle_of: Make) -> None:
    name = theirs.detached(bundle_of(SLEEP))
    pidfd = os.pidfd_open(theirs.state(name)["pid"])
    theirs.ok("delete", "--force", name)
    theirs.wait_ended(pidfd)


def test_the_state_is_kept_in_the_users_own_directory(theirs: Runtime, bundle_of: Make, user: User) -> None:
    """$XDG_RUNTIME_DIR/stele, sticky so that it is not tidied away; another user sees nothing of it."""
    folder = bundle_of(SLEEP)
    run = user.home / f"run-{theirs.token}"
    run.mkdir(mode=0o700)
    os.chown(run, user.uid, user.gid)
    env, quiet = (
        {**ENVIRONMENT, "XDG_RUNTIME_DIR": str(run)},
        {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL},
    )
    name = theirs.id()
    subprocess.run([*theirs.argv, "create", "-b", folder, name], env=env, check=True, **quiet)
    mode = (run / "stele").stat().st_mode
    assert mode & stat.S_ISVTX and mode & 0o777 == 0o700
    listed = subprocess.run([*theirs.argv, "list", "-q"], env=env, check=True, capture_output=True, text=True)
    assert listed.stdout == f"{name}\n"
    subprocess.run([*theirs.argv, "delete", name], env=env, check=True)
    shutil.rmtree(run)


def test_without_a_directory_of_its_own(theirs: Runtime, bundle_of: Make) -> None:
    done = subprocess.run(
        [*theirs.argv, "create", "-b", bundle_of(SLEEP), theirs.id()],
        env=ENVIRONMENT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "--root /run/stele: cannot write there: Permission denied; choose another with --root" in done.stderr


def no_user_namespace(config: dict[str, Any]) -> None:
    config["linux"]["namespaces"] = [n for n in config["linux"]["namespaces"] if n["type"] != "user"]
    del config["linux"]["uidMappings"], config["linux"]["gidMappings"]


def mapping(start: int, size: int) -> Callable[[dict[str, Any]], None]:
    def edit(config: dict[str, Any]) -> None:
        config["linux"]["uidMappings"] = [{"containerID": 0, "hostID": start, "size": size}]

    return edit


def groups(config: dict[str, Any]) -> None:
    config["process"]["user"]["additionalGids"] = [5]


def limits(config: dict[str, Any]) -> None:
    config["linux"]["resources"] = {"hugepageLimits": [{"pageSize": "2MB", "limit": 2 << 20}]}


def another_uid(config: dict[str, Any]) -> None:
    config["process"]["user"] = {"uid": 5, "gid": 5}


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (no_user_namespace, 'linux.namespaces: an ordinary user needs a user namespace; add {"type": "user"}'),
        (mapping(0, 1), "/usr/bin/newuidmap refused the id mappings (exit status 1); compare them with /etc/subuid"),
        (mapping(RANGE - 5, 10), "/usr/bin/newuidmap refused the id mappings"),
        (groups, "process.user.additionalGids: a rootless container cannot have additional groups; remove them"),
        (limits, "Delegate="),
        (another_uid, "process.user 5:5: cannot switch to it"),
    ],
    ids=["no-user-namespace", "root", "beyond-the-range", "groups", "limits", "unmapped"],
)
def test_what_a_user_cannot_have(
    theirs: Runtime, bundle_of: Make, edit: Callable[[dict[str, Any]], None], words: str
) -> None:
    """One sentence that names the field, and nothing is left."""
    done = theirs("run", "-b", bundle_of(["true"], edit), theirs.id())
    assert done.returncode == 1
    assert words in done.stderr
    assert theirs.ok("list", "-q") == ""


@pytest.mark.parametrize("command", [["pause"], ["resume"], ["update", "--pids-limit", "5"], ["events", "--stats"]])
def test_commands_that_need_a_cgroup_say_so(theirs: Runtime, bundle_of: Make, command: list[str]) -> None:
    name = theirs.detached(bundle_of(SLEEP))
    done = theirs(*command, name)
    assert done.returncode == 1
    assert "cgroup" in done.stderr or "container not paused" in done.stderr
    assert done.stderr.count("\n") == 1
    theirs.ok("delete", "-f", name)


# --- a cgroup of its own ------------------------------------------------------------------------------------------


@pytest.fixture
def delegated(theirs: Runtime, user: User) -> Iterator[Runtime]:
    """The user's commands run in a cgroup that is delegated to it with hugetlb only, as systemd's Delegate=hugetlb does it."""
    above = cgroup2.ROOT / f"user-{theirs.token.removeprefix('t')}"
    top = above / "service"
    inner = top / "session"
    for folder in (above, top, inner):
        folder.mkdir()
        (folder.parent / "cgroup.subtree_control").write_text("+hugetlb")
    for folder in (top, inner):
        for name in ("", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"):
            os.chown(folder / name, user.uid, user.gid)
    enter = f'echo $$ > {inner}/cgroup.procs; exec "$@"'
    yield Runtime(theirs.root, theirs.token, ["sh", "-c", enter, "sh", *theirs.argv])
    for folder in (inner, top, above):
        folder.rmdir()


def own_cgroup(name: str, token: str) -> Callable[[dict[str, Any]], None]:
    def edit(config: dict[str, Any]) -> None:
        config["linux"]["cgroupsPath"] = f"/user-{token.removeprefix('t')}/service/{name}"
        limits(config)

    return edit


def test_in_a_delegated_cgroup_all_works(delegated: Runtime, bundle_of: Make, user: User) -> None:
    """Limits, pause, update, statistics: by cgroups that the user makes below its own."""
    word = f"{delegated.token}-own"
    name = delegated.detached(bundle_of(SLEEP, own_cgroup(word, delegated.token)))
    (folder,) = cgroup2.named(word)
    assert folder.stat().st_uid == user.uid
    assert (folder / "hugetlb.2MB.max").read_text() == f"{2 << 20}\n"
    delegated.ok("pause", name)
    assert delegated.state(name)["status"] == "paused"
    delegated.ok("resume", name)
    limits_ = {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}]}
    delegated.ok("update", "-r", "-", name, input=json.dumps(limits_))
    assert (folder / "hugetlb.2MB.max").read_text() == f"{4 << 20}\n"
    assert json.loads(delegated.ok("events", "--stats", name))["type"] == "stats"
    assert "sleep" in delegated.ok("ps", name)
    delegated.ok("delete", "--force", name)
    assert not folder.exists()


def test_a_controller_that_is_not_delegated(delegated: Runtime, bundle_of: Make) -> None:
    def edit(config: dict[str, Any]) -> None:
        own_cgroup(f"{delegated.token}-own", delegated.token)(config)
        config["linux"]["resources"] = {"pids": {"limit": 5}}

    done = delegated("run", "-b", bundle_of(["true"], edit), delegated.id())
    assert done.returncode == 1
    assert re.search(r'linux\.resources\.pids\.limit: (needs|cannot enable) the cgroup controller "pids"', done.stderr)
    assert re.search(r"delegated? (it )?to you", done.stderr)
