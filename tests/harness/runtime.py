"""The runtime under test, called as its callers do: one process for each command."""

from __future__ import annotations

import itertools
import json
import os
import select
import shlex
import subprocess
from pathlib import Path
from typing import Any

from tests.harness.patience import seconds

REPO = Path(__file__).resolve().parents[2]
TOKEN = "STELE_TEST_TOKEN"
"""The variable with a word that all tokens of a run begin with: whoever ends the run can find what it leaves."""


def command() -> list[str]:
    """What starts stele: $STELE_BIN (a path, or "python" for the package under build/venv's), else build/bin/stele."""
    chosen = os.environ.get("STELE_BIN", "")
    if chosen == "python":
        return [str(REPO / "build/venv/bin/python"), "-m", "runtime"]
    return [chosen or str(REPO / "build/bin/stele")]


class Runtime:
    """`stele(*args)` runs one command under a --root of its own and returns the CompletedProcess, output as text.

    Attributes:
        root: the state directory, made for this test.
        token: a word that all ids of this test begin with, so that its leftovers can be told from others'.
    """

    def __init__(self, root: Path, token: str, argv: list[str] | None = None) -> None:
        self.root = root
        self.token = token
        self.argv = argv or command()
        self._numbers = itertools.count(1)

    def id(self, word: str = "c") -> str:
        """A container id that nobody else uses."""
        return f"{self.token}-{word}{next(self._numbers)}"

    def command(self, *args: str | Path) -> list[str]:
        """The whole command line, for tests that start it themselves."""
        return [*self.argv, "--root", str(self.root), *map(str, args)]

    def program(self, folder: Path) -> Path:
        """One executable that starts it, for callers that take a path: itself, or a script made in `folder`."""
        if len(self.argv) == 1:
            return Path(self.argv[0])
        script = folder / "stele"
        script.write_text(f'#!/bin/sh\nexec {shlex.join(self.argv)} "$@"\n')
        script.chmod(0o755)
        return script

    def __call__(
        self, *args: str | Path, input: str | None = None, timeout: float = 60, **more: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run it to the end. `more` goes to subprocess.run; stdin is empty unless `input` or `stdin` is given."""
        if input is None:
            more.setdefault("stdin", subprocess.DEVNULL)
        more.setdefault("stdout", subprocess.PIPE)
        more.setdefault("stderr", subprocess.PIPE)
        return subprocess.run(
            self.command(*args),
            input=input,
            text=True,
            timeout=seconds(timeout),
            check=False,
            cwd=more.pop("cwd", REPO),
            **more,
        )

    def ok(self, *args: str | Path, **more: Any) -> str:
        """Run it, insist that it succeeds, return its standard output."""
        done = self(*args, **more)
        said = f"stdout: {done.stdout}\nstderr: {done.stderr}"
        assert done.returncode == 0, f"stele {' '.join(map(str, args))}: exit code {done.returncode}\n{said}"
        return str(done.stdout)

    def create(self, bundle: Path, word: str = "c", *flags: str | Path, **more: Any) -> str:
        """`create` a container and return its id. Its output goes to files stdout and stderr in the bundle.

        Not to pipes: a container's init holds them, so reading to their end would wait for the container's end.
        """
        name = self.id(word)
        with (bundle / "stdout").open("w") as out, (bundle / "stderr").open("w") as err:
            done = self("create", "--bundle", bundle, *flags, name, stdout=out, stderr=err, **more)
        said = (bundle / "stderr").read_text()
        assert done.returncode == 0, f"stele create {name}: exit code {done.returncode}\n{said}"
        return name

    def detached(self, bundle: Path, word: str = "c", *flags: str | Path, **more: Any) -> str:
        """`create` and `start`; returns the id."""
        name = self.create(bundle, word, *flags, **more)
        self.ok("start", name)
        return name

    def state(self, name: str) -> dict[str, Any]:
        """What `state` prints."""
        state: dict[str, Any] = json.loads(self.ok("state", name))
        return state

    def wait_stopped(self, name: str, timeout: float = 30) -> None:
        """Return when the container's init has ended."""
        pid = self.state(name)["pid"]
        if pid:
            try:
                self.wait_ended(os.pidfd_open(pid), timeout)
            except ProcessLookupError:
                return  # it has ended and was reaped since

    def wait_ended(self, pidfd: int, timeout: float = 30) -> None:
        """Return when the process of `pidfd` has ended; closes the pidfd."""
        try:
            ready, _, _ = select.select([pidfd], [], [], seconds(timeout))
            assert ready, f"the process did not end within {timeout} s"
        finally:
            os.close(pidfd)
