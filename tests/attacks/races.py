"""Attacks that need a racer: somebody who exchanges two names of the root file system while the container is made."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.attacks.arena import BROKEN, HELD, NONE, UNKNOWN, Arena, Outcome, Ran, attack
from tests.attacks.doubles import Patch
from tests.attacks.on_mounts import ESCAPE
from tests.harness import images

PATIENCE = 20
"""How many times the rounds that were asked for are tried."""


def _race(arena: Arena, bundle: Path, a: Path, b: Path, judge: Callable[[Ran], str], *, pause_us: int = 0) -> Outcome:
    """Run the bundle again and again while a racer exchanges a and b, and pauses between.

    It takes more rounds than were asked for until one has run: a race in which all are refused shows nothing.
    """
    racer = arena.racer("swap", a, b, str(pause_us))
    assert racer.stdout and racer.stdout.readline() == b"swapping\n"
    ran_through = refused = rounds = 0
    while rounds < arena.rounds or (not ran_through and rounds < PATIENCE * arena.rounds):
        rounds += 1
        ran = arena.run(bundle)
        hit = judge(ran) or arena.canary_changed()
        if hit:
            return Outcome(BROKEN, f"round {rounds}: {hit}")
        if ran.code == -1:
            return Outcome(UNKNOWN, f"round {rounds} did not end")
        ran_through += "payload ran" in ran.out
        refused += ran.code > 0
    if racer.poll() is not None:
        return Outcome(UNKNOWN, "the racer ended early")
    if ran_through + refused < rounds or not ran_through:
        return Outcome(UNKNOWN, f"of {rounds} rounds, {ran_through} ran and {refused} were refused")
    return Outcome(HELD, f"{rounds} rounds, {refused} refused")


def _mountinfo(ran: Ran) -> list[list[str]]:
    return [line.split() for line in ran.out.splitlines() if " - " in line]


SHOW = ["sh", "-c", "cat /proc/self/mountinfo; echo payload ran"]


def _shared_volume(arena: Arena) -> tuple[Path, Path]:
    """A bundle with a volume and a mount in it, below a folder that is exchanged with a link out of the root."""
    volume = arena.folder / "volume"
    (volume / "folder").mkdir(parents=True)
    (volume / "link").symlink_to(arena.canary)

    def edit(config: dict[str, Any]) -> None:
        config["mounts"] += [
            {"destination": "/volume", "type": "bind", "source": str(volume), "options": ["rbind", "rw"]},
            {"destination": "/volume/folder/y", "type": "tmpfs", "source": "raced", "options": ["size=64k"]},
        ]

    return arena.bundle(SHOW, edit=edit), volume


@attack(
    "B1",
    "CVE-2021-30465",
    "race: the destination's parent is exchanged with a link; the mount lands on the host",
    ESCAPE,
    rounds=1000,
)
def destination_exchanged(arena: Arena) -> Outcome:
    bundle, volume = _shared_volume(arena)
    (volume / "folder/y").mkdir()
    (arena.canary / "y").mkdir()

    def judge(ran: Ran) -> str:
        lost = "payload ran" in ran.out and not any("raced" in line for line in _mountinfo(ran))
        return "the mount is not in the container" if lost else ""

    arena.canary_expected = ["secret", "y"]
    return _race(arena, bundle, volume / "folder", volume / "link", judge)


@attack("B2", "CVE-2024-45310", "race: the same; a folder is made on the host", ESCAPE, rounds=1000)
def folder_made(arena: Arena) -> Outcome:
    bundle, volume = _shared_volume(arena)
    return _race(arena, bundle, volume / "folder", volume / "link", lambda ran: "")


@attack(
    "A7",
    "CVE-2025-52881",
    "race: /proc is exchanged with a link to a fake one; writes to procfs are redirected",
    Patch("cshim/init/mounts.c", "if (!strict)", "if (1)"),
    rounds=1000,
)
def proc_exchanged(arena: Arena) -> Outcome:
    def edit(config: dict[str, Any]) -> None:
        config["linux"]["sysctl"] = {"net.ipv4.ip_default_ttl": "77"}
        config["process"]["oomScoreAdj"] = 7
        config["linux"]["maskedPaths"] = config["linux"]["readonlyPaths"] = []

    show = "cat /proc/self/mountinfo; echo ttl $(cat /proc/sys/net/ipv4/ip_default_ttl) score $(cat /proc/self/oom_score_adj); echo payload ran"
    bundle = arena.bundle(["sh", "-c", show], edit=edit)
    root = bundle / "rootfs"
    fakes = [root / "evil/self/oom_score_adj", root / "evil/sys/net/ipv4/ip_default_ttl"]
    for fake in fakes:
        fake.parent.mkdir(parents=True)
        fake.write_text("fake\n")
    (root / "link").symlink_to("/evil")

    def judge(ran: Ran) -> str:
        if any(fake.read_text() != "fake\n" for fake in fakes):
            return "the fake was written"
        if any(line[4] == "/evil" for line in _mountinfo(ran)):
            return "the procfs is on /evil"
        real = any(line[4] == "/proc" and line[line.index("-") + 1] == "proc" for line in _mountinfo(ran))
        told = ran.out.rpartition("ttl ")[2].split()  # of /proc, or while it is away of the fake
        if real and told and (told[0] not in ("77", "fake") or told[2] not in ("7", "fake")):
            return f"lost writes: {ran.out[-100:]}"
        return ""

    return _race(arena, bundle, root / "proc", root / "link", judge)


@attack(
    "B9",
    "GHSA-3q8j-pf29-vwv8",
    "race: a read-only path is exchanged between bind and remount, and stays writable",
    Patch(
        "cshim/init/mounts.c",
        "\tmust(in, set_attributes(tree, MOUNT_ATTR_RDONLY, 0, 0, 1), path);\n\tmust(in, move_tree(tree, target), path);\n"
        "\tSYS(__NR_close, target);",
        "\tmust(in, move_tree(tree, target), path);\n\tSYS(__NR_close, target);\n\tSYS(__NR_sched_yield);\n"
        "\ttarget = open_in_root(in, path, OPEN_PATH, 0);\n\tset_attributes(target, MOUNT_ATTR_RDONLY, 0, 0, 1);\n"
        "\tSYS(__NR_close, target);",
    ),
    rounds=1000,
)
def readonly_exchanged(arena: Arena) -> Outcome:
    def edit(config: dict[str, Any]) -> None:
        config["linux"]["readonlyPaths"] = ["/one"]

    bundle = arena.bundle(SHOW, edit=edit)
    one, two = bundle / "rootfs/one", bundle / "rootfs/two"
    one.mkdir()
    two.mkdir()

    def judge(ran: Ran) -> str:
        writable = [line for line in _mountinfo(ran) if line[4] in ("/one", "/two") and "ro" not in line[5].split(",")]
        return f"{writable[0][4]} is a writable mount" if writable else ""

    return _race(arena, bundle, one, two, judge)


@attack(
    "D1r",
    "CVE-2018-15664",
    "race: a folder of the tree is exchanged with a link out of it while layers are unpacked",
    Patch("cshim/unpack.c", "RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV", "0"),
    # The unpacker's child is confined to the tree, so the fault shows only without that.
    Patch("cshim/confined.c", 'chroot(".") < 0', 'false && chroot(".") < 0'),
    Patch("cshim/confined.c", "version < 2", "true"),
    rounds=1000,
)
def unpack_raced(arena: Arena) -> Outcome:
    """Two layers, whose entries go to the folder and to another in turns, so that the folder is opened anew each time.

    Where the link leads there is a folder of the tree's own, too, so that a round goes on when it has met the link.
    """
    store, bundle = arena.folder / "store", arena.folder / "raced"
    if arena.runtime("unpack", "--help").returncode:
        return Outcome(NONE, "it unpacks nothing")
    many = {f"{folder}/{number}": "x" for number in range(12) for folder in "de"}
    base = {str(arena.canary).lstrip("/"): None, "link": f"-> {arena.canary}"}
    lower, upper = ({"d": None, "e": None, **base, **many}, {"d": None, "e": None, **many})
    images.add_image(store, "raced", [images.layer(lower), images.layer(upper)], {"Cmd": ["x"]})
    racer = arena.racer("swap", bundle / "rootfs/d", bundle / "rootfs/link")
    assert racer.stdout and racer.stdout.readline() == b"swapping\n"
    refused = 0
    for number in range(arena.rounds):
        done = arena.runtime("--store", store, "unpack", "raced", bundle, timeout=90)
        if hit := arena.canary_changed():
            return Outcome(BROKEN, f"round {number + 1}: {hit}"[:200])
        if done.returncode and ("Traceback" in done.stderr or "a bug" in done.stderr):
            return Outcome(UNKNOWN, f"round {number + 1}: {done.stderr[-200:]}")
        refused += done.returncode > 0
        while bundle.exists():
            subprocess.run(["rm", "-rf", bundle], check=False, capture_output=True)
    if racer.poll() is not None:
        return Outcome(UNKNOWN, "the racer ended early")
    return Outcome(HELD, f"{arena.rounds} rounds, {refused} refused")
