"""Build the cffi module `_stele_shim` from the headers' cdef blocks and their C files.

Usage: build_shim.py OUTDIR [--c-only FILE]
    OUTDIR receives `_stele_shim.*.so`; with --c-only, FILE receives the generated C source instead, for the
    launcher, which links the module statically.
Each header keeps what Python may call between two marker comments, so the compiler checks every declaration
that cffi is told (https://cffi.readthedocs.io/en/stable/cdef.html, "API mode").
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import cffi

HERE = Path(__file__).resolve().parent
BEGIN, END = "/* cdef: begin */", "/* cdef: end */"
LIB = HERE.parent / "build" / "lib"  # init and waiter, which cshim/blob.c carries
WARNINGS = [
    "-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wconversion", "-Wmissing-prototypes", "-Wswitch-enum", "-Wvla",
]  # fmt: skip
# cffi's own generated wrappers do not keep to these two.
RELAXED = ["-Wno-conversion", "-Wno-missing-prototypes", "-Wno-unused-parameter", "-Wno-missing-field-initializers"]

# The shim parses archives that strangers wrote. _FORTIFY_SOURCE is first undefined because some compilers predefine it.
HARDENED = (
    "-fstack-protector-strong", "-fstack-clash-protection", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=3",
    *{"x86_64": ["-fcf-protection=full"], "aarch64": ["-mbranch-protection=standard"]}.get(os.uname().machine, []),
)  # fmt: skip


def headers() -> list[Path]:
    return [h for h in sorted(HERE.glob("*.h")) if BEGIN in h.read_text()]


def sources() -> list[Path]:
    return sorted(HERE.glob("*.c"))


def cdef_of(header: Path) -> str:
    return header.read_text().split(BEGIN, 1)[1].split(END, 1)[0]


def builder(named: Callable[[Path], str] = str) -> cffi.FFI:
    """The module, still to be compiled. named: a file's name as the compiler gets it."""
    ffi = cffi.FFI()
    for header in headers():
        ffi.cdef(cdef_of(header))
    ffi.set_source(
        "_stele_shim",
        "".join(f'#include "{h.name}"\n' for h in headers()),
        sources=[named(c) for c in sources()],
        include_dirs=[str(HERE)],
        depends=[named(h) for h in headers()],
        define_macros=[("_GNU_SOURCE", None), ("STELE_INIT", f'"{LIB}/init"'), ("STELE_WAITER", f'"{LIB}/waiter"')],
        extra_compile_args=["-std=gnu11", "-O2", *HARDENED, *WARNINGS, *RELAXED],
        libraries=["seccomp", "z", "zstd", "lzma"],
    )
    return ffi


def packaged() -> cffi.FFI:
    """For setup.py, which wants names relative to itself."""
    return builder(lambda file: str(file.relative_to(HERE.parent)))


def main(argv: list[str]) -> int:
    out = Path(argv[1]).resolve()
    out.mkdir(parents=True, exist_ok=True)
    if "--c-only" in argv:
        builder().emit_c_code(argv[argv.index("--c-only") + 1])
    else:
        builder().compile(tmpdir=str(out), verbose=False)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
