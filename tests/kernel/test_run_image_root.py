"""The root of an image: its layers merged, and what may be written above them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.attacks.doubles import Patch, build
from tests.harness.image_runs import Images, Run, ok
from tests.harness.images import add_image
from tests.harness.runtime import REPO, Runtime


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
    assert f'--upper "{upper}": cannot write there: No such file or directory' in done.stderr
    upper.mkdir()
    ok(run(image, "--upper", upper, sh="echo kept >/file; busybox rm /bin/id"))
    assert (upper / "upper/file").read_text() == "kept\n"
    assert ok(run(image, "--upper", upper, sh="cat /file; test -e /bin/id || echo gone")) == "kept\ngone\n"
    assert ok(run(image, sh="test -e /bin/id && echo there")) == "there\n"


def test_an_upper_layer_is_the_directory_that_was_looked_at(stele: Runtime, images: Images, tmp_path: Path) -> None:
    """init is told another inode than that of the directory: as if it had been exchanged meanwhile."""
    double = build((Patch("runtime/plan/compile.py", "inode=image.inode,", "inode=image.inode + 1,"),))
    told = Runtime(stele.root, stele.token, [str(double)])
    done = told("--store", images.path, "run", "--image", images.made("plain"), "--upper", tmp_path, told.id(), "true")
    assert done.returncode == 1
    assert f'--upper "{tmp_path}": it was replaced by another directory' in done.stderr


@pytest.mark.parametrize("name", ["upper", "work"])
def test_an_upper_layer_is_no_link(run: Run, images: Images, tmp_path: Path, name: str) -> None:
    """Whoever owns the directory could lead the container's writes elsewhere."""
    (tmp_path / name).symlink_to("/")
    done = run(images.made("plain"), "--upper", tmp_path, sh="true")
    words = f'--upper "{tmp_path}": {name} in it is a link or file, not a directory; remove it, or name another'
    assert (done.returncode, words in done.stderr) == (1, True), done.stderr


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
    assert f'container "{first}" already uses it; give each container its own directory' in refused.stderr
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
    """Its root is empty: there is no program, and what is mounted is there."""
    assert 'exec: "/bin/sh": no such file or directory' in run("empty").stderr
    tools = ("--volume", "/usr:/usr", "--volume", "/bin:/bin", "--volume", "/lib:/lib", "--volume", "/lib64:/lib64")
    assert run("empty", *tools, sh="echo here").stdout == "here\n"


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
