"""What init holds when it resolves a name that the container can influence: nothing that leads to the host (class G1).

Init is stopped at each such call once it has entered the container's root (tests/faults/driver.c), and what it has open
is compared with the mounts that it sees from there.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.doubles import Patch, build
from tests.attacks.on_the_runtime import KEPT, LEAK
from tests.attacks.terminal import ConsoleSocket
from tests.faults.driver import compiled
from tests.harness.bundles import BundleFactory
from tests.harness.image_runs import Images
from tests.harness.runtime import REPO, Runtime
from tests.kernel.test_rootless import Make, bundle_of, theirs, user  # noqa: F401  fixtures

# x86-64 numbers; of each process the last that are sure to come are CHDIR and EXECVE.
OPEN, NEWSTAT, EXECVE, CHDIR, READLINK, CHROOT, OPENAT, STATAT, READLINKAT, EXECVEAT, STATX, OPENAT2 = CALLS = (
    2, 4, 59, 80, 89, 161, 257, 262, 267, 322, 332, 437,
)  # fmt: skip


@dataclass
class Stop:
    """One call of one process, about `name`: its open fds as (number, mount ID, target), and the mounts that it sees."""

    call: int
    pid: int
    name: str
    fds: list[tuple[int, int, str]] = field(default_factory=list)
    places: dict[str, tuple[int, str]] = field(default_factory=dict)
    mounts: set[int] = field(default_factory=set)

    def leads_out(self, *, shared: bool, kept: int = 0) -> list[str]:
        """What leads out of the container, in words. shared: on the host's mounts, so that any file is one of them."""
        out = [
            f"fd {number} -> {target}"
            for number, mount, target in self.fds
            # Sockets, pipes and files in memory lead nowhere; stdio and the kept fds are the caller's.
            if number >= 3 + kept and target.startswith("/") and not target.startswith("/memfd:")
            if shared or mount not in self.mounts
        ]
        for name, (mount, target) in self.places.items():
            inside = (target + "/").startswith(self.places["root"][1] + "/") if shared else mount in self.mounts
            if not inside:
                out.append(f"{name} -> {target}")
        return out


def stops(folder: Path, command: list[str], *, init: int = 0) -> list[Stop]:
    """Run a command; the calls of init, also of one that was there (`start`), and of its hooks' children."""
    log = folder / "names.log"
    with (folder / "names.out").open("w") as out:
        argv = [str(compiled()), "names", str(log), ",".join(map(str, CALLS)), str(init), *command]
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=120, check=False, cwd=REPO
        )
    assert done.returncode == 0, (folder / "names.out").read_text()
    found: list[Stop] = []
    for line in log.read_text(errors="replace").splitlines():
        kind, _, rest = line.partition(" ")
        words = rest.split(" ", 2)
        if kind == "at":
            found.append(Stop(int(words[0]), int(words[1]), words[2]))
        elif kind == "mount":
            found[-1].mounts.add(int(words[0]))
        elif kind == "fd":
            found[-1].fds.append((int(words[0]), int(words[1]), words[2]))
        elif kind in ("cwd", "root"):
            found[-1].places[kind] = (int(words[1]), words[2])
    return found


def check(found: list[Stop], *, executed: int = 1, shared: bool = False, kept: int = 0) -> None:
    """None leads out, and the calls that must have been seen were."""
    calls = [stop.call for stop in found]
    assert calls.count(EXECVE) == executed, calls
    assert all("root" in stop.places and (shared or stop.mounts) for stop in found)
    # Nobody can lead "/" elsewhere, which is how init gets into the root; and "" is a thing that is open already.
    named = [stop for stop in found if stop.name not in ("/", "")]
    assert [(stop.call, stop.name, out) for stop in named if (out := stop.leads_out(shared=shared, kept=kept))] == []


Edit = Callable[[dict[str, Any]], None]


def in_user_namespace(config: dict[str, Any]) -> None:
    config["linux"]["namespaces"].append({"type": "user"})
    for name in ("uidMappings", "gidMappings"):
        config["linux"][name] = [{"containerID": 0, "hostID": 100000, "size": 65536}]


def with_much(config: dict[str, Any]) -> None:
    """What has steps of its own: an OOM score, sysctls, a working directory, a user."""
    config["process"] |= {"oomScoreAdj": 100, "user": {"uid": 1000, "gid": 1000}}
    config["linux"]["sysctl"] = {"kernel.msgmax": "9999", "net.ipv4.ip_forward": "1"}


