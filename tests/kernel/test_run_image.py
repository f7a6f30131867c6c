"""Containers of images: their root, their settings, their network; and that nothing of them is left."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.images import erofs
from runtime.images.merged import Merged
from runtime.images.store import ImageStore
from tests.harness.bundles import BUSYBOX
from tests.harness.images import add_image, add_layout, layer
from tests.harness.output import Output
from tests.harness.runtime import REPO, Runtime
from tests.harness.services import SERVICES, Ask

SHELL = {
    "bin/": None,
    "bin/busybox": BUSYBOX.read_bytes(),
    **dict.fromkeys(("bin/sh", "bin/id", "bin/cat"), "-> busybox"),
}


class Images:
    """A store for one test module, and commands that use it."""

    def __init__(self, folder: Path, built: Callable[[str], tuple[Path, Path]]) -> None:
        self.path = folder / "store"
        self.folder = folder
        self._built = built
        self._taken: set[str] = set()

    def recipe(self, name: str) -> str:
        """The image of a recipe of bundles/, imported once."""
        if name not in self._taken:
            add_layout(self.path, self.layout(name), name)
            self._taken.add(name)
        return name

    def layout(self, name: str) -> Path:
        """The image of a recipe as a folder."""
        return self._built(name)[1]

    def made(self, name: str, *layers: dict[str, Any], **run: Any) -> str:
        """An image of busybox and these layers above it."""
        add_image(self.path, name, [layer(SHELL), *map(layer, layers)], {"Cmd": ["/bin/sh"], **run})
        return name

    def uses(self) -> list[str]:
        folder = self.path / "uses"
        return sorted(os.listdir(folder)) if folder.exists() else []


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory, built: Callable[[str], tuple[Path, Path]]) -> Iterator[Images]:
    made = Images(tmp_path_factory.mktemp("images"), built)
    yield made
    shutil.rmtree(made.folder)


@pytest.fixture
def run(stele: Runtime, images: Images) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """`run(image, *flags, args=[...])` runs a container to its end; no image is in use then."""

    def call(
        image: str, *flags: str | Path, args: list[str] | None = None, sh: str = ""
    ) -> subprocess.CompletedProcess[str]:
        words = ["/bin/sh", "-c", sh] if sh else args or []
        return stele("--store", images.path, "run", "--image", image, *flags, stele.id(), *words)

    yield call
    assert images.uses() == []


@pytest.fixture
def output() -> Iterator[Output]:
    pipe = Output()
    yield pipe
    pipe.close()


Run = Callable[..., subprocess.CompletedProcess[str]]


def ok(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return str(done.stdout)


def test_hello_from_its_image(run: Run, images: Images, stele: Runtime) -> None:
    lines = ok(run(images.recipe("hello"))).splitlines()
    assert lines[0] == "Hello from process 1 of a container."
    assert lines[-1] == "root          is read-only"


@pytest.mark.parametrize(("name", "ready", "request_"), SERVICES, ids=[name for name, _, _ in SERVICES])
def test_a_service_from_its_image(
    stele: Runtime,
    images: Images,
    output: Output,
    name: str,
    ready: str,
    request_: Callable[[Ask], None],
) -> None:
    """As an ordinary user on a read-only root, its volumes on tmpfs: nothing is given but the image's name."""
    image, container = images.recipe(name), stele.id(name)
    created = stele(
        "--store", images.path, "create", "--image", image, container, stdout=output.write_fd, stderr=output.write_fd
    )
    assert created.returncode == 0, output.rest()
    assert len(images.uses()) == 1
    stele.ok("start", container)
    output.until(ready)
    state = stele.state(container)
    assert state["status"] == "running"
    assert state["annotations"]["org.stele.image.name"] == name
    assert json.loads(Path(state["bundle"], "config.json").read_text())["process"]["user"]["uid"] > 0
    request_(lambda *args: stele.ok("exec", container, *args))
    pidfd = os.pidfd_open(state["pid"])
    stele.ok("kill", container, "TERM")
    stele.wait_ended(pidfd)
    output.rest()
    stele.ok("delete", container)
    assert images.uses() == []


# ---- the root ----


def test_layers_are_merged_as_they_were_meant(run: Run, images: Images) -> None:
    """Later files win, whiteouts hide, opaque directories start anew, owners and modes are kept."""
    image = images.made(
        "merged",
        {"d/": None, "d/low": "low", "d/both": "low", "gone": "x", "o/": None, "o/hidden": "x"},
        {
            "d/both": ("high", 0o640, 7, 8),
            "d/new": "new",
            ".wh.gone": "",
            "o/": None,
            "o/.wh..wh..opq": "",
            "o/fresh": "f",
        },
    )
    told = ok(
        run(
            image,
            sh="cd /d; for f in low both new; do cat $f; echo; done; busybox ls /o; busybox ls /; busybox stat -c '%a %u %g' both",
        )
    )
    lines = told.splitlines()
    assert lines[:3] == ["low", "high", "new"]
    assert lines[3] == "fresh"
    assert "gone" not in lines
    assert lines[-1] == "640 7 8"


