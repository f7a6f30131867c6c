"""What an attack is: a function that gets an Arena (a runtime, a folder of its own, a canary) and tells how it went."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bundles.config import docker_like
from tests.attacks.doubles import Patch
from tests.harness import cgroup2
from tests.harness.bundles import busybox_rootfs, merge
from tests.harness.runtime import REPO, Runtime, command

HELD, BROKEN, REFUSED, UNKNOWN, NONE = "held", "BROKEN", "refused", "unknown", "-"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attack went.

    verdict: HELD (it ran, and got nothing), REFUSED (the runtime would not do it), BROKEN, UNKNOWN (it could not be
    tried, which is not an answer), or NONE (the runtime has nothing of what is attacked). detail: what was seen.
    """

    verdict: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Attack:
    """One row. planted: the faults of the double that must be broken by it."""

    id: str
    cve: str
    title: str
    run: Callable[[Arena], Outcome]
    planted: tuple[Patch, ...]
    rounds: int


ATTACKS: dict[str, Attack] = {}


def attack(
    name: str, cve: str, title: str, *planted: Patch, rounds: int = 1
) -> Callable[[Callable[[Arena], Outcome]], Callable[[Arena], Outcome]]:
    """Register an attack. rounds: how often a race is run by default."""

    def register(function: Callable[[Arena], Outcome]) -> Callable[[Arena], Outcome]:
        assert name not in ATTACKS, name
        ATTACKS[name] = Attack(name, cve, title, function, planted, rounds)
        return function

    return register


def payload() -> Path:
    """The attacker's static program, compiled from payload.c when that is newer."""
    source, program = REPO / "tests/attacks/payload.c", REPO / "build/attacks/payload"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        program.parent.mkdir(parents=True, exist_ok=True)
        new = program.with_name(f"payload.{os.getpid()}")
        subprocess.run(["gcc", "-std=gnu11", "-O1", "-Wall", "-static", "-o", new, source], check=True)
        new.rename(program)
    return program


def programs(name: str) -> list[str]:
    """What starts the runtime called `name`: stele, a peer on PATH, or a path."""
    if name == "stele":
        return command()
    found = shutil.which(name)
    if not found:
        raise FileNotFoundError(f"{name} is not installed")
    return [found]


