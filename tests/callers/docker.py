"""Docker with stele as its default runtime."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from tests.callers.conftest import ARCHIVE, STELE
from tests.callers.daemons import daemon
from tests.vm.guest import Done, Guest

LOOP = ("sh", "-c", "while :; do sleep 1; done")
ROOT = "/run/docker/runtime-runc/moby"


class Docker:
    """`docker("run", ...)` runs it and insists on success."""

    def __init__(self, host: Guest) -> None:
        self.host = host

    def __call__(self, *args: str, code: int = 0) -> str:
        return self.done(*args, code=code).stdout.removesuffix("\n")

    def done(self, *args: str, code: int = 0) -> Done:
        """Insist on an exit code."""
        done = self.host.run("docker", *args)
        assert done.code == code, str(done)
        return done

    def start(self, name: str, *flags: str, command: tuple[str, ...] = LOOP) -> str:
        """A container in the background; its id."""
        return self("run", "--detach", f"--name={name}", *flags, "shell", *command)


@contextmanager
def dockerd(host: Guest, *flags: str) -> Iterator[Docker]:
    """The daemon with the image, configured as docs/callers.md says; at the end no container is left."""
    config = {
        "runtimes": {"stele": {"path": STELE}},
        "default-runtime": "stele",
        "deprecated-key-path": "/var/lib/docker/key.json",
        "bridge": "none",
        "iptables": False,
    }
    host.write("/run/docker.json", json.dumps(config))
    with daemon(host, "dockerd", "--config-file=/run/docker.json", *flags):
        docker = Docker(host)
        docker("load", "--input", ARCHIVE)
        yield docker
        left = docker("ps", "--all", "--quiet").split()
        if left:
            docker("rm", "--force", *left)
        listed = (STELE, "--root", ROOT, "list", "--quiet")
        host.eventually("stele has none left either", lambda: host.ok(*listed) == "")