@pytest.mark.parametrize("flags", [[], ["--upper", "none", "--read-only"], ["--upper", "tmpfs", "--read-only"]])
def test_the_root_is_read_only(run: Run, images: Images, flags: list[str]) -> None:
    """The write is refused inside; and a mount point that the image lacks is still there."""
    done = run(
        images.made("plain"), *flags, "--volume", "/etc:/new/place:ro", sh="busybox ls /new/place/passwd; echo x >/file"
    )
    assert done.stdout == "/new/place/passwd\n"
    assert "can't create /file: Read-only file system" in done.stderr


def test_an_upper_layer_on_tmpfs_takes_what_fits(run: Run, images: Images) -> None:
    image = images.made("plain")
    done = run(
        image, "--upper", "tmpfs:1m", sh="echo x >/file; cat /file; busybox dd if=/dev/zero of=/big bs=1k count=2000"
    )
    assert done.stdout == "x\n"
    assert "No space left on device" in done.stderr
    assert "nothing" in run(image, "--upper", "tmpfs", sh="cat /file || echo nothing").stdout


def test_an_upper_layer_in_a_directory_stays(run: Run, images: Images, tmp_path: Path) -> None:
    image, upper = images.made("plain"), tmp_path / "upper"
    done = run(image, "--upper", upper, sh="true")
    assert f'--upper "{upper}": cannot be written: No such file or directory' in done.stderr
    upper.mkdir()
    ok(run(image, "--upper", upper, sh="echo kept >/file; busybox rm /bin/id"))
    assert (upper / "upper/file").read_text() == "kept\n"
    assert ok(run(image, "--upper", upper, sh="cat /file; test -e /bin/id || echo gone")) == "kept\ngone\n"
    assert ok(run(image, sh="test -e /bin/id && echo there")) == "there\n"


def test_an_upper_layer_is_one_containers_at_a_time(stele: Runtime, run: Run, images: Images, tmp_path: Path) -> None:
    """Two overlays on one upper layer would damage it; another name of the directory does not help."""
    image, upper, link = images.made("plain"), tmp_path / "upper", tmp_path / "link"
    upper.mkdir()
    link.symlink_to(upper)
    first = stele.id()
    null = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    assert stele("--store", images.path, "create", "--image", image, "--upper", upper, first, **null).returncode == 0
    refused = run(image, "--upper", link, sh="true")
    assert refused.returncode == 1
    assert f'container "{first}" writes to it; give each container a directory of its own' in refused.stderr
    stele.ok("delete", "--force", first)
    ok(run(image, "--upper", upper, sh="true"))


@pytest.mark.parametrize("rootfs", ["overlay", "erofs"])
def test_a_layer_that_is_there_twice(run: Run, images: Images, rootfs: str) -> None:
    """As of two equal steps of a build, here with one between them that takes the file away: the last one counts."""
    step, undo = {"d/": None, "d/file": "made"}, {"d/": None, "d/.wh.file": ""}
    image = images.made("twice", step, undo, step)
    assert ok(run(image, "--rootfs", rootfs, sh="cat /d/file")) == "made"


def test_an_image_without_layers(run: Run, images: Images) -> None:
    add_image(images.path, "empty", [], {"Cmd": ["/bin/sh"]})
    assert 'image "empty" has no layers, and so no program' in run("empty").stderr


