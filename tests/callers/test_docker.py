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


DOCKERFILE = """
FROM shell
RUN mkdir -p /data /five && echo kept >/data/file && chown -R 5:6 /data /five && chmod 700 /five
VOLUME /data
USER 5:6
WORKDIR /five
RUN id -u >user && pwd >>user
STOPSIGNAL USR1
ENTRYPOINT ["sh", "-c"]
CMD ["cat user /data/file; echo out >/dev/stdout; echo err >/dev/stderr; trap 'exit 9' USR1; while :; do sleep 0.1; done"]
"""


def test_build_and_what_was_built(docker: Docker, host: Guest) -> None:
    """`docker build`, each RUN in a container; then its user's streams and folder, a volume that is filled, cp, diff, commit."""
    done = host.run("docker", "build", "--quiet", "--network=none", "--tag=built", "-", input=DOCKERFILE, timeout=240)
    assert done.code == 0, str(done)
    docker("run", "--detach", "--name=built", "--volume=filled:/data", "built")
    wanted = "5\n/five\nkept\nout\n"
    host.eventually("it has told all", lambda: docker.done("logs", "built").stdout == wanted)
    assert docker.done("logs", "built").stderr == "err\n"
    host.write("/run/copied", "copied\n")
    docker("cp", "/run/copied", "built:/five/copied")
    assert docker("exec", "built", "sh", "-c", "cat copied") == "copied"
    assert "A /five/copied" in docker("diff", "built").splitlines()
    docker("commit", "built", "committed")
    docker("stop", "built")  # by the image's signal
    assert docker("wait", "built") == "9"
    read = ("--rm", "--volumes-from=built:ro", "committed", "cat copied /data/file; touch /data/x")
    done = docker.done("run", *read, code=1)
    assert (done.stdout, done.stderr) == ("copied\nkept\n", "touch: /data/x: Read-only file system\n")
    docker("rm", "--volumes", "built")
    docker("volume", "rm", "filled")
    docker("rmi", "committed", "built")


def test_what_is_asked_of_the_kernel(docker: Docker, host: Guest) -> None:
    """Ulimits, sysctls, the size of /dev/shm, devices for reading alone, others' namespaces."""
    flags = ("--ulimit=nofile=100:200", "--sysctl=kernel.msgmax=7777", "--shm-size=3m", "--hostname=named")
    script = "ulimit -n; ulimit -Hn; cat /proc/sys/kernel/msgmax; df -m /dev/shm | awk 'NR==2{print $2}'; hostname"
    assert docker("run", "--rm", *flags, "shell", "sh", "-c", script).split() == ["100", "200", "7777", "3", "named"]
    device = ("--device=/dev/loop-control:/dev/mine:r", "--device-cgroup-rule=c 1:7 mw")
    script = "true </dev/mine && echo opened; true >/dev/mine || echo refused; mknod /full c 1 7; echo x >/full"
    done = docker.done("run", "--rm", *device, "shell", "sh", "-c", script, code=1)
    assert done.stdout.split() == ["opened", "refused"]
    assert "/full: No space left on device" in done.stderr or "write error: No space left on device" in done.stderr
    docker.start("first", "--ipc=shareable", "--cgroupns=private")
    shared = ("--pid=container:first", "--ipc=container:first", "--network=container:first", "--uts=host")
    script = "for kind in pid ipc net; do readlink /proc/self/ns/$kind; done; hostname"
    second = docker("run", "--rm", *shared, "shell", "sh", "-c", script).split()
    pid = docker("inspect", "--format", "{{.State.Pid}}", "first")
    of_first = host.ok("readlink", *(f"/proc/{pid}/ns/{kind}" for kind in ("pid", "ipc", "net")))
    assert second == [*of_first.split(), host.ok("hostname")]
    docker("rm", "--force", "first")


def test_privileged(docker: Docker) -> None:
    """--privileged: all capabilities, the host's devices, mounts, cgroups that can be made; nothing is masked."""
    script = """set -e; grep CapEff /proc/self/status; mkdir /m; mount -t tmpfs none /m; mkdir /sys/fs/cgroup/x; rmdir /sys/fs/cgroup/x
    test -b /dev/vda; ls /proc/acpi >/dev/null; grep -c ' /proc/[a-z]' /proc/mounts || true"""
    said = docker("run", "--rm", "--privileged", "--cgroupns=private", "shell", "sh", "-c", script).split()
    assert (said[0], int(said[1], 16) & (1 << 21), said[2]) == ("CapEff:", 1 << 21, "0")


def test_restarts_and_health(docker: Docker, host: Guest) -> None:
    """A container that fails is started again, in the same place; one whose check fails is unhealthy."""
    docker("run", "--detach", "--name=again", "--restart=on-failure:2", "shell", "sh", "-c", "echo x >>/n; exit 3")
    state = ("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}", "again")
    host.eventually("it was started three times", lambda: docker(*state) == "exited 3 2", timeout=60)
    docker("cp", "again:/n", "/run/n")
    assert host.read("/run/n") == "x\n" * 3
    docker("rm", "again")
    check = ("--health-cmd=test -e /well", "--health-interval=1s", "--health-retries=1")
    docker.start("checked", *check)
    health = ("inspect", "--format", "{{.State.Health.Status}}", "checked")
    host.eventually("it is unhealthy", lambda: docker(*health) == "unhealthy", timeout=60)
    docker("exec", "--detach", "checked", "sh", "-c", ": >/well")
    host.eventually("it is healthy", lambda: docker(*health) == "healthy", timeout=60)
    docker("rm", "--force", "checked")
