"""The C that reads what strangers wrote is built with what the compiler has against faults in it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.harness.runtime import REPO

READERS = ("unpack", "confined", "stream", "sha256", *(path.stem for path in (REPO / "cshim").glob("tar*.c")))


def output(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def landing(path: Path, function: str) -> bool:
    """Whether a function begins with the instruction at which an indirect branch may land."""
    code = output("objdump", "-d", "--no-show-raw-insn", path)
    found = re.search(rf"^[0-9a-f]+ <{function}>:\n\s*[0-9a-f]+:\s*(\S+)(.*)$", code, re.MULTILINE)
    assert found, function
    if os.uname().machine == "aarch64":
        return found[1] in ("bti", "paciasp") or "hint" in found[1]
    return found[1] == "endbr64"


def test_the_shim_for_development() -> None:
    (module,) = (REPO / "build/lib").glob("_stele_shim*.so")
    symbols = output("nm", "-D", module)
    assert "__stack_chk_fail" in symbols
    assert "__vsnprintf_chk" in symbols
    assert landing(module, "stele_tar_next")


@pytest.mark.skipif(not (REPO / "build/bin/stele").exists(), reason="the executable is not built")
def test_the_executable() -> None:
    """Each object of it."""
    objects = {name: REPO / f"build/launcher/objects/ext-shim-{name}.o" for name in READERS}
    symbols = {name: output("nm", path) for name, path in objects.items()}
    for name in READERS:
        assert "__stack_chk_fail" in symbols[name], name
    assert "__vsnprintf_chk" in symbols["unpack"]
    assert "__memcpy_chk" in "".join(symbols.values())
    for name, function in {
        "tar": "stele_tar_next",
        "unpack": "stele_unpack",
        "stream": "stele_stream_peek",
        "sha256": "stele_sha256_update",
    }.items():
        assert landing(objects[name], function), name
