"""Builds of stele with a fault planted in them: a copy of runtime/, an init or a shim compiled from a copy of cshim, in
which a piece of text is replaced. An attack that does not succeed on its double proves nothing."""

from __future__ import annotations

import hashlib
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.harness.runtime import REPO

INIT_FLAGS = [
    "-std=gnu11",
    "-Os",
    "-ffreestanding",
    "-fno-stack-protector",
    "-fno-asynchronous-unwind-tables",
    "-fno-pie",
    "-nostdlib",
    "-static",
    "-no-pie",
    "-w",
    "-Wl,--build-id=none",
    "-Wl,-s",
]


@dataclass(frozen=True, slots=True)
class Patch:
    """Replace `old` by `new` in a file of the repository; it must be there exactly once."""

    file: str
    old: str
    new: str


OWN_INIT = Patch(
    "runtime/host/launch.py",
    "return sealed_memfd(INIT, ffi.buffer(lib.stele_init_blob, lib.stele_init_blob_size), executable=True)",
    'return sealed_memfd(INIT, open(__file__.split("/runtime/")[0] + "/init", "rb").read(), executable=True)',
)
"""The double executes its own init; part of every double that has one."""


def build(planted: Sequence[Patch]) -> Path:
    """The double's executable, made once for each set of faults and each state of the source.

    Raises:
        LookupError: the text to replace is not there: the source has changed, so the fault must be planted anew.
    """
    key = hashlib.sha256(f"{planted} {INIT_FLAGS}".encode())
    sources = [
        p
        for room in ("runtime", "cshim")
        for p in sorted((REPO / room).rglob("*"))
        if p.suffix in (".py", ".c", ".h", ".json")
    ]
    for path in sources:
        key.update(path.read_bytes())
    folder = REPO / "build/attacks" / f"double-{key.hexdigest()[:16]}"
    program = folder / "stele"
    if program.exists():
        return program
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    for path in sources:
        if "launcher" not in path.parts:
            copy = folder / path.relative_to(REPO)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
    own_init = any(p.file.startswith("cshim/") for p in planted)
    if own_init and not any(p.file == OWN_INIT.file for p in planted):
        planted = (*planted, OWN_INIT)
    for patch in planted:
        _plant(folder, patch)
    if own_init:
        files = sorted((folder / "cshim/init").glob("*.c"))
        subprocess.run(["gcc", *INIT_FLAGS, "-o", folder / "init", *files], check=True)
    if any(Path(p.file).parent == Path("cshim") for p in planted):
        (folder / "build/lib").mkdir(parents=True)
        for name in ("init", "waiter"):
            shutil.copy(REPO / "build/lib" / name, folder / "build/lib")
        build_shim = [sys.executable, str(folder / "cshim/build_shim.py"), str(folder)]
        subprocess.run(build_shim, check=True, stdout=subprocess.DEVNULL, cwd=folder)
    # By a shell: the kernel's #! takes no long path, and none with a space.
    text = f"import sys; sys.path.insert(0, {str(folder)!r}); from runtime.__main__ import entry; entry()"
    command = shlex.join([f"{REPO}/build/venv/bin/python", "-P", "-c", text])
    program.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    program.chmod(0o755)
    return program


def _plant(folder: Path, patch: Patch) -> None:
    path = folder / patch.file
    text = path.read_text()
    if text.count(patch.old) != 1:
        raise LookupError(
            f"{patch.file} holds {patch.old!r} {text.count(patch.old)} times, not once; plant the fault anew "
            f"(python {Path(sys.argv[0]).name}: tests/attacks)"
        )
    path.write_text(text.replace(patch.old, patch.new))