MANY = 120
OLD_KERNEL = """
import sys
from dataclasses import replace
from runtime.container import create
probe = create.probe
create.probe = lambda **more: replace(probe(**more), kernel=(5, 15))
from runtime.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("old", [False, True], ids=["layer-by-layer", "as-before-linux-6.5"])
def test_many_layers(stele: Runtime, images: Images, old: bool) -> None:
    """120 layers, each with a file of its own and one that all have; both ways of telling the kernel."""
    layers = [{f"n{i}": str(i), "same": str(i)} for i in range(MANY)]
    image = images.made("many", *layers)
    command = [sys.executable, "-c", OLD_KERNEL] if old else stele.argv
    words = [
        "run",
        "--image",
        image,
        stele.id(),
        "/bin/sh",
        "-c",
        "cat /same; echo; busybox ls / | busybox grep -c '^n'; >/x",
    ]
    for flags in ([], ["--upper", "tmpfs"]):
        argv = [*command, "--root", stele.root, "--store", images.path, *words[:3], *flags, stele.id(), *words[4:]]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=REPO)
        assert done.stdout == f"{MANY - 1}\n{MANY}\n", done.stderr
        assert ("Read-only" in done.stderr) == (not flags)


def test_more_layers_than_an_old_kernel_takes(stele: Runtime, images: Images) -> None:
    image = images.made("too-many", *({f"n{i}": ""} for i in range(300)))
    argv = [
        sys.executable,
        "-c",
        OLD_KERNEL,
        "--root",
        stele.root,
        "--store",
        images.path,
        "run",
        "--image",
        image,
        stele.id(),
        "true",
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=REPO)
    assert done.returncode == 1
    assert "more layers than this kernel takes" in done.stderr


def test_nothing_of_the_root_is_mounted_on_the_host(stele: Runtime, images: Images) -> None:
    """Not even while it runs; and the root's devices are of no use."""
    image, name = images.made("plain"), stele.id()
    before = Path("/proc/self/mountinfo").read_text()
    null = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    assert stele("--store", images.path, "create", "--image", image, name, "/bin/sh", **null).returncode == 0
    assert Path("/proc/self/mountinfo").read_text() == before
    mounts = Path(f"/proc/{stele.state(name)['pid']}/mounts").read_text().splitlines()
    assert mounts[0].split()[2] == "overlay"
    assert {"ro", "nodev"} <= set(mounts[0].split()[3].split(","))
    stele.ok("delete", "--force", name)


# ---- who and where ----


def test_names_are_looked_up_in_the_image(run: Run, images: Images) -> None:
    """The upper layer's passwd is asked, behind a link; the image's User is the default, --user beats it."""
    image = images.made(
        "users",
        {"etc/": None, "etc/passwd": "web:x:1:1::/:\n", "etc/group": "web:x:1:\n"},
        {
            "usr/": None,
            "etc/passwd": "-> ../usr/passwd",
            "usr/passwd": "web:x:501:502::/home/web:\n",
            "etc/group": "x:x:502:\nmore:x:77:web\n",
        },
        User="web",
    )
    assert ok(run(image, sh="id -u; id -g; id -G; echo $HOME")) == "501\n502\n502 77\n/home/web\n"
    assert ok(run(image, "--user", "3:4", sh="id -u; id -g; id -G")) == "3\n4\n4\n"
    assert ok(run(image, "-u", "web:more", sh="id -u; id -g; id -G")) == "501\n77\n77\n"
    done = run(image, "--user", "nobody", sh="true")
    assert (done.returncode, done.stderr) == (
        1,
        "stele run failed: user 'nobody': the image's /etc/passwd does not have it; use a number, or another with --user\n",
    )


@pytest.mark.parametrize("passwd", ["-> /proc/self/environ", "-> ../../../../../../../../etc/shadow", "-> passwd"])
def test_a_hostile_passwd_reads_nothing_of_the_host(run: Run, images: Images, passwd: str) -> None:
    """CVE-2024-5154: the host's files are not reached by links of the image."""
    image = images.made(f"hostile{len(passwd)}", {"etc/": None, "etc/passwd": passwd}, User="root")
    done = run(image, sh="true")
    assert done.returncode == 1
    assert "does not have it" in done.stderr or "too many symbolic links" in done.stderr


def test_a_huge_passwd_is_not_read(run: Run, images: Images) -> None:
    image = images.made("huge", {"etc/": None, "etc/passwd": "#" * (2 << 20)}, User="web")
    assert "/etc/passwd in the image is larger than 1024 KiB" in run(image, sh="true").stderr


def test_merged_sees_what_the_kernel_sees(run: Run, images: Images) -> None:
    """Each path of an awkward image: looked up without a mount, and by the kernel in the container."""
    image = images.made(
        "awkward",
        {"a/": None, "a/b/": None, "a/b/c": "1", "a/file": "1", "d/": None, "d/e": "1", "loop": "-> loop", "f": "x"},
        {
            "l": "-> a/b",
            "up": "-> a/b/../file",
            "abs": "-> /l/c",
            "d": "-> a",
            "a/b/.wh..wh..opq": "",
            "a/b/n": "2",
            "f/": None,
            "f/g": "3",
        },
        {"a/.wh.file": "", "out": "-> ../../../etc/passwd"},
    )
    store = ImageStore(str(images.path))
    paths = [
        "/a/b/c",
        "/a/b/n",
        "/a/file",
        "/d/e",
        "/d/b",
        "/l/n",
        "/l/c",
        "/up",
        "/abs",
        "/f",
        "/f/g",
        "/loop",
        "/out",
        "/l/..",
        "/a/b/../../f/g",
        "/",
    ]
    told = ok(
        run(
            image,
            sh="for p in "
            + " ".join(paths)
            + "; do if test -d $p; then echo d; elif test -e $p; then echo f; else echo -; fi; done",
        )
    ).split()
    config = store.config(store.manifest(store.resolve(image)))
    with Merged(list(reversed(store.trees(config)))) as merged:
        found = []
        for path in paths:
            try:
                at = merged.look_up(path)
            except Exception as e:
                assert "too many symbolic links" in str(e)
                at = None
            found.append("-" if at is None else "d" if at.is_directory else "f")
    assert dict(zip(paths, found, strict=True)) == dict(zip(paths, told, strict=True))


