"""`stele unpack`: a bundle of an image that runs, or nothing."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bundles import layout
from runtime.images.store.store import ImageStore
from tests.harness.layers import add_image, entry, hardlink, layer
from tests.harness.runtime import Runtime


@pytest.fixture
def store(tmp_path: Path, busybox_master: Path) -> Iterator[ImageStore]:
    """A store with `tool`, which is busybox, and `broken`, whose last layer is hostile."""
    made = ImageStore(str(tmp_path / "store"))
    plain = layout.layer_tar(busybox_master)
    config = {"Entrypoint": ["/bin/cat"], "Cmd": ["/etc/motd"], "User": "user", "Env": ["A=b"], "WorkingDir": "/etc"}
    base = (plain, gzip.compress(plain, 1))
    made.tag(
        "tool",
        add_image(made, base, layer(entry("etc/motd", data=b"written once\n"), entry(".wh.home")), config=config),
    )
    made.tag("broken", add_image(made, base, layer(hardlink("out", "none")), config=config))
    yield made
    made.close()


def test_the_bundle_runs(stele: Runtime, store: ImageStore, tmp_path: Path) -> None:
    """Its config.json says what the image says; its files are those of all layers; others cannot look in."""
    bundle = tmp_path / "bundle"
    stele.ok("--store", store.path, "unpack", "tool", bundle)
    assert sorted(os.listdir(bundle)) == ["config.json", "rootfs"]
    assert bundle.stat().st_mode & 0o777 == 0o700
    assert not (bundle / "rootfs/home").exists()
    process = json.loads((bundle / "config.json").read_text())["process"]
    assert (process["user"]["uid"], process["cwd"]) == (1000, "/etc")
    assert "A=b" in process["env"]
    assert stele.ok("run", "--bundle", bundle, stele.id()) == "written once\n"
    assert stele.ok("validate", bundle / "config.json").startswith(f'"{bundle}/config.json" is a valid')


def test_what_is_there_is_kept(stele: Runtime, store: ImageStore, tmp_path: Path) -> None:
    """A bundle is not written over; an empty directory may be given."""
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    stele.ok("--store", store.path, "unpack", "tool", bundle)
    done = stele("--store", store.path, "unpack", "tool", bundle)
    assert done.returncode == 1
    assert f'bundle "{bundle}" exists and is not empty; name a new directory' in done.stderr
    assert (bundle / "rootfs/etc/motd").read_text() == "written once\n"


@pytest.mark.parametrize("there", [False, True])
def test_a_failure_leaves_nothing(stele: Runtime, store: ImageStore, tmp_path: Path, there: bool) -> None:
    """Of a hostile image nothing is left, but the directory if it was there before."""
    bundle = tmp_path / "bundle"
    if there:
        bundle.mkdir()
    done = stele("--store", store.path, "unpack", "broken", bundle)
    assert done.returncode == 1
    assert "entry 'out': it is a hard link to what no earlier entry made" in done.stderr
    assert bundle.exists() == there
    assert not there or os.listdir(bundle) == []
    assert not (tmp_path / "out").exists()


def test_an_image_without_a_program(stele: Runtime, store: ImageStore, tmp_path: Path) -> None:
    """A base image's bundle has a shell to run."""
    store.tag("base", add_image(store, layer(entry("a"))))
    stele.ok("--store", store.path, "unpack", "base", tmp_path / "bundle")
    assert json.loads((tmp_path / "bundle/config.json").read_text())["process"]["args"] == ["/bin/sh"]


def test_no_such_image(stele: Runtime, store: ImageStore, tmp_path: Path) -> None:
    """The sentence says how to get it."""
    done = stele("--store", store.path, "unpack", "nothing", tmp_path / "bundle")
    assert done.returncode == 1
    assert "`stele image pull docker.io/library/nothing:latest` gets it" in done.stderr
    assert not (tmp_path / "bundle").exists()
