"""Unpack the Debian packages that the executable is linked from into build/sysroot; nothing is installed.

Usage: sysroot.py [--lock]
    The packages are those of Debian 13, on Debian 12 as well: both link the same CPython and libraries.
    --lock writes build-aux/sysroot.lock anew, with the versions that the mirror has today.
Each line of the lock: architecture ("any" for sources and what fits all), SHA-256, archive, path in the archive. A file
with another hash is refused. The mirrors are those that this machine uses.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import unquote

os.environ["STELE_PYTHON"] = "3.13"
from cpython import SYSROOT

PROJECT = Path(__file__).resolve().parent.parent
LOCK = PROJECT / "build-aux" / "sysroot.lock"
CACHE = PROJECT / "build" / "packages"
SUITE = "trixie"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
APT_HELPER = "/usr/lib/apt/apt-helper"
ARCHITECTURES = ("amd64", "arm64")
LINKED = (
    "libc6-dev", "linux-libc-dev", "libpython3.13-dev", "libseccomp-dev", "libffi-dev", "libssl-dev", "zlib1g-dev",
    "libzstd-dev", "liblzma-dev", "libexpat1-dev",
)  # fmt: skip
# To run the interpreter that compiles the Python modules, with the loader and libraries of its own.
NOTICES = ("libffi8",)
"""Of which others have only a link to the notice."""
RUN = ("python3.13-minimal", "libpython3.13-minimal", "libpython3.13-stdlib", "libc6", "libexpat1", "zlib1g")
SOURCE = "python3.13"


def run(*command: str | Path, folder: Path | None = None) -> str:
    done = subprocess.run([str(c) for c in command], check=True, stdout=subprocess.PIPE, text=True, cwd=folder)
    return done.stdout


def mirrors() -> dict[str, str]:
    """The URL of each of Debian's archives: "debian" and "debian-security", as this machine's apt has them."""
    listing = run("apt-get", "indextargets", "--format", "$(ORIGIN) $(REPO_URI) $(LABEL)", "Created-By: Packages")
    found: dict[str, str] = {}
    for line in listing.splitlines():
        origin, _, rest = line.partition(" ")
        url, _, label = rest.partition(" ")
        if origin == "Debian":
            found.setdefault("debian-security" if "Security" in label else "debian", url.rstrip("/"))
    if "debian" not in found:
        raise SystemExit("sysroot: apt knows no list of Debian's; run apt-get update as root")
    found.setdefault("debian-security", re.sub("debian$", "debian-security", found["debian"]))
    return found


def lock() -> None:
    """Ask the mirrors for the current versions; apt checks their lists by Debian's signature."""
    urls = mirrors()
    lines: set[str] = set()
    with tempfile.TemporaryDirectory(prefix="stele-build-") as name:
        work = Path(name)
        for architecture in ARCHITECTURES:
            own = work / architecture
            (own / "lists" / "partial").mkdir(parents=True)
            (own / "cache" / "archives" / "partial").mkdir(parents=True)
            suites = {"debian": SUITE, "debian-security": f"{SUITE}-security"}
            sources = [
                f"{kind} [signed-by={KEYRING}] {urls[archive]} {suite} main\n"
                for archive, suite in suites.items()
                for kind in ("deb", "deb-src")
            ]
            (own / "sources.list").write_text("".join(sources))
            options = {
                "Dir::Etc::sourcelist": own / "sources.list", "Dir::Etc::sourceparts": "/dev/null",
                "Dir::State::lists": own / "lists", "Dir::State::status": "/dev/null", "Dir::Cache": own / "cache",
                "Debug::NoLocking": 1, "APT::Sandbox::User": "", "APT::Architecture": architecture,
                "APT::Architectures": architecture,
            }  # fmt: skip
            apt = ["apt-get", "-qq", *(word for key, value in options.items() for word in ("-o", f"{key}={value}"))]
            run(*apt, "update")
            uris = run(*apt, "download", "--print-uris", *LINKED, *RUN, *NOTICES)
            for part in ("--tar-only", "--diff-only"):
                uris += run(*apt, "source", "--print-uris", part, SOURCE)
            for url, digest in re.findall(r"^'([^']+)' \S+ \d+ SHA256:(\w+)", uris, re.MULTILINE):
                archive = next(a for a in sorted(urls, reverse=True) if url.startswith(urls[a] + "/"))
                path = url.removeprefix(urls[archive] + "/")
                which = architecture if path.endswith(f"_{architecture}.deb") else "any"
                lines.add(f"{which} {digest} {archive} {path}\n")
    LOCK.write_text("".join(sorted(lines)))


