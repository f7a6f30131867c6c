"""The README's first command, as a newcomer gives it: python -m tests.vm.ordinary.first_run

Clones this tree's last commit in an ordinary Debian 12 from which what the build needs was removed, and gives `make run`
there. The guest fetches from Debian's mirror and the Python package index, as this machine is set up to reach them: it
gets this machine's list of sources, certificates and index. The output and the exit code are make's.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.vm.guest import Guest
from tests.vm.machine import REPO, Machine
from tests.vm.ordinary.__main__ import HOURS, IMAGES

CLONE = "/root/stele"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
SOURCES = ("/etc/apt/sources.list", "/etc/apt/sources.list.d/debian.sources")
ADDRESSES = (
    "modprobe virtio_net && udevadm settle && cd /sys/class/net && ip link set e* up && ip address add 10.0.2.15/24 dev e* && ip route add default via 10.0.2.2 && "
    "echo nameserver 10.0.2.3 >/etc/resolv.conf"
)
"""What QEMU gives its guest: the address, the way out and the server of names (its manual, "Using the user mode network
stack")."""


def said(*command: str) -> str:
    """What a command of this machine says; nothing where it fails."""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def reach(guest: Guest) -> dict[str, str]:
    """Let the guest fetch from where this machine does. Returns the environment for pip."""
    guest.ok("sh", "-c", ADDRESSES)
    guest.ok("rm", "-rf", *SOURCES)
    for path in SOURCES:
        if Path(path).exists():
            guest.put(Path(path), path)
    fetching = re.findall(r"^Acquire::(?:https?|Check).*", said("apt-config", "dump"), re.MULTILINE)
    guest.write("/etc/apt/apt.conf.d/90fetching", "\n".join([*fetching, ""]))
    guest.put(CERTIFICATES, CERTIFICATES)
    index = said(sys.executable, "-m", "pip", "config", "get", "global.index-url").strip()
    return {"PIP_CERT": str(CERTIFICATES)} | ({"PIP_INDEX_URL": index} if index else {})


def without_build_tools(guest: Guest) -> None:
    """Remove the packages that install-deps.sh installs, except those that the machine needs to run."""
    script = (REPO / "build-aux/install-deps.sh").read_text()
    match = re.search(r'^packages="([^"]*)"', script, re.MULTILINE)
    assert match, "install-deps.sh names no packages"
    kept = {"make", "python3", "ca-certificates"}
    guest.ok("apt-get", "-q", "-y", "purge", *(set(match[1].split()) - kept), env={"DEBIAN_FRONTEND": "noninteractive"})


def run() -> int:
    """Boot, clone, make run. Returns the exit code."""
    with tempfile.TemporaryDirectory(prefix="stele-ordinary-", dir="/var/tmp") as folder:
        bundle = Path(folder) / "commits"
        subprocess.run(["git", "-C", REPO, "bundle", "create", "--quiet", bundle, "HEAD"], check=True)
        disk = Path(folder) / "disk.tar"
        subprocess.run(["tar", "--create", "--file", disk, "--directory", folder, bundle.name], check=True)
        with Machine(
            Path(folder),
            images=IMAGES.resolve(),
            writable=True,
            network=True,
            var=f"file={disk},format=raw,readonly=on,cache=unsafe",
            target="multi-user.target",
            options="systemd.wants=vm-agent.service",
        ) as machine:
            guest = machine.guest
            print(f"the guest booted in {machine.booted_in:.1f} s, {machine.acceleration}", flush=True)
            environment = reach(guest)
            without_build_tools(guest)
            print(f"the build tools are removed; make run in a clone, {CLONE}", flush=True)
            script = (
                f'for disk in /sys/block/vd*; do [ "$(cat "$disk/serial")" = var ] && '
                f'tar -xf "/dev/${{disk##*/}}" -C /tmp && git clone --quiet /tmp/{bundle.name} {CLONE} && exit; done; exit 1'
            )
            guest.ok("sh", "-c", script)
            job = guest.start("make", "run", cwd=CLONE, env=environment)
            job.listener = lambda _kind, text: (sys.stdout.buffer.write(text), sys.stdout.flush())
            job.end_input()
            return job.wait(HOURS).code


if __name__ == "__main__":
    sys.exit(run())
