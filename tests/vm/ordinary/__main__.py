"""Runs tests inside an ordinary Debian 12: python -m tests.vm.ordinary [PYTEST ARGUMENT...]

The guest has systemd, all controllers of cgroup v2 and root's capabilities. It gets a copy of this tree, built, at the
same path. The output is pytest's, and so is the exit code.

STELE_GUEST_SHELL   a shell command to run there in place of pytest
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from bundles import packages, recipe
from tests.vm.guest import Guest
from tests.vm.machine import REPO, Machine

IMAGES = REPO / "build/vm/ordinary"
SLOWER = 8
"""How many times slower than a person's machine an emulated one may be."""
HOURS = 4 * 3600.0
WHOLE = [
    "tests/kernel", "tests/callers_local", "tests/images", "tests/faults/test_state.py", "tests/faults/test_signals.py",
    "tests/attacks",
]  # fmt: skip
NOT_TAKEN = ["build/vm", "build/vagrant", "build/bench", "build/launcher/pgo"]


def pack(out: Path) -> None:
    """This tree, with what is built and the packages that bundles are made of, as a tar: the guest has no network."""
    for name in recipe.names():
        packages.fetch(recipe.load(name).text["packages"], REPO / "build/cache")
    excluded = [f"--exclude=./{name}" for name in NOT_TAKEN]
    done = subprocess.run(["tar", "--create", "--file", out, "--directory", REPO, *excluded, "."], check=False)
    if done.returncode > 1:  # 1: a file was changed meanwhile
        sys.exit(f"tar cannot copy {REPO}: exit code {done.returncode}")


def unpack(guest: Guest) -> None:
    """Put the tree where it is on this machine."""
    script = (
        f"mkdir -p {REPO} && for disk in /sys/block/vd*; do "
        f'[ "$(cat "$disk/serial")" = var ] && tar -xf "/dev/${{disk##*/}}" -C {REPO} && exit; done; exit 1'
    )
    guest.ok("sh", "-c", script)


def run(arguments: list[str]) -> int:
    """Boot, run, print the output as it comes. Returns the exit code."""
    environment = {"STELE_TEST_PATIENCE": str(SLOWER), "LANG": "C.UTF-8"}
    environment |= {name: value for name, value in os.environ.items() if name.startswith("ATTACK") or name == "FAULTS"}
    shell = os.environ.get("STELE_GUEST_SHELL")
    pytest = ["build/venv/bin/python", "-m", "pytest", "-o", f"faulthandler_timeout={600 * SLOWER}", *arguments]
    with tempfile.TemporaryDirectory(prefix="stele-ordinary-", dir="/var/tmp") as folder:
        tree = Path(folder) / "tree.tar"
        pack(tree)
        disk = f"file={tree},format=raw,readonly=on,cache=unsafe"
        with Machine(
            Path(folder),
            images=IMAGES.resolve(),
            writable=True,
            var=disk,
            target="multi-user.target",
            options="systemd.wants=vm-agent.service",
        ) as machine:
            unpack(machine.guest)
            print(f"the guest booted in {machine.booted_in:.1f} s, {machine.acceleration}", flush=True)
            job = machine.guest.start(*(["sh", "-c", shell] if shell else pytest), cwd=str(REPO), env=environment)
            job.listener = lambda _kind, text: (sys.stdout.buffer.write(text), sys.stdout.flush())
            job.end_input()
            return job.wait(HOURS).code


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:] or WHOLE))
