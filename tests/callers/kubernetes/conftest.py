"""containerd's CRI for all tests of this folder: started once, asked by one kubelet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.callers.conftest import STELE
from tests.callers.kubernetes.kubelet import Kubelet, Pod
from tests.callers.kubernetes.service import ROOT, containerd
from tests.vm.guest import Guest


@pytest.fixture(scope="package")
def kubelet(host: Guest) -> Iterator[Kubelet]:
    """containerd, ready; afterwards nothing of any pod is left on the host."""
    with containerd(host) as kubelet:
        mounts = host.read("/proc/self/mountinfo").count("\n")
        yield kubelet
        assert kubelet("ListPodSandbox")["items"] == []
        assert kubelet("ListContainers")["containers"] == []
        assert host.ok(STELE, "--root", ROOT, "list", "--quiet") == ""
        # The cache is of compiled seccomp filters, for the next container.
        assert host.ok("find", ROOT, "-mindepth", "1", "-not", "-path", f"{ROOT}/.cache*") == "", "state"
        assert host.read("/proc/self/mountinfo").count("\n") == mounts, host.read("/proc/self/mountinfo")
        assert host.ok("ip", "netns", "list") == ""
        host.eventually("no shim is left", lambda: host.run("pidof", "containerd-shim-runc-v2").code == 1)
        # The pods' own cgroups are the kubelet's to make and to remove; what was in them is not.
        pods = ("-path", "*/kubepods*", "-not", "-name", "kubepods*", "-not", "-name", "pod*")
        assert host.ok("find", "/sys/fs/cgroup", "-type", "d", *pods) == "", "cgroups"
        host.ok("systemctl", "stop", "kubepods.slice")
        host.ok("find", "/sys/fs/cgroup", "-depth", "-path", "*/kubepods*", "-type", "d", "-exec", "rmdir", "{}", ";")


@pytest.fixture(scope="package")
def pod(kubelet: Kubelet) -> Iterator[Pod]:
    """A pod for the containers of many tests."""
    sysctls = {"net.ipv4.ip_unprivileged_port_start": "7", "kernel.shm_rmid_forced": "1"}
    with kubelet.pod(dns_config={"servers": ["10.1.2.3"]}, linux={"sysctls": sysctls}) as pod:
        yield pod


@pytest.fixture(scope="package")
def privileged_pod(kubelet: Kubelet) -> Iterator[Pod]:
    """A pod that may have privileged containers."""
    with kubelet.pod(linux={"security_context": {"privileged": True}}) as pod:
        yield pod
