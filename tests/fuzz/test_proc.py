"""What the kernel reports in /proc about processes, mounts and cgroups, with names that strangers chose."""

from __future__ import annotations

import io
import os
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.host import processes
from runtime.host.cgroups import mount
from runtime.host.cgroups.paths import parent_of_own
from tests.fuzz import EXAMPLES

BYTES = b") (\nZ0x\xff\\\t#-:"


def names(rng: random.Random, least: int, most: int) -> bytes:
    """A few bytes, hostile ones before all; no slash and no NUL."""
    return bytes(rng.choice(BYTES) for _ in range(rng.randint(least, most)))


def mangled(name: bytes) -> bytes:
    """As the kernel writes a path in mountinfo (fs/proc_namespace.c: " \\t\\n\\\\#" in octal)."""
    return re.sub(rb"[ \t\n\\#]", lambda m: b"\\%03o" % ord(m[0]), name)


def stat_of_hostile_names(rng: random.Random) -> None:
    """The kernel's own text, for this process: its state and start time are read whatever it calls itself."""
    comm = Path("/proc/self/comm")
    before = comm.read_bytes()
    expected = processes.stat_of(os.getpid())
    assert expected
    name = names(rng, 1, 15)
    try:
        comm.write_bytes(name)
        seen = processes.stat_of(os.getpid())
    finally:
        comm.write_bytes(before)
    assert seen, name
    assert (seen["name"], seen["start"]) == (name, expected["start"]) and seen["state"] in (b"R", b"S", b"D"), name


def mounts_of_hostile_names(rng: random.Random) -> None:
    """The text in the kernel's form: the cgroup2 mounts, and no others, by their true names; whole hierarchies first."""
    lines, wanted = [], []
    for number in range(rng.randint(0, 6)):
        kind = rng.choice((b"cgroup2", b"cgroup", b"tmpfs", b"fuse.cgroup2"))
        path, root = b"/" + names(rng, 0, 12), rng.choice((b"/", b"/", b"/" + names(rng, 1, 4)))
        source = mangled(rng.choice((b"cgroup2", b"- cgroup2 cgroup2", names(rng, 1, 9))))
        shared = rng.choice((b"", b"shared:3 ", b"shared:3 master:1 "))
        fields = (number, mangled(root), mangled(path), shared, kind, source)
        lines.append(b"%d 1 0:30 %s %s rw,relatime %s- %s %s rw\n" % fields)
        if kind == b"cgroup2":
            wanted.append((root != b"/", os.fsdecode(path)))
    text = b"".join(lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mount, "open", lambda *_: io.BytesIO(text), raising=False)
        seen = mount._mounted()
    assert seen == [path for _, path in sorted(wanted, key=lambda each: each[0])], text


def cgroup_of_hostile_names(rng: random.Random) -> None:
    """Of this machine's hybrid kind too: the line of cgroup2 alone counts, whatever the others are called."""
    parts = [names(rng, 1, 9).replace(b"\n", b"") or b"x" for _ in range(rng.randint(1, 3))]
    own = b"/" + b"/".join(parts)
    v1 = [
        b"%d:%s:/%s\n" % (n + 1, rng.choice((b"cpu", b"name=0::", b"")), names(rng, 0, 6).replace(b"\n", b""))
        for n in range(3)
    ]
    text = b"".join([*v1[: rng.randint(0, 3)], b"0::" + own + b"\n"]).decode("utf-8", "surrogateescape")
    told = os.fsencode(parent_of_own(text))
    assert told == b"/".join(parts[:-1]).strip(b"/"), text


PARSERS: dict[str, Callable[[random.Random], None]] = {
    f.__name__: f for f in (stat_of_hostile_names, mounts_of_hostile_names, cgroup_of_hostile_names)
}
PLANTED: dict[str, tuple[str, Any]] = {
    "stat_of_hostile_names": (
        "runtime.host.processes._STAT",
        re.compile(rb"\d+ \((?P<name>[^)]*)\) (?P<state>\S) (?:\S+ ){18}(?P<start>\d+) ", re.DOTALL),
    ),
    "mounts_of_hostile_names": (
        "runtime.host.cgroups.mount.re",
        type("NoUnescape", (), {"sub": staticmethod(lambda pattern, new, text: text)}),
    ),
    "cgroup_of_hostile_names": (
        "tests.fuzz.test_proc.parent_of_own",
        lambda text: text.partition("0::")[2].split("\n")[0].rpartition("/")[0].strip("/"),
    ),
}
"""For each, a reader that is a little too simple."""


def search(parser: Callable[[random.Random], None], count: int) -> None:
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    for number in range(count):
        try:
            parser(rng)
        except Exception as e:
            raise AssertionError(f"seed {seed}, number {number}: {type(e).__name__}: {e}") from e


@pytest.mark.parametrize("name", PARSERS)
def test_hostile_names(name: str) -> None:
    search(PARSERS[name], EXAMPLES)


@pytest.mark.parametrize("name", PARSERS)
def test_finds_what_was_planted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*PLANTED[name])
    with pytest.raises(AssertionError, match="seed"):
        search(PARSERS[name], 10_000)
