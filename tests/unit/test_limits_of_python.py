"""Numbers and names that the kernel takes and Python's own modules do not, as they come."""

from __future__ import annotations

import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.container.console import send_fd
from runtime.container.hooks import run_hooks
from runtime.container.limits import raise_limits
from runtime.errors import HostError
from runtime.host.launch import Child
from runtime.plan.model import HostHook
from runtime.plan.steps import Rlimit
from tests.harness.runtime import REPO


def test_a_limit_above_2_to_63(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's resource module has such limits as negative numbers. Raising needs a capability, so prlimit is noted."""
    asked: list[tuple[int, ...]] = []

    def prlimit(pid: int, kind: int, limits: tuple[int, int] = (0, 0)) -> tuple[int, int]:
        if limits != (0, 0):
            asked.append(limits)
        return 4096, 8192

    monkeypatch.setattr(resource, "prlimit", prlimit)
    raise_limits(1, (Rlimit(resource.RLIMIT_FSIZE, (1 << 63) - 1, (1 << 63) + 4096),))
    assert asked == [(4096, 4096 - (1 << 63))]


@pytest.mark.parametrize(
    ("number", "name"), [(40, "SIGRTMIN+6"), (signal.SIGRTMAX, "SIGRTMAX"), (signal.SIGKILL, "SIGKILL")]
)
def test_signals_without_a_name(number: int, name: str) -> None:
    child = subprocess.Popen(["sh", "-c", f"kill -{int(number)} $$"])
    with socket.socket() as talk:
        assert Child(child.pid, -1, talk).ending() == f"was killed by {name}"
    child.wait()


def test_a_hook_may_take_longer_than_poll_can_wait() -> None:
    run_hooks([HostHook("poststop", "/bin/true", ("true",), (), 10**9, 0)], {"bundle": "/"})


def test_a_path_that_is_too_long_for_a_socket() -> None:
    with socket.socket() as ours, pytest.raises(HostError, match="can have 107 bytes"):
        send_fd("/" + "x" * 120, ours.detach(), b"", field="--console-socket")


SHORT = """
import os, resource, sys
from runtime.container.from_image import _write
directory = os.open(sys.argv[1], os.O_RDONLY)
resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))
_write(directory, "hosts", b"x" * 20)
"""


def test_a_short_write_is_gone_on_with(tmp_path: Path) -> None:
    """What fits only in part, as on a disk that is nearly full, is an error, and no shorter file."""
    done = subprocess.run([sys.executable, "-c", SHORT, tmp_path], capture_output=True, check=False, cwd=REPO)
    assert b"File too large" in done.stderr
