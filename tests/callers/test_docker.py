"""Docker's daemon with stele as the default runtime, its cgroups made by stele itself."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator

import pytest

from tests.callers.conftest import state
from tests.callers.docker import ROOT, Docker, dockerd
from tests.vm.guest import Guest


@pytest.fixture(scope="module")
def docker(host: Guest) -> Iterator[Docker]:
    """Docker with cgroupfs."""
    with dockerd(host, "--exec-opt=native.cgroupdriver=cgroupfs") as docker:
        yield docker


def test_it_is_stele(docker: Docker, host: Guest) -> None:
    """Docker names stele as its runtime, and stele has the container in a cgroup of its own."""
    assert docker("info", "--format", "{{.DefaultRuntime}} {{.CgroupDriver}} {{.CgroupVersion}}") == "stele cgroupfs 2"
    name = docker.start("who")
    mine = state(host, ROOT, name)
    assert mine["status"] == "running"
    assert str(mine["pid"]) == docker("inspect", "--format", "{{.State.Pid}}", "who")
    assert host.read(f"/proc/{mine['pid']}/cgroup").strip() == f"0::/docker/{name}"
    docker("rm", "--force", "who")
    places = (f"/sys/fs/cgroup/docker/{name}", f"{ROOT}/{name}")
    host.eventually("nothing of it is left", lambda: not any(map(host.exists, places)))


def test_run(docker: Docker) -> None:
    """Output, error, environment, user, working directory, read-only root and exit code."""
    script = "echo $WORD $(id -u):$(id -g) $PWD; touch /x; exit 7"
    flags = ("--rm", "-e", "WORD=hi", "-u", "5:6", "-w", "/proc", "--read-only", "--tmpfs=/tmp")
    done = docker.done("run", *flags, "shell", "sh", "-c", script, code=7)
    assert (done.stdout, done.stderr) == ("hi 5:6 /proc\n", "touch: /x: Read-only file system\n")


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        pytest.param("nothere", 127, 'exec: "nothere": executable file not found in $PATH', id="no-program"),
        pytest.param("/tmp", 126, 'exec: "/tmp": permission denied: it is a directory', id="a-directory"),
    ],
)
def test_failures_are_told(docker: Docker, command: str, code: int, words: str) -> None:
    """stele's own words arrive, and become the exit codes that users know."""
    assert words in docker.done("run", "--rm", "shell", command, code=code).stderr


def test_exec_on_a_terminal(docker: Docker, host: Guest) -> None:
    """exec -it: a terminal that follows the size of ours; exit codes; another user."""
    docker.start("exec")
    with host.start("docker", "exec", "-it", "-u", "7", "exec", "sh", tty=True) as job:
        job.type("id -u; tty\n")
        job.until("/dev/pts/")
        # docker passes a change of size on once it listens for one, which may come after all this: so it changes until one arrives.
        job.type("until stty size | grep '44 1..'; do sleep 0.1; done; echo 'the size 'arrived; exit 6\n")
        columns = itertools.cycle(range(100, 200))

        def arrived() -> bool:
            job.resize(44, next(columns))
            return "the size arrived" in job.stdout

        host.eventually("a size arrives", arrived)
        done = job.wait()
    assert (done.code, "7\r\n" in done.stdout) == (6, True), str(done)
    assert "executable file not found in $PATH" in docker.done("exec", "exec", "nothere", code=126).stdout
    docker("exec", "exec", "sh", "-c", "exit 5", code=5)
    docker("rm", "--force", "exec")


def test_update_stats_and_pause(docker: Docker, host: Guest) -> None:
    """Limits act, `update` changes them, `stats` reads them, `pause` stops the container."""
    name = docker.start("limited", "--memory=32m", "--cpus=0.5", "--pids-limit=30")
    read = f"cd /sys/fs/cgroup/docker/{name}; cat memory.max memory.swap.max cpu.max pids.max"
    assert host.ok("sh", "-c", read).split("\n") == [str(32 << 20), str(32 << 20), "50000 100000", "30"]
    docker("update", "--memory=48m", "--memory-swap=48m", "--cpus=0.25", "--pids-limit=40", "limited")
    assert host.ok("sh", "-c", read).split("\n") == [str(48 << 20), "0", "25000 100000", "40"]
    stats = json.loads(docker("stats", "--no-stream", "--format", "{{json .}}", "limited"))
    assert stats["MemUsage"].endswith(" / 48MiB") and int(stats["PIDs"]) >= 1
    docker("pause", "limited")
    assert state(host, ROOT, name)["status"] == "paused"
    docker("unpause", "limited")
    assert state(host, ROOT, name)["status"] == "running"
    assert len(docker("top", "limited").splitlines()) >= 2
    docker("stop", "--time=0", "limited")
    assert docker("inspect", "--format", "{{.State.ExitCode}}", "limited") == "137"
    docker("rm", "limited")


def test_init_and_capabilities(docker: Docker) -> None:
    """--init puts Docker's init in front, which reaps; --cap-drop leaves nothing; no-new-privileges is on."""
    script = "cat /proc/1/comm; grep -E 'Cap(Prm|Bnd)|NoNewPrivs|Seccomp:' /proc/self/status"
    flags = ("--rm", "--init", "--cap-drop=all", "--security-opt=no-new-privileges")
    said = docker("run", *flags, "shell", "sh", "-c", script).split()
    assert said == ["docker-init", "CapPrm:", "0" * 16, "CapBnd:", "0" * 16, "NoNewPrivs:", "1", "Seccomp:", "2"]


def test_seccomp(docker: Docker, host: Guest) -> None:
    """--security-opt seccomp=FILE: its answer is what the container gets."""
    rules = [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]
    host.write("/run/seccomp.json", json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}))
    flags = ("--rm", "--security-opt=seccomp=/run/seccomp.json")
    done = docker.done("run", *flags, "shell", "sh", "-c", "touch /tmp/x && echo made; mkdir /tmp/y", code=1)
    assert (done.stdout, "Operation not supported" in done.stderr) == ("made\n", True)


def test_out_of_memory(docker: Docker, host: Guest) -> None:
    """A container in which the OOM killer struck is told as such.

    containerd starts to watch a container's cgroup after it has started, and misses what came before, whatever the
    runtime: so it strikes until Docker has heard of it.
    """
    struck = "while tail -c 60m /dev/zero >/dev/null; [ $? = 137 ]; do sleep 0.2; done"
    docker.start("eaten", "--memory=20m", "--memory-swap=20m", command=("sh", "-c", struck))
    heard = ("events", "--since=0", "--until=0s", "--filter=container=eaten", "--filter=event=oom")
    host.eventually("Docker hears of it", lambda: docker(*heard))
    docker("kill", "eaten")
    assert docker("wait", "eaten") == "137"
    assert docker("inspect", "--format", "{{.State.OOMKilled}}", "eaten") == "true"
    docker("rm", "eaten")
