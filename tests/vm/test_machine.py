"""The machine as QEMU boots it directly, and the second way to install stele."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.vm.fixtures import GuestBundles
from tests.vm.guest import Guest
from tests.vm.machine import REPO, Machine, image

BOOT_SECONDS = 30.0


def test_boots_quickly(machine: Machine) -> None:
    """The first command can run within 30 seconds: of work, so that a busy machine does not make it slower."""
    assert min(machine.booted_in, machine.boot_work) < BOOT_SECONDS


def test_root_disk_refuses_to_be_writable(guest: Guest) -> None:
    """The root cannot be made writable either: its disk itself refuses."""
    guest.fails("mount", "-o", "remount,rw", "/")
    assert guest.ok("cat", "/sys/block/vda/ro") == "1"
    guest.fails("dd", "if=/dev/zero", "of=/dev/vda", "bs=512", "count=1", "conv=notrunc")


def test_files_in_usr(tmp_path: Path) -> None:
    """stele is also installed as one file in the image's own read-only /usr: no extension, nothing else needed."""
    root = tmp_path / "root.ext4"
    shutil.copyfile(image() / "root.ext4", root)
    write = f"write {REPO}/build/bin/stele /usr/bin/stele\nset_inode_field /usr/bin/stele mode 0100755\n"
    subprocess.run(["debugfs", "-w", "-f", "-", root], input=write, text=True, check=True, capture_output=True)
    with Machine(tmp_path, root=root) as machine:
        guest = machine.guest
        assert "Read-only file system" in guest.fails("touch", "/usr/bin/stele").stderr
        assert guest.ok("systemd-sysext", "list", "--no-legend") == ""
        bundle = GuestBundles(guest)(["echo", "from a file in /usr"])
        assert guest.ok("stele", "run", "--bundle", bundle, "file") == "from a file in /usr"
