"""Small parsers of what strangers say: only their own errors, and what they let pass is what it should be."""

from __future__ import annotations

import os
import random
import re
import string
import time
from collections.abc import Callable
from typing import Any

import pytest

from runtime.cli import events, execute
from runtime.container import lifecycle, state
from runtime.errors import SteleError
from runtime.host.cgroups import paths
from runtime.images import platforms, references
from runtime.images.registry import http, tokens
from runtime.images.run import run_options, user
from runtime.oci import sizes
from runtime.oci.load import check_config
from runtime.oci.template import spec_template
from runtime.plan import compile as planning
from runtime.plan import model, mounts, steps
from tests.fuzz import LONG, SECONDS, going_on

PIECES = [
    *string.printable, "\0", "é", "\udcff", "..", "../", "/", "//", "/./", ":", "0", "1", "-1", "4294967295",
    "4294967296", "18446744073709551616", "٣", "²", "a" * 300, "user.slice", ".slice", "=", ",", "size=", "rw", "ro",
    "bind", "SIG", "KILL", "RTMIN+", "sha256:" + "a" * 64, "docker.io", "localhost:5000", "@", "x" * 5000,
    "tmpfs", "source=", "destination=", "type=", "64m", "1.5", "10s", "veth:", "10.88.0.2", "/24", "fe80::1", "linux",
    "arm64", "9" * 400, "9" * 5000, "Bearer ", 'realm="', '"', "https://", "net.ipv4.ip_forward", "kernel.", "oci:",
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
    assert 0 <= lifecycle.signal_number(given) <= 64


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
    found = references.parse(given)
    assert references.parse(str(found)) == found
    assert not set(found.repository) - set(string.ascii_lowercase + string.digits + "._-/")


def a_place(given: str) -> None:
    place = references.parse_archive(f"oci:{given}")
    assert place and place.path and ":" not in place.path + place.name.partition(":")[0]


def a_size(given: str) -> None:
    assert -1 <= sizes.size(given, "--memory") < 2**63


def a_duration(given: str) -> None:
    assert 0 < events.seconds(given) < float("inf")


def a_volume(given: str) -> None:
    for parse in (run_options.volume, run_options.mount, run_options.tmpfs):
        try:
            found = parse(given)
        except SteleError:
            continue
        assert found.target.startswith("/") and ".." not in found.target.split("/") and found.target != "/"
        assert found.kind != "bind" or found.source.startswith("/")
        assert found.kind != "volume" or not {"/", ".."} & {found.source, *found.source}, found


def a_network(given: str) -> None:
    for pair in run_options.network(given)[1]:
        assert not set(pair.address + pair.gateway) - set(string.hexdigits + ".:")


def cpus(given: str) -> None:
    assert 0 < run_options.cpus(given) < 10_000 * run_options.PERIOD


def a_platform(given: str) -> None:
    told = platforms.parse_platform(given)
    assert not set(str(told)) - set(string.ascii_letters + string.digits + "._-/")


def a_challenge(given: str) -> None:
    for scheme, fields in tokens.challenges([given]).items():
        assert scheme == scheme.lower() and " " not in scheme and all('"' not in text for text in fields.values())


def a_realm(given: str) -> None:
    """Where a registry sends for a token."""
    http.check_url(given, "it sends")
    assert given.isprintable() and http.origin(given).startswith(("http://", "https://"))


def a_user(given: str) -> None:
    """Of an image, by its own passwd and group: no id that wraps, and nobody is root who is not called so."""
    files = {user.PASSWD: f"u:x:{given}\nok:x:7:8::/:\n{given}\n", user.GROUP: f"g:x:{given}:ok\n{given}\n"}
    for wanted in (given, "u", "ok", "7:g"):
        try:
            found = user.identity(wanted, lambda name: files[name].encode("utf-8", "surrogateescape"))
        except SteleError:
            continue
        for number in (found.uid, found.gid, *found.groups):
            assert 0 <= number < 2**32 - 1
        assert found.gid in found.groups
        assert wanted not in ("ok", "7:g") or found.uid == 7


def a_sysctl(given: str) -> None:
    """The file below /proc/sys that init writes: it never leads out."""
    config: dict[str, Any] = spec_template(rootless=False)
    config["linux"]["sysctl"] = {f"net.{given}": "1"}
    check_config(config)
    request = planning.Request(bundle="/b", container_id="c", state={"id": "c"})
    plan = planning.compile_create(config, request, model.Facts(), lambda rules: b"")
    for step in plan.steps:
        assert not isinstance(step, steps.Sysctl) or not {"", ".", ".."} & set(step.key.split("/")), step


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
        a_place,
        a_size,
        a_duration,
        a_volume,
        a_network,
        cpus,
        a_platform,
        a_challenge,
        a_realm,
        a_user,
        a_sysctl,
    )
}