def test_settings_reach_the_process(run: Run, images: Images, tmp_path: Path) -> None:
    image = images.made(
        "settings", Env=["A=1", "B=2"], WorkingDir="/made/for/it", Entrypoint=["/bin/busybox", "env"], Cmd=["-u"]
    )
    (tmp_path / "env").write_text("# one\nC=from a file\n")
    lines = ok(run(image, "--env", "B=3", "--env-file", tmp_path / "env", args=["-u", "NOT"])).splitlines()
    assert {"A=1", "B=3", "C=from a file"} <= set(lines)
    assert ok(run(image, "--entrypoint", "/bin/busybox", args=["pwd"])) == "/made/for/it\n"
    assert ok(
        run(image, "--entrypoint", '["/bin/sh","-c"]', "-w", "/other", args=["busybox pwd; busybox hostname", "x"])
    ).startswith("/other\n")
    told = ok(
        run(
            image,
            "--entrypoint",
            "",
            "--hostname",
            "stone",
            args=["/bin/sh", "-c", "busybox hostname; cat /etc/hostname; busybox grep stone /etc/hosts"],
        )
    )
    assert told == "stone\nstone\n127.0.1.1\tstone\n"


def test_a_working_directory_in_a_volume_is_made_there(run: Run, images: Images, tmp_path: Path) -> None:
    """After the mounts, so that it is not hidden by one; never through a link of procfs (CVE-2024-21626)."""
    image = images.made("volume-cwd", Volumes={"/data": {}}, WorkingDir="/data/deep/in/it")
    assert ok(run(image, sh="busybox pwd")) == "/data/deep/in/it\n"
    done = run(image, "--workdir", "/proc/self/fd/7", sh="busybox pwd")
    assert done.returncode == 1
    assert "/proc/self/fd/7" in done.stderr


def test_kill_sends_what_the_image_stops_by(stele: Runtime, images: Images, output: Output) -> None:
    """An engine's word for "end yourself" is the image's; a signal that is named is the one sent."""
    image, name = images.made("stops", StopSignal="SIGUSR1"), stele.id()
    script = "trap 'echo usr1; exit 3' USR1; trap 'echo term' TERM; echo ready; while :; do busybox sleep 0.05; done"
    words = ["--store", images.path, "create", "--image", image, name, "/bin/sh", "-c", script]
    assert stele(*words, stdout=output.write_fd, stderr=output.write_fd).returncode == 0
    stele.ok("start", name)
    output.until("ready")
    stele.ok("kill", name, "TERM")
    output.until("term")
    stele.ok("kill", name)
    assert output.rest() == "ready\nterm\nusr1\n"
    stele.wait_stopped(name)
    stele.ok("delete", name)


def test_volumes(run: Run, images: Images, tmp_path: Path) -> None:
    """A host directory both ways, a named one that stays with the image's owner, tmpfs, and the image's own."""
    image = images.made(
        "volumes",
        {"srv/": ("", 0o2750, 5, 6), "srv/seed": "seed", "data/": ("", 0o700, 9, 9), "data/x": "1"},
        Volumes={"/srv": {}, "/none": {}},
    )
    host = tmp_path / "host"
    host.mkdir()
    (host / "in").write_text("in")
    assert ok(run(image, "--volume", f"{host}:/h", sh="cat /h/in; echo out >/h/out")) == "in"
    assert (host / "out").read_text() == "out\n"
    done = run(image, "--volume", f"{host}:/h:ro", sh="echo x >/h/x")
    assert "Read-only file system" in done.stderr
    assert (
        ok(run(image, sh="busybox stat -c '%a %u %g' /srv; cat /srv/seed; echo y >/srv/new; echo z >/none/z"))
        == "2750 5 6\nseed"
    )
    ok(run(image, "--volume", "kept:/data", sh="echo kept >/data/file"))
    assert (
        ok(run(image, "--volume", "kept:/data", sh="cat /data/file; busybox stat -c '%a %u %g' /data"))
        == "kept\n700 9 9\n"
    )
    assert (
        ok(
            run(
                image,
                "--tmpfs",
                "/t:size=1m,mode=700",
                sh="busybox stat -c %a /t; busybox df -k /t | busybox tail -1 | busybox awk '{print $2}'",
            )
        )
        == "700\n1024\n"
    )
    missing = run(image, "--volume", f"{tmp_path}/none:/h", sh="true")
    assert f'the host has no "{tmp_path}/none"; create it, or correct the source' in missing.stderr


