"""What others made and the executable contains: names, versions, licences, and the commit it is built from.

Versions of libraries come from dpkg, those of Python packages from their metadata. Which Python packages are embedded
is read from the names of the modules that bundle.py puts in.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import cpython

PROJECT = Path(__file__).resolve().parent.parent
BUILT_FROM = ("runtime", "cshim", "build-aux")
"""The folders of which the executable is made."""


@dataclass(frozen=True, slots=True)
class Component:
    """A project whose code is linked in or embedded.

    Args:
        version: with the revision of Debian's package, which is what says whether a vulnerability is mended.
        licence: an SPDX expression.
        purl: the package URL of exactly what was used.
        notices: files with the copyright notices and the licence.
    """

    name: str
    version: str
    licence: str
    purl: str
    notices: tuple[Path, ...]
    linked: bool


# Debian's package -> our name for it, and the licence of the part that is linked. link.py lists the archives.
LINKED = {
    cpython.PACKAGE: ("python", "PSF-2.0"),
    "libc6-dev": ("glibc", "LGPL-2.1-or-later"),
    f"libgcc-{cpython.gcc_version()}-dev": ("libgcc", "GPL-3.0-or-later WITH GCC-exception-3.1"),
    "libseccomp-dev": ("libseccomp", "LGPL-2.1-only"),
    "libssl-dev": ("openssl", "Apache-2.0"),
    "zlib1g-dev": ("zlib", "Zlib"),
    "libzstd-dev": ("zstd", "BSD-3-Clause"),
    "liblzma-dev": ("liblzma", "LicenseRef-public-domain"),
    "libexpat1-dev": ("expat", "MIT"),
    "libffi-dev": ("libffi", "MIT"),
}
LGPL = ("glibc", "libseccomp")
CHOSEN = {"pyroute2": "Apache-2.0"}
"""The licence under which a package is used that is offered under several."""


def linked() -> list[Component]:
    """The libraries, as dpkg knows them.

    Raises:
        SystemExit: a package is not installed.
    """
    return [_library(package, name, licence) for package, (name, licence) in LINKED.items()]


def _library(package: str, name: str, licence: str) -> Component:
    debian = cpython.package_field(package, "Version")
    if not debian:
        raise SystemExit(f"components: the Debian package {package} is not there: run build-aux/install-deps.sh")
    version = debian.partition(":")[2] or debian  # without Debian's epoch
    purl = f"pkg:deb/debian/{package}@{debian.replace('+', '%2B')}"
    return Component(name, version, licence, purl, (cpython.notice(package),), linked=True)


def embedded(modules: Iterable[str]) -> list[Component]:
    """The Python packages to which some of the modules belong; cffi, whose C half is always linked, among them."""
    owners = metadata.packages_distributions()
    tops = {name.partition(".")[0] for name in modules} | {"_cffi_backend"}
    names = sorted({owner for top in tops for owner in owners.get(top, ())} - {"stele"})
    return [_package(name) for name in names]


def _package(name: str) -> Component:
    found = metadata.distribution(name)
    licence = CHOSEN.get(name) or found.metadata["License-Expression"] or found.metadata["License"]
    notices = [Path(str(file.locate())) for file in found.files or () if re.search("LICEN[CS]E|COPYING", file.name)]
    if not licence or not notices:
        raise SystemExit(f"components: the Python package {name} names no licence or has no licence file")
    purl = f"pkg:pypi/{name}@{found.version}"
    return Component(name, found.version, licence, purl, tuple(notices), linked=name == "cffi")


def commit() -> str:
    """The last commit that changed what the executable is made of, "-dirty" behind it if some of that is not committed.

    "" without git or a repository.
    """

    def git(*command: str) -> str:
        done = subprocess.run(["git", "-C", PROJECT, *command], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        found = git("log", "-1", "--format=%H", "--", *BUILT_FROM)
        return f"{found}-dirty" if found and git("status", "--porcelain", "--", *BUILT_FROM) else found
    except FileNotFoundError:
        return ""
