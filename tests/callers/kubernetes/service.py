"""containerd serving Kubernetes' interface with stele as its runtime, configured as docs/callers.md says."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.callers.daemons import daemon
from tests.callers.images import archive
from tests.callers.kubernetes import grpc
from tests.callers.kubernetes.kubelet import IMAGE, Kubelet
from tests.vm.guest import Guest

REPO = Path(__file__).resolve().parents[3]
PORT = "10010"
CRI = 'plugins."io.containerd.grpc.v1.cri"'
PAUSE = "docker.io/library/pause:latest"
ROOT = "/run/containerd/runc/k8s.io"  # where containerd has stele keep its state

# Over TCP, because what reaches the test host is its busybox. The second handler is for cgroups without systemd.
CONFIG = f"""
version = 2
[grpc]
  tcp_address = "127.0.0.1:{PORT}"
[{CRI}]
  disable_tcp_service = false
  disable_hugetlb_controller = false
  sandbox_image = "{PAUSE}"
[{CRI}.cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "/run/cni"
[{CRI}.containerd.runtimes.cgroupfs]
  runtime_type = "io.containerd.runc.v2"
[{CRI}.containerd.runtimes.cgroupfs.options]
  BinaryName = "/usr/bin/stele"
"""
NETWORK = {
    "cniVersion": "0.4.0",
    "name": "pods",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "pods0",
            "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.7.0/24"}]], "dataDir": "/run/pods"},
        }
    ],
}


def documented() -> str:
    """What docs/callers.md has for config.toml."""
    lines = (REPO / "docs/callers.md").read_text().splitlines()
    after = itertools.dropwhile(lambda line: not line.startswith(f"    [{CRI}"), lines)
    block = itertools.takewhile(lambda line: line.startswith("    "), after)
    return "\n".join(block)


@contextmanager
def containerd(host: Guest) -> Iterator[Kubelet]:
    """The daemon with the images of containers and of the pods' own container, which waits and reaps orphans."""
    assert "[" in documented(), "docs/callers.md has no config for Kubernetes"
    host.write("/run/cri.toml", CONFIG + documented())
    host.write("/run/cni/pods.conflist", json.dumps(NETWORK))
    pause = archive(REPO / "build/images/shell", PAUSE, ("sh", "-c", "while :; do sleep 60 & wait; done"))
    host.write("/var/lib/pause.tar", pause)
    with daemon(host, "containerd", "--config=/run/cri.toml"), host.start("busybox", "nc", "127.0.0.1", PORT) as pipe:
        for tar in ("/var/lib/shell.tar", "/var/lib/pause.tar"):
            host.ok("ctr", "--namespace=k8s.io", "images", "import", tar)
        kubelet = Kubelet(host, grpc.Client(pipe))
        wanted = {IMAGE, PAUSE}
        host.eventually("the images are known", lambda: wanted <= kubelet.images())
        yield kubelet
