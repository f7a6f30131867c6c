"""buildah with stele as its runtime, named on its command line."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.callers.conftest import ARCHIVE, STELE
from tests.vm.guest import Guest

RUNTIME = f"--runtime={STELE}"


@pytest.fixture(scope="module")
def working(host: Guest) -> Iterator[str]:
    """A working container of the image."""
    name = host.ok("buildah", "from", f"docker-archive:{ARCHIVE}")
    yield name
    host.ok("buildah", "rm", name)


def test_run(host: Guest, working: str) -> None:
    """`buildah run`: output, environment, user, exit code, and no state left behind."""
    command = (
        "buildah",
        "run",
        RUNTIME,
        "--env=WORD=hi",
        "--user=5",
        working,
        "sh",
        "-c",
        "echo $WORD $(id -u); exit 7",
    )
    done = host.run(*command)
    assert (done.code, done.stdout) == (7, "hi 5\n"), str(done)
    assert host.ok(STELE, "list", "--quiet") == ""


def test_terminal(host: Guest, working: str) -> None:
    """`buildah run -t`: a terminal, by a console socket."""
    with host.start("buildah", "run", RUNTIME, "-t", working, "sh", "-c", "read a; tty; echo $a", tty=True) as job:
        job.type("stone\n")
        done = job.wait()
    assert (done.code, "/dev/pts/" in done.stdout, "stone" in done.stdout) == (0, True, True), str(done)


def test_build(host: Guest, working: str) -> None:
    """`buildah build`: each RUN is a container of stele's, as its process tree shows."""
    steps = (
        "FROM shell\nRUN sh -c 'mkdir /built; cat /proc/self/cgroup >/built/where'\nRUN sh -c 'test -s /built/where'\n"
    )
    host.write("/run/build/Containerfile", steps)
    host.ok("buildah", "build", RUNTIME, "--layers=false", "--network=none", "--tag=built", "/run/build")
    made = host.ok("buildah", "from", "built")
    assert host.ok("buildah", "run", RUNTIME, made, "sh", "-c", "cat /built/where").startswith("0::/")
    host.ok("buildah", "rm", made)
    host.ok("buildah", "rmi", "built")


def test_failure(host: Guest, working: str) -> None:
    """stele's own words arrive."""
    done = host.fails("buildah", "run", RUNTIME, working, "nothere")
    assert 'exec: "nothere": executable file not found in $PATH' in done.stderr
