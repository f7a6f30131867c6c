"""Debian packages as files: fetch them and what they need, unpack them aside, pick what a program needs.

Nothing is installed on the machine and no package's scripts are run. What was fetched once stays in the cache, so
that a second build needs no network.
"""

from __future__ import annotations

import os
import platform
import shutil
import stat
import subprocess
import sys
from pathlib import Path

# Where Debian keeps this machine's shared libraries, and the loader that lists what a program needs.
LIBRARY_DIRS = ("usr/lib/{}", "usr/lib", "lib/{}")
LOADERS = {"x86_64": "lib64/ld-linux-x86-64.so.2", "aarch64": "lib/ld-linux-aarch64.so.1"}
MERGED = ("bin", "sbin", "lib", "lib64")  # links into usr/, as on an installed Debian 12


def _apt(archives: Path, *args: str) -> list[str]:
    """An apt-get command that believes nothing is installed and keeps its files in `archives`."""
    return [
        "apt-get", "-y", "-qq", "--no-install-recommends",
        "-o", "Dir::State::status=/dev/null",
        "-o", f"Dir::Cache::archives={archives}/",
        "-o", "Debug::NoLocking=1",
        "-o", "APT::Sandbox::User=root",
        *args,
    ]  # fmt: skip


def fetch(packages: list[str], cache: Path) -> list[Path]:
    """The .deb files of `packages` and all that they depend on, from the cache or else from Debian's mirror.

    apt checks each file against the archive's signed lists.
    Raises: SystemExit with apt's words where a package cannot be had.
    """
    archives = cache / "debs"
    (archives / "partial").mkdir(parents=True, exist_ok=True)
    known = cache / ("+".join(sorted(packages)) + ".list")
    if known.exists():
        files = [archives / line for line in known.read_text().split()]
        if all(file.exists() for file in files):
            return files
    nothing = cache / "nothing"
    nothing.mkdir(exist_ok=True)
    listing = _run(_apt(nothing, "--print-uris", "install", *packages), retry_after_update=True)
    # Each line: 'URI' name size hash; the name is the file's in the archives folder.
    names = [line.split()[1] for line in listing.splitlines() if line.startswith("'")]
    _run(_apt(archives, "--download-only", "install", *packages), retry_after_update=False)
    known.write_text("\n".join(names) + "\n")
    return [archives / name for name in names]


def _run(command: list[str], *, retry_after_update: bool) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0 and retry_after_update:
        subprocess.run(["apt-get", "-qq", "update"], check=False)  # a fresh machine has no lists yet
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr}")
    return done.stdout


def unpack(debs: list[Path], staging: Path) -> None:
    """Lay the packages' files out in `staging`, which is made anew; /bin, /sbin and /lib lead into /usr."""
    shutil.rmtree(staging, ignore_errors=True)
    for name in MERGED:
        (staging / "usr" / name).mkdir(parents=True)
        (staging / name).symlink_to(f"usr/{name}")
    for deb in debs:
        untar = ["tar", "-x", "-C", str(staging), "--keep-directory-symlink", "--no-same-owner"]
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as contents:
            subprocess.run(untar, stdin=contents.stdout, check=True)
        if contents.returncode != 0:
            sys.exit(f"dpkg-deb cannot read {deb}")


def libraries(staging: Path, programs: list[str]) -> set[str]:
    """The shared libraries that the ELF files `programs` load, and their loader, as paths in `staging`.

    The staging's own loader lists them, so nothing of the machine is mixed in.
    """
    loader = LOADERS[platform.machine()]
    triplet = f"{platform.machine()}-linux-gnu"
    path = ":".join(str(staging / folder.format(triplet)) for folder in LIBRARY_DIRS)
    needed: set[str] = set()
    for program in programs:
        if not is_dynamic(staging / program):
            continue
        done = subprocess.run(
            [staging / loader, "--library-path", path, "--list", staging / program],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            sys.exit(f"{program}: {done.stderr.strip() or done.stdout.strip()}")
        for line in done.stdout.splitlines():
            found = line.split("=>")[-1].split()[0]
            if "not found" in line:
                sys.exit(f"{program}: {line.strip()}")
            if found.startswith(str(staging)):
                needed.add(str(Path(found).relative_to(staging)))
        needed.add(loader)
    return needed


def is_dynamic(file: Path) -> bool:
    """Whether `file` is an ELF file with a dynamic section (section names are not needed: PT_DYNAMIC is type 2)."""
    with file.open("rb") as opened:
        head = opened.read(4096)
    if head[:4] != b"\x7fELF":
        return False
    offset = int.from_bytes(head[32:40], "little")
    size, count = int.from_bytes(head[54:56], "little"), int.from_bytes(head[56:58], "little")
    return any(head[offset + n * size : offset + n * size + 4] == b"\x02\0\0\0" for n in range(count))


def copy(staging: Path, path: str, rootfs: Path) -> None:
    """Copy one file, link or tree from `staging` to `rootfs`, with what its links lead to.

    /bin/x lands in /usr/bin/x, where the root's own /bin link finds it. Modes are kept, owners become root.
    """
    path = _in_usr(path)
    source, target = staging / path, rootfs / path
    mode = source.lstat().st_mode
    if stat.S_ISDIR(mode):
        target.mkdir(parents=True, exist_ok=True)
        target.chmod(stat.S_IMODE(mode))
        for name in sorted(os.listdir(source)):
            copy(staging, f"{path}/{name}", rootfs)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if stat.S_ISLNK(mode):
        goal = source.readlink()
        if not target.is_symlink():
            target.symlink_to(goal)
        real = str(goal).lstrip("/") if goal.is_absolute() else os.path.normpath(f"{Path(path).parent}/{goal}")
        if (staging / real).exists() and not (rootfs / real).exists():
            copy(staging, real, rootfs)
        return
    if not target.exists():
        shutil.copy(source, target)


def _in_usr(path: str) -> str:
    first = path.split("/", 1)[0]
    return f"usr/{path}" if first in MERGED else path
