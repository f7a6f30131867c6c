"""A pod's life: what a kubelet asks, what containerd answers, and what stele and systemd have of it meanwhile."""

from __future__ import annotations

import re

import pytest

from tests.callers.conftest import state
from tests.callers.kubernetes import grpc
from tests.callers.kubernetes.kubelet import Kubelet, Pod
from tests.callers.kubernetes.service import ROOT
from tests.callers.kubernetes.terminal import Stream
from tests.vm.guest import Guest

LOOP = "while :; do sleep 1; done"
LOG_LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|[+-]\d\d:\d\d) (stdout|stderr) [FP] .*")


def test_ready(kubelet: Kubelet) -> None:
    """containerd has taken docs/callers.md's config, and the network."""
    conditions = kubelet("Status")["status"]["conditions"]
    assert {each["type"]: each["status"] for each in conditions} == {"RuntimeReady": True, "NetworkReady": True}


@pytest.mark.parametrize("handler", ["", "cgroupfs"])
def test_life(kubelet: Kubelet, host: Guest, handler: str) -> None:
    """From RunPodSandbox to RemovePodSandbox, with docs/callers.md's cgroups of systemd and with cgroupfs."""
    with kubelet.pod(handler) as pod:
        assert pod.status()["state"] == "SANDBOX_READY"
        assert pod.status()["network"]["ip"].startswith("10.88.7.")
        container = pod.create("sh", "-c", f"trap 'exit 42' TERM; echo out; echo bad >&2; {LOOP}")
        assert container.status()["state"] == "CONTAINER_CREATED"
        container.start()
        assert container.status()["state"] == "CONTAINER_RUNNING"

        mine = state(host, ROOT, container.id)
        assert (mine["status"], mine["pid"]) == ("running", container.pid())
        name = container.id if handler else f"cri-containerd-{container.id}.scope"
        cgroup = f"{pod.config['linux']['cgroup_parent']}/{name}"
        assert host.read(f"/proc/{mine['pid']}/cgroup").strip() == f"0::{cgroup}"

        container.logged("bad")
        assert sorted(container.log()) == [("stderr", "bad\n"), ("stdout", "out\n")]
        assert all(LOG_LINE.fullmatch(line) for line in host.read(container.log_path).splitlines())
        done = container.exec("hostname; cat /proc/self/cgroup; echo err >&2; exit 3")
        assert (done.code, done.out, done.err) == (3, f"{pod.config['hostname']}\n0::/\n", "err\n")

        ended = container.stop(grace=30)
        assert (ended["state"], ended["exit_code"], ended["reason"]) == ("CONTAINER_EXITED", 42, "Error")
        container.remove()
        assert not host.exists(f"{ROOT}/{container.id}")
        running = pod.start(LOOP)
        pod.stop()
        assert pod.status()["state"] == "SANDBOX_NOTREADY"
        assert running.status()["exit_code"] == 137, "what still runs is killed with the pod"
    assert not host.exists(f"{ROOT}/{pod.id}")
    assert not host.exists(f"/sys/fs/cgroup{cgroup}")


def test_ends(pod: Pod) -> None:
    """A grace period that is not used is cut short; a good end is told as one."""
    deaf = pod.start(f"trap '' TERM; echo up; {LOOP}")
    deaf.logged("up")
    ended = deaf.stop(grace=1)
    assert (ended["exit_code"], ended["reason"]) == (137, "Error")
    deaf.remove()
    good = pod.start("exit 0")
    assert good.ended()["reason"] == "Completed"
    good.remove()


def test_exec(pod: Pod, kubelet: Kubelet, host: Guest) -> None:
    """A probe that takes too long is ended; `kubectl exec -it` has a terminal of its size and tells the exit code."""
    container = pod.start(LOOP)
    with pytest.raises(grpc.Failed) as error:
        container.exec("exec sleep 1000", timeout=1)
    assert error.value.status == grpc.DEADLINE_EXCEEDED, error.value
    assert "sleep 1000" not in host.ok("ps", "ax")
    answer = kubelet("Exec", container_id=container.id, cmd=["sh"], tty=True, stdin=True, stdout=True)
    terminal = Stream(host, answer["url"])
    terminal.resize(33, 77)
    terminal.type("stty -echo; tty; until stty size | grep '33 77'; do :; done\n")
    assert "/dev/pts/" in terminal.until("\r\n33 77")
    terminal.type("exit 9\n")
    assert terminal.code() == 9
    piped = kubelet("Exec", container_id=container.id, cmd=["sh"], stdin=True, stdout=True, stderr=True)
    stream = Stream(host, piped["url"])
    stream.type("echo err >&2; exit 8\n")
    assert stream.code() == 8
    container.remove()


def test_what_cannot_start(pod: Pod) -> None:
    """stele's own words arrive at the kubelet."""
    container = pod.create("nothere")
    with pytest.raises(grpc.Failed) as error:
        container.start()
    assert 'stele create failed: exec: "nothere": executable file not found in $PATH' in error.value.message
    status = container.status()
    assert (status["state"], status["exit_code"], status["reason"]) == ("CONTAINER_EXITED", 128, "StartError")
    assert "nothere" in status["message"]
    container.remove()


def test_a_dead_shim(kubelet: Kubelet, host: Guest) -> None:
    """It served the whole pod. containerd has all of it removed by `delete --force`, which asks systemd by itself."""
    with kubelet.pod() as pod:
        container = pod.start(LOOP)
        pid = container.pid()
        shim = host.read(f"/proc/{pid}/stat").rpartition(")")[2].split()[1]
        assert "containerd-shim" in host.read(f"/proc/{shim}/comm")
        host.ok("kill", "-KILL", shim)
        assert container.ended()["exit_code"] != 0
        places = (f"/proc/{pid}", *(f"{ROOT}/{each}" for each in (container.id, pod.id)))
        host.eventually("all is removed", lambda: not any(map(host.exists, places)))
        assert pod.status()["state"] == "SANDBOX_NOTREADY"
        units = host.ok("systemctl", "list-units", "--all", "--no-legend", "cri-containerd-*")
        assert container.id not in units and pod.id not in units
