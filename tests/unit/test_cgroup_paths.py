"""linux.cgroupsPath to a path or a unit."""

from __future__ import annotations

import pytest

from runtime.errors import ConfigError
from runtime.host.cgroups.paths import cgroupfs_path, parent_of_own, slice_path, systemd_unit


@pytest.mark.parametrize(
    ("text", "parent"),
    [
        ("0::/\n", ""),
        ("0::/stele.service\n", ""),
        ("9:pids:/x/y\n1:name=systemd:/z\n0::/user.slice/a b/s.scope\n", "user.slice/a b"),
        ("0::/../outside/of/the/namespace\n", ""),
        ("0::/a/b (deleted)\n", "a"),
        ("9:pids:/x/y\n", ""),
    ],
)
def test_the_parent_of_our_own_cgroup(text: str, parent: str) -> None:
    """Only the line of cgroup2 counts, and only as far as our namespace reaches."""
    assert parent_of_own(text) == parent


@pytest.mark.parametrize(
    ("given", "path"),
    [
        (None, "user.slice/web"),
        ("", "user.slice/web"),
        ("a/b", "user.slice/a/b"),
        ("/a/b", "a/b"),
        ("/a//./b/", "a/b"),
        ("/docker/0123", "docker/0123"),
    ],
)
def test_cgroupfs(given: str | None, path: str) -> None:
    """Absolute counts from the top, relative from the parent of our own cgroup."""
    assert cgroupfs_path(given, "web", "user.slice") == path
    assert cgroupfs_path(given, "web", "") == path.removeprefix("user.slice/")


@pytest.mark.parametrize(
    "given", ["..", "/a/../b", "a/..", "/", ".", "//", "/a\0b", "/a\nb", "/" + "x" * 256, "/x" * 2000]
)
def test_cgroupfs_refused(given: str) -> None:
    """What leaves the hierarchy, names its top or cannot be a name."""
    with pytest.raises(ConfigError, match=r"^linux\.cgroupsPath: ") as e:
        cgroupfs_path(given, "web", "")
    assert len(str(e.value)) < 400 or len(given) > 400


@pytest.mark.parametrize(
    ("given", "rootless", "unit"),
    [
        (None, False, ("system.slice", "stele-web.scope")),
        (None, True, ("user.slice", "stele-web.scope")),
        (":libpod:0a", False, ("system.slice", "libpod-0a.scope")),
        ("machine.slice:libpod:0a", True, ("machine.slice", "libpod-0a.scope")),
        ("kubepods-burstable-pod1_2.slice:cri-containerd:0a", False,
         ("kubepods-burstable-pod1_2.slice", "cri-containerd-0a.scope")),
        ("-.slice::0a", False, ("-.slice", "0a.scope")),
        ("a.slice:ignored:a-b.slice", False, ("a.slice", "a-b.slice")),
    ],
)  # fmt: skip
def test_systemd(given: str | None, rootless: bool, unit: tuple[str, str]) -> None:
    """slice:prefix:name, each part optional but the last."""
    assert systemd_unit(given, "web", rootless=rootless) == unit


@pytest.mark.parametrize(
    "given",
    ["/a/b", "a:b", "a:b:c:d", "x.slice:p:", "x.slice:p:a/b", "x:p:n", "x--y.slice:p:n", "-x.slice:p:n", ".slice:p:n",
     "x.slice:p:n n", "x.slice:p:" + "n" * 250, "x.slice:p:--.slice"],
)  # fmt: skip
def test_systemd_refused(given: str) -> None:
    """What is not a triple, or names that no unit can have."""
    with pytest.raises(ConfigError, match=r"^linux\.cgroupsPath: "):
        systemd_unit(given, "web", rootless=False)


def test_slices_nest_by_their_dashes() -> None:
    """systemd.slice(5)."""
    assert slice_path("a-b-c.slice") == "a.slice/a-b.slice/a-b-c.slice"
    assert slice_path("system.slice") == "system.slice"
    assert slice_path("-.slice") == ""