def test_capabilities_and_privileges(run: Run, images: Images) -> None:
    image = images.made("plain")
    status = "busybox grep -E 'CapBnd|NoNewPrivs' /proc/self/status"
    assert ok(run(image, sh=status)).split() == ["CapBnd:", "00000000a80425fb", "NoNewPrivs:", "1"]
    told = ok(run(image, "--cap-drop", "ALL", "--cap-add", "chown", "--allow-new-privileges", sh=status))
    assert told.split() == ["CapBnd:", "0000000000000001", "NoNewPrivs:", "0"]


def test_volumes_are_listed_and_removed(stele: Runtime, run: Run, images: Images) -> None:
    """One that a container has, running or stopped, stays; what is removed is gone with all in it."""
    image, name = images.made("plain"), stele.id()
    call = ("--store", images.path, "volume")
    for volume in ("kept", "spare"):
        ok(run(image, "--volume", f"{volume}:/v", sh="busybox mkdir /v/d; echo x >/v/d/f"))
    null = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    words = ("create", "--image", image, "--volume", "kept:/v", name, "/bin/busybox", "true")
    assert stele("--store", images.path, *words, **null).returncode == 0
    assert json.loads(stele.ok(*call, "list", "--format", "json")) == [
        {"name": "kept", "path": f"{images.path}/volumes/kept", "containers": [name]},
        {"name": "spare", "path": f"{images.path}/volumes/spare", "containers": []},
    ]
    assert stele.ok(*call, "list", "-q").split() == ["kept", "spare"]
    assert [line.split()[:2] for line in stele.ok(*call, "list").splitlines()][1:] == [["kept", name], ["spare", "-"]]
    refused = stele(*call, "rm", "spare", "kept")
    assert (refused.returncode, refused.stdout.split()) == (1, ["spare"])
    assert f'volume "kept": container "{name}" has it; delete that first' in refused.stderr
    pidfd = os.pidfd_open(stele.state(name)["pid"])
    stele.ok("start", name)
    stele.wait_ended(pidfd)
    assert stele(*call, "rm", "kept").returncode == 1
    assert (images.path / "volumes/kept/d/f").read_text() == "x\n"
    stele.ok("delete", name)
    stele.ok(*call, "rm", "kept")
    assert os.listdir(images.path / "volumes") == []
    for wrong in ("kept", "../blobs", "", "/"):
        done = stele(*call, "rm", wrong)
        assert f"volume {wrong!r} is not in the store" in done.stderr


@pytest.mark.parametrize("told", ["SIGFOO", "99", "RTMIN+3"])
def test_a_stop_signal_that_is_none_is_term(stele: Runtime, images: Images, told: str) -> None:
    """An image cannot keep its container from being ended; what the caller gives is checked at once."""
    image, name = images.made(f"stop-{told[:3].lower()}", StopSignal=told), stele.id()
    null = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    words = ("run", "--detach", "--image", image, name, "/bin/busybox", "sleep", "600")
    assert stele("--store", images.path, *words, **null).returncode == 0
    pidfd = os.pidfd_open(stele.state(name)["pid"])
    stele.ok("kill", name)
    stele.ok("kill", name, "KILL")
    stele.wait_ended(pidfd)
    stele.ok("delete", name)
    done = stele("--store", images.path, "run", "--stop-signal", "SIGFOO", "--image", image, name, "/bin/sh")
    assert done.returncode == 1 and '--stop-signal: unknown signal "SIGFOO"' in done.stderr


