"""The test host is what stele is made for: nothing in it can be written but /run, /var and /tmp."""

from __future__ import annotations

import pytest

from tests.vm.guest import Guest


@pytest.mark.parametrize(
    "folder", ["/", "/etc", "/usr", "/usr/bin", "/usr/lib/systemd/system", "/root", "/opt", "/home"]
)
def test_root_cannot_be_written(guest: Guest, folder: str) -> None:
    """Nobody, not even root, writes to the host's root or to what is laid over its /usr."""
    for attempt in (["touch", f"{folder}/new"], ["mkdir", f"{folder}/new"], ["ln", "-s", "x", f"{folder}/new"]):
        assert "Read-only file system" in guest.fails(*attempt).stderr


def test_file_systems(guest: Guest) -> None:
    """/ is ext4, read-only; /run is a tmpfs; /var is a disk of its own."""
    mounts = {
        words[0]: words[1:]
        for words in (line.split() for line in guest.ok("findmnt", "-rno", "TARGET,SOURCE,FSTYPE,OPTIONS").splitlines())
    }
    assert mounts["/"][1] == "ext4" and "ro" in mounts["/"][2].split(",")
    assert mounts["/run"][1] == "tmpfs" and "rw" in mounts["/run"][2].split(",")
    assert mounts["/var"][1] == "ext4" and "rw" in mounts["/var"][2].split(",")
    assert mounts["/var"][0].startswith("/dev/vd") and mounts["/var"][0] != mounts["/"][0]


def test_systemd_is_pid_1(guest: Guest) -> None:
    """The first process is systemd, and all its units run."""
    assert guest.ok("cat", "/proc/1/comm") == "systemd"
    assert guest.ok("systemctl", "list-units", "--failed", "--plain", "--no-legend") == ""


def test_cgroups(guest: Guest) -> None:
    """cgroups are v2 alone, with all controllers handed down from the root."""
    assert guest.ok("stat", "-fc", "%T", "/sys/fs/cgroup") == "cgroup2fs"
    assert " - cgroup " not in guest.read("/proc/self/mountinfo")
    wanted = {"cpu", "cpuset", "io", "memory", "pids", "hugetlb", "rdma"}
    assert wanted <= set(guest.read("/sys/fs/cgroup/cgroup.controllers").split())
    assert wanted <= set(guest.read("/sys/fs/cgroup/cgroup.subtree_control").split())


def test_neither_python_nor_a_compiler(guest: Guest) -> None:
    """Nothing in the host could compile, or run Python; stele runs all the same."""
    programs = guest.ok("find", "/usr/bin", "/usr/sbin", "/usr/local", "/opt", "-printf", "%f\n").split()
    wrong = ("python", "gcc", "cc", "c++", "g++", "clang", "tcc", "as", "ld")
    assert [name for name in programs if name.startswith("python") or name in wrong or "-gcc" in name] == []
    assert guest.ok("find", "/usr/lib", "-name", "libpython*", "-o", "-name", "cc1") == ""
    assert "stele" in guest.ok("stele", "--version")
