"""Which CPython the executable embeds, and where its library, headers and C modules are.

STELE_PYTHON, which `make PYTHON=...` sets, chooses: 3.11 is what Debian 12 has installed; 3.13 is Debian 13's, unpacked
into build/sysroot (sysroot.py) with the other libraries that are linked.
"""

from __future__ import annotations

import os
import subprocess
import sysconfig
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
VERSION = os.environ.get("STELE_PYTHON", "3.11")
SYSROOT = Path("/") if VERSION == "3.11" else PROJECT / "build" / "sysroot"
MULTIARCH = sysconfig.get_config_var("MULTIARCH")
LIBRARIES = SYSROOT / "usr" / "lib" / MULTIARCH
INCLUDE = SYSROOT / "usr" / "include" / f"python{VERSION}"
ARCHIVE = SYSROOT / "usr" / "lib" / f"python{VERSION}" / f"config-{VERSION}-{MULTIARCH}" / f"libpython{VERSION}.a"
PACKAGE = f"libpython{VERSION}-dev"

if VERSION == "3.11":
    COMPILE: tuple[str, ...] = ()
    """Options of gcc to compile with this CPython's C library."""
    LINK: tuple[str, ...] = ()
    EXTENSIONS: tuple[str, ...] = (
        "_json", "_contextvarsmodule", "mmapmodule", "resource", "termios", "_queuemodule", "_typingmodule", "_ssl",
        "_hashopenssl",
    )  # fmt: skip
    """C modules of the standard library that libpython does not have."""
elif VERSION == "3.13":
    COMPILE = (f"--sysroot={SYSROOT}",)
    LINK = (f"-B{LIBRARIES}", f"-L{LIBRARIES}")  # gcc would take the host's, whatever --sysroot says
    EXTENSIONS = (
        "_contextvarsmodule", "mmapmodule", "resource", "termios", "_queuemodule", "_ssl", "_hashopenssl",
        "_hacl/Hacl_Hash_SHA2",
    )  # fmt: skip
else:
    raise SystemExit(f"PYTHON={VERSION}: the executable can embed 3.11 or 3.13")


def modules() -> Path:
    """The folder Modules of the interpreter's sources."""
    if VERSION == "3.13":
        return SYSROOT / "source" / "Modules"
    sources = Path(os.environ.get("STELE_SOURCES", PROJECT / "build" / "sources"))
    return next(sources.glob(f"Python-{VERSION}*")) / "Modules"


def interpreter() -> tuple[list[str | Path], dict[str, str]]:
    """The command that runs the embedded interpreter's twin, with the packages of build/venv, and its environment."""
    venv = PROJECT / "build" / "venv"
    if VERSION == "3.11":
        return [venv / "bin" / "python"], dict(os.environ)
    (loader,) = (SYSROOT / "lib64").glob("ld-linux*") if MULTIARCH.startswith("x86") else LIBRARIES.glob("ld-linux*")
    (packages,) = (venv / "lib").glob("python*/site-packages")
    command = [loader, "--library-path", LIBRARIES, SYSROOT / "usr" / "bin" / f"python{VERSION}", "-S"]
    return command, {**os.environ, "PYTHONHOME": str(SYSROOT / "usr"), "PYTHONPATH": str(packages)}


def gcc_version() -> str:
    """The compiler's version, as its packages are named."""
    command = ["gcc", "-dumpversion"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.partition(".")[0].strip()


def package_field(package: str, field: str) -> str:
    """A field of a Debian package that is linked; "" if it is not there."""
    if VERSION == "3.11" or package.startswith("libgcc"):
        command = ["dpkg-query", "-W", "-f", f"${{{field}}}", package]
    else:
        files = sorted((PROJECT / "build" / "packages").glob(f"{package}_*.deb"))
        command = ["dpkg-deb", "-f", str(files[-1]) if files else f"{package}.deb", field]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def notice(package: str) -> Path:
    """The copyright notice of a Debian package that is linked."""
    root = Path("/") if package.startswith("libgcc") else SYSROOT
    return (root / "usr" / "share" / "doc" / package / "copyright").resolve()
