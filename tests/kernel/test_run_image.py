"""Containers of images: their settings and users, and that nothing of them is left."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.cli import from_image
from runtime.cli.table import ContainerOptions
from runtime.container import from_image as container_image
from runtime.errors import SteleError
from runtime.images.archive import load
from runtime.images.archive.save import export_image
from runtime.images.progress import Progress
from runtime.images.references import ArchiveReference
from runtime.images.run.hold import hold, release
from runtime.images.run.prepare import FromImage
from runtime.images.store import volumes
from runtime.images.store.files import locked
from runtime.images.store.gc import collect
from runtime.images.store.overlay_view import OverlayView
from runtime.images.store.store import ImageStore
from runtime.plan.model import ImageRoot
from tests.harness.image_runs import Images, Run, ok
from tests.harness.output import Output
from tests.harness.runtime import Runtime
from tests.harness.services import SERVICES, Ask


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


def test_an_image_straight_from_a_folder(run: Run, images: Images, tmp_path: Path) -> None:
    """oci:DIR is imported and run in one go, where policy.json lets it in."""
    folder = images.layout("hello")
    assert ok(run(f"oci:{folder}")).startswith("Hello from process 1")
    policy = tmp_path / "policy.json"
    policy.write_text('{"default": [{"type": "reject"}]}')
    refused = run(f"oci:{folder}", "--signature-policy", policy)
    assert refused.returncode == 1
    assert "rejects it" in refused.stderr


def test_folders_that_call_their_images_the_same(
    images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever else imports another image of the name meanwhile, the one that was asked for is run, and gets no name."""
    taken = load.import_images
    for folder in ("one", "other"):
        name = images.made(f"of-{folder}", {"which": folder})
        store = ImageStore(str(images.path))
        place = ArchiveReference("oci", f"{tmp_path}/{folder}/app", "app")
        export_image(store, store.resolve(name), "app", place, Progress(None))

    def and_another(store: ImageStore, place: ArchiveReference, *rest: Any, named: bool) -> list[load.Imported]:
        found = taken(store, place, *rest, named=named)
        taken(store, ArchiveReference("oci", f"{tmp_path}/other/app"), *rest)
        return found

    monkeypatch.setattr(load, "import_images", and_another)
    wanted = ContainerOptions(image=f"oci:{tmp_path}/one/app")
    store = ImageStore(str(images.path))
    found = from_image.image_of(store, wanted)
    assert found.digest == store.resolve("of-one")["digest"] != store.resolve("localhost/app:latest")["digest"]
    assert found.name == f"oci:{tmp_path}/one/app" not in store.names()


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
    with OverlayView(list(reversed(store.trees(config)))) as merged:
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


def test_an_env_file_is_taken_whole_or_not(run: Run, images: Images, tmp_path: Path) -> None:
    (tmp_path / "env").write_bytes(b"#" + b"x" * (1 << 20) + b"\nLAST=1\n")
    done = run(images.made("plain"), "--env-file", tmp_path / "env", args=["/bin/id"])
    assert "env: it is larger than 1 MiB; split it" in done.stderr.replace('"', "")
    assert done.returncode == 1


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
    odd = ("--env", "X=\udcff")  # a byte that is not UTF-8: what the container has is known all the same
    words = ("create", "--image", image, "--volume", "kept:/v", *odd, name, "/bin/busybox", "true")
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


def test_a_volume_has_its_name_once_it_has_its_owner(run: Run, images: Images) -> None:
    """Who makes it and is killed before leaves no volume of another's, which the next container would take as it is."""
    image = images.made("owned", {"v/": (None, 0o1770, 7, 8)})
    pid = os.fork()
    if pid == 0:
        os.fchown = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        volumes.make(ImageStore(str(images.path)), "mine", 7, 8, 0o1770)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    assert ok(run(image, "--volume", "mine:/v", sh="busybox stat -c '%a %u %g' /v")) == "1770 7 8\n"
    volumes.remove(ImageStore(str(images.path)), "mine")
    assert not [name for name in os.listdir(images.path / "volumes") if "mine" in name]


