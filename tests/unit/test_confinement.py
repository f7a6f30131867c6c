"""`features` tells what confines containers here, as the kernel says it."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.host import confinement as module
from runtime.host.features import host_features
from runtime.oci.constants import CAPABILITIES


def told(name: str) -> str:
    annotation: str = host_features()["annotations"][f"org.stele.confinement.{name}"]
    return annotation


def test_the_kernels_own_words() -> None:
    """Seccomp's actions are those that the kernel lists."""
    assert told("seccomp.actions") == Path("/proc/sys/kernel/seccomp/actions_avail").read_text().strip()
    assert told("init") == "sealed-memfd"


@pytest.mark.parametrize(
    ("held", "devices"),
    [(("BPF",), "none"), (("BPF", "NET_ADMIN"), "cgroup-bpf"), (("SYS_ADMIN",), "cgroup-bpf"), ((), "none")],
)
def test_device_rules_need_rights(monkeypatch: pytest.MonkeyPatch, held: tuple[str, ...], devices: str) -> None:
    """bpf(2): CAP_BPF and CAP_NET_ADMIN, or CAP_SYS_ADMIN."""
    mask = sum(1 << CAPABILITIES[f"CAP_{name}"] for name in held)
    monkeypatch.setattr(module, "capabilities", lambda: mask)
    assert told("devices") == devices


@pytest.mark.parametrize(
    ("files", "who"),
    [
        ({"max_user_namespaces": "0"}, "off"),
        ({"max_user_namespaces": "100", "unprivileged_userns_clone": "0"}, "root"),
        ({"max_user_namespaces": "100", "apparmor_restrict_unprivileged_userns": "1"}, "root"),
        ({"max_user_namespaces": "100"}, "all"),
    ],
)
def test_user_namespaces(monkeypatch: pytest.MonkeyPatch, files: dict[str, str], who: str) -> None:
    """Each of the switches."""
    monkeypatch.setattr(module, "_first_line", lambda path: files.get(path.rpartition("/")[2], ""))
    assert told("user-namespaces") == who
