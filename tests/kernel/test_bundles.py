"""Real programs: redis, nginx and Python from Debian, through their whole life under stele."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import cgroup2
from tests.harness.output import Output
from tests.harness.runtime import Runtime
from tests.harness.services import SERVICES, Ask
from tests.kernel.conftest import Built


def tree(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Every file under `folder`: mode, size, time of change."""
    return {
        str(path.relative_to(folder)): (found.st_mode, found.st_size, found.st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        for found in [path.lstat()]
    }


@pytest.mark.parametrize(("name", "ready", "request_"), SERVICES, ids=[name for name, _, _ in SERVICES])
def test_a_service_lives_its_life(
    stele: Runtime,
    built: Built,
    output: Output,
    name: str,
    ready: str,
    request_: Callable[[Ask], None],
) -> None:
    """Created, started, asked, paused, resumed, updated, asked again, ended by TERM, deleted; the root is unchanged."""
    bundle, _ = built(name)
    before = tree(bundle / "rootfs")
    container = stele.id(name)

    created = stele("create", "--bundle", bundle, container, stdout=output.write_fd, stderr=output.write_fd)
    assert created.returncode == 0, output.rest()
    assert stele.state(container)["status"] == "created"
    stele.ok("start", container)
    output.until(ready)
    assert stele.state(container)["status"] == "running"

    def ask(*args: str) -> str:
        return stele.ok("exec", container, *args)

    request_(ask)

    [cgroup] = cgroup2.named(stele.token)
    stele.ok("pause", container)
    assert stele.state(container)["status"] == "paused"
    assert "frozen 1" in (cgroup / "cgroup.events").read_text()
    refused = stele("exec", container, "/bin/true")
    assert refused.returncode == 255
    assert "paused" in refused.stderr
    stele.ok("resume", container)
    assert "frozen 0" in (cgroup / "cgroup.events").read_text()

    limits = {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}]}
    stele.ok("update", "--resources", "-", container, input=json.dumps(limits))
    assert (cgroup / "hugetlb.2MB.max").read_text() == f"{4 << 20}\n"
    request_(ask)

    state = stele.state(container)
    assert (state["status"], state["id"], state["bundle"]) == ("running", container, str(bundle))
    assert container in stele.ok("list", "--quiet").split()
    pidfd = os.pidfd_open(state["pid"])
    stele.ok("kill", container, "TERM")
    stele.wait_ended(pidfd)
    output.rest()
    assert stele.state(container)["status"] == "stopped"
    stele.ok("delete", container)
    assert stele("state", container).returncode == 1
    assert tree(bundle / "rootfs") == before


def test_hello_says_so(stele: Runtime, built: Built) -> None:
    """`make run`'s container: its own process ids, host name and root."""
    done = stele("run", "--bundle", built("hello")[0], stele.id("hello"))
    assert done.stderr == ""
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "Hello from process 1 of a container."
    assert lines[1:3] == ["host name     stele", "user          0:0"]
    assert lines[-1] == "root          is read-only"
