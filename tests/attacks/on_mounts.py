"""Section B: mounts, devices, terminals, masks."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from bundles.config import docker_like
from tests.attacks.arena import BROKEN, HELD, REFUSED, UNKNOWN, Arena, Outcome, Ran, attack
from tests.attacks.doubles import Patch
from tests.attacks.terminal import ConsoleSocket

ESCAPE = Patch(
    "cshim/init/paths.c",
    "\tfor (int i = 0; fd == -EAGAIN && i < RENAME_RETRIES; i++)\n",
    "\thow.resolve = 0;\n\twhile (path[0] == '/' && path[1]) path++;\n\tif (path[0] == '/') path = \".\";\n"
    "\tfor (int i = 0; fd == -EAGAIN && i < RENAME_RETRIES; i++)\n",
)
"""Paths are resolved from the root's directory, but links lead out of it."""


def _without_dev(config: dict[str, Any]) -> None:
    config["mounts"] = [m for m in config["mounts"] if not m["destination"].startswith("/dev")]


def _tmpfs(path: str | Path) -> dict[str, Any]:
    return {"destination": str(path), "type": "tmpfs", "source": "tmpfs", "options": ["size=64k"]}


@attack("B3", "CVE-2019-18837", "a link of the image as a mount's destination", ESCAPE)
def link_as_destination(arena: Arena) -> Outcome:
    bundle = arena.bundle(["echo", "payload ran"], edit=lambda c: c["mounts"].append(_tmpfs("/link/made/here")))
    (bundle / "rootfs/link").symlink_to(arena.canary)
    return arena.run(bundle).outcome(arena.canary_changed(), "payload ran")


@attack("B12", "CVE-2022-23648", "a destination with .. and a link, as of an image's VOLUME", ESCAPE)
def dots_in_destination(arena: Arena) -> Outcome:
    up = "/".join([".."] * 12)
    bundle = arena.bundle(
        ["echo", "payload ran"],
        edit=lambda c: c["mounts"].extend([_tmpfs(f"/etc/{up}{arena.canary}/made"), _tmpfs("/up/made too")]),
    )
    (bundle / "rootfs/up").symlink_to(f"{up}{arena.canary}")
    return arena.run(bundle).outcome(arena.canary_changed(), "payload ran")


@attack("B4", "CVE-2026-41579", "/dev of the image is a link to a folder of the host", ESCAPE)
def dev_is_a_link(arena: Arena) -> Outcome:
    bundle = arena.bundle(["echo", "payload ran"], edit=_without_dev)
    (bundle / "rootfs/dev").rmdir()
    (bundle / "rootfs/dev").symlink_to(arena.canary)
    return arena.run(bundle).outcome(arena.canary_changed(), "payload ran")


def _with_terminal(arena: Arena, bundle: Path) -> Ran:
    """`create` and `start` with a terminal; what came through it."""
    name = arena.runtime.id()
    with ConsoleSocket(arena.folder) as console:
        done = arena.runtime("create", "--bundle", bundle, "--console-socket", console.path, name, timeout=90)
        if done.returncode == 0:
            pidfd = os.pidfd_open(arena.runtime.state(name)["pid"])
            arena.runtime("start", name, timeout=90)
            arena.runtime.wait_ended(pidfd)
    return Ran(done.returncode, console.text, done.stderr)


@attack("A4", "CVE-2015-3627", "the terminal of the container is one of the host, by a link in the image", ESCAPE)
def host_terminal(arena: Arena) -> Outcome:
    bundle = arena.bundle(
        ["sh", "-c", "stat -L -c 'device %d' /proc/self/fd/0; echo payload ran"], edit=_without_dev, terminal=True
    )
    (bundle / "rootfs/dev/pts").symlink_to("/dev/pts")
    (bundle / "rootfs/dev/ptmx").symlink_to("/dev/pts/ptmx")
    ran = _with_terminal(arena, bundle)
    hit = f"device {os.stat('/dev/pts').st_dev}" in ran.out
    return ran.outcome("it has a terminal of the host's devpts" if hit else "", "payload ran")