class Arena:
    """A runtime under attack, with a root directory, bundles and a canary folder of its own.

    Attributes:
        canary: a folder of the host that no container may reach; `secret` is in it.
        rounds: how often a race is to be run.
    """

    def __init__(self, argv: list[str], folder: Path, *, rounds: int = 1) -> None:
        self.folder, self.rounds = folder, rounds
        state = folder / "state"
        state.mkdir(mode=0o700, parents=True)
        self.runtime = Runtime(state, f"a{uuid.uuid4().hex[:8]}", argv)
        self.canary = folder / "canary"
        self.canary.mkdir()
        self.canary_expected = ["secret"]
        (self.canary / "secret").write_text("the host's secret\n")
        (self.canary / "secret").chmod(0o644)
        self._numbers = itertools.count(1)
        self._children: list[subprocess.Popen[bytes]] = []

    def bundle(
        self,
        args: list[str],
        changes: dict[str, Any] | None = None,
        *,
        edit: Callable[[dict[str, Any]], None] | None = None,
        terminal: bool = False,
        readonly: bool = False,
    ) -> Path:
        """A bundle of busybox and the payload (/bin/payload); without device rules and seccomp, which crun 1.8 and
        some machines cannot set up."""
        bundle = self.folder / f"bundle{next(self._numbers)}"
        busybox_rootfs(bundle / "rootfs")
        shutil.copy(payload(), bundle / "rootfs/bin/payload")
        config = docker_like(args, readonly=readonly, seccomp=False, terminal=terminal)
        del config["linux"]["resources"]
        config = merge(config, changes or {})
        if edit:
            edit(config)
        (bundle / "config.json").write_text(json.dumps(config))
        return bundle

    def reachable(self, bundle: Path) -> None:
        """Let the ids of a user namespace pass through the folders above a bundle, and own its files."""
        subprocess.run(["chown", "-R", "100000:100000", bundle / "rootfs"], check=True)
        for folder in (self.folder, bundle, self.runtime.root, *self.folder.parents):
            if folder.stat().st_uid == os.geteuid() and str(folder).startswith(
                (f"{tempfile.gettempdir()}/", str(self.folder))
            ):
                folder.chmod(folder.stat().st_mode | 0o011)

    def run(self, bundle: Path, *flags: str, timeout: float = 90) -> Ran:
        """`run` to the end; what it said and how it ended, also when it does not end."""
        name = self.runtime.id()
        try:
            done = self.runtime("run", "--bundle", bundle, *flags, name, timeout=timeout)
        except subprocess.TimeoutExpired as e:
            return Ran(-1, _text(e.stdout), _text(e.stderr))
        return Ran(done.returncode, done.stdout, done.stderr)

    def detached(self, bundle: Path) -> str:
        """A running container's id."""
        return self.runtime.detached(bundle)

    def racer(self, *args: str | Path) -> subprocess.Popen[bytes]:
        """Start the payload on the host; it is ended with the arena."""
        child = subprocess.Popen([payload(), *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self._children.append(child)
        return child

    def canary_changed(self) -> str:
        """What is different in the canary folder, "" if nothing."""
        here = sorted(p.name for p in self.canary.iterdir())
        if here != self.canary_expected:
            return f"the host's folder holds {', '.join(here) or 'nothing'}"
        status = (self.canary / "secret").lstat()
        if (self.canary / "secret").read_text() != "the host's secret\n":
            return "the host's file was written"
        return "" if (status.st_uid, status.st_mode & 0o7777) == (0, 0o644) else "the host's file has another owner"

    def close(self) -> None:
        """End and remove all that the attack made, whatever state the runtime is in."""
        for child in self._children:
            child.kill()
            child.wait()
            if child.stdout:
                child.stdout.close()
        for path in list(self.runtime.root.glob(f"{self.runtime.token}*")):
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                self.runtime("delete", "--force", path.name, timeout=90)
        for path in sorted(cgroup2.named(self.runtime.token), reverse=True):
            with contextlib.suppress(OSError):
                (path / "cgroup.kill").write_text("1")
            for _ in range(100):
                try:
                    path.rmdir()
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.02)
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            if line.split()[4].startswith(str(self.folder) + "/"):
                subprocess.run(["umount", "-l", line.split()[4]], check=False, capture_output=True)


@dataclass(frozen=True, slots=True)
class Ran:
    """A finished `run`. code -1: it had to be ended."""

    code: int
    out: str
    err: str

    def outcome(self, hit: str, ran: str = "") -> Outcome:
        """BROKEN if `hit` says how; HELD if the payload said `ran`; REFUSED with the runtime's words; else UNKNOWN."""
        if hit:
            return Outcome(BROKEN, hit)
        if ran and ran in self.out:
            return Outcome(HELD)
        if self.code > 0 and self.err.strip():
            return Outcome(REFUSED, self.err.strip().splitlines()[-1])
        return Outcome(UNKNOWN, f"exit code {self.code}, said: {self.out[-200:]!r} {self.err[-200:]!r}")


def _text(raw: Any) -> str:
    return raw.decode(errors="replace") if isinstance(raw, bytes) else raw or ""


@contextlib.contextmanager
def arena(argv: list[str], folder: Path, *, rounds: int = 1) -> Iterator[Arena]:
    """An Arena for a with statement."""
    made = Arena(argv, folder, rounds=rounds)
    try:
        yield made
    finally:
        made.close()


@contextlib.contextmanager
def background(process: subprocess.Popen[Any]) -> Iterator[subprocess.Popen[Any]]:
    """A process that is ended with the block."""
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        process.wait()
