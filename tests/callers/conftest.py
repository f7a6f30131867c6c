"""The test host for callers: Podman, Docker, containerd and buildah with stele, and with no other runtime at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bundles import recipe
from tests.callers.images import archive
from tests.vm.guest import Guest

STELE = "/usr/bin/stele"
IMAGE = "docker.io/library/shell:latest"  # bundles/shell: a static busybox, whose sh finds every applet
ARCHIVE = "/var/lib/shell.tar"
CALLED = "/run/other-runtime"

# Stands where Debian's crun and runc are. Docker and Podman may ask these who they are; no more.
OTHER = f"""#!/bin/sh
case $1 in --version | -v | features) echo "no runtime version 0"; exit 0 ;; esac
echo "$0 $*" >>{CALLED}
echo "another runtime than stele was called: $0 $*" >&2
exit 1
"""

# As docs/callers.md has it, and in the place of the host's own file, so that what Podman itself starts (health checks by
# systemd, clean-up by conmon) reads it too.
CONTAINERS_CONF = f"""
[engine]
runtime = "stele"
runtime_supports_json = ["stele", "crun", "runc"]
runtime_supports_nocgroup = ["stele", "crun"]
[engine.runtimes]
stele = ["{STELE}"]
[network]
network_backend = "netavark"
"""


@pytest.fixture(scope="session")
def host(guest: Guest) -> Guest:
    """The test host with the image's archive, configured for stele; another runtime fails and is noticed."""
    out = Path(__file__).resolve().parents[2] / "build"
    _, layout = recipe.build("shell", out, out / "cache")
    guest.write(ARCHIVE, archive(layout, IMAGE))
    guest.write("/run/other", OTHER, mode="0755")
    guest.write("/run/containers.conf", CONTAINERS_CONF)
    places = {"/usr/bin/crun": "/run/other", "/usr/sbin/runc": "/run/other"}
    for place, instead in {**places, "/etc/containers/containers.conf": "/run/containers.conf"}.items():
        guest.ok("mount", "--bind", instead, place)
    guest.fails("crun", "list")
    assert "crun list" in guest.read(CALLED), "the trap does not work"
    guest.ok("rm", CALLED)
    return guest


@pytest.fixture(autouse=True)
def no_other_runtime(host: Guest) -> Iterator[None]:
    """After each test: nobody has called another runtime."""
    yield
    if host.exists(CALLED):
        said = host.ok("cat", CALLED)
        host.ok("rm", CALLED)
        pytest.fail(f"another runtime than stele was called:\n{said}", pytrace=False)


def state(host: Guest, root: str, name: str, **more: Any) -> dict[str, Any]:
    """What stele knows of a container; only of one that it made itself."""
    document: dict[str, Any] = json.loads(host.ok(STELE, "--root", root, "state", name, **more))
    return document


def scope(host: Guest, pid: int) -> str:
    """The name of the last part of a process's cgroup."""
    return host.read(f"/proc/{pid}/cgroup").strip().rpartition("/")[2]