def test_a_store_that_cannot_be_written(stele: Runtime, images: Images, tmp_path: Path) -> None:
    """On a read-only file system images are listed, inspected and verified; what must write says what it cannot."""
    images.made("plain")
    place = tmp_path / "store"
    place.mkdir()
    subprocess.run(["mount", "--bind", images.path, place], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", place], check=True)
        call = ("--store", place)
        assert "plain" in stele.ok(*call, "image", "list", "-q").split()
        stele.ok(*call, "image", "inspect", "plain")
        stele.ok(*call, "image", "verify", "plain")
        for words in (("run", "--image", "plain", stele.id(), "/bin/busybox", "true"), ("image", "gc")):
            done = stele(*call, *words)
            assert done.returncode == 1
            assert f'"{place}/lock": cannot lock it: Read-only file system' in done.stderr, done.stderr
    finally:
        subprocess.run(["umount", place], check=True)


# ---- networks ----


def test_no_network_unless_asked(run: Run, images: Images) -> None:
    assert (
        ok(run(images.made("plain"), sh="busybox ls /sys/class/net; test -e /etc/resolv.conf || echo none"))
        == "lo\nnone\n"
    )


def test_the_hosts_network(run: Run, images: Images) -> None:
    told = ok(
        run(
            images.made("plain"),
            "--net",
            "host",
            "--dns",
            "192.0.2.1",
            sh="busybox ls /sys/class/net; cat /etc/resolv.conf",
        )
    )
    assert set(told.split()[:-2]) == set(os.listdir("/sys/class/net"))
    assert told.endswith("nameserver 192.0.2.1\n")


def veths() -> list[str]:
    return [name for name in os.listdir("/sys/class/net") if name.startswith("stele")]


def test_a_veth_pair(run: Run, images: Images) -> None:
    """Both families reach the host, the gateway is the way out, and the pair ends with the container."""
    image = images.made("plain")
    net = "veth:10.91.7.2/24,fd91:7::2/64"
    told = ok(
        run(
            image,
            "--net",
            net,
            "--dns",
            "10.91.7.1",
            sh="busybox ping -c1 -W5 10.91.7.1 && busybox ping -c1 -W5 fd91:7::1 && busybox ip route && cat /etc/resolv.conf",
        )
    )
    assert told.count(" 0% packet loss") == 2
    assert "default via 10.91.7.1 dev eth0 onlink" in told
    assert told.endswith("nameserver 10.91.7.1\n")
    assert veths() == []


def test_two_containers_reach_each_other_through_the_host(stele: Runtime, run: Run, images: Images) -> None:
    """The host forwards between their pairs, where it forwards at all."""
    forwards = Path("/proc/sys/net/ipv4/ip_forward")
    before = forwards.read_text()
    image, first = images.made("plain"), stele.id()
    null = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    words = ["--image", image, "--net", "veth:10.91.8.2/24", first, "/bin/busybox", "sleep", "60"]
    assert stele("--store", images.path, "create", *words, **null).returncode == 0
    try:
        forwards.write_text("1")
        ok(run(image, "--net", "veth:10.91.8.3/24", sh="busybox ping -c1 -W5 10.91.8.2 >/dev/null"))
    finally:
        forwards.write_text(before)
        stele.ok("delete", "--force", first)
    assert veths() == []


def test_a_pair_whose_name_is_taken_stays_with_its_owner(
    stele: Runtime, run: Run, images: Images, tmp_path: Path
) -> None:
    """The same id under another --root: the second container is refused, and the first keeps its network."""
    image, name = images.made("plain"), stele.id()
    null = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    words = ["--image", image, "--net", "veth:10.91.8.2/24", name, "/bin/busybox", "sleep", "60"]
    assert stele("--store", images.path, "create", *words, **null).returncode == 0
    try:
        before = veths()
        done = stele("--root", tmp_path / "other", "--cgroup-manager=disabled", "--store", images.path, "run", *words)
        assert (done.returncode, "under another --root" in done.stderr) == (1, True), done.stderr
        assert len(before) == 1
        assert veths() == before
    finally:
        stele.ok("delete", "--force", name)
    assert veths() == []


def test_a_pair_that_cannot_be_made_leaves_nothing(run: Run, images: Images) -> None:
    """The second address is refused by the kernel: the first end is taken back, and the container with it."""
    done = run(images.made("plain"), "--net", "veth:10.91.9.2/24,gateway=255.255.255.255", sh="true")
    assert done.returncode == 1
    assert "--net: cannot give the pair its addresses" in done.stderr
    assert veths() == []


# ---- what is kept, and what is not ----


def test_a_failed_create_leaves_nothing(run: Run, images: Images, stele: Runtime) -> None:
    done = run(images.made("plain"), args=["/no/such/program"])
    assert done.returncode == 1
    assert 'exec: "/no/such/program": no such file or directory' in done.stderr
    assert set(os.listdir(stele.root)) <= {".cache"}


def test_a_create_that_is_killed_can_be_deleted(stele: Runtime, images: Images) -> None:
    """At each of its system calls up to the clone, and some later: delete --force takes all of it back."""
    image = images.made("plain")
    words = ["--store", str(images.path), "create", "--image", image]
    argv = [*stele.argv, "--root", str(stele.root), *words]
    for calls in ("mkdirat", "renameat,rename", "openat", "clone3", "recvmsg", "unlink,unlinkat,flock"):
        for number in (1, 3, 8, 21):
            name = stele.id()
            inject = f"--inject={calls}:signal=KILL:when={number}"
            traced = ["strace", "-qq", "-o/dev/null", f"-etrace={calls}", inject, *argv, name]
            subprocess.run(traced, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
            stele.ok("delete", "--force", name)
            assert not (stele.root / name).exists()
    store = ImageStore(str(images.path))
    store.gc(0)
    assert images.uses() == []


def test_a_taken_id_keeps_the_first_ones_image(stele: Runtime, images: Images) -> None:
    """The second create of an id fails; what the first container uses is still held."""
    image, name = images.made("plain"), stele.id()
    null = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    assert stele("--store", images.path, "create", "--image", image, name, **null).returncode == 0
    again = stele("--store", images.path, "create", "--image", image, name)
    assert again.returncode == 1
    assert len(images.uses()) == 1
    store = ImageStore(str(images.path))
    store.untag(image)
    store.gc(0)
    stele.ok("delete", "--force", name)
    report = ImageStore(str(images.path)).gc(0)
    assert report.layers == () or images.uses() == []
    images.made("plain")


def test_a_layer_that_is_in_use_outlives_gc(stele: Runtime, images: Images) -> None:
    """Name gone, grace period over: the running container still reads its files; after delete they go."""
    image, name = images.made("in-use", {"only/": None, "only/here": "still here"}), stele.id()
    null = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    assert (
        stele(
            "--store", images.path, "create", "--image", image, name, "/bin/busybox", "sleep", "600", **null
        ).returncode
        == 0
    )
    stele.ok("start", name)
    store = ImageStore(str(images.path))
    tree = Path(store.trees(store.config(store.manifest(store.resolve(image))))[-1])
    store.untag(image)
    store.gc(0)
    assert stele.ok("exec", name, "/bin/cat", "/only/here") == "still here"
    stele.ok("delete", "--force", name)
    store.gc(0)
    assert not tree.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "--hostname", "x", "ID"], "--hostname is for containers of an image: name one with --image"),
        (["run", "ID", "ls"], '"ls": a bundle says itself what it runs; name an image with --image'),
        (["run", "--image", "no/such", "ID"], 'image "docker.io/no/such:latest" is not in the store'),
        (["run", "--image", "plain", "--memory", "x", "ID"], 'invalid value "x" for --memory'),
        (["run", "--image", "plain", "--volume", "/a:/t", "--tmpfs", "/t", "ID"], 'two volumes are for "/t"'),
    ],
)
def test_what_is_told_of_mistakes(stele: Runtime, images: Images, words: list[str], said: str) -> None:
    images.made("plain")
    done = stele("--store", images.path, *(stele.id() if word == "ID" else word for word in words))
    assert done.returncode == 1
    assert said in done.stderr


