"""The Python side of timer.c."""

from __future__ import annotations

import os
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("timer.c")


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run cost: seconds of wall clock and of CPU (user and system), peak memory in bytes."""

    wall: float
    cpu: float
    peak: int

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.wall + other.wall, self.cpu + other.cpu, max(self.peak, other.peak))


def compile_timer(folder: Path) -> Path:
    """Build timer.c, static, into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "timer"
    subprocess.run(["gcc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-static", "-o", program, SOURCE], check=True)
    return program


class Timer:
    """One timer process; `run(argv)` costs one of its children."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)

    def run(self, argv: list[str]) -> Cost:
        """Run a program to its end. Raises: SystemExit where it fails, since a failure's time is not a result."""
        words = b"".join(word.encode() + b"\0" for word in argv)
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(struct.pack("=I", len(words)) + words)
        told = self._process.stdout.read(48)
        if len(told) != 48:
            raise SystemExit(f"the timer could not run {' '.join(argv)}")
        wall, user, system, peak, status, _ = struct.unpack("=6Q", told)
        if status != 0:
            raise SystemExit(f"{' '.join(argv)}: exit code {os.waitstatus_to_exitcode(status)}")
        return Cost(wall / 1e9, (user + system) / 1e6, peak * 1024)

    def ordinary(self) -> None:
        """Time its programs at the highest ordinary priority from now on, also where we have a real-time one."""
        os.sched_setscheduler(self._process.pid, os.SCHED_OTHER, os.sched_param(0))
        os.setpriority(os.PRIO_PROCESS, self._process.pid, -20)

    def close(self) -> None:
        """End the timer process."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()
