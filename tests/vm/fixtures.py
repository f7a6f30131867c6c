"""The test host as fixtures, for tests/vm and tests/callers: booted once for a whole run of pytest."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bundles.config import docker_like
from tests.harness.bundles import merge
from tests.vm.guest import Guest, over_ssh
from tests.vm.machine import REPO, Machine

SYSEXT = REPO / "build/stele.raw"
BUSYBOX = "/var/lib/busybox"  # a root file system in the host, shared by its bundles; never changed

# What makes the host's root read-only file systems: every applet is a hard link to Debian's static busybox.
MAKE_BUSYBOX = f"""
cd $(mkdir -p {BUSYBOX}.part && cd {BUSYBOX}.part && pwd)
mkdir -p bin dev etc home proc root sys tmp usr var run
cp /bin/busybox bin/
bin/busybox --install bin
printf 'root:x:0:0:root:/root:/bin/sh\\nuser:x:1000:1000:user:/home:/bin/sh\\n' >etc/passwd
printf 'root:x:0:\\nuser:x:1000:\\n' >etc/group
mv {BUSYBOX}.part {BUSYBOX}
"""


def install(guest: Guest, path: str = "/run/extensions/stele.raw") -> None:
    """Put stele into the host's /usr: an image that systemd-sysext lays over it."""
    guest.put(SYSEXT, path)
    guest.ok("systemd-sysext", "refresh")


class GuestBundles:
    """`bundles(args, changes)` makes a bundle in the host and returns its folder there.

    Its root file system is a busybox that all share, read-only in the container unless `writable`: then it is a copy.
    """

    def __init__(self, guest: Guest, folder: str = "/var/lib/bundles") -> None:
        self.guest = guest
        self.folder = folder
        self._numbers = itertools.count(1)

    def __call__(
        self,
        args: list[str],
        changes: dict[str, Any] | None = None,
        *,
        edit: Callable[[dict[str, Any]], None] | None = None,
        writable: bool = False,
        seccomp: bool = True,
        terminal: bool = False,
    ) -> str:
        """Make a bundle that runs `args`.

        Args:
            changes: laid over the docker-like config.json by `merge`.
            edit: called with the config last, for changes inside lists.
        """
        if not self.guest.exists(BUSYBOX):
            self.guest.ok("sh", "-ec", MAKE_BUSYBOX)
        bundle = f"{self.folder}/b{next(self._numbers)}"
        config = docker_like(args, readonly=not writable, seccomp=seccomp, terminal=terminal)
        config = merge(config, changes or {})
        config["root"]["path"] = f"{bundle}/rootfs" if writable else BUSYBOX
        if edit:
            edit(config)
        self.guest.write(f"{bundle}/config.json", json.dumps(config))
        if writable:
            self.guest.ok("cp", "-a", BUSYBOX, f"{bundle}/rootfs")
        return bundle


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """The test host, booted by QEMU. At the end it powers off in order."""
    with Machine(tmp_path_factory.mktemp("machine")) as machine:
        print(f"\nthe test host booted in {machine.booted_in:.1f} s, {machine.acceleration}")
        yield machine
        machine.power_off()


@pytest.fixture(scope="session")
def guest(request: pytest.FixtureRequest) -> Iterator[Guest]:
    """The test host with `stele` in its /usr/bin: QEMU's, or that of $STELE_VM_SSH, a file for ssh -F."""
    ssh_config = os.environ.get("STELE_VM_SSH")
    with over_ssh(Path(ssh_config)) if ssh_config else contextlib.nullcontext() as remote:
        guest = remote or request.getfixturevalue("machine").guest
        install(guest)
        yield guest


@pytest.fixture(scope="session")
def guest_bundle(guest: Guest) -> GuestBundles:
    """`guest_bundle(args, changes)` makes a bundle in the test host; see GuestBundles."""
    return GuestBundles(guest)
