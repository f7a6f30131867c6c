"""Section G: names that the container chooses, resolved while init has an fd of the host's open."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.attacks.arena import BROKEN, HELD, UNKNOWN, Arena, Outcome, attack
from tests.attacks.doubles import Patch
from tests.attacks.on_the_runtime import KEPT, LEAK
from tests.harness.runtime import REPO

FDS = range(3, 21)
RAN = "the host's program ran"
ROOM = 200
"""Bytes for the name of an ELF file's loader."""

LEAKED_PROC = Patch(
    "cshim/init/main.c",
    "const void *plan = map_plan(",
    'SYS(__NR_openat, AT_FDCWD, "/proc", OPEN_PATH | O_DIRECTORY | O_CLOEXEC, 0);\n\tconst void *plan = map_plan(',
)
"""What stele 0.1.0 did."""


def _compiled(name: str, source: str, *flags: str) -> Path:
    program = REPO / "build/attacks" / name
    program.parent.mkdir(parents=True, exist_ok=True)
    new = program.with_name(f"{name}.{os.getpid()}")
    common = ["gcc", "-std=gnu11", "-O1", "-Wall", "-nostdlib", "-fno-stack-protector", "-o", str(new)]
    subprocess.run([*common, *flags, "-x", "c", "-"], input=source, text=True, check=True)
    new.rename(program)
    return program


def _host_program() -> Path:
    return _compiled("host", (REPO / "tests/attacks/host.c").read_text(), "-static", "-no-pie")


def _with_loader() -> bytes:
    """A program whose loader's name is ROOM times `x`, to be replaced; it never runs itself."""
    loader = "x" * ROOM
    flags = ("-shared", "-fPIC", f'-DLOADER="{loader}"', "-Wl,-e,start")
    source = 'const char interp[] __attribute__((section(".interp"))) = LOADER; void start(void) { for (;;) ; }\n'
    return _compiled("with-loader", source, *flags).read_bytes()


def _plant(bin_: Path, name: str, target: str, kind: str) -> None:
    """Make a program that leads to `target` by a link, as a script's interpreter, or as the loader."""
    program = bin_ / name
    if kind == "link":
        program.symlink_to(target)
    elif kind == "script":
        program.write_text(f"#!{target}\n")
        program.chmod(0o755)
    else:
        assert len(target) < ROOM, target
        program.write_bytes(_with_loader().replace(b"x" * ROOM, os.fsencode(target).ljust(ROOM, b"\0")))
        program.chmod(0o755)


def _by_exec(arena: Arena, kind: str) -> Outcome:
    host = arena.folder / "host"
    shutil.copy(_host_program(), host)
    bundle = arena.bundle(["sleep", "1000"])
    for n in FDS:
        _plant(bundle / "rootfs/bin", f"tool{n}", f"/proc/self/fd/{n}/..{host}", kind)
    # That it can be executed this way at all.
    shutil.copy(host, bundle / "rootfs/bin/host")
    _plant(bundle / "rootfs/bin", "plain", "/bin/host", kind)
    name = arena.detached(bundle)
    for n in FDS:
        if RAN in arena.runtime("exec", name, f"tool{n}", timeout=90).stdout:
            return Outcome(BROKEN, f"a program of the host was executed through fd {n}")
    plain = arena.runtime("exec", name, "plain", timeout=90)
    return Outcome(HELD) if RAN in plain.stdout else Outcome(UNKNOWN, plain.stderr)


@attack("G1", "STELE-2026-01", "exec of a link through an fd of init's to a program of the host", LEAK, *KEPT)
def link_to_the_host(arena: Arena) -> Outcome:
    return _by_exec(arena, "link")


@attack("G1s", "STELE-2026-01", "the same as the interpreter of a script", LEAK, *KEPT)
def script_of_the_host(arena: Arena) -> Outcome:
    return _by_exec(arena, "script")


@attack("G1l", "STELE-2026-01", "the same as the loader of an ELF file", LEAK, *KEPT)
def loader_of_the_host(arena: Arena) -> Outcome:
    return _by_exec(arena, "loader")


@attack(
    "G1r",
    "STELE-2026-02",
    "an entrypoint and a PATH that lead through an fd of init's into a neighbour's root",
    LEAKED_PROC,
    *KEPT,
)
def root_of_a_neighbour(arena: Arena) -> Outcome:
    bundle = arena.bundle(["sleep", "1000"])
    shutil.copy(_host_program(), bundle / "rootfs/bin/neighbours-own")
    neighbour = arena.detached(bundle)
    if RAN not in arena.runtime("exec", neighbour, "neighbours-own", timeout=90).stdout:
        return Outcome(UNKNOWN, "the neighbour does not run")
    pid = arena.runtime.state(neighbour)["pid"]
    path = ":".join(f"/proc/self/fd/{n}/{pid}/root/bin" for n in FDS)
    ran = arena.run(arena.bundle(["neighbours-own"], {"process": {"env": [f"PATH={path}"]}}))
    return ran.outcome("a program in the neighbour's root was executed" if RAN in ran.out else "")


@attack(
    "G1h",
    "STELE-2026-02",
    "a startContainer hook whose path the image makes a link through an fd of init's",
    LEAKED_PROC,
    *KEPT,
    Patch("cshim/init/hook.c", "SYS(__NR_close_range, 3, ~0u, 0);", ""),
)
def hook_of_a_neighbour(arena: Arena) -> Outcome:
    """A hook that runs lets the container run."""
    neighbour = arena.bundle(["sleep", "1000"])
    shutil.copy(_host_program(), neighbour / "rootfs/bin/own")
    pid = arena.runtime.state(arena.detached(neighbour))["pid"]
    for n in FDS:
        bundle = arena.bundle(["echo", "payload ran"], {"hooks": {"startContainer": [{"path": "/bin/hook"}]}})
        (bundle / "rootfs/bin/hook").symlink_to(f"/proc/self/fd/{n}/{pid}/root/bin/own")
        ran = arena.run(bundle)
        if "payload ran" in ran.out:
            return Outcome(BROKEN, f"a program in the neighbour's root was executed through fd {n}")
        if "/bin/hook" not in ran.err:
            return Outcome(UNKNOWN, ran.err)
    (bundle / "rootfs/bin/hook").unlink()
    shutil.copy(_host_program(), bundle / "rootfs/bin/hook")
    return arena.run(bundle).outcome("", "payload ran")
