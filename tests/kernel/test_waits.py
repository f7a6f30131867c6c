"""Commands that wait for another: TERM and INT end them, and nothing of them is left."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import cgroup2, leaks
from tests.harness.bundles import BundleFactory
from tests.harness.image_runs import Images
from tests.harness.runtime import Runtime

SIGNALS = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)


def _waiting_for_a_lock(pid: int) -> bool:
    """Whether the kernel has it in a line of /proc/locks that begins with an arrow (proc(5))."""
    return any(
        line.split()[1] == "->" and line.split()[5] == str(pid) for line in Path("/proc/locks").read_text().splitlines()
    )


def _interrupted(words: list[str], number: signal.Signals) -> tuple[int, str]:
    """Start a command, wait until it waits for a lock, send the signal: its exit code and stderr."""
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while not _waiting_for_a_lock(process.pid):
        assert process.poll() is None, process.communicate()
    process.send_signal(number)
    said = process.communicate(timeout=20)[1]
    return process.returncode, said.decode()


@pytest.fixture
def held() -> Iterator[list[int]]:
    """Fds that hold locks; closed at the end."""
    fds: list[int] = []
    yield fds
    for fd in fds:
        os.close(fd)


def _lock(path: Path, held: list[int]) -> None:
    held.append(os.open(path, os.O_RDONLY | os.O_CREAT if path.name == "lock" else os.O_RDONLY))
    fcntl.flock(held[-1], fcntl.LOCK_EX)


@SIGNALS
def test_for_a_bundle(stele: Runtime, images: Images, tmp_path: Path, number: signal.Signals) -> None:
    """An interrupted unpack removes the files it has made so far."""
    image = images.made("many", {"many/": None, **{f"many/{each}": "" for each in range(60_000)}})
    words = [*stele.argv, "--store", str(images.path), "unpack", image, str(tmp_path / "made")]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while not any((tmp_path / "made/rootfs").rglob("many")):
        assert process.poll() is None, process.communicate()
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    assert (process.returncode, said.decode()) == (1, f"interrupted by {number.name}; nothing of it is left\n")
    assert not (tmp_path / "made").exists()


@SIGNALS
@pytest.mark.parametrize("words", [["start"], ["exec", "--detach"], ["exec"]], ids=" ".join)
def test_for_a_container(
    stele: Runtime, bundle: BundleFactory, held: list[int], words: list[str], number: signal.Signals
) -> None:
    name = stele.create(bundle(["sleep", "1000"]))
    if words[0] == "exec":
        stele.ok("start", name)
    _lock(stele.root / name, held)
    code, said = _interrupted(stele.command(*words, name, *(["true"] if words[0] == "exec" else [])), number)
    assert code == (255 if words[0] == "exec" else 1)
    assert f"interrupted by {number.name}; " in said
    os.close(held.pop())
    stele.ok("delete", "--force", name)


@SIGNALS
@pytest.mark.parametrize("place", ["store", "upper"])
def test_for_what_an_image_needs(
    stele: Runtime,
    images: Images,
    tmp_path: Path,
    leftovers: leaks.Watch,
    held: list[int],
    place: str,
    number: signal.Signals,
) -> None:
    image, upper = images.made("waited"), tmp_path / "upper"
    upper.mkdir()
    _lock(images.path / "lock" if place == "store" else upper, held)
    words = ("--store", images.path, "run", "--image", image, "--upper", upper, stele.id(), "/bin/id")
    code, said = _interrupted(stele.command(*words), number)
    assert (code, said) == (1, f"stele run failed: interrupted by {number.name}; nothing of it is left\n")
    assert images.uses() == [] and leftovers.left() == []


def test_for_a_layer_to_be_unpacked(stele: Runtime, images: Images, leftovers: leaks.Watch) -> None:
    """TERM ends `run` in the middle of its image's first unpacking, and what was unpacked is taken back."""
    image = images.made("large", {f"f{n}": b"x" * 100 for n in range(30_000)})
    place = images.path / "layers/sha256"
    before = {p.name for p in place.glob("*")}
    process = subprocess.Popen(
        stele.command("--store", images.path, "run", "--image", image, stele.id(), "/bin/id"),
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    while not any((p / "new/f0").exists() for p in place.glob("*")):
        assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=20)[1].decode()
    assert said == "stele run failed: interrupted by SIGTERM; nothing of it is left\n"
    assert not any((p / "new").exists() for p in place.glob("*"))
    assert len({p.name for p in place.glob("*")} - before) <= 1  # the small layer may have been done
    assert leftovers.left() == []