# ---- one file instead of layers ----


def test_an_erofs_root(run: Run, images: Images) -> None:
    """The merged tree, with owners, modes, times and links; read-only; and written to where that is asked for."""
    image = images.made(
        "erofs",
        {"d/": ("", 0o750, 3, 4), "d/low": "low", "gone": "x", "d/over": "low"},
        {"d/": ("", 0o750, 3, 4), "d/over": ("high", 0o604, 7, 8), ".wh.gone": "", "l": "-> d/over"},
    )
    script = "cat /l; echo; busybox stat -c '%a %u %g' /d /d/over; test -e /gone || echo none; cat /etc/hostname >/dev/null; >/x"
    done = run(image, "--rootfs", "erofs", sh=script)
    assert done.stdout == "high\n750 3 4\n604 7 8\nnone\n"
    assert "can't create /x: Read-only file system" in done.stderr
    assert ok(run(image, "--rootfs", "erofs", "--upper", "tmpfs", sh="echo y >/d/low; cat /d/low")) == "y\n"
    config = ImageStore(str(images.path))
    told = config.config(config.manifest(config.resolve(image)))
    found = erofs.sealed(config, told)
    assert found is not None
    assert f"sha256:{hashlib.sha256(Path(found.path).read_bytes()).hexdigest()}" == found.digest


def loops() -> set[str]:
    """The loop devices that have a file."""
    return {path.parent.parent.name for path in Path("/sys/block").glob("loop*/loop/backing_file")}


