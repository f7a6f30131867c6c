"""Which of an index's images is for this host: os, architecture and variant.

Source: image-spec image-index.md "platform" (names are Go's GOOS, GOARCH and GOARM).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

from runtime.errors import UsageError

# What uname(2) calls a machine: Go's architecture and variant.
_MACHINES = {
    "x86_64": ("amd64", ""),
    "aarch64": ("arm64", "v8"),
    "armv8l": ("arm", "v8"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "i686": ("386", ""),
    "i386": ("386", ""),
    "ppc64le": ("ppc64le", ""),
    "s390x": ("s390x", ""),
    "riscv64": ("riscv64", ""),
    "loongarch64": ("loong64", ""),
    "mips64": ("mips64le", ""),
}
_PART = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}", re.ASCII)
# A variant that is not written means this one.
_IMPLIED = {"amd64": "v1", "arm64": "v8", "arm": "v7"}
# A processor of one runs programs of those before it.
_VARIANTS = {
    "amd64": ("v1", "v2", "v3", "v4"),
    "arm64": ("v8", *(f"v8.{n}" for n in range(1, 10)), "v9", *(f"v9.{n}" for n in range(1, 8))),
    "arm": ("v5", "v6", "v7", "v8"),
}


@dataclass(frozen=True, slots=True)
class Platform:
    """variant: "" where the architecture has none, or the usual one is meant."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def host_platform() -> Platform:
    """This machine's."""
    machine = os.uname().machine
    return Platform("linux", *_MACHINES.get(machine, (machine, "")))


def parse_platform(text: str) -> Platform:
    """os/architecture[/variant]; an architecture alone is Linux's. Raises: UsageError."""
    parts = text.split("/")
    if len(parts) == 1:
        parts = ["linux", *parts]
    if not 2 <= len(parts) <= 3 or not all(_PART.fullmatch(part) for part in parts):
        raise UsageError(f'--platform "{text[:100]}" is not OS/ARCHITECTURE[/VARIANT]; write one such as linux/arm64')
    name, *variant = _MACHINES.get(parts[1], (parts[1],))
    return Platform(parts[0], name, *(parts[2:] or [v for v in variant if name == "arm"]))


def rank(wanted: Platform, offered: Platform) -> int | None:
    """How well an offered platform serves: 0 is exact, more is worse, None is not at all.

    A variant serves later ones of the same architecture, whose processors run the code of earlier ones.
    """
    if (wanted.os, wanted.architecture) != (offered.os, offered.architecture):
        return None
    implied = _IMPLIED.get(wanted.architecture, "")
    want, have = wanted.variant or implied, offered.variant or implied
    if want == have:
        return 0 if wanted.variant == offered.variant else 1
    steps = _VARIANTS.get(wanted.architecture, ())
    if want in steps and have in steps and steps.index(have) < steps.index(want):
        return 1 + steps.index(want) - steps.index(have)
    return None


def runs_on(host: Platform, image: Platform) -> bool:
    """Whether a host's processor executes the programs of an image. What that does not say is not held against it."""
    if not image.os or not image.architecture:
        return True
    if host.architecture == "amd64":  # which of its variants a processor has is not looked up
        return image.os == host.os and image.architecture in ("amd64", "386")
    return rank(host, image) is not None


def choose(wanted: Platform, offered: Iterable[Platform | None]) -> int | None:
    """The place of the best of the offered platforms; None if none serves. An offer of None is not an image to run."""
    ranked = [
        (score, place)
        for place, platform in enumerate(offered)
        if platform is not None and (score := rank(wanted, platform)) is not None
    ]
    return min(ranked)[1] if ranked else None
