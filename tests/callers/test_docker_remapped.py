"""Docker's daemon with stele as the default runtime, users remapped, and its cgroups systemd's scopes."""

from __future__ import annotations

from tests.callers.conftest import state
from tests.callers.docker import ROOT, dockerd
from tests.vm.guest import Guest


def test_remapped_users_and_systemd(host: Guest) -> None:
    """userns-remap: root in the container is nobody outside, also for exec; the cgroups are systemd's scopes."""
    flags = ("--userns-remap=vagrant:vagrant", "--exec-opt=native.cgroupdriver=systemd")
    with dockerd(host, *flags) as docker:
        name = docker.start("mapped", "--memory=32m")
        pid = state(host, ROOT, name)["pid"]
        assert host.ok("stat", "-c", "%u:%g", f"/proc/{pid}") == "100000:100000"
        assert host.read(f"/proc/{pid}/cgroup").strip() == f"0::/system.slice/docker-{name}.scope"
        assert host.ok("systemctl", "show", "--property=MemoryMax", f"docker-{name}.scope") == f"MemoryMax={32 << 20}"
        script = "id -u; cat /proc/self/uid_map; touch /x && chown 33:33 /x && stat -c %u /x"
        assert docker("exec", "mapped", "sh", "-c", script).split() == ["0", "0", "100000", "65536", "33"]
        docker("rm", "--force", "mapped")
        assert host.ok("systemctl", "list-units", "--all", "--no-legend", f"docker-{name}.scope") == ""
