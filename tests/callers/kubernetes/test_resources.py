"""Requests and limits, as the container sees them."""

from __future__ import annotations

from tests.callers.kubernetes.kubelet import Kubelet, Pod
from tests.vm.guest import Guest

MIB = 1 << 20
LIMITS = "cd /sys/fs/cgroup; cat memory.max cpu.max cpu.weight cpuset.cpus hugetlb.2MB.max"
# What 20 % of a processor are is seen once the kernel has held it back.
LOOP = "while :; do sleep 1; done"
BUSY_AT_FIRST = f"while grep -q '^nr_throttled 0$' /sys/fs/cgroup/cpu.stat; do :; done; echo throttled; {LOOP}"


def test_limits(pod: Pod, kubelet: Kubelet, host: Guest) -> None:
    """Set as a kubelet does, acting, changed in the running container, and kept when systemd writes its own again."""
    resources = {
        "memory_limit_in_bytes": 64 * MIB,
        "cpu_quota": 20000,
        "cpu_period": 100000,
        "cpu_shares": 1024,
        "cpuset_cpus": "0",
        "oom_score_adj": 500,
        "hugepage_limits": [{"page_size": "2MB", "limit": 0}],
        "unified": {"memory.oom.group": "1"},
    }
    container = pod.start(f"{LIMITS} memory.oom.group /proc/self/oom_score_adj; {BUSY_AT_FIRST}", resources=resources)
    container.logged("throttled")
    told = [text.strip() for _, text in container.log()]
    assert told == [str(64 * MIB), "20000 100000", "100", "0", "0", "1", "500", "throttled"]

    more = {"memory_limit_in_bytes": 96 * MIB, "cpu_quota": 150000, "cpu_period": 100000, "cpu_shares": 2000}
    kubelet("UpdateContainerResources", container_id=container.id, linux=more)
    # What the manager of processors sends again and again; it changes nothing else.
    kubelet("UpdateContainerResources", container_id=container.id, linux={"cpuset_cpus": "1"})
    # As a unit's start and a reload do: what systemd knows of the scope goes to its cgroup once more.
    host.ok("systemctl", "daemon-reload")
    host.ok("systemctl", "set-property", "--runtime", f"cri-containerd-{container.id}.scope", "IOWeight=50")
    assert container.exec(LIMITS).out.split() == [str(96 * MIB), "150000", "100000", "170", "1", "0"]

    stats = kubelet("ContainerStats", container_id=container.id)["stats"]
    assert stats["attributes"]["id"] == container.id
    assert stats["cpu"]["usage_core_nano_seconds"]["value"] > 10**7
    assert 0 < stats["memory"]["working_set_bytes"]["value"] <= 96 * MIB
    assert container.id in [each["attributes"]["id"] for each in kubelet("ListContainerStats")["stats"]]
    container.stop()
    container.remove()


def test_out_of_memory(pod: Pod, host: Guest) -> None:
    """The kernel's OOM killer, told as Kubernetes shows it.

    Of a container's first process containerd 1.6 misses the word at times, whatever the runtime: it watches a cgroup that
    then goes away. So what is killed is another.
    """
    container = pod.start(f"tail /dev/zero; {LOOP}", resources={"memory_limit_in_bytes": 16 * MIB})
    host.eventually("the OOM kill is told", lambda: container.status()["reason"] == "OOMKilled")
    ended = container.stop()
    assert (ended["exit_code"], ended["reason"]) == (137, "OOMKilled")
    container.remove()
