"""The networks that `run --image` joins or makes."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from tests.harness.image_runs import Images, Run, ok
from tests.harness.runtime import Runtime

pytestmark = pytest.mark.usefixtures("own_network")


def test_no_network_unless_asked(run: Run, images: Images) -> None:
    assert (
        ok(run(images.made("plain"), sh="busybox ls /sys/class/net; test -e /etc/resolv.conf || echo none"))
        == "lo\nnone\n"
    )


def test_the_hosts_network(run: Run, images: Images) -> None:
    subprocess.run(["ip", "link", "add", "host0", "type", "veth", "peer", "name", "host1"], check=True)
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
    assert told.split()[:-2] == ["host0", "host1", "lo"]
    assert told.endswith("nameserver 192.0.2.1\n")


def veths() -> list[str]:
    return [name for _, name in socket.if_nameindex() if name.startswith("stele")]


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
    """The host forwards between their pairs."""
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    image, first = images.made("plain"), stele.id()
    null = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    words = ["--image", image, "--net", "veth:10.91.8.2/24", first, "/bin/busybox", "sleep", "60"]
    assert stele("--store", images.path, "create", *words, **null).returncode == 0
    try:
        ok(run(image, "--net", "veth:10.91.8.3/24", sh="busybox ping -c1 -W5 10.91.8.2 >/dev/null"))
    finally:
        stele.ok("delete", "--force", first)
    assert veths() == []


def test_containers_of_one_id_below_two_roots_have_a_pair_each(stele: Runtime, images: Images, tmp_path: Path) -> None:
    """To delete one takes its own pair only."""
    name, other = stele.id(), ["--root", tmp_path / "other", "--cgroup-manager=disabled"]
    null = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    for number, below in enumerate(([], other), 2):
        words = [
            "--image",
            images.made("plain"),
            "--net",
            f"veth:10.91.8.{number}/24",
            name,
            "/bin/busybox",
            "sleep",
            "60",
        ]
        assert stele(*below, "--store", images.path, "create", *words, **null).returncode == 0
    both = veths()
    stele.ok(*other, "delete", "--force", name)
    left = veths()
    stele.ok("delete", "--force", name)
    assert (len(both), len(left), veths()) == (2, 1, [])
    assert set(left) < set(both)


def test_a_pair_that_cannot_be_made_leaves_nothing(run: Run, images: Images) -> None:
    """The second address is refused by the kernel: the first end is taken back, and the container with it."""
    done = run(images.made("plain"), "--net", "veth:10.91.9.2/24,gateway=255.255.255.255", sh="true")
    assert done.returncode == 1
    assert "--net: cannot configure the veth pair" in done.stderr
    assert veths() == []