def search(parser: Callable[[str], None], seconds: float) -> int:
    """Give it random texts, for longer while it took none; how many it took."""
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    begin = time.monotonic()
    taken = 0
    while going_on(begin, seconds, taken):
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
    assert search(PARSERS[name], SECONDS / 8) > 0


PLANTED: dict[str, tuple[str, Any]] = {
    "an_id": ("runtime.container.state.check_id", lambda t: t),
    "an_identity": (
        "runtime.cli.execute.identity",
        lambda t, w: int("".join(c for c in t if c.isdecimal()) or "0"),
    ),
    "a_signal": ("runtime.container.lifecycle.signal_number", lambda t: int(t) if t.isdecimal() else 15),
    "a_destination": ("runtime.plan.mounts.destination", lambda t, i: "/" + t),
    "mount_options": ("runtime.plan.mounts.parse_options", lambda words: mounts.Options(set=1, clear=1)),
    "a_cgroup_path": ("runtime.host.cgroups.paths.cgroupfs_path", lambda t, c, p: f"{p}/{t}"),
    "a_unit": ("runtime.host.cgroups.paths.slice_path", lambda name: name),
    "own_cgroup": ("runtime.host.cgroups.paths.parent_of_own", lambda text: f"../{text}"),
    "a_reference": ("runtime.images.references.REPOSITORY", re.compile("(?s).+")),
    "a_place": ("runtime.images.references.parse_archive", lambda t: references.ArchiveReference("oci", t)),
    "a_size": ("runtime.oci.sizes.size", lambda t, n: int(t) if t.isdecimal() else 0),
    "a_duration": ("runtime.cli.events.seconds", lambda t: float(t) if t.isdecimal() else 1.0),
    "a_volume": ("runtime.images.run.run_options.VOLUME_NAME", re.compile("(?s).+")),
    "a_network": ("runtime.images.run.run_options.network", lambda t: ("veth", (model.Veth(t, t),))),
    "cpus": ("runtime.images.run.run_options.cpus", lambda t: int(t) if t.isdecimal() else 1),
    "a_platform": ("runtime.images.platforms._PART", re.compile("(?s).+")),
    "a_challenge": ("runtime.images.registry.tokens._PART", re.compile("(?s)(.+)|(a)(b)|(c)(d)")),
    "a_realm": ("runtime.images.registry.http.check_url", lambda url, what: None),
    "a_user": ("runtime.images.run.user._id", lambda t: int(t) if t.lstrip("-").isdecimal() else None),
    "a_sysctl": ("runtime.oci.rules.faults", lambda config: ()),
}
"""For each parser, its replacement, or the check that is taken out."""


def test_each_has_a_fault() -> None:
    assert set(PLANTED) == set(PARSERS)


@pytest.mark.parametrize("name", PLANTED)
def test_finds_what_was_planted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a parser that checks nothing, the same search ends with a finding."""
    monkeypatch.setattr(*PLANTED[name])
    with pytest.raises(AssertionError, match="seed"):
        search(PARSERS[name], LONG)