@attack(
    "B5",
    "CVE-2026-88264",
    "/dev/console of the image is a link: a file appears on the host",
    Patch(
        "cshim/init/devices.c",
        'SYS(__NR_mknodat, dev, "console", S_IFREG | 0600, 0)',
        'SYS(__NR_openat, dev, "console", O_CREAT | O_WRONLY | O_CLOEXEC, 0600)',
    ),
)
def console_is_a_link(arena: Arena) -> Outcome:
    def edit(config: dict[str, Any]) -> None:
        config["mounts"] = [m for m in config["mounts"] if m["destination"] != "/dev"]

    bundle = arena.bundle(["echo", "payload ran"], edit=edit, terminal=True)
    (bundle / "rootfs/dev/console").symlink_to(arena.canary / "console")
    return _with_terminal(arena, bundle).outcome(arena.canary_changed(), "payload ran")


@attack(
    "B8",
    "CVE-2025-52565",
    "the terminal's name in /dev/pts is a link: /dev/console becomes another file",
    Patch(
        "cshim/init/devices.c",
        'int tree = clone_tree(slave, "", 0);',
        'int tree = clone_tree(open_in_root(in, "/dev/pts/0", OPEN_PATH, 0), "", 0);',
    ),
)
def terminal_by_name(arena: Arena) -> Outcome:
    """/dev/pts is a volume whose ptmx is that of a devpts elsewhere, and whose first terminal is a link."""
    volume = arena.folder / "pts"
    volume.mkdir()
    (volume / "ptmx").symlink_to("/real/ptmx")
    (volume / "0").symlink_to("/decoy")

    def edit(config: dict[str, Any]) -> None:
        (devpts,) = (m for m in config["mounts"] if m["destination"] == "/dev/pts")
        place = config["mounts"].index(devpts)
        forged = {"destination": "/dev/pts", "type": "bind", "source": str(volume), "options": ["rbind"]}
        config["mounts"][place : place + 1] = [{**devpts, "destination": "/real"}, forged]

    bundle = arena.bundle(["sh", "-c", "cat /proc/self/mountinfo; echo payload ran"], edit=edit, terminal=True)
    decoy = bundle / "rootfs/decoy"
    decoy.write_text("")
    ran = _with_terminal(arena, bundle)
    hit = decoy.read_text() or any("/decoy /dev/console " in line for line in ran.out.splitlines())
    return ran.outcome("/dev/console is a file of the attacker's choice" if hit else "", "payload ran")


@attack(
    "B6",
    "CVE-2025-31133",
    "the image's /dev/null is a link: a masked file shows another",
    Patch(
        "cshim/init/mounts.c",
        '(int)SYS(__NR_openat, AT_FDCWD, "/dev/null", OPEN_PATH | O_NOFOLLOW | O_CLOEXEC, 0);',
        'open_in_root(in, "/dev/null", OPEN_PATH, 0);',
    ),
    Patch("cshim/init/mounts.c", "if (!is_null_device(in->null))", "if (0)"),
)
def mask_by_forged_null(arena: Arena) -> Outcome:
    dev = arena.folder / "dev"
    dev.mkdir()
    (dev / "null").symlink_to("/decoy")

    def edit(config: dict[str, Any]) -> None:
        _without_dev(config)
        config["mounts"].append({"destination": "/dev", "type": "bind", "source": str(dev), "options": ["rbind"]})
        config["linux"]["maskedPaths"] = ["/masked"]

    bundle = arena.bundle(["sh", "-c", "cat /masked; echo payload ran"], edit=edit)
    (bundle / "rootfs/masked").write_text("unmasked\n")
    (bundle / "rootfs/decoy").write_text("the attacker's\n")
    ran = arena.run(bundle)
    seen = next((word for word in ("unmasked", "the attacker's") if word in ran.out), "")
    if (bundle / "rootfs/decoy").read_text() != "the attacker's\n":
        return Outcome(BROKEN, "what the program writes goes where the image's /dev/null leads")
    return ran.outcome(f"the masked file shows: {seen}" if seen else "", "payload ran")


