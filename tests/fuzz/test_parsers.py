"""Small parsers of what strangers say: only their own errors, and what they let pass is what it should be."""

from __future__ import annotations

import os
import random
import string
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.cli import execute
from runtime.container import lifecycle, state
from runtime.errors import SteleError
from runtime.host.cgroups import paths
from runtime.images import references
from runtime.plan import mounts
from tests.fuzz import SECONDS

PIECES = [
    *string.printable, "\0", "é", "\udcff", "..", "../", "/", "//", "/./", ":", "0", "1", "-1", "4294967295",
    "4294967296", "18446744073709551616", "٣", "²", "a" * 300, "user.slice", ".slice", "=", ",", "size=", "rw", "ro",
    "bind", "SIG", "KILL", "RTMIN+", "sha256:" + "a" * 64, "docker.io", "localhost:5000", "@", "x" * 5000,
]  # fmt: skip


def text(rng: random.Random) -> str:
    """A few pieces in a row."""
    return "".join(rng.choice(PIECES) for _ in range(rng.randint(0, 8)))


def an_id(given: str) -> None:
    ok = state.check_id(given)
    assert (
        0 < len(ok) <= 255
        and not set(ok) - set(string.ascii_letters + string.digits + "_+.-")
        and ok not in (".", "..")
    )


def an_identity(given: str) -> None:
    number = execute.identity(given, "--user")
    assert 0 <= number < 2**32 - 1 and given.isascii() and int(given) == number


def a_signal(given: str) -> None:
    assert 0 < lifecycle.signal_number(given) <= 64


def a_destination(given: str) -> None:
    path = mounts.destination(given, 0)
    assert path.startswith("/") and os.path.normpath(path) not in ("/", "//")


def mount_options(given: str) -> None:
    words = given.split(",")
    options = mounts.parse_options(words)
    assert set(options.data) <= set(words) and not options.set & options.clear & ~0x70


def a_cgroup_path(given: str) -> None:
    path = paths.cgroupfs_path(given, "c", "parent")
    parts = path.split("/")
    assert path and not path.startswith("/") and not path.endswith("/") and ".." not in parts and "" not in parts, path


def a_unit(given: str) -> None:
    slice_, unit = paths.systemd_unit(given, "c", rootless=False)
    assert "/" not in unit and "/" not in slice_ and slice_.endswith(".slice") and unit.endswith((".scope", ".slice"))
    assert ".." not in paths.slice_path(slice_).split("/")


def own_cgroup(given: str) -> None:
    assert ".." not in paths.parent_of_own(f"0::/{given}\n").split("/") or ".." in given


def a_reference(given: str) -> None:
    assert references.parse(str(references.parse(given))) == references.parse(given)


PARSERS: dict[str, Callable[[str], None]] = {
    f.__name__: f
    for f in (
        an_id,
        an_identity,
        a_signal,
        a_destination,
        mount_options,
        a_cgroup_path,
        a_unit,
        own_cgroup,
        a_reference,
    )
}


def search(parser: Callable[[str], None], seconds: float) -> int:
    """Give it random texts; how many it took."""
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    end = time.monotonic() + seconds
    taken = 0
    while time.monotonic() < end:
        given = text(rng)
        try:
            parser(given)
            taken += 1
        except SteleError as e:
            assert str(e)
        except Exception as e:
            raise AssertionError(f"seed {seed}: {given!r}: {type(e).__name__}: {e}") from e
    return taken


@pytest.mark.parametrize("name", PARSERS)
def test_random_text(name: str) -> None:
    """It takes some, or it was not tested."""
    assert search(PARSERS[name], SECONDS / 3) > 0


PLANTED: dict[str, tuple[str, str, Any]] = {
    "ids": ("an_id", "runtime.container.state.check_id", lambda t: t),
    "numbers": (
        "an_identity",
        "runtime.cli.execute.identity",
        lambda t, w: int("".join(c for c in t if c.isdecimal()) or "0"),
    ),
    "destinations": ("a_destination", "runtime.plan.mounts.destination", lambda t, i: "/" + t),
    "cgroup paths": ("a_cgroup_path", "runtime.host.cgroups.paths.cgroupfs_path", lambda t, c, p: f"{p}/{t}"),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_finds_what_was_planted(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a parser that checks nothing, the same search ends with a finding."""
    parser, target, broken = PLANTED[fault]
    monkeypatch.setattr(target, broken)
    with pytest.raises(AssertionError, match="seed"):
        search(PARSERS[parser], 30)


def test_process_stat_of_hostile_names() -> None:
    """A process's name may hold parentheses, spaces and line ends: its start time is read all the same."""
    before = Path("/proc/self/comm").read_bytes()
    rng = random.Random(7)
    expected = state.process_stat(os.getpid())
    assert expected
    try:
        for _ in range(200):
            name = bytes(rng.choice(b") (\nZ0x\xff") for _ in range(rng.randint(1, 15)))
            Path("/proc/self/comm").write_bytes(name)
            seen = state.process_stat(os.getpid())
            assert seen and seen[1] == expected[1] and seen[0] in "RSD", name
    finally:
        Path("/proc/self/comm").write_bytes(before)
