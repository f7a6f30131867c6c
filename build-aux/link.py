"""Link the executable without its snapshot: CPython, the C modules, the shim and the launcher, statically.

Usage: link.py OUTDIR OUTPUT
    OUTDIR holds what bundle.py wrote, and receives objects and archives. OUTPUT is the executable for seal.py.
Debian's static libpython has the interpreter and some C modules; the other C modules come from the source package of
the same version (cpython.py), _cffi_backend from cffi's source on the package index.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cpython
from cpython import INCLUDE, LIBRARIES

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT / "cshim"))
from build_shim import HARDENED  # noqa: E402

LAUNCHER = PROJECT / "cshim" / "launcher"
LIB = PROJECT / "build" / "lib"

# Calls that give memory which the snapshot may hold go to cshim/launcher/heap.c, look-ups of names to names.c.
RENAMED = (
    "malloc", "calloc", "realloc", "free", "strdup", "pthread_key_create",
    "getaddrinfo", "getnameinfo", "gethostbyname_r", "gethostbyaddr_r", "getservbyname", "getservbyport",
    "getprotobyname", "getpwnam_r", "getpwuid_r", "setpwent", "getpwent", "getgrnam_r", "getgrgid_r", "setgrent",
    "getgrent", "getgrouplist", "initgroups",
)  # fmt: skip
# No exception and no cancelled thread is unwound through these, and nothing of the snapshot runs before main (CPython has
# a second allocator, which is not used, but would start itself).
RENAMING = (
    "--strip-debug",
    "--remove-section=.eh_frame",
    "--remove-section=.init_array",
    *(f"--redefine-sym={n}=stele_{n}" for n in RENAMED),
)
COLD_ARCHIVES = ("libssl", "libcrypto")
COLD_EXTENSIONS = ("_ssl", "_hashopenssl")
# Sections that do not change once linked, as nothing is relocated when the executable starts.
CONSTANT = (".data.rel.ro", ".data.rel.ro.local")
ARCHIVES = ("libffi", "libseccomp", "libz", "libzstd", "libexpat")
# Asks the processor what it can do before main, and keeps the answer: not in the snapshot.
PROCESS_ARCHIVES = ("liblzma",)
IMAGE_BASE = 0x4000_0000
"""Above the counters that Python keeps (a dict's version, for one), which seal.py would take for pointers."""
CFLAGS = ("-O2", "-fno-pie", "-std=gnu11", "-D_GNU_SOURCE", "-fno-common", "-g0")
STRICT = (
    "-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wconversion", "-Wmissing-prototypes", "-Wswitch-enum", "-Wvla",
)  # fmt: skip


def run(*command: str | Path) -> None:
    subprocess.run([str(c) for c in command], check=True)


def renamed(source: Path, out: Path) -> Path:
    """A copy of an archive whose calls of RENAMED go to the launcher."""
    target = out / f"stele-{source.name}"
    run("objcopy", *RENAMING, source, target)
    return target


def archive(target: Path, objects: list[Path]) -> Path:
    target.unlink(missing_ok=True)
    run("ar", "rcsD", target, *objects)
    return target


def cold(source: Path, out: Path) -> Path:
    """A copy of an archive of OpenSSL or of its Python modules, for cshim/launcher/cold.c: its constants read-only, and no code of it runs at
    the start (libcrypto has a call in .init or .init_array that asks the processor what it can do)."""
    target = out / f"cold-{source.name}"
    constant = [f"--set-section-flags={name}=alloc,load,readonly,data" for name in CONSTANT]
    look_ups = [f"--redefine-sym={name}=stele_{name}" for name in ("getaddrinfo", "getnameinfo")]
    cut = [f"--remove-section={name}" for name in (".init", ".init_array", ".eh_frame")]
    run("objcopy", "--strip-debug", *cut, *constant, *look_ups, source, target)
    return target


def quick_start(out: Path) -> list[Path]:
    """libc's own start, that asks the processor two questions instead of seventy.

    In a virtual machine each CPUID leaves the guest: 2 to 5 microseconds, and libc asks for the sizes of all caches to
    tune memcpy, a third of a millisecond in all. Its first question is for the vendor and the highest leaf; answered
    "another vendor, leaf 1", libc takes its path for processors it does not know, and reads what it must from leaf 1.
    """
    if os.uname().machine != "x86_64":
        return []  # elsewhere there is no CPUID
    target = out / "objects" / "libc-start.o"
    start = subprocess.run(["ar", "p", LIBRARIES / "libc.a", "libc-start.o"], check=True, capture_output=True).stdout
    # xor eax,eax; stores to the stack and variables; cpuid; mov [max_leaf],eax
    stores = rb"(?:(?:\xc7\x84\x24.{8}){3}|\x81\x0d.{8}(?:\xc7\x44\x24.{5}){2}\x48\xc7\x05.{8})"
    question = list(re.finditer(rb"\x31\xc0" + stores + rb"(\x0f\xa2)\x89\x05", start, re.DOTALL))
    if len(question) != 1:
        print("link: libc's start is not the one known here; left as it is")
        return []
    at = question[0].start(1)
    target.write_bytes(start[:at] + b"\xb0\x01" + start[at + 2 :])  # mov al,1
    return [target]


def main(argv: list[str]) -> int:
    out, output = Path(argv[1]).resolve(), Path(argv[2]).resolve()
    sources = Path(os.environ.get("STELE_SOURCES", PROJECT / "build" / "sources"))
    python, cffi = cpython.modules(), next(sources.glob("cffi-*"))
    objects = out / "objects"
    objects.mkdir(parents=True, exist_ok=True)
    include = [f"-I{INCLUDE}", f"-I{INCLUDE}/internal"]

    # Where this is built is not told: the same sources give the same bytes in any folder.
    flags = [*CFLAGS, *cpython.COMPILE, *(f"-ffile-prefix-map={folder}/=" for folder in (PROJECT, sources, out))]
    jobs: list[tuple[str, list[str | Path]]] = []
    # pyconfig.h says that the builder had bluetooth's headers; _ssl needs only to know a socket's first fields.
    plain = out / "plain.h"
    plain.write_text("#include <pyconfig.h>\n#undef HAVE_BLUETOOTH_BLUETOOTH_H\n#undef HAVE_BLUETOOTH_H\n")
    for name in cpython.EXTENSIONS:
        own = ["-include", plain, f"-I{python}"] if name in COLD_EXTENSIONS else []
        own += [f"-I{python / '_hacl/include'}"] if name.startswith("_hacl") else []
        source = python / f"{name}.c"
        kind = "cold" if name in COLD_EXTENSIONS else "ext"
        jobs.append((f"{kind}-{source.stem}", [source, *include, *own, "-DPy_BUILD_CORE_BUILTIN", "-w"]))
    backend = [cffi / "src" / "c" / "_cffi_backend.c", *include, "-DFFI_BUILDING=1", "-DUSE__THREAD", "-w"]
    jobs.append(("ext-cffi", [*backend, "-DHAVE_SYNC_SYNCHRONIZE"]))
    run(sys.executable, PROJECT / "cshim" / "build_shim.py", out, "--c-only", out / "_stele_shim.c")
    jobs.append(("ext-shim", [out / "_stele_shim.c", *include, f"-I{PROJECT / 'cshim'}", "-w"]))
    for file in sorted((PROJECT / "cshim").glob("*.c")):
        options = [f"-I{PROJECT / 'cshim'}", f'-DSTELE_INIT="{LIB}/init"', f'-DSTELE_WAITER="{LIB}/waiter"']
        jobs.append((f"ext-shim-{file.stem}", [file, *options, "-Wall", *HARDENED]))
    for file in sorted(LAUNCHER.glob("*.c")):
        # What holds Python objects is part of the snapshot; what makes and revives it is not.
        kind = "ext" if file.stem == "interpreter" else "own"
        jobs.append((f"{kind}-{file.stem}", [file, f"-isystem{INCLUDE}", *STRICT]))
    jobs.append(("own-embedded", [out / "embedded.S"]))

    def compile_one(job: tuple[str, list[str | Path]]) -> Path:
        target = objects / f"{job[0]}.o"
        run("gcc", *flags, *job[1], "-c", "-o", target)
        return target

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        compiled = list(pool.map(compile_one, jobs))

    extensions = archive(out / "ext.a", [o for o in compiled if o.name.startswith("ext-")])
    cold_extensions = archive(out / "ssl.a", [o for o in compiled if o.name.startswith("cold-")])
    archives = [renamed(a, out) for a in [extensions, cpython.ARCHIVE, *(LIBRARIES / f"{a}.a" for a in ARCHIVES)]]
    archives += [cold(a, out) for a in [cold_extensions, *(LIBRARIES / f"{a}.a" for a in COLD_ARCHIVES)]]
    own = [*(o for o in compiled if o.name.startswith("own-")), *quick_start(out)]
    command = [
        "gcc", "-static", "-no-pie", *cpython.LINK, "-Wl,--build-id=sha1", "-Wl,-z,relro,-z,now",
        "-Wl,--no-warnings",  # libc's, that names are looked up by plug-ins of the host: see names.c
        "-Wl,-e,launcher_entry", f"-Wl,-T,{LAUNCHER / 'snapshot.ld'}", f"-Wl,-Ttext-segment={IMAGE_BASE:#x}",
        *own, "-Wl,--start-group", *archives, *(LIBRARIES / f"{a}.a" for a in PROCESS_ARCHIVES), "-Wl,--end-group", "-lm", "-lpthread", "-ldl", "-lutil", "-o", output,
    ]  # fmt: skip
    run(*command)
    (out / "link.txt").write_text("".join(f"{word}\n" for word in command))  # for relink_kit.py
    listing = subprocess.run(["nm", output], check=True, capture_output=True, text=True).stdout
    # libc's weak names make weak ones of ours, which the linker leaves at 0; so does --no-warnings with all undefined ones.
    missing = [line.split()[-1] for line in listing.splitlines() if re.match(r" +(U|w stele_)", line)]
    if missing:
        raise SystemExit(f"link: undefined: {', '.join(missing)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
