"""Whose network, processes and IPC a container sees, and how mounts go between it and the node."""

from __future__ import annotations

from tests.callers.kubernetes.kubelet import Kubelet, Pod
from tests.vm.guest import Guest

LOOP = "while :; do sleep 1; done"
KINDS = ("net", "pid", "ipc", "uts", "mnt", "cgroup")


def inodes(host: Guest, pid: int) -> dict[str, str]:
    """A process's namespaces."""
    links = host.ok("readlink", *(f"/proc/{pid}/ns/{kind}" for kind in KINDS))
    return dict(zip(KINDS, links.splitlines(), strict=True))


def shared(host: Guest, one: int, other: int) -> set[str]:
    """Which namespaces two processes have in common."""
    first, second = inodes(host, one), inodes(host, other)
    return {kind for kind in KINDS if first[kind] == second[kind]}


def options(**modes: str) -> dict[str, object]:
    """A security context with these modes of namespaces."""
    return {"namespace_options": modes}


def test_containers_of_a_pod(pod: Pod, host: Guest) -> None:
    """They share network, IPC, host name and the pod's settings; not processes, unless one joins another's to debug it."""
    one = pod.start(f"echo of one >/dev/shm/words; {LOOP}")
    assert shared(host, one.pid(), 1) == set()
    debug = pod.start(LOOP, security=options(pid="TARGET", target_id=one.id))
    assert shared(host, one.pid(), debug.pid()) == {"net", "ipc", "uts", "pid"}
    script = """
        hostname
        cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shm_rmid_forced
        cat /etc/resolv.conf /dev/shm/words
        readlink /proc/self/ns/pid
    """
    other = pod.run(script)
    told = [pod.config["hostname"], "7", "1", "nameserver 10.1.2.3", "of one"]
    assert other.out.splitlines()[:-1] == told
    assert other.out.splitlines()[-1] != inodes(host, one.pid())["pid"]
    for container in (debug, one):
        container.stop()
        container.remove()


def test_shared_processes(kubelet: Kubelet, host: Guest) -> None:
    """shareProcessNamespace: a container sees the others, and pid 1 is the pod's."""
    with kubelet.pod(linux={"security_context": options(pid="POD")}) as pod:
        one = pod.start(f": one; {LOOP}", security=options(pid="POD"))
        seen = pod.run("ps", security=options(pid="POD"))
        assert ": one;" in seen.out and "1 root     sh -c while :; do sleep 60" in seen.out
        assert one.stop()["exit_code"] == 137
        assert pod.status()["state"] == "SANDBOX_READY"


def test_those_of_the_node(kubelet: Kubelet, host: Guest) -> None:
    """hostNetwork, hostPID and hostIPC; a container without a namespace for processes ends as a whole."""
    node = options(network="NODE", pid="NODE", ipc="NODE")
    with kubelet.pod(hostname="", linux={"security_context": node}) as pod:
        container = pod.start(f"sleep 9876 & {LOOP}", security=node)
        assert shared(host, container.pid(), 1) == {"net", "pid", "ipc", "uts"}
        assert container.exec("cat /proc/1/comm").out == "systemd\n"
        assert container.stop()["exit_code"] == 137
        container.remove()
        assert "sleep 9876" not in host.ok("ps", "ax")


def test_files_of_the_kubelet(pod: Pod, host: Guest) -> None:
    """What every container of a cluster has mounted, also where its image has no such folder."""
    host.write("/run/kubelet/token/ca.crt", "certificate")
    host.write("/run/kubelet/hosts", "10.1.1.1 me")
    host.write("/run/kubelet/message", "")
    mounts = [
        {"container_path": "/etc/hosts", "host_path": "/run/kubelet/hosts"},
        {"container_path": "/dev/termination-log", "host_path": "/run/kubelet/message"},
        {
            "container_path": "/var/run/secrets/kubernetes.io/serviceaccount",
            "host_path": "/run/kubelet/token",
            "readonly": True,
        },
    ]
    script = """
        cat /etc/hosts /var/run/secrets/kubernetes.io/serviceaccount/ca.crt
        echo failed >/dev/termination-log
        touch /var/run/secrets/kubernetes.io/serviceaccount/new
    """
    done = pod.run(script, mounts=mounts)
    assert done.out == "10.1.1.1 mecertificate"
    assert done.err.endswith("Read-only file system\n")
    assert host.read("/run/kubelet/message") == "failed\n"


def test_volumes(privileged_pod: Pod, host: Guest) -> None:
    """Mounts made later: from the node into the container (HostToContainer), both ways (Bidirectional), or not at all."""
    modes = {"none": "PRIVATE", "slave": "HOST_TO_CONTAINER", "shared": "BIDIRECTIONAL"}
    mounts = [
        {"container_path": f"/{name}", "host_path": "/run/volumes", "propagation": f"PROPAGATION_{mode}"}
        for name, mode in modes.items()
    ]
    readonly = {"container_path": "/readonly", "host_path": "/run/volumes", "readonly": True}
    host.ok("mkdir", "/run/volumes")
    host.ok("mount", "-t", "tmpfs", "-o", "mode=755", "volumes", "/run/volumes")
    host.ok("mount", "--make-rshared", "/run/volumes")
    host.ok("mkdir", "/run/volumes/of-node", "/run/volumes/of-pod")
    try:
        container = privileged_pod.start(LOOP, security={"privileged": True}, mounts=[*mounts, readonly])
        host.ok("mount", "-t", "tmpfs", "none", "/run/volumes/of-node")
        host.ok("touch", "/run/volumes/of-node/file")
        done = container.exec(
            "ls -d /*/of-node/file; mount -t tmpfs none /shared/of-pod; touch /readonly/x /shared/of-pod/file"
        )
        assert done.out == "/shared/of-node/file\n/slave/of-node/file\n"
        assert done.err == "touch: /readonly/x: Read-only file system\n"
        assert host.exists("/run/volumes/of-pod/file")
        container.stop()
        container.remove()
    finally:
        host.ok("umount", "--recursive", "/run/volumes")
        host.ok("rmdir", "/run/volumes")
