"""securityContext, as the container sees it."""

from __future__ import annotations

import json
import re

from tests.callers.kubernetes.kubelet import Pod, Result
from tests.vm.guest import Guest

USUAL_CAPABILITIES = 0xA80425FB
NET_BIND_SERVICE, SYS_TIME = 1 << 10, 1 << 25
NO_MKDIR = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 117}],
}
FILTERED, UNFILTERED = "2", "0"


def status(result: Result) -> dict[str, str]:
    """The fields of /proc/self/status, in what a container wrote."""
    return dict(re.findall(r"^(\w+):\t(.*)$", result.out, re.MULTILINE))


def test_users(pod: Pod) -> None:
    """runAsUser, runAsGroup, supplementalGroups; no capability is effective."""
    ids = {"run_as_user": {"value": 1234}, "run_as_group": {"value": 2345}, "supplemental_groups": [3456, 4567]}
    told = status(pod.run("cat /proc/self/status", security=ids))
    assert (set(told["Uid"].split()), set(told["Gid"].split())) == ({"1234"}, {"2345"})
    assert set(told["Groups"].split()) >= {"3456", "4567"}
    assert int(told["CapEff"], 16) == int(told["CapAmb"], 16) == 0


def test_restricted(pod: Pod) -> None:
    """One capability of all, no new privileges, the default profiles of seccomp and AppArmor, a read-only root."""
    security = {
        "capabilities": {"add_capabilities": ["NET_BIND_SERVICE"], "drop_capabilities": ["ALL"]},
        "no_new_privs": True,
        "readonly_rootfs": True,
        "seccomp": {"profile_type": "RuntimeDefault"},
    }
    done = pod.run(
        "cat /proc/self/status /proc/self/attr/current; mkdir /new; echo x >/proc/sys/kernel/domainname",
        security=security,
    )
    told = status(done)
    assert int(told["CapEff"], 16) == int(told["CapBnd"], 16) == NET_BIND_SERVICE
    assert (told["NoNewPrivs"], told["Seccomp"]) == ("1", FILTERED)
    assert "cri-containerd.apparmor.d (enforce)" in done.out
    assert done.err.count("Read-only file system") == 2, done.err


def test_profiles_devices_and_masks(pod: Pod, host: Guest) -> None:
    """A seccomp profile of the node's, a capability more, a device and no other, masked files and folders."""
    host.write("/run/profiles/no-mkdir.json", json.dumps(NO_MKDIR))
    security = {
        "capabilities": {"add_capabilities": ["SYS_TIME"]},
        "seccomp": {"profile_type": "Localhost", "localhost_ref": "/run/profiles/no-mkdir.json"},
    }
    major, minor = (int(number, 16) for number in host.ok("stat", "-c", "%t %T", "/dev/vdb").split())
    script = f"""
        cat /proc/self/status
        echo masked: $(cat /proc/timer_list /sys/firmware/* 2>&1)
        head -c 1 /dev/given >/dev/null && echo given: read
        mknod /other b {major} {minor} && head -c 1 /other
        mkdir /new
    """
    device = {"container_path": "/dev/given", "host_path": "/dev/vda", "permissions": "r"}
    done = pod.run(script, security=security, devices=[device])
    told = status(done)
    assert int(told["CapEff"], 16) == USUAL_CAPABILITIES | SYS_TIME
    assert (told["NoNewPrivs"], told["Seccomp"]) == ("0", FILTERED)
    assert "masked: cat: can't open '/sys/firmware/*': No such file or directory\ngiven: read\n" in done.out
    assert "head: /other: Operation not permitted" in done.err
    assert "mkdir: can't create directory '/new': Structure needs cleaning" in done.err


def test_privileged(privileged_pod: Pod, host: Guest) -> None:
    """All capabilities, the host's devices, nothing masked, read-only or filtered."""
    script = """
        cat /proc/self/status /proc/self/attr/current
        mkdir /new && mount -t tmpfs none /new && echo mounted
        head -c 1 /dev/vda >/dev/null && echo read
        cat /proc/sys/kernel/domainname >/proc/sys/kernel/domainname && echo written
        mkdir /sys/fs/cgroup/mine && rmdir /sys/fs/cgroup/mine && echo made
        head -n 1 /proc/timer_list
    """
    security = {"privileged": True, "masked_paths": [], "readonly_paths": []}
    done = privileged_pod.run(script, security=security)
    told = status(done)
    last = int(host.read("/proc/sys/kernel/cap_last_cap"))
    assert int(told["CapEff"], 16) == int(told["CapBnd"], 16) == (2 << last) - 1
    assert told["Seccomp"] == UNFILTERED
    assert "\nunconfined\nmounted\nread\nwritten\nmade\nTimer List Version" in done.out, done
