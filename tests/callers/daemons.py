"""containerd and Docker's daemon as services of systemd, started by the tests that need them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.vm.guest import Guest

START_SECONDS = 120


@contextmanager
def daemon(host: Guest, unit: str, *argv: str) -> Iterator[None]:
    """A daemon that says when it is ready (sd_notify(3)), until the end of the with statement.

    As in Debian's own units its containers live on in cgroups of their own.
    """
    properties = ("--property=Type=notify", "--property=Delegate=yes", "--property=KillMode=process")
    host.ok("systemd-run", "--quiet", f"--unit={unit}", *properties, *argv, timeout=START_SECONDS)
    try:
        yield
    finally:
        host.ok("systemctl", "stop", unit, timeout=START_SECONDS)
        host.run("systemctl", "reset-failed", unit)
