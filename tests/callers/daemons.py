"""containerd and Docker's daemon as services of systemd, started by the tests that need them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

from tests.vm.guest import PATIENCE, Guest

NUMBERS = itertools.count(1)


@contextmanager
def daemon(host: Guest, *argv: str) -> Iterator[None]:
    """A daemon that says when it is ready (sd_notify(3)), until the end of the with statement; its shims end with it."""
    unit = f"test-{argv[0]}-{next(NUMBERS)}"
    properties = ("Type=notify", f"TimeoutStartSec={PATIENCE:.0f}", "Delegate=yes", "KillMode=mixed")
    host.ok(
        "systemd-run",
        "--quiet",
        "--collect",
        f"--unit={unit}",
        *(f"--property={each}" for each in properties),
        *argv,
    )
    try:
        yield
    finally:
        host.ok("systemctl", "stop", unit)