def fetched(urls: dict[str, str], archive: str, path: str, digest: str) -> Path:
    """The file, from build/packages or the mirror."""
    file = CACHE / unquote(path.rpartition("/")[2])
    if not file.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        part = file.with_name(file.name + ".part")
        url = f"{urls[archive]}/{path}"
        try:
            run(APT_HELPER, "-q", "-o", "APT::Sandbox::User=", "download-file", url, part)
        except subprocess.CalledProcessError:
            raise SystemExit(
                f"sysroot: {url} cannot be fetched; if the mirror has a newer version, run build-aux/sysroot.py --lock"
            ) from None
        part.rename(file)
    if hashlib.sha256(file.read_bytes()).hexdigest() != digest:
        file.unlink()
        raise SystemExit(f"sysroot: {file.name} does not have the hash of build-aux/sysroot.lock; it was removed")
    return file


def unpack_source(archive: Path, patches: Path, target: Path) -> None:
    """CPython's sources as Debian compiles them: what the static library lacks must have the same security fixes."""
    with tempfile.TemporaryDirectory(prefix="stele-build-") as name:
        work = Path(name)
        run("tar", "-xf", archive, "-C", work, "--strip-components=1")
        run("tar", "-xf", patches, "-C", work, "debian/patches")
        for line in (work / "debian" / "patches" / "series").read_text().splitlines():
            if line.strip() and not line.startswith("#"):
                patch = work / "debian" / "patches" / line.split()[0]
                run(
                    "patch",
                    "--quiet",
                    "--strip=1",
                    "--force",
                    "--no-backup-if-mismatch",
                    f"--input={patch}",
                    folder=work,
                )
        target.mkdir()
        for part in ("Modules", "Include", "LICENSE"):
            shutil.move(work / part, target / part)


def unpack() -> None:
    architecture = run("dpkg", "--print-architecture").strip()
    urls = mirrors()
    fresh = SYSROOT.with_name("sysroot.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    # Where a package has a file below /lib, it means /usr/lib.
    for name in ("lib", "lib64", "bin", "sbin"):
        (fresh / "usr" / name).mkdir(parents=True)
        (fresh / name).symlink_to(f"usr/{name}")
    sources: list[Path] = []
    for line in LOCK.read_text().splitlines():
        which, digest, archive, path = line.split()
        if which not in (architecture, "any"):
            continue
        file = fetched(urls, archive, path, digest)
        if file.suffix == ".deb":
            with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", file], stdout=subprocess.PIPE) as package:
                subprocess.run(["tar", "-x", "--keep-directory-symlink", "-C", fresh], stdin=package.stdout, check=True)
            if package.returncode:
                raise SystemExit(f"sysroot: {file} cannot be unpacked")
        else:
            sources.append(file)
    patches, archive = sorted(sources)  # .debian.tar.xz, .orig.tar.xz
    unpack_source(archive, patches, fresh / "source")
    # These scripts for the linker name their parts by absolute paths.
    for script in (fresh / "usr" / "lib").glob("*/libm.a"):
        script.write_text(re.sub(r"/usr/lib/[^/ ]+/", "", script.read_text()))
    shutil.rmtree(SYSROOT, ignore_errors=True)
    os.rename(fresh, SYSROOT)


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["--lock"]):
        raise SystemExit("usage: sysroot.py [--lock]")
    if sys.argv[1:]:
        lock()
    else:
        unpack()
