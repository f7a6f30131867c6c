"""A store on a read-only file system, as a host's own image brings it along: run from, looked at, never changed."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.image_runs import SHELL
from tests.harness.images import add_image, layer
from tests.harness.runtime import Runtime


class Shipped:
    """A store that is filled, then bound read-only over itself."""

    def __init__(self, stele: Runtime, path: Path) -> None:
        self.stele, self.path, self.mounted = stele, path, False

    def __call__(self, *args: str | Path, ok: bool = True) -> subprocess.CompletedProcess[str]:
        done = self.stele("--store", self.path, *args)
        assert not ok or (done.returncode, done.stderr) == (0, ""), done
        return done

    def seal(self) -> None:
        subprocess.run(["mount", "--bind", self.path, self.path], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", self.path], check=True)
        self.mounted = True

    def open(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        assert not self.mounted or libc.umount2(os.fsencode(self.path), 2) == 0
        self.mounted = False

    def content(self) -> str:
        return subprocess.run(
            ["find", self.path, "-printf", "%P %s %T@ %C@\n"], capture_output=True, text=True, check=True
        ).stdout


@pytest.fixture
def shipped(stele: Runtime, tmp_path: Path) -> Iterator[Shipped]:
    store = Shipped(stele, tmp_path / "store")
    add_image(store.path, "shell", [layer(SHELL), layer({"etc/": None, "etc/word": "stone"})], {"Cmd": ["/bin/sh"]})
    yield store
    store.open()


def test_containers_run_from_it(shipped: Shipped, stele: Runtime) -> None:
    name = stele.id()
    shipped("run", "--image", "shell", name, "cat", "/etc/word")  # unpacks it
    shipped.seal()
    before = shipped.content()
    assert shipped("run", "--image", "shell", "--upper", "tmpfs", name, "cat", "/etc/word").stdout == "stone"
    with (shipped.path.parent / "output").open("w") as output:
        held = stele(
            "--store", shipped.path, "create", "--image", "shell", name, "sh", stdout=output, stderr=output
        )  # fmt: skip
    assert held.returncode == 0
    use = json.loads((stele.root / name / "bundle/use.json").read_text())
    assert use["store"] == str(shipped.path) and len(use["chain"]) == 5
    assert shipped.content() == before
    shipped.open()  # an update of the host makes it writable: what the container uses stays
    shipped("image", "rm", "shell")
    assert json.loads(shipped("image", "gc", "--grace-period", "0", "--format", "json").stdout)["layers"] == []
    shipped.seal()
    stele.ok("delete", "--force", name)
    shipped.open()
    assert len(json.loads(shipped("image", "gc", "--grace-period", "0", "--format", "json").stdout)["layers"]) == 2


def test_a_store_of_before_the_records(shipped: Shipped, stele: Runtime) -> None:
    """Trees of stele 0.1.0, which recorded no blobs: each is hashed at its first run, which --root remembers."""
    shipped("run", "--image", "shell", stele.id(), "id")
    for record in shipped.path.glob("layers/sha256/*/*"):
        if record.is_symlink():
            record.unlink()
    shipped.seal()
    before = shipped.content()
    for _ in range(2):
        assert shipped("run", "--image", "shell", stele.id(), "cat", "/etc/word").stdout == "stone"
        assert len(list((stele.root / ".cache").glob("layer-*"))) == 2
    assert shipped.content() == before


def test_it_is_looked_at(shipped: Shipped, tmp_path: Path) -> None:
    shipped.seal()
    assert shipped("image", "list", "-q").stdout == "shell\n"
    assert json.loads(shipped("image", "inspect", "shell").stdout)["digest"]
    assert "all contents match their digests" in shipped("image", "verify").stdout
    assert "all contents match their digests" in shipped("image", "verify", "shell").stdout
    assert shipped("volume", "list", "-q").stdout == ""
    (tmp_path / "out.tar.new").write_text("somebody's")
    shipped("image", "export", "--quiet", "shell", f"oci-archive:{tmp_path}/out.tar")
    assert (tmp_path / "out.tar.new").read_text() == "somebody's"
    shipped("unpack", "shell", tmp_path / "bundle")
    assert (tmp_path / "bundle/rootfs/etc/word").read_text() == "stone"


@pytest.mark.parametrize(
    "args",
    [
        ("image", "pull", "registry.invalid/app"),
        ("image", "import", "oci:{folder}/none"),
        ("image", "rm", "shell"),
        ("image", "tag", "shell", "other"),
        ("image", "gc"),
        ("image", "verify", "--deep"),
        ("volume", "rm", "data"),
        ("run", "--image", "oci:{folder}/none", "{id}"),
        ("run", "--pull", "always", "--image", "registry.invalid/app", "{id}"),
        ("run", "--image", "shell", "--rootfs", "erofs", "{id}"),
        ("run", "--image", "shell", "--volume", "data:/data", "{id}"),
        ("run", "--image", "shell", "{id}"),
    ],
    ids=lambda args: " ".join(args[:3]),
)
def test_it_is_not_changed(shipped: Shipped, stele: Runtime, tmp_path: Path, args: tuple[str, ...]) -> None:
    """What would have to write there says that it is read-only; a layer that is not unpacked is such a case."""
    if "--volume" in args or "erofs" in args:
        shipped("run", "--image", "shell", stele.id(), "id")
    shipped.seal()
    before = shipped.content()
    name = stele.id()
    done = shipped(*(arg.format(folder=tmp_path, id=name) for arg in args), ok=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and f"--store {shipped.path}: it is read-only" in done.stderr
    assert shipped.content() == before
    assert not (stele.root / name).exists()


def test_one_file_that_was_made_before(shipped: Shipped, stele: Runtime) -> None:
    shipped("run", "--image", "shell", "--rootfs", "erofs", stele.id(), "id")
    shipped.seal()
    run = shipped("run", "--image", "shell", "--rootfs", "erofs", stele.id(), "cat", "/etc/word")
    assert run.stdout == "stone"


def test_a_container_of_before(shipped: Shipped, stele: Runtime) -> None:
    """Made while the store could be written, deleted when it cannot."""
    name = stele.id()
    with (shipped.path.parent / "output").open("w") as output:
        made = stele("--store", shipped.path, "create", "--image", "shell", name, "sh", stdout=output, stderr=output)
    assert made.returncode == 0
    shipped.seal()
    stele.ok("delete", "--force", name)
    shipped.open()
    assert len(os.listdir(shipped.path / "uses")) == 1
    shipped("image", "gc", "--grace-period", "0")
    assert os.listdir(shipped.path / "uses") == []