def without_mounts(config: dict[str, Any]) -> None:
    linux = config["linux"]
    linux["namespaces"] = [n for n in linux["namespaces"] if n["type"] != "mount"]
    config["mounts"] = []
    for name in ("maskedPaths", "readonlyPaths", "devices"):
        linux.pop(name, None)


def without_pids(config: dict[str, Any]) -> None:
    config["linux"]["namespaces"] = [n for n in config["linux"]["namespaces"] if n["type"] != "pid"]


EDITS: dict[str, Edit] = {
    "plain": lambda config: None,
    "user": in_user_namespace,
    "much": with_much,
    "no-mount-namespace": without_mounts,
    "no-pid-namespace": without_pids,
}
AT_HOME = {"process": {"cwd": "/home"}}
"""So that a working directory is looked up by a name that can be a link."""


@pytest.fixture
def reachable(tmp_path: Path) -> None:
    """By root of a user namespace, too."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and str(folder).startswith("/tmp/"):
            folder.chmod(folder.stat().st_mode | 0o011)


@pytest.mark.usefixtures("reachable")
@pytest.mark.parametrize("kind", EDITS)
def test_run_and_exec(stele: Runtime, bundle: BundleFactory, tmp_path: Path, kind: str) -> None:
    shared = kind == "no-mount-namespace"
    folder = bundle(["/bin/true"], AT_HOME, edit=EDITS[kind])
    check(stops(tmp_path, stele.command("run", "-b", folder, stele.id())), shared=shared)
    name = stele.detached(bundle(["/bin/sleep", "1000"], AT_HOME, edit=EDITS[kind]))
    check(stops(tmp_path, stele.command("exec", name, "/bin/true")), shared=shared)
    stele.ok("delete", "--force", name)


@pytest.mark.usefixtures("reachable")
@pytest.mark.parametrize("kind", EDITS)
def test_create_and_start(stele: Runtime, bundle: BundleFactory, tmp_path: Path, kind: str) -> None:
    """The names of config.json are resolved by `create` for the first time, by `start` for the last."""
    shared = kind == "no-mount-namespace"
    name = stele.id()
    created = stops(
        tmp_path, stele.command("create", "-b", bundle(["/bin/sleep", "1000"], AT_HOME, edit=EDITS[kind]), name)
    )
    check(created, executed=0, shared=shared)
    assert {stop.call for stop in created if stop.name != "/"} >= {CHDIR, STATX}
    check(stops(tmp_path, stele.command("start", name), init=stele.state(name)["pid"]), shared=shared)
    stele.ok("delete", "--force", name)


@pytest.mark.usefixtures("reachable")
@pytest.mark.parametrize("edits", [(without_mounts,), (without_mounts, in_user_namespace)], ids=["root", "user"])
def test_exec_on_the_hosts_mounts_is_in_the_containers_root(
    stele: Runtime, bundle: BundleFactory, edits: tuple[Edit, ...]
) -> None:
    """No namespace that is joined leads there."""

    def edit(config: dict[str, Any]) -> None:
        for each in edits:
            each(config)

    folder = bundle(["/bin/sleep", "1000"], edit=edit)
    (folder / "rootfs/etc/whose").write_text("the container's\n")
    name = stele.detached(folder)
    assert stele.ok("exec", name, "cat", "/etc/whose") == "the container's\n"
    assert stele.ok("exec", "--cwd", "/etc", name, "cat", "../../../etc/whose") == "the container's\n"
    stele.ok("delete", "--force", name)


def test_terminals(stele: Runtime, bundle: BundleFactory, tmp_path: Path) -> None:
    with ConsoleSocket(tmp_path) as console:
        flags = ("--console-socket", console.path)
        folder = bundle(["/bin/sleep", "1000"], terminal=True)
        name = stele.id()
        check(stops(tmp_path, stele.command("run", "--detach", "-b", folder, *flags, name)))
        check(stops(tmp_path, stele.command("exec", "--detach", "--tty", *flags, name, "/bin/true")))
        stele.ok("delete", "--force", name)


def test_start_container_hooks(stele: Runtime, bundle: BundleFactory, tmp_path: Path) -> None:
    """They are the image's programs, named in its root. Those of createContainer are the host's, and come before it."""
    hooks = {
        "startContainer": [{"path": "/bin/true"}, {"path": "/bin/true"}],
        "createContainer": [{"path": "/bin/true"}],
    }
    folder = bundle(["/bin/true"], {"hooks": hooks})
    check(stops(tmp_path, stele.command("run", "-b", folder, stele.id())), executed=3)


def test_joined_namespaces(stele: Runtime, bundle: BundleFactory, tmp_path: Path) -> None:
    name = stele.detached(bundle(["/bin/sleep", "1000"]))
    pid = stele.state(name)["pid"]

    def edit(config: dict[str, Any]) -> None:
        with_much(config)
        for namespace in config["linux"]["namespaces"]:
            link = {"network": "net"}.get(namespace["type"], namespace["type"])
            if namespace["type"] in ("pid", "ipc", "uts", "network"):
                namespace["path"] = f"/proc/{pid}/ns/{link}"

    check(stops(tmp_path, stele.command("run", "-b", bundle(["/bin/true"], edit=edit), stele.id())))
    stele.ok("delete", "--force", name)


def test_kept_fds_are_all_that_is_kept(stele: Runtime, bundle: BundleFactory, tmp_path: Path) -> None:
    """The caller answers for a file that it gives with --preserve-fds; its other open files do not reach init."""
    command = stele.command("run", "-b", bundle(["/bin/true"]), "--preserve-fds", "1", stele.id())
    found = stops(tmp_path, ["sh", "-c", 'exec 3< "$0" 4< "$0" 5< "$0" && exec "$@"', str(tmp_path), *command])
    check(found, kept=1)
    assert found[-1].leads_out(shared=False) == [f"fd 3 -> {tmp_path}"]


def test_an_ordinary_user(theirs: Runtime, bundle_of: Make, tmp_path: Path) -> None:  # noqa: F811
    check(stops(tmp_path, theirs.command("run", "-b", bundle_of(["/bin/true"], with_score), theirs.id())))
    name = theirs.detached(bundle_of(["/bin/sleep", "1000"], with_score))
    check(stops(tmp_path, theirs.command("exec", name, "/bin/true")))
    theirs.ok("delete", "--force", name)


def with_score(config: dict[str, Any]) -> None:
    config["process"]["oomScoreAdj"] = 100


@pytest.mark.parametrize("flags", [(), ("--upper", "tmpfs")], ids=["read-only", "tmpfs"])
def test_an_image(stele: Runtime, images: Images, tmp_path: Path, flags: tuple[str, ...]) -> None:
    image = images.made("plain")
    command = stele.command("--store", images.path, "run", "--image", image, *flags, stele.id(), "/bin/id")
    check(stops(tmp_path, command))


@pytest.mark.parametrize("kind", ["file", "fifo"])
def test_passwd_is_opened_only_if_it_is_a_file(
    stele: Runtime, bundle: BundleFactory, tmp_path: Path, kind: str
) -> None:
    """Opening alone lets the writer of a FIFO go on, and starts what some devices stand for."""
    folder = bundle(["/bin/sleep", "1000"], edit=lambda config: config["process"].update(env=["PATH=/bin"]))
    passwd = folder / "rootfs/etc/passwd"
    passwd.unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(passwd)
    else:
        passwd.write_text("root:x:0:0::/home:/bin/sh\n")
    name = stele.detached(folder)
    found = [
        stop.call for stop in stops(tmp_path, stele.command("exec", name, "/bin/true")) if stop.name == "/etc/passwd"
    ]
    assert found == ([STATX, OPENAT2] if kind == "file" else [STATX])
    stele.ok("delete", "--force", name)


LEAKS = {
    "kept to the end": (LEAK, *KEPT),
    "closed before the program only": (LEAK, KEPT[0]),
    "kept by hooks' children": (
        LEAK,
        KEPT[0],
        Patch("cshim/init/hook.c", "SYS(__NR_close_range, 3, ~0u, 0);", ""),
    ),
}


@pytest.mark.parametrize("planted", LEAKS.values(), ids=LEAKS)
def test_a_leak_is_seen(planted: tuple[Patch, ...], bundle: BundleFactory, tmp_path: Path) -> None:
    """Of a build that opens the host's root and keeps it."""
    root = tmp_path / "state"
    root.mkdir(mode=0o700)
    leaky = Runtime(root, "leaky", [str(build(planted))])
    folder = bundle(["/bin/true"], {**AT_HOME, "hooks": {"startContainer": [{"path": "/bin/true"}]}})
    found = stops(tmp_path, leaky.command("run", "-b", folder, leaky.id()))
    leaking = {stop.call for stop in found if stop.name != "/" and stop.leads_out(shared=False)}
    assert CHDIR in leaking and STATX in leaking, found
    assert (EXECVE in leaking) == (planted != LEAKS["closed before the program only"])
    with pytest.raises(AssertionError):
        check(found, executed=2)
