"""Helper programs: each ends with stele, however that ends, and when a signal ends what stele does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.errors import HostError
from runtime.host import prepare

ASK = """
from runtime.images.registry import credentials
credentials.HELPERS = (HERE,)
credentials.ask_helper("x", "r.example")
"""
PS = """
from runtime.cli import inspect
inspect.PS = HERE + "/docker-credential-x"
inspect._host_ps(["-ef"], [])
"""
MAP = """
from runtime.host import prepare
from runtime.plan.model import IdMapping
prepare._run_helper(HERE + "/docker-credential-x", 1, [IdMapping(0, 0, 1)])
"""


@pytest.mark.parametrize(
    ("call", "number"),
    [
        (ASK, signal.SIGKILL),
        (ASK, signal.SIGTERM),
        (PS, signal.SIGKILL),
        (PS, signal.SIGTERM),
        (MAP, signal.SIGTERM),  # a setuid program cannot be tied to us
    ],
    ids=["credentials-KILL", "credentials-TERM", "ps-KILL", "ps-TERM", "newuidmap-TERM"],
)
def test_a_helper_ends_with_stele(tmp_path: Path, call: str, number: int) -> None:
    program, pipe = tmp_path / "docker-credential-x", tmp_path / "alive"
    os.mkfifo(pipe)
    program.write_text(f"#!/bin/sh\nexec 9>{pipe}\necho x >&9\nexec sleep 1000\n")
    program.chmod(0o755)
    code = f"HERE = {str(tmp_path)!r}\nfrom runtime.host.interrupt import interruptible\nwith interruptible(''):"
    code += call.replace("\n", "\n    ")
    stele = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    reader = os.open(pipe, os.O_RDONLY)
    with os.fdopen(reader, "rb") as alive:
        assert alive.readline() == b"x\n"
        stele.send_signal(number)
        told = stele.communicate(timeout=30)[1]
        assert (b"interrupted by SIGTERM" in told) is (number == signal.SIGTERM)
        if number == signal.SIGTERM:  # then it was waited for, too
            os.set_blocking(reader, False)
        assert alive.read() == b""


def test_the_root_of_an_init_that_has_ended_is_nobodys() -> None:
    """Its pid may be another's by then: here it is ours."""
    with subprocess.Popen(["/bin/true"]) as ended:
        pidfd = os.pidfd_open(ended.pid)
    try:
        with pytest.raises(HostError, match="the container's init has ended"):
            prepare._root_of(os.getpid(), pidfd)
    finally:
        os.close(pidfd)
