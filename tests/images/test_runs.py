"""Images of the other tools run: each is made of busybox by its tool, taken in or pulled, and started."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.registry import DockerRegistry
from tests.harness.runtime import Runtime
from tests.images.tools import Tool

Maker = Callable[[Tool, Path, Path, str], str]


def by_buildah(tool: Tool, rootfs: Path, folder: Path, form: str) -> str:
    policy = ("--signature-policy", folder / "policy.json")
    base = tool("buildah", "from", *policy, "scratch")
    tool("buildah", "copy", base, rootfs, "/")
    tool("buildah", "config", "--cmd", '["/bin/sh", "-c", "echo made by $MAKER"]', "--env", "MAKER=buildah", base)
    tool("buildah", "commit", *policy, "--format", "oci" if form == "oci" else "docker", base, "localhost/made:1")
    place = f"{'oci-archive' if form == 'oci' else 'docker-archive'}:{folder}/buildah.tar"
    tool("buildah", "push", *policy, "localhost/made:1", place)
    return place


def by_umoci(tool: Tool, rootfs: Path, folder: Path, form: str) -> str:
    layout = folder / "umoci"
    tool("umoci", "init", "--layout", layout)
    tool("umoci", "new", "--image", f"{layout}:made")
    tool("umoci", "insert", "--image", f"{layout}:made", rootfs, "/")
    run = ("--config.cmd", "/bin/sh", "--config.cmd", "-c", "--config.cmd", "echo made by $MAKER")
    tool("umoci", "config", "--image", f"{layout}:made", *run, "--config.env", "MAKER=umoci")
    return f"oci:{layout}:made"


def by_podman(tool: Tool, rootfs: Path, folder: Path, form: str) -> str:
    with tarfile.open(folder / "rootfs.tar", "w") as archive:
        archive.add(rootfs, ".")
    changes = ("--change", 'CMD ["/bin/sh", "-c", "echo made by $MAKER"]', "--change", "ENV MAKER=podman")
    tool("podman", "import", "--quiet", *changes, folder / "rootfs.tar", "localhost/made:1")
    kind = "oci-archive" if form == "oci" else "docker-archive"
    tool("podman", "save", "--quiet", "--format", kind, "--output", folder / "podman.tar", "localhost/made:1")
    return f"{kind}:{folder}/podman.tar"


MADE = [
    pytest.param(by_buildah, "oci", id="buildah-oci"),
    pytest.param(by_buildah, "docker", id="buildah-docker"),
    pytest.param(by_umoci, "oci", id="umoci"),
    pytest.param(by_podman, "oci", id="podman-oci"),
    pytest.param(by_podman, "docker", id="podman-docker"),
]


@pytest.mark.parametrize(("make", "form"), MADE)
def test_it_runs(stele: Runtime, tool: Tool, busybox_master: Path, tmp_path: Path, make: Maker, form: str) -> None:
    """From its file, in one go; what it prints is by the image's own command and environment."""
    place = make(tool, busybox_master, tmp_path, form)
    done = stele("--store", tmp_path / "store", "run", "--image", place, stele.id())
    assert (done.returncode, done.stdout.strip()) == (0, f"made by {make.__name__.removeprefix('by_')}"), done.stderr


def test_it_runs_from_a_registry(
    stele: Runtime, tool: Tool, registry: DockerRegistry, busybox_master: Path, tmp_path: Path
) -> None:
    """skopeo copies it there, stele pulls it, by its name it runs."""
    place = by_umoci(tool, busybox_master, tmp_path, "oci")
    registry.push(place, "made/by-umoci:1")
    name = f"{registry.address}/made/by-umoci:1"
    stele.ok("--store", tmp_path / "store", "image", "pull", "--quiet", name)
    done = stele("--store", tmp_path / "store", "run", "--image", name, stele.id())
    assert (done.returncode, done.stdout.strip()) == (0, "made by umoci"), done.stderr


def test_pulled_by_run(
    stele: Runtime, tool: Tool, registry: DockerRegistry, busybox_master: Path, tmp_path: Path
) -> None:
    """By default no registry is asked; `missing` asks once, `always` each time, and runs the image that the registry has then."""
    place = by_umoci(tool, busybox_master, tmp_path, "oci")
    name = f"{registry.address}/made/pulled:1"
    registry.push(place, "made/pulled:1")

    def run(*flags: str, image: str = name) -> tuple[int, str, str]:
        done = stele("--store", tmp_path / "store", "run", *flags, "--image", image, stele.id())
        return done.returncode, done.stdout, done.stderr

    never = f'image "{name}" is not in the store {tmp_path}/store; `stele image list` shows those that are, '
    assert run() == (1, "", f"stele run failed: {never}`stele image pull {name}` gets it\n")
    assert run("--pull", "missing")[:2] == (0, "made by umoci\n")
    tool("umoci", "config", "--image", f"{tmp_path}/umoci:made", "--config.env", "MAKER=another")
    registry.push(place, "made/pulled:1")
    for flags in ([], ["--pull=never"], ["--pull=missing"]):
        assert run(*flags) == (0, "made by umoci\n", "")
    assert run("--pull=always")[:2] == (0, "made by another\n")
    assert run() == (0, "made by another\n", "")
    missing = run("--pull", "missing", image=f"{registry.address}/made/none:1")
    assert missing[0] == 1 and "does not have it" in missing[2]


def test_a_policy_holds_for_run_too(stele: Runtime, registry: DockerRegistry, tmp_path: Path) -> None:
    policy = tmp_path / "policy.json"
    policy.write_text('{"default": [{"type": "reject"}]}')
    flags = ("--pull", "always", "--signature-policy", policy, "--image", f"{registry.address}/team/app:amd64")
    done = stele("--store", tmp_path / "store", "run", *flags, stele.id())
    assert done.returncode == 1 and "default[0] rejects it" in done.stderr