def test_delete_force_does_not_wait_for_a_hook_without_end(
    stele: Runtime, bundle: BundleFactory, leftovers: leaks.Watch
) -> None:
    """The `start` that waits for the hook, and holds the container's lock, is told that init has ended."""
    hook = {"path": "/bin/sleep", "args": ["sleep", "1000"]}
    name = stele.create(bundle(["true"], {"hooks": {"startContainer": [hook]}}))
    start = subprocess.Popen(stele.command("start", name), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    pid = stele.state(name)["pid"]
    while not _has_child_called("sleep", pid):
        assert start.poll() is None, start.communicate()
    stele.ok("delete", "--force", name, timeout=20)
    assert b"init ended before" in start.communicate(timeout=20)[1]
    assert leftovers.left() == []


def _has_child_called(word: str, pid: int) -> bool:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return any(Path(f"/proc/{child}/comm").read_text() == f"{word}\n" for child in children)


FREEZE = "mkdir -p /sys/fs/cgroup/ice && echo 1 >/sys/fs/cgroup/ice/cgroup.freeze; exec sleep 1000"


@pytest.fixture
def frozen(stele: Runtime, bundle: BundleFactory, cgroup2_root: Path) -> Iterator[tuple[str, Path]]:
    """A container that has frozen a cgroup in its own one: its id and that cgroup."""

    def own(config: dict[str, Any]) -> None:
        (mount,) = (m for m in config["mounts"] if m["destination"] == "/sys/fs/cgroup")
        mount["options"].remove("ro")

    name = stele.detached(bundle(["sh", "-c", FREEZE], edit=own))
    (path,) = (path / "ice" for path in cgroup2.named(name))
    while not (path.exists() and (path / "cgroup.freeze").read_text() == "1\n"):
        assert stele.state(name)["status"] == "running"
    yield name, path
    stele.ok("delete", "--force", name)


def test_exec_does_not_wait_in_what_the_container_has_frozen(stele: Runtime, frozen: tuple[str, Path]) -> None:
    name, cgroup = frozen
    done = stele("exec", "--cgroup", "ice", name, "true", timeout=20)
    assert done.returncode == 255
    assert "is frozen, by the container itself or on the host" in done.stderr
    assert (cgroup / "cgroup.procs").read_text() == ""
    stele.ok("exec", name, "true")


@SIGNALS
@pytest.mark.parametrize("words", [["--detach"], []], ids=["detached", "foreground"])
def test_exec_that_is_to_wait_for_a_frozen_container(
    stele: Runtime, frozen: tuple[str, Path], number: signal.Signals, words: list[str]
) -> None:
    """With --ignore-paused it waits, for that or for a signal."""
    name, cgroup = frozen
    command = stele.command("exec", *words, "--ignore-paused", "--cgroup", "ice", name, "true")
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while not (cgroup / "cgroup.procs").read_text():
        assert process.poll() is None, process.communicate()
    process.send_signal(number)
    said = process.communicate(timeout=20)[1].decode()
    assert (process.returncode, said.startswith("exec failed: interrupted ")) == (255, True), said
    assert (cgroup / "cgroup.procs").read_text() == ""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while not (cgroup / "cgroup.procs").read_text():
        assert process.poll() is None, process.communicate()
    (cgroup / "cgroup.freeze").write_text("0")
    assert process.communicate(timeout=20)[1] == b""
    assert process.returncode == 0