def test_an_erofs_root_on_a_file_system_without_blocks(stele: Runtime, images: Images, tmp_path: Path) -> None:
    """On a tmpfs the file is mounted by a loop device, which ends with the container."""
    place = tmp_path / "tmpfs"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "stele-test", place], check=True)
    try:
        add_image(place / "store", "plain", [layer(SHELL)], {"Cmd": ["/bin/sh"]})
        before = loops()
        name = stele.id()
        null = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        words = ["--store", place / "store", "create", "--image", "plain", "--rootfs", "erofs", name]
        assert stele(*words, **null).returncode == 0
        assert len(loops() - before) == 1
        stele.ok("delete", "--force", name)
        deadline = time.monotonic() + 10
        while loops() - before and time.monotonic() < deadline:
            os.sched_yield()  # the kernel frees it when the last mount namespace has been taken apart
        assert loops() - before == set()
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_changed_erofs_image_is_not_mounted(run: Run, images: Images) -> None:
    """Without fs-verity its bytes are hashed: a flip that keeps size and times is found."""
    image = images.made("flipped", {"file": "content" * 1000})
    store = ImageStore(str(images.path))
    found = erofs.seal(store, manifest := store.manifest(store.resolve(image)), store.config(manifest))
    assert found.verity == "", "this test is for a file system without fs-verity"
    ok(run(image, "--rootfs", "erofs", sh="cat /file >/dev/null"))
    told = os.stat(found.path)
    with open(found.path, "r+b") as file:
        file.seek(found.size - 100)
        byte = file.read(1)
        file.seek(found.size - 100)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(found.path, ns=(told.st_atime_ns, told.st_mtime_ns))
    done = run(image, "--rootfs", "erofs", sh="true")
    assert done.returncode == 1
    assert "is not what was made: its digest differs" in done.stderr
    assert [fault.digest for fault in store.verify()] == [found.digest]


def test_gc_takes_erofs_images_with_their_layers(images: Images, run: Run) -> None:
    image = images.made("sealed", {"only/": None, "only/sealed": "x"})
    ok(run(image, "--rootfs", "erofs", sh="true"))
    store = ImageStore(str(images.path))
    found = erofs.sealed(store, store.config(store.manifest(store.resolve(image))))
    assert found is not None
    store.gc(0)
    assert Path(found.path).exists()
    store.untag(image)
    store.gc(0)
    assert not Path(found.path).exists()


def test_twenty_containers_share_memory_and_disk(stele: Runtime, images: Images) -> None:
    """One program, mapped by 20 containers, is in the page cache once; and the store does not grow."""
    image = images.made("plain")
    null = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    assert stele("--store", images.path, "run", "--image", image, stele.id(), "/bin/busybox", "true").returncode == 0
    size = sum(path.lstat().st_blocks for path in (images.path / "layers").rglob("*"))
    names = [stele.id() for _ in range(20)]
    for name in names:
        words = ["--store", images.path, "create", "--image", image, name, "/bin/busybox", "sleep", "600"]
        assert stele(*words, **null).returncode == 0
        stele.ok("start", name)
    rss = pss = 0
    for name in names:
        for mapping in mappings(stele.state(name)["pid"], "/bin/busybox"):
            rss, pss = rss + mapping["Shared_Clean"] + mapping["Private_Clean"], pss + mapping["Private_Clean"]
    state = sum(path.lstat().st_blocks for path in stele.root.rglob("*"))
    after = sum(path.lstat().st_blocks for path in (images.path / "layers").rglob("*"))
    for name in names:
        stele.ok("delete", "--force", name)
    assert rss > 20 * 100  # kB: each maps some of it
    assert pss == 0  # and none has a page of the file for itself
    assert after == size
    assert state * 512 < 20 * 200_000


def mappings(pid: int, end: str) -> list[dict[str, int]]:
    """The read-only mappings of a file in /proc/PID/smaps: kB by name (proc(5))."""
    found: list[dict[str, int]] = []
    inside = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        words = line.split()
        if "-" in words[0] and len(words) >= 5:
            inside = line.endswith(end) and "w" not in words[1]
            if inside:
                found.append({})
        elif inside and words[-1] == "kB":
            found[-1][words[0].rstrip(":")] = int(words[1])
    return found


def test_an_image_straight_from_a_folder(run: Run, images: Images, tmp_path: Path) -> None:
    """oci:DIR is imported and run in one go, where policy.json lets it in."""
    folder = images.layout("hello")
    assert ok(run(f"oci:{folder}")).startswith("Hello from process 1")
    policy = tmp_path / "policy.json"
    policy.write_text('{"default": [{"type": "reject"}]}')
    refused = run(f"oci:{folder}", "--signature-policy", policy)
    assert refused.returncode == 1
    assert "rejects it" in refused.stderr
