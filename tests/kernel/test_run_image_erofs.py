"""An image as one file of erofs; and what containers of one image share."""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runtime.images.model import ImageError
from runtime.images.store import erofs, mkfs
from runtime.images.store.gc import collect
from runtime.images.store.store import ImageStore
from runtime.images.store.verify import verify_store
from tests.harness.image_runs import SHELL, Images, Run, ok
from tests.harness.images import add_image, layer
from tests.harness.runtime import REPO, Runtime


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


def loops(folder: Path) -> set[str]:
    """The loop devices that have a file below the folder."""
    found = set()
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):  # one of another's, which ends
            if path.read_text().startswith(f"{folder}/"):
                found.add(path.parent.parent.name)
    return found


def test_an_erofs_root_on_a_file_system_without_blocks(stele: Runtime, images: Images, tmp_path: Path) -> None:
    """On a tmpfs the file is mounted by a loop device, which ends with the container."""
    place = tmp_path / "tmpfs"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "stele-test", place], check=True)
    try:
        add_image(place / "store", "plain", [layer(SHELL)], {"Cmd": ["/bin/sh"]})
        name = stele.id()
        null = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        words = ["--store", place / "store", "create", "--image", "plain", "--rootfs", "erofs", name]
        assert stele(*words, **null).returncode == 0
        assert len(loops(place)) == 1
        stele.ok("delete", "--force", name)
        deadline = time.monotonic() + 60
        while loops(place) and time.monotonic() < deadline:
            time.sleep(0.01)  # the kernel frees it when the last mount namespace has been taken apart
        assert loops(place) == set()
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_changed_erofs_image_is_not_mounted(run: Run, images: Images) -> None:
    """Without fs-verity its bytes are hashed: a flip that keeps size and times is found."""
    image = images.made("flipped", {"file": "content" * 1000})
    store = ImageStore(str(images.path))
    found = mkfs.seal(store, manifest := store.manifest(store.resolve(image)), store.config(manifest))
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
    assert [fault.digest for fault in verify_store(store)] == [found.digest]


def test_gc_takes_erofs_images_with_their_layers(images: Images, run: Run) -> None:
    image = images.made("sealed", {"only/": None, "only/sealed": "x"})
    ok(run(image, "--rootfs", "erofs", sh="true"))
    store = ImageStore(str(images.path))
    found = erofs.sealed(store, store.config(store.manifest(store.resolve(image))))
    assert found is not None
    collect(store, 0)
    assert Path(found.path).exists()
    store.untag(image)
    collect(store, 0)
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


def test_a_hole_is_not_written_out(tmp_path: Path) -> None:
    """mkfs.erofs would make a quarter of a tebibyte of it: the sizes that files claim are bounded before."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/hole").touch()
    os.truncate(tmp_path / "tree/hole", 256 << 30)
    with pytest.raises(ImageError, match=f"have {256 << 30} bytes, holes included, .* at most {64 << 30} is made"):
        mkfs._make(str(tmp_path / "tree"), str(tmp_path / "made"), "0" * 64, 64 << 30)
    assert not (tmp_path / "made").exists()


MAKER = """
import sys
sys.path.insert(0, sys.argv[1])
from runtime.images.store import erofs, mkfs
mkfs.MKFS = (sys.argv[2] + "/mkfs",)
mkfs._make(sys.argv[2], sys.argv[2] + "/made", "0" * 64, 1 << 30)
"""


def test_mkfs_ends_with_stele(tmp_path: Path) -> None:
    (tmp_path / "mkfs").write_text(f"#!/bin/sh\nulimit -f > {tmp_path}/limit\nexec sleep 1000 9> {tmp_path}/alive\n")
    (tmp_path / "mkfs").chmod(0o755)
    os.mkfifo(tmp_path / "alive")
    process = subprocess.Popen([sys.executable, "-c", MAKER, REPO, tmp_path])
    with (tmp_path / "alive").open("rb") as alive:  # opens once the helper has; ends when it does
        process.kill()
        process.wait()
        assert select.select([alive], [], [], 20)[0] and alive.read() == b""
    assert (tmp_path / "limit").read_text().strip().isdecimal()
