"""Nothing of the host is written but --root, --store and cgroupfs."""

from __future__ import annotations

import json
import re

import pytest

from tests.vm import tiny
from tests.vm.fixtures import GuestBundles
from tests.vm.guest import Guest
from tests.vm.trace import STRACE, written

ROOT, STORE = "/run/traced", "/var/lib/traced"
TRACE = "/run/trace"
# A life, all of it below one strace, which ends when the container has.
LIFE = """
stele="stele --root $1 --store $2 $3"
$stele create --pid-file $4 $5 life $6
$stele start life
$stele exec life $7 0
$stele kill life KILL
until $stele state life | grep -q stopped; do sleep 0.1; done
$stele delete life
"""
ARCHIVE = "/var/lib/tiny.tar"
IMAGE_LIFE = f"""
stele="stele --root $1 --store $2 $3"
$stele image import --quiet docker-archive:{ARCHIVE} tiny
{LIFE}
$stele image rm tiny
$stele image gc --grace-period 0m
"""
# procfs is not a file of the host: a process may set what the kernel does with itself, no more.
OF_ITSELF = re.compile(r"(/proc)?/\d+/(oom_score_adj|attr/(apparmor/)?exec)")
# Made at the root of a mount that is nowhere mounted yet. At the host's own root, which looks the same, nothing can be.
DETACHED = "//"
DEVICE = re.compile(r"/dev/(null|tty)<char .*>")  # written to, it changes nothing


def life(
    guest: Guest,
    bundle: str,
    *flags: str,
    pid_file: str = f"{ROOT}/pid",
    script: str = LIFE,
    source: tuple[str, str, str] = ("--bundle=.", "", "sleep"),
) -> list[str]:
    """Trace a life; returns what was written of the host outside of --root, --store and cgroupfs.

    Args:
        source: what `create` makes the container of, its program, and that of `exec`.
    """
    guest.ok("mkdir", "-p", ROOT)
    words = ["sh", "-euc", script, "life", ROOT, STORE, " ".join(flags), pid_file, *source]
    guest.ok(*STRACE, TRACE, *words, cwd=bundle)
    writes = written(guest.read(TRACE))
    assert ("mkdir", f"{ROOT}/life") in writes  # the trace has seen it
    config = json.loads(guest.read(f"{bundle}/config.json"))
    # What the container's own file systems hold is not the host's.
    own = [config["root"]["path"] + mount["destination"] for mount in config["mounts"]]
    return [
        f"{call} {path}"
        for call, path in writes
        if path != STORE
        and not path.startswith((f"{ROOT}/", f"{STORE}/", "/sys/fs/cgroup/", *(f"{mount}/" for mount in own)))
        and not path.startswith(DETACHED)
        and not OF_ITSELF.fullmatch(path)
        and not DEVICE.fullmatch(path)
    ]


@pytest.mark.parametrize("flags", [(), ("--systemd-cgroup",)], ids=["cgroupfs", "systemd"])
def test_nothing_else_is_written(guest: Guest, guest_bundle: GuestBundles, flags: tuple[str, ...]) -> None:
    """create, start, exec, kill and delete write nothing outside of --root, --store and cgroupfs."""
    limits = {"memory": {"limit": 64 << 20}, "pids": {"limit": 32}}
    path = "system.slice:stele:life" if flags else "/life"
    bundle = guest_bundle(["sleep", "1000"], {"linux": {"resources": limits, "cgroupsPath": path}})
    assert life(guest, bundle, *flags) == []


def test_of_an_image(guest: Guest, guest_bundle: GuestBundles) -> None:
    """Nor does an image's import, a container of it, and the removal of both."""
    guest.write(ARCHIVE, tiny.docker_archive())
    bundle = guest_bundle(["unused"])
    assert life(guest, bundle, script=IMAGE_LIFE, source=("--image=tiny", "/sleep 1000", "/sleep")) == []
    assert (
        guest.ok("find", ROOT, f"{STORE}/blobs", f"{STORE}/layers", "-type", "f", "-not", "-path", "*/.cache/*")
        == f"{ROOT}/pid"
    )


def test_what_is_written_is_seen(guest: Guest, guest_bundle: GuestBundles) -> None:
    """A file that the caller wants elsewhere is found: so the trace does see what is written."""
    bundle = guest_bundle(["sleep", "1000"])
    assert life(guest, bundle, pid_file="/run/outside") == [
        "openat /run/.outside",
        "rename /run/.outside",
        "rename /run/outside",
    ]
