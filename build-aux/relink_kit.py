"""Pack what is needed to link stele anew with a changed glibc or libseccomp, as their licence (LGPL 2.1) asks.

Usage: relink_kit.py OUTDIR KIT
    OUTDIR is where link.py linked the executable. KIT is the archive to write (.tar.gz): the object files and archives,
    relink.sh with the command that linked them, README, and the notices if `make sbom` has made them.
"""

from __future__ import annotations

import gzip
import shlex
import sys
import tarfile
from io import BytesIO
from pathlib import Path

from link import LAUNCHER, PROJECT, RENAMING

README = """\
Relinking stele
===============

The executable `stele` contains glibc and libseccomp, which are under the GNU Lesser General Public License 2.1. With
the object files in this archive it can be linked with changed versions of them:

    ./relink.sh --libseccomp /path/to/libseccomp.a stele      # a libseccomp of your own
    ./relink.sh --libc /path/to/folder stele                  # a glibc of your own: libc.a, libm.a, crt1.o, crti.o, ...
    ./relink.sh stele                                         # with the libraries of this build and machine

Needed: gcc and binutils, and for the C library a static one (libc6-dev in Debian 12). The other libraries are in the
archive as they were linked. THIRD-PARTY has all notices and licences.

The result is the whole program, and starts by itself in some 60 ms. The usual executable starts faster, from a snapshot
of its initialised memory; in a clone of stele's sources with `make build` done, this adds one:

    build/venv/bin/python build-aux/seal.py /path/to/relinked/stele /path/to/sealed/stele
"""

SCRIPT = """\
#!/bin/sh
# Links stele from the files beside this script: relink.sh [--libc FOLDER] [--libseccomp FILE] OUTPUT. See README.
set -eu

libc=
seccomp=
while [ $# -gt 1 ]; do
	case $1 in
	--libc) libc=$(realpath "$2") ;;
	--libseccomp) seccomp=$(realpath "$2") ;;
	*)
		echo "relink.sh: unknown option $1" >&2
		exit 2
		;;
	esac
	shift 2
done
output=$(realpath -m "${{1:?the executable to write}}")
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp stele-libseccomp.a "$work"
if [ -n "$seccomp" ]; then
	# Its calls of malloc and the like go to stele's own, as those of all libraries do.
	objcopy {renaming} "$seccomp" "$work/stele-libseccomp.a"
fi
start="{start}"
if [ -n "$libc" ]; then
	start= # the C library's own start, in place of this build's
	set -- "-B$libc" "-L$libc"
else
	set --
fi
# shellcheck disable=SC2086  # none or one file
{command}
"""


def script(words: list[str]) -> tuple[str, list[Path]]:
    """relink.sh, and the files that it links."""
    files: list[Path] = []
    start = ""
    told = []
    for word in words[:-1]:  # the last is the output
        path = Path(word)
        if path.name == "libc-start.o":
            start = path.name
            told.append("$start")
        elif path.is_absolute():
            told.append('"$work/stele-libseccomp.a"' if path.name == "stele-libseccomp.a" else shlex.quote(path.name))
        elif word.startswith("-Wl,-T,"):
            told.append(f"-Wl,-T,{Path(word).name}")
            path = LAUNCHER / Path(word).name
        else:
            told.append(shlex.quote(word))
        if path.is_absolute():
            files.append(path)
    command = " ".join([told[0], '"$@"', *told[1:], '"$output"'])
    return SCRIPT.format(renaming=" ".join(RENAMING), start=start, command=command), files


def main(argv: list[str]) -> int:
    out, kit = Path(argv[1]).resolve(), Path(argv[2])
    text, files = script((out / "link.txt").read_text().splitlines())
    notices = PROJECT / "build" / "THIRD-PARTY"
    files += [PROJECT / "LICENSE", *([notices] if notices.exists() else [])]
    contents = {file.name: (file.read_bytes(), 0o644) for file in files}
    contents |= {"relink.sh": (text.encode(), 0o755), "README": (README.encode(), 0o644)}
    with (
        kit.open("wb") as raw,
        gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for name, (content, mode) in sorted(contents.items()):
            member = tarfile.TarInfo(f"stele-relink/{name}")
            member.size, member.mode = len(content), mode
            archive.addfile(member, BytesIO(content))
    print(f"{kit}: {len(contents)} files, {kit.stat().st_size >> 20} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