@attack(
    "B7",
    "CVE-2026-88265",
    "a file of the host on /dev/null is given to the container's user as its stdin",
    Patch(
        "cshim/init/process.c",
        "\tSYS(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);",
        '\tlong null = SYS(__NR_openat, AT_FDCWD, "/dev/null", O_RDWR, 0); SYS(__NR_fchown, null, v->uid, v->gid);\n'
        "\tSYS(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);",
    ),
)
def null_is_given_away(arena: Arena) -> Outcome:
    dev = arena.folder / "dev"
    dev.mkdir()
    (dev / "null").touch()

    def edit(config: dict[str, Any]) -> None:
        _without_dev(config)
        config["process"]["user"] = {"uid": 1000, "gid": 1000}
        config["process"]["capabilities"] = {"bounding": []}
        secret = str(arena.canary / "secret")
        config["mounts"] += [
            {"destination": "/dev", "type": "bind", "source": str(dev), "options": ["rbind"]},
            {"destination": "/dev/null", "type": "bind", "source": secret, "options": ["bind"]},
        ]
        config["linux"]["maskedPaths"] = []

    ran = arena.run(arena.bundle(["/bin/payload", "cwd"], edit=edit))
    return ran.outcome(arena.canary_changed(), "done")


@attack(
    "B10",
    "CVE-2015-3630",
    "a volume that lands inside /proc by a link of the image",
    Patch("cshim/init/mounts.c", "if (is_proc(target) &&", "if (0 &&"),
)
def volume_in_proc(arena: Arena) -> Outcome:
    bundle = arena.bundle(
        ["sh", "-c", "cat /proc/self/mountinfo; echo payload ran"], edit=lambda c: c["mounts"].append(_tmpfs("/volume"))
    )
    (bundle / "rootfs/volume").symlink_to("/proc/tty")
    ran = arena.run(bundle)
    return ran.outcome("a tmpfs hides /proc/tty" if " /proc/tty " in ran.out else "", "payload ran")


@attack(
    "B13",
    "CVE-2026-47262",
    "the image's /etc/passwd is a fifo, or endless",
    Patch(
        "cshim/init/process.c",
        "O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,\n",
        "O_RDONLY | O_CLOEXEC,\n",
    ),
    Patch("cshim/init/process.c", "if (r < 0 || !S_ISREG(ret->stx_mode))", "if (r < 0)"),
)
def passwd_is_no_file(arena: Arena) -> Outcome:
    outcome = Outcome(UNKNOWN)
    for kind in ("fifo", "link"):
        bundle = arena.bundle(["echo", "payload ran"])
        path = bundle / "rootfs/etc/passwd"
        path.unlink()
        if kind == "fifo":
            os.mkfifo(path)
        else:
            path.symlink_to("/dev/zero")
        ran = arena.run(bundle, timeout=15)
        outcome = ran.outcome(f"it waits for ever for the {kind}" if ran.code == -1 else "", "payload ran")
        if outcome.verdict not in (HELD, REFUSED):
            return outcome
    return outcome


@attack(
    "B16",
    "CVE-2020-2026",
    "names that lead to the root and a volume are links to a mount of the host when the container is deleted",
    Patch(
        "runtime/container/lifecycle.py",
        "    warnings = run_poststop(",
        '    __import__("subprocess").run(["umount", "-l", record.rootfs], check=False)\n    warnings = run_poststop(',
    ),
)
def unmounted_by_name(arena: Arena) -> Outcome:
    """The mount must be there afterwards, with all that is in it."""
    hosts = arena.folder / "mounted"
    hosts.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", hosts], check=True)
    (hosts / "kept").write_text("kept\n")
    for phase in ("created", "running"):
        volume = arena.folder / f"volume of {phase}"
        volume.mkdir()
        mount = {"destination": "/volume", "type": "bind", "source": str(volume), "options": ["rbind"]}
        bundle = arena.bundle(["sleep", "1000"], {"mounts": [*docker_like([])["mounts"], mount]})
        name = arena.runtime.create(bundle) if phase == "created" else arena.detached(bundle)
        for path in (bundle / "rootfs", volume):
            path.rename(f"{path} before")
            path.symlink_to(hosts)
        done = arena.runtime("delete", "--force", name, timeout=90)
        if not hosts.is_mount() or not (hosts / "kept").exists():
            return Outcome(BROKEN, f"the host's mount is gone, when one that was {phase} was deleted")
        if done.returncode:
            return Outcome(UNKNOWN, done.stderr)
    return Outcome(HELD)