def test_a_volume_is_in_use_from_its_making_on(images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`volume rm` takes it neither between its making and its use, nor before its container has written its config."""
    images.made("plain")
    path = str(images.path)
    store = ImageStore(path)
    state, seen = tmp_path / "c1", []
    state.mkdir()
    write, replace = container_image._write, ImageStore.replace

    def making(own: ImageStore, place: str, *args: Any, **options: Any) -> None:
        if place == "uses":
            assert os.path.isdir(f"{path}/volumes/new")
            with pytest.raises(BlockingIOError), locked(store.directory(), "lock", wait=False):
                pass
            seen.append("made")
        replace(own, place, *args, **options)

    def writing(directory: int, name: str, content: bytes) -> None:
        for volume in ("new", "old"):
            with pytest.raises(SteleError, match=f'volume "{volume}": container "c1" has it'):
                volumes.remove(ImageStore(path), volume)
        seen.append(name)
        write(directory, name, content)

    with store.locked():
        volumes.make(store, "old", 0, 0, 0o755)
    monkeypatch.setattr(ImageStore, "replace", making)
    monkeypatch.setattr(container_image, "_write", writing)
    chain = (store.names()["plain"]["digest"],)
    image = FromImage({"mounts": []}, ImageRoot(()), {}, path, chain, volumes={"old": (1, 1, 0), "new": (7, 8, 0o1770)})
    with contextlib.ExitStack() as undo:
        directory = os.open(state, os.O_RDONLY)
        undo.callback(os.close, directory)
        container_image.prepare(image, "c1", str(tmp_path), directory, undo)
    assert seen == ["made", "bundle/config.json"]
    told = {v: os.stat(f"{path}/volumes/{v}") for v in ("old", "new")}
    assert {v: (t.st_uid, t.st_gid, t.st_mode & 0o7777) for v, t in told.items()} == {
        "old": (0, 0, 0o755),
        "new": (7, 8, 0o1770),
    }
    for volume in told:
        volumes.remove(store, volume)  # the use was let go of


def test_a_use_without_its_container_keeps_no_volume(images: Images, tmp_path: Path) -> None:
    """As after a reboot: the container's state was on tmpfs, its use of the store was not."""
    images.made("plain")
    store = ImageStore(str(images.path))
    hold(store.path, "c1", str(tmp_path), [store.names()["plain"]["digest"]], {"v": (0, 0, 0o755)})
    volumes.remove(store, "v")
    release(store.path, "c1", str(tmp_path))


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


def test_an_image_of_another_machine(stele: Runtime, images: Images) -> None:
    """One line tells it, of `plan` and of `run`, before a program fails; what this processor executes is not told."""
    store = ImageStore(str(images.path))
    told = store.resolve(images.made("native"))
    manifest = store.read_json(told["digest"])
    config = store.read_json(manifest["config"]["digest"])
    for architecture, warned in (("arm64", True), ("386", False), ("amd64", False)):
        data = json.dumps({**config, "architecture": architecture}).encode()
        changed = {**manifest, "config": {**manifest["config"], "digest": store.add_bytes(data), "size": len(data)}}
        data = json.dumps(changed).encode()
        store.tag(architecture, {**told, "digest": store.add_bytes(data), "size": len(data)})
        for words in (("plan", "--image", architecture), ("run", "--image", architecture, stele.id(), "/bin/id")):
            done = stele("--store", images.path, *words)
            assert done.returncode == 0, done.stderr
            lines = done.stderr.splitlines()
            assert len(lines) == warned
            assert not warned or "platform (linux/arm64) does not match the host's (linux/amd64)" in lines[0]
    store.close()


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
    collect(store, 0)
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
    collect(store, 0)
    stele.ok("delete", "--force", name)
    report = collect(ImageStore(str(images.path)), 0)
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
    collect(store, 0)
    assert stele.ok("exec", name, "/bin/cat", "/only/here") == "still here"
    stele.ok("delete", "--force", name)
    collect(store, 0)
    assert not tree.exists()


def test_cgroup_parent(stele: Runtime, images: Images) -> None:
    image, name = images.made("plain"), stele.id()
    null = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    created = stele(
        "--store", images.path, "create", "--image", image, "--cgroup-parent", "/stele-parent", name, **null
    )
    assert created.returncode == 0
    cgroup = Path(f"/proc/{stele.state(name)['pid']}/cgroup").read_text()
    stele.ok("delete", "--force", name)
    assert f"/stele-parent/{name}\n" in cgroup


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "--hostname", "x", "ID"], "--hostname needs an image: name one with --image"),
        (["run", "nginx", "ls"], "no image is named; to run an image: --image nginx ID"),
        (
            ["run", "-b", "/x", "ID", "ls"],
            '"ls": the command of a bundle is in its config.json; edit that, or use --image',
        ),
        (["run", "--image", "no/such", "ID"], 'image "docker.io/no/such:latest" is not in the store'),
        (["run", "--image", "plain", "--memory", "x", "ID"], 'invalid value "x" for --memory'),
        (
            ["--systemd-cgroup", "run", "--image", "plain", "--cgroup-parent", "/a", "ID"],
            '--cgroup-parent "/a": with the systemd cgroup manager, name a slice',
        ),
        (
            ["run", "--image", "plain", "--volume", "/a:/t", "--tmpfs", "/t", "ID"],
            'two volumes have the destination "/t"',
        ),
    ],
)
def test_what_is_told_of_mistakes(stele: Runtime, images: Images, words: list[str], said: str) -> None:
    images.made("plain")
    done = stele("--store", images.path, *(stele.id() if word == "ID" else word for word in words))
    assert done.returncode == 1
    assert said in done.stderr
