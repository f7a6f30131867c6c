"""An executable that the launcher's build makes of another application: one that runs the Python text it is given."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
MAIN = r'''
import contextlib, dataclasses, json, os, re, select, signal, socket, struct, subprocess, sys, threading, time


def bundled():
    """Never called: what the texts import is found here when the executable is built."""
    import concurrent.futures.thread, email.message, pkgutil, queue, random, tempfile, uuid


def main(argv):
    """probe TEXT ARG...: runs the text with `argv` bound; its `result`, if any, is printed as JSON."""
    if not argv or not set(argv[0]) & set(" =(\n"):
        print("probe")
        return 0
    names = {**globals(), "argv": argv[1:]}
    exec(argv[0], names)
    if "result" in names:
        print(json.dumps(names["result"]))
    return names.get("status", 0)
'''


def _in_the_background() -> None:
    """As a shell without job control starts what is behind a `&`; nothing of it may be in the executable."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)


def build(folder: Path) -> Path:
    """Build it in the folder (some 10 s); needs what `make build` needs and has fetched."""
    application = folder / "application"
    (application / "runtime").mkdir(parents=True)
    (application / "runtime" / "__init__.py").write_text("")
    (application / "runtime" / "__main__.py").write_text(MAIN)
    (application / "runtime" / "data.txt").write_text("a resource")
    # The room of the application that is never in the snapshot: stele_start.COLD.
    (application / "runtime" / "images.py").write_text("VALUE = 'imported late'\n")
    program = folder / "probe"
    for step in (
        ["bundle.py", folder / "build", application],
        ["link.py", folder / "build", folder / "build" / "bare"],
        ["seal.py", folder / "build" / "bare", program],
    ):
        done = subprocess.run(
            [sys.executable, REPO / "build-aux" / step[0], *step[1:]],
            capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": ""},
            preexec_fn=_in_the_background,
        )  # fmt: skip
        assert done.returncode == 0, f"{step[0]}: {done.stdout}{done.stderr}"
    return program
