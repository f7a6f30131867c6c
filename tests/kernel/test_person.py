"""What a person at the command line is used to from other tools, on containers that run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.harness.bundles import BundleFactory
from tests.harness.runtime import Runtime

SLEEP = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"]
PASSWD = "root:x:0:0::/:/bin/sh\nweb:x:4321:4322::/:/bin/sh\n"
GROUP = "root:x:0:\nweb:x:4322:\nlogs:x:55:web\n"


def test_exec_as_a_user_by_name(stele: Runtime, bundle: BundleFactory) -> None:
    """Names are looked up in the container's files, groups too; its links do not lead out."""
    folder = bundle(SLEEP)
    etc = folder / "rootfs/etc"
    etc.mkdir(exist_ok=True)
    (etc / "passwd.real").write_text(PASSWD)
    (etc / "passwd").unlink(missing_ok=True)
    (etc / "passwd").symlink_to("/../../etc/passwd.real")  # in the container's root, whatever the host has there
    (etc / "group").write_text(GROUP)
    name = stele.detached(folder)
    try:
        said = stele.ok("exec", "-u", "web", name, "sh", "-c", "grep -E '^(Uid|Gid|Groups)' /proc/self/status")
        assert [line.split()[1:] for line in said.splitlines()] == [["4321"] * 4, ["4322"] * 4, ["55", "4322"]]
        assert stele.ok("exec", "-u", "web:logs", name, "id", "-g").split() == ["55"]
        done = stele("exec", "-u", "nobody-here", name, "id")
        assert done.returncode == 255
        assert "the container's /etc/passwd does not have it" in done.stderr
    finally:
        stele.ok("delete", "-f", name)


@pytest.mark.parametrize("target", ["/proc/1/root/etc/passwd", "/proc/self/root/etc/passwd", "/dev/null"])
def test_a_hostile_passwd_of_a_container_is_not_read(stele: Runtime, bundle: BundleFactory, target: str) -> None:
    """The host has a user "daemon"; the container's file leads to the host's, by links that only the kernel follows."""
    folder = bundle(SLEEP)
    (folder / "rootfs/etc").mkdir(exist_ok=True)
    (folder / "rootfs/etc/passwd").unlink(missing_ok=True)
    (folder / "rootfs/etc/passwd").symlink_to(target)
    name = stele.detached(folder)
    try:
        done = stele("exec", "-u", "daemon", name, "id")
        assert (done.returncode, done.stdout) == (255, "")
    finally:
        stele.ok("delete", "-f", name)


def test_several_containers_at_once(stele: Runtime, bundle: BundleFactory) -> None:
    """kill --signal, wait and delete take several IDs; what fails for one is told after the others are done."""
    folder = bundle(SLEEP)
    names = [stele.detached(folder), stele.detached(folder)]
    done = stele("kill", "-s", "TERM", names[0], "none-such", names[1])
    assert done.returncode == 1
    assert 'container "none-such" does not exist' in done.stderr
    said = [json.loads(line) for line in stele("wait", *names).stdout.splitlines()]
    assert [told["id"] for told in said] in (names, [])  # [] if their parent was quicker
    assert 'container "none-such" does not exist' in stele("delete", names[0], "none-such", names[1]).stderr
    assert not set(names) & set(stele.ok("list", "-q").split())


def test_the_id_by_name(stele: Runtime, bundle: BundleFactory, tmp_path: Path) -> None:
    name = stele.id()
    assert stele.ok("run", "--rm", "--name", name, "-b", bundle(["echo", "hello"])) == "hello\n"
    assert name not in stele.ok("list", "-aq").split()
    done = stele("run", "--rm", "--detach", "-b", bundle(SLEEP), name)
    assert (done.returncode, name in stele.ok("list", "-q").split()) == (1, False)
    assert "--rm cannot be used with --detach" in done.stderr
