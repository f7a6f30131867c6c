"""The config.json that the recipes start from."""

from __future__ import annotations

from bundles.config import docker_like, seccomp_default


def test_nobody_but_root_holds_capabilities() -> None:
    """uid 0 gets the usual 14 in effect; another user can only gain them through file capabilities, which are off."""
    root = docker_like(["/bin/true"])["process"]
    user = docker_like(["/bin/true"], uid=1000, gid=1000)["process"]
    assert len(root["capabilities"]["effective"]) == 14
    assert "CAP_SYS_ADMIN" not in root["capabilities"]["bounding"]
    assert user["capabilities"]["effective"] == user["capabilities"]["permitted"] == []
    assert user["noNewPrivileges"] is True


def test_seccomp_default_names_each_call_once_and_denies_the_dangerous() -> None:
    """Sorted, so that a change is seen in review; what escapes are made of is absent."""
    names = seccomp_default()["syscalls"][0]["names"]
    assert names == sorted(set(names))
    assert not {
        "mount",
        "setns",
        "unshare",
        "bpf",
        "init_module",
        "kexec_load",
        "keyctl",
        "open_by_handle_at",
        "io_uring_setup",
        "userfaultfd",
        "pidfd_getfd",
    } & {*names}
