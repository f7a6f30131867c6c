"""`stele cp`: links that a container plants in the way of a copy."""

from __future__ import annotations

import os

from tests.attacks.arena import BROKEN, HELD, UNKNOWN, Arena, Outcome, attack
from tests.attacks.doubles import Patch

SLEEP = ["/bin/busybox", "sleep", "1000"]


@attack(
    "D1c",
    "CVE-2018-15664",
    "a copy into or out of a container follows its links to the host",
    Patch(
        "runtime/container/inside.py",
        'openat2(root, path or "/", flags, mode=mode, resolve=RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)',
        'openat2(root, path.lstrip("/") or ".", flags, mode=mode, resolve=0)',
    ),
)
def copies_follow_links(arena: Arena) -> Outcome:
    """Links to an absolute path, past the root by `..`, and through procfs, as the last part and before it."""
    bundle = arena.bundle(SLEEP)
    planted = bundle / "rootfs/planted"
    planted.mkdir()
    (planted / "absolute").symlink_to(arena.canary)
    (planted / "up").symlink_to("../" * 30 + str(arena.canary).lstrip("/"))
    (planted / "proc").symlink_to("/proc/1/root/../.." + str(arena.canary))
    (planted / "file").symlink_to(arena.canary / "secret")
    name = arena.detached(bundle)
    got, ours = arena.folder / "got", arena.folder / "ours"
    got.mkdir()
    ours.write_text("the attacker's\n")
    for link in ("absolute", "up", "proc"):
        arena.runtime("cp", ours, f"{name}:/planted/{link}/secret")
        arena.runtime("cp", ours, f"{name}:/planted/{link}/new")
        arena.runtime("cp", f"{name}:/planted/{link}/secret", got / link)
    arena.runtime("cp", f"{name}:/planted/file", got / "file")
    arena.runtime("cp", ours, f"{name}:/planted/file")
    taken = [path.name for path in got.iterdir() if "host's secret" in path.read_text()]
    plain = arena.runtime("cp", ours, f"{name}:/planted/plain")
    if hit := arena.canary_changed() or ", ".join(taken):
        return Outcome(BROKEN, hit)
    return Outcome(HELD) if (planted / "plain").exists() else Outcome(UNKNOWN, plain.stderr)


@attack(
    "D1d",
    "CVE-2019-10152",
    "a link that one copy made on the host leads the next one away",
    Patch(
        "runtime/container/copy.py",
        "made = openat2(parent, name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, resolve=BELOW)",
        "made = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=parent)",
    ),
)
def copies_follow_their_own_links(arena: Arena) -> Outcome:
    """The container first has a link where it later has a directory with a file."""
    bundle = arena.bundle(SLEEP)
    planted = bundle / "rootfs/planted"
    planted.mkdir()
    (planted / "d").symlink_to(arena.canary)
    name = arena.detached(bundle)
    got = arena.folder / "got"
    got.mkdir()
    first = arena.runtime("cp", f"{name}:/planted", got)
    (planted / "d").unlink()
    (planted / "d").mkdir()
    (planted / "d/secret").write_text("the attacker's\n")
    arena.runtime("cp", f"{name}:/planted", got)
    if hit := arena.canary_changed():
        return Outcome(BROKEN, hit)
    return Outcome(HELD) if os.path.lexists(got / "planted/d") else Outcome(UNKNOWN, first.stderr)
