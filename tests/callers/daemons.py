"""containerd and Docker's daemon as services of systemd, started by the tests that need them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

from tests.vm.guest import Guest

START_SECONDS = 300
"""For a machine that has other things to do: by itself it takes dockerd some seconds, emulated."""
NUMBERS = itertools.count(1)


@contextmanager
def daemon(host: Guest, *argv: str) -> Iterator[None]:
    """A daemon that says when it is ready (sd_notify(3)), until the end of the with statement; its shims end with it."""
    unit = f"test-{argv[0]}-{next(NUMBERS)}"
    properties = ("Type=notify", f"TimeoutStartSec={START_SECONDS}", "Delegate=yes", "KillMode=mixed")
    host.ok(
        "systemd-run",
        "--quiet",
        "--collect",
        f"--unit={unit}",
        *(f"--property={each}" for each in properties),
        *argv,
        timeout=START_SECONDS,
    )
    try:
        yield
    finally:
        host.ok("systemctl", "stop", unit, timeout=START_SECONDS)
