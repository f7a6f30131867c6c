"""The tour of README.md, word for word: each command is typed at a terminal, and prints what stands there."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shlex
import struct
import subprocess
import termios
from pathlib import Path

import pytest

from tests.harness.image_runs import Images
from tests.harness.patience import seconds
from tests.harness.runtime import REPO, Runtime
from tests.harness.small_registry import serving

PROMPT = "~ $ "
ESCAPES = re.compile("\x1b\\[[0-9;]*[A-Za-z]")


def blocks() -> list[tuple[str, list[str]]]:
    """The commands of the tour, each with the lines below it."""
    tour = (REPO / "README.md").read_text().partition("\n## A tour\n")[2].partition("\n## ")[0]
    found: list[tuple[str, list[str]]] = []
    for line in tour.splitlines():
        if line.startswith("    $ "):
            found.append((line.removeprefix("    $ "), []))
        elif line.startswith("    ") and found:
            found[-1][1].append(line.removeprefix("    "))
    return found


def pattern(lines: list[str]) -> str:
    """What a command's output must match. A line "..." stands for any lines, a word "..." for any words, 2s for any age."""
    whole = ""
    for line in lines:
        if line == "...":
            whole += "(?:.*\n)*"
            continue
        words = (re.escape(word).replace(re.escape("..."), ".*") for word in line.split())
        whole += r"\s+".join(re.sub(r"^\d+s$", r"\\d+[smh]", word) for word in words) + r"[ ]*\n"
    return whole


def typed(command: str, answers: list[str], env: dict[str, str], folder: Path) -> str:
    """Run a command at a terminal and type the answers, each at a prompt; returns what the terminal shows."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
    process = subprocess.Popen(
        ["bash", "-c", command], stdin=slave, stdout=slave, stderr=slave, env=env, cwd=folder, start_new_session=True
    )
    os.close(slave)
    shown, left, since = "", list(answers), 0
    try:
        while select.select([master], [], [], seconds(60))[0] and (part := os.read(master, 65536)):
            shown += part.decode(errors="replace").replace("\r\n", "\n")
            # A prompt may be drawn twice; the next one comes after the end of the line that was typed.
            ready = ESCAPES.sub("", shown).endswith(PROMPT) and (not since or "\n" in shown[since:])
            if left and ready:
                since = len(shown)
                os.write(master, f"{left.pop(0)}\n".encode())
    except OSError:  # EIO: the last end is closed
        pass
    finally:
        os.close(master)
    process.wait(seconds(60))
    # As it looks: without bars that were taken away, without colours, and only what was written last over a line.
    first, *parts = re.split("\x1b\\[(\\d+)A\x1b\\[J", shown)
    shown = first
    for up, then in zip(parts[::2], parts[1::2], strict=True):
        shown = "".join(shown.splitlines(keepends=True)[: -int(up)]) + then
    return "\n".join(line.rpartition("\r")[2] for line in ESCAPES.sub("", shown).split("\n"))


@pytest.mark.usefixtures("cgroup2_root")
def test_the_tour(stele: Runtime, images: Images, tmp_path: Path) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    program = tmp_path / "bin/stele"
    program.parent.mkdir()
    command = shlex.join([*stele.command(), "--store", str(tmp_path / "store")])
    program.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    program.chmod(0o755)
    tour = blocks()
    assert {"pull", "run", "list", "exec", "logs", "stop", "delete"} <= {line.split()[1] for line, _ in tour}
    with serving(images.layout("web")) as registry:
        rules = tmp_path / "registries.conf"
        rules.write_text(f'[[registry]]\nprefix = "docker.io"\nlocation = "{registry}"\n')
        env = {
            **os.environ,
            "PATH": f"{program.parent}:/usr/sbin:/usr/bin:/sbin:/bin",
            "CONTAINERS_REGISTRIES_CONF": str(rules),
        }
        try:
            for line, below in tour:
                answers = [text.removeprefix(PROMPT) for text in below if text.startswith(PROMPT)]
                shown = typed(line, answers, env, folder)
                assert re.fullmatch(pattern(below), shown), (line, shown)
        finally:
            stele("delete", "--force", "web")
