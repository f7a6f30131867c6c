"""C code of init and of the waiter that reads what others wrote, under libFuzzer with the address and undefined-behaviour sanitizers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from runtime.plan import steps, waiter, wire
from tests.fuzz import LONG, SECONDS
from tests.harness.runtime import REPO

HERE = Path(__file__).parent
CORPUS = REPO / "build/fuzz"
CLANG = [
    "clang",
    "-g",
    "-O1",
    "-w",
    "-fsanitize=fuzzer,address,undefined",
    "-fno-sanitize-recover=all",
    "-ffreestanding",
]
TARGETS = {
    "decoder": {"DECODE": "cshim/init/decode.c"},
    "table": {"TABLE": "cshim/waiter/table.c"},
    "process": {"TEXT": "cshim/init/text.c", "PROCESS": "cshim/init/process.c"},
}
PLANTED = [
    ("decoder", "DECODE", "s->length > room ||", ""),
    ("decoder", "DECODE", "size > s->length - at ||", ""),
    ("decoder", "DECODE", "if (!binary && has_nul(base + 4, length))", "if (0)"),
    ("decoder", "DECODE", "return at == length;", "return 1;"),
    ("table", "TABLE", "e->length > room ||", ""),
    ("table", "TABLE", "used < room_for_text && e->text[used]", "e->text[used]"),
    ("table", "TABLE", "return at == length;", "return 1;"),
    ("process", "PROCESS", "|| (size_t)(stop - at) > sizeof(in->home) - 6", ""),
    ("process", "PROCESS", "|| program.p_filesz >= size", ""),
]
"""Faults that the target must find: a file of it, a piece of its text, and what is there instead."""


def included(folder: Path, name: str, file: str, fault: tuple[str, str, str] | None) -> str:
    """The flag by which a target includes a copy of a file of cshim as `name`, with the fault if that is in it."""
    text = (
        (REPO / file)
        .read_text()
        .replace('"init.h"', f'"{REPO}/cshim/init/init.h"')
        .replace('"../plan.h"', f'"{REPO}/cshim/plan.h"')
        .replace('"text.h"', f'"{REPO}/cshim/init/text.h"')
        .replace('"table.h"', f'"{REPO}/cshim/waiter/table.h"')
    )
    if fault and fault[0] == name:
        assert text.count(fault[1]) == 1, f"{file} has changed: plant the fault anew: {fault[1]!r}"
        text = text.replace(fault[1], fault[2])
    copy = folder / f"{name}.c"
    copy.write_text(text)
    return f'-D{name}="{copy}"'


def build(target: str, folder: Path, fault: tuple[str, str, str] | None = None) -> Path:
    """Compile a target, with a fault or without, to the folder."""
    defines = [included(folder, name, file, fault) for name, file in TARGETS[target].items()]
    program = folder / target
    subprocess.run([*CLANG, *defines, "-o", program, HERE / f"{target}.c"], check=True)
    return program


def seeds(folder: Path) -> Path:
    """Inputs to start from: plans, a passwd, an ELF head, a script."""
    folder.mkdir(parents=True, exist_ok=True)
    planned: tuple[steps.Step, ...] = (
        steps.Sync(1),
        steps.Hostname("name"),
        steps.PrivateLayer(True, ("/a", "/proc")),
        steps.NewMount(1, 2, 3, False, True, True, "tmpfs", "source", "/t", "label", ("size=1", "mode=7")),
        steps.Seccomp(0, False, b"\6\0\0\0\0\0\377\177"),
        steps.Execute(1, 0, "/bin", ("sh", "A=b")),
    )
    for i, step in enumerate(planned):
        (folder / f"plan{i}").write_bytes(wire.encode((step,)))
    entries = [waiter.Entry(waiter.CHILD, number=7), waiter.Entry(waiter.STARTER, 9), waiter.Entry(waiter.MEMORY, 8, 1)]
    (folder / "table").write_bytes(waiter.encode(entries))
    (folder / "plan").write_bytes(wire.encode(planned))
    (folder / "passwd").write_bytes(b"\1root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n")
    # A home as long as PATH_MAX: what random growth would take hours to reach.
    (folder / "long").write_bytes(b"\1u:x:1000:1:g:/" + b"h" * 4090 + b":/bin/sh\n")
    (folder / "script").write_bytes(b"\0#! /bin/sh -e\necho\n")
    elf = Path("/bin/ls").read_bytes()[:2048]
    (folder / "elf").write_bytes(b"\0" + elf)
    # Its interpreter's name is a little too long: what a random number hardly ever is.
    at = next(at for at in range(64, len(elf), 56) if elf[at : at + 4] == b"\3\0\0\0")  # elf(5): PT_INTERP
    (folder / "interpreter").write_bytes(b"\0" + elf[: at + 32] + (150).to_bytes(8, "little") + elf[at + 40 :])
    return folder


def fuzz(program: Path, corpus: Path, folder: Path, seconds: float) -> subprocess.CompletedProcess[str]:
    """Run it; inputs that crash it are kept in the folder."""
    options = [
        f"-max_total_time={max(1, int(seconds))}",
        "-max_len=9000",
        "-rss_limit_mb=1024",
        "-timeout=10",
        "-verbosity=0",
    ]
    return subprocess.run(
        [program, *options, f"-artifact_prefix={folder}/", corpus],
        capture_output=True, text=True, errors="replace", timeout=seconds + 120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
def test_finds_nothing(target: str, tmp_path: Path) -> None:
    """What it finds is kept in build/fuzz/found."""
    found = CORPUS / "found"
    found.mkdir(parents=True, exist_ok=True)
    done = fuzz(build(target, tmp_path), seeds(CORPUS / target), found, SECONDS)
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.mark.parametrize("fault", PLANTED, ids=lambda f: f[2][:24])
def test_finds_what_was_planted(fault: tuple[str, str, str, str], tmp_path: Path) -> None:
    """With a check of the code taken out, it must end with a finding."""
    target, *what = fault
    done = fuzz(build(target, tmp_path, (what[0], what[1], what[2])), seeds(tmp_path / "corpus"), tmp_path, LONG)
    assert done.returncode != 0, f"nothing found in {fault}"
