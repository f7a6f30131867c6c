"""Section B: mounts, devices, terminals, masks."""

from __future__ import annotations

from typing import Any

from tests.attacks.arena import Arena, Outcome, attack
from tests.attacks.doubles import Patch

ESCAPE = Patch(
    "cshim/init/paths.c",
    "\tfor (int i = 0; fd == -EAGAIN && i < RENAME_RETRIES; i++)\n",
    "\thow.resolve = 0;\n\twhile (path[0] == '/' && path[1]) path++;\n\tif (path[0] == '/') path = \".\";\n"
    "\tfor (int i = 0; fd == -EAGAIN && i < RENAME_RETRIES; i++)\n",
)
"""Paths are resolved from the root's directory, but links lead out of it."""


@attack("B3", "CVE-2019-18837", "a link of the image as a mount's destination", ESCAPE)
def link_as_destination(arena: Arena) -> Outcome:
    bundle = arena.bundle(
        ["echo", "payload ran"],
        edit=lambda c: c["mounts"].append(
            {"destination": "/link/made/here", "type": "tmpfs", "source": "tmpfs", "options": []}
        ),
    )
    (bundle / "rootfs/link").symlink_to(arena.canary)
    return arena.run(bundle).outcome(arena.canary_changed(), "payload ran")


@attack("B12", "CVE-2022-23648", "a destination with .. and a link, as of an image's VOLUME", ESCAPE)
def dots_in_destination(arena: Arena) -> Outcome:
    bundle = arena.bundle(
        ["echo", "payload ran"],
        edit=lambda c: c["mounts"].append(
            {"destination": f"/up/..{arena.canary}/made", "type": "tmpfs", "source": "tmpfs", "options": []}
        ),
    )
    (bundle / "rootfs/up").symlink_to("/proc/self/root/tmp" if arena.canary.parts[1] == "tmp" else "/")
    (bundle / "rootfs" / str(arena.canary.parent).lstrip("/")).mkdir(parents=True)
    (bundle / "rootfs" / str(arena.canary).lstrip("/")).symlink_to(arena.canary)
    return arena.run(bundle).outcome(arena.canary_changed(), "payload ran")


@attack("B4", "CVE-2026-41579", "/dev of the image is a link to a folder of the host", ESCAPE)
def dev_is_a_link(arena: Arena) -> Outcome:
    def edit(config: dict[str, Any]) -> None:
        config["mounts"] = [m for m in config["mounts"] if not m["destination"].startswith("/dev")]

    bundle = arena.bundle(["echo", "payload ran"], edit=edit)
    (bundle / "rootfs/dev").rmdir()
    (bundle / "rootfs/dev").symlink_to(arena.canary)
    return arena.run(bundle).outcome(arena.canary_changed(), "payload ran")
