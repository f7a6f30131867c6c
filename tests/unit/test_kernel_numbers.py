"""Numbers that Python has of the kernel's headers are those of the headers."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
from pathlib import Path

import runtime.container
import runtime.host

HEADERS = (
    "fcntl.h",
    "sys/prctl.h",
    "linux/openat2.h",
    "linux/mount.h",
    "linux/loop.h",
    "linux/fsverity.h",
    "linux/sched.h",
    "linux/nsfs.h",
)
# PF_EXITING is not in a header for programs: include/linux/sched.h has had it since 2.6.
KNOWN_SINCE_EVER = {"PF_EXITING": 4}
LEAST = 15


def test_numbers_of_the_kernel(tmp_path: Path) -> None:
    """Each module's constant with the name of a macro; there are at least so many, so that the search finds them."""
    ours: dict[str, set[int]] = {}
    for package in (runtime.container, runtime.host):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            for name, value in vars(importlib.import_module(module.name)).items():
                if name.isupper() and isinstance(value, int):
                    ours.setdefault(name, set()).add(value)
    source = "#define _GNU_SOURCE\n#include <stdio.h>\n" + "".join(f"#include <{header}>\n" for header in HEADERS)
    shown = "".join(f'#ifdef {name}\nprintf("{name} %lld\\n", (long long){name});\n#endif\n' for name in ours)
    (tmp_path / "numbers.c").write_text(f"{source}int main(void) {{\n{shown}return 0; }}\n")
    subprocess.run(["gcc", "-w", "-o", tmp_path / "numbers", tmp_path / "numbers.c"], check=True)
    lines = subprocess.run([tmp_path / "numbers"], capture_output=True, text=True, check=True).stdout.split("\n")
    theirs = {name: int(value) for name, value in (line.split() for line in lines if line)} | KNOWN_SINCE_EVER
    assert len(theirs) >= LEAST
    assert {name: ours[name] for name in theirs} == {name: {value} for name, value in theirs.items()}
