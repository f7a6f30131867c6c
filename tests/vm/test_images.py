"""Containers of images on the read-only host: another kernel than the builder's, with all controllers."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Iterator

import pytest

from runtime.images.store.store import ImageStore
from runtime.images.store.verify import verify_store
from tests.harness.image_runs import SHELL
from tests.harness.images import add_image, layer
from tests.vm.guest import Done, Guest

STORE = "/var/lib/images-test"
LAYERS = 60


@pytest.fixture(scope="module")
def store(guest: Guest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A store with images of one layer and of many, as it was made elsewhere."""
    place = tmp_path_factory.mktemp("vm-images") / "store"
    add_image(place, "box", [layer(SHELL)], {"Cmd": ["/bin/sh"]})
    many = [layer({f"n{i}": str(i), "same": str(i)}) for i in range(LAYERS)]
    add_image(place, "many", [layer(SHELL), *many], {"Cmd": ["/bin/sh"]})
    assert verify_store(ImageStore(str(place))) == []
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name in ("blobs", "index.json", "oci-layout"):
            tar.add(place / name, name)
    guest.ok("mkdir", "-p", STORE)
    guest.run_checked("tar", "-xzf", "-", "-C", STORE, input=packed.getvalue())
    yield STORE
    guest.ok("rm", "-rf", STORE)


def run(guest: Guest, store: str, image: str, *flags: str, sh: str) -> Done:
    return guest.run("stele", "--store", store, "run", "--image", image, *flags, "image-test", "/bin/sh", "-c", sh)


def test_many_layers_on_this_kernel(guest: Guest, store: str) -> None:
    """Debian's has not the one-by-one way to tell overlayfs of them; nothing of it is mounted on the host."""
    before = guest.read("/proc/self/mountinfo")
    for flags in ([], ["--upper", "tmpfs:1m"]):
        done = run(guest, store, "many", *flags, sh="cat /same; echo; busybox ls / | busybox grep -c '^n'; >/x")
        assert done.stdout == f"{LAYERS - 1}\n{LAYERS}\n", done
        assert ("Read-only" in done.stderr) == (not flags)
    assert guest.read("/proc/self/mountinfo") == before


def test_limits_of_the_command_line(guest: Guest, store: str) -> None:
    """Memory, CPU time and processes are limited as they were written."""
    flags = ("--memory", "64m", "--cpus", "0.5", "--pids-limit", "32")
    script = "cd /sys/fs/cgroup; cat memory.max cpu.max pids.max"
    assert run(guest, store, "box", *flags, sh=script).stdout == "67108864\n50000 100000\n32\n"


def test_more_memory_than_its_limit_ends_a_container(guest: Guest, store: str) -> None:
    done = run(guest, store, "box", "--memory", "16m", sh="busybox dd if=/dev/zero of=/dev/null bs=64M count=1")
    assert done.code == 137 or "out of memory" in done.stderr


def test_a_veth_pair_on_this_host(guest: Guest, store: str) -> None:
    """The host's end answers, and no device is left."""
    done = run(
        guest,
        store,
        "box",
        "--net",
        "veth:10.93.0.2/24,fd93::2/64",
        sh="busybox ping -c1 -W5 10.93.0.1 && busybox ping -c1 -W5 fd93::1",
    )
    assert done.stdout.count(" 0% packet loss") == 2, done
    assert "stele" not in guest.ok("ls", "/sys/class/net")


def test_an_image_as_one_file_that_the_kernel_keeps(guest: Guest, store: str) -> None:
    """Where the file system has fs-verity: the file cannot be changed, and its digest is shown and asked for."""
    place = "/var/lib/verity"
    guest.ok("sh", "-ec", f"truncate -s 256M {place}.img; mkfs.ext4 -q -O verity -b 4096 {place}.img; mkdir {place}")
    guest.ok("mount", "-o", "loop", f"{place}.img", place)
    try:
        guest.ok("cp", "-a", f"{store}/.", place)
        for _ in range(2):
            done = run(guest, place, "box", "--rootfs", "erofs", sh="echo written once")
            assert done.stdout == "written once\n", done
        (file,) = guest.ok("sh", "-c", f"echo {place}/erofs/*.erofs").split()
        told = json.loads(guest.read(file.removesuffix(".erofs") + ".json"))
        assert re.fullmatch("sha256:[0-9a-f]{64}", told["verity"])
        assert told["verity"] in guest.ok("stele", "--store", place, "image", "inspect", "box")
        assert "Operation not permitted" in guest.fails("sh", "-c", f"echo x >>{file}").stderr
        # Another file in its place has no fs-verity, or another digest.
        guest.ok("sh", "-ec", f"cp {file} {file}.copy; mv {file}.copy {file}")
        done = run(guest, place, "box", "--rootfs", "erofs", sh="true")
        assert done.code == 1
        assert "fs-verity" in done.stderr
    finally:
        guest.eventually("the file system is free", lambda: guest.run("umount", place).code == 0)
        guest.ok("rm", "-r", place, f"{place}.img")
