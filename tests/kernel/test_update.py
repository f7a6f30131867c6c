"""update: limits of a running container are changed, merged with what is set, and kept whole when the kernel refuses.

A controller that cgroup v2 does not have on this machine is named in an error instead.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.harness import cgroup2
from tests.harness.bundles import BundleFactory
from tests.harness.runtime import Runtime

MEGA = 1 << 20


def pages(megabytes: int) -> dict[str, Any]:
    return {"hugepageLimits": [{"pageSize": "2MB", "limit": megabytes * MEGA}]}


@pytest.fixture
def limited(stele: Runtime, bundle: BundleFactory) -> Any:
    """A running container with 4 MiB of huge pages and at most 9 cgroups in it; (name, its cgroup)."""
    resources = {**pages(4), "unified": {"cgroup.max.descendants": "9"}}
    name = stele.detached(bundle(["sleep", "1000"], {"linux": {"resources": resources}}))
    (folder,) = (path for path in cgroup2.named(stele.token) if path.name == name)
    yield name, folder
    stele.ok("delete", "--force", name)


def resources_in_state(stele: Runtime, name: str) -> dict[str, Any]:
    state: dict[str, Any] = json.loads((stele.root / name / "state.json").read_text())["config"]["linux"]["resources"]
    return state


@pytest.mark.parametrize("how", ["file", "stdin", "stdin="])
def test_resources_of_a_document(stele: Runtime, limited: tuple[str, Path], tmp_path: Path, how: str) -> None:
    """containerd sends --resources=- and the document on stdin, CRI-O and Podman the other two forms."""
    name, folder = limited
    text = json.dumps(pages(8))
    if how == "file":
        (tmp_path / "r.json").write_text(text)
        stele.ok("update", "--resources", tmp_path / "r.json", name)
    elif how == "stdin":
        stele.ok("update", "--resources", "-", name, input=text)
    else:
        stele.ok("update", "--resources=-", name, input=text)
    assert (folder / "hugetlb.2MB.max").read_text() == f"{8 * MEGA}\n"
    assert (folder / "cgroup.max.descendants").read_text() == "9\n", "what is not named stays"


def test_the_state_knows_the_merged_limits(stele: Runtime, limited: tuple[str, Path]) -> None:
    """... so that a later command sees what is in effect, and never a rule for devices that is not."""
    name, _ = limited
    devices = resources_in_state(stele, name)["devices"]
    update = {**pages(8), "unified": {"cgroup.max.depth": "7"}, "devices": [{"allow": True, "access": "rwm"}]}
    stele.ok("update", "-r", "-", name, input=json.dumps(update))
    now = resources_in_state(stele, name)
    assert now["hugepageLimits"] == pages(8)["hugepageLimits"]
    assert now["unified"] == {"cgroup.max.descendants": "9", "cgroup.max.depth": "7"}
    assert now["devices"] == devices


def test_a_device_stays_forbidden(stele: Runtime, limited: tuple[str, Path]) -> None:
    """An update never touches device rules."""
    name, _ = limited
    rule = {"devices": [{"allow": True, "type": "c", "major": 1, "minor": 1, "access": "rwm"}]}
    stele.ok("update", "-r", "-", name, input=json.dumps(rule))
    done = stele("exec", name, "sh", "-c", "mknod /tmp/mem c 1 1; head -c 1 /tmp/mem")
    assert "/tmp/mem: Operation not permitted" in done.stderr


def test_a_refused_update_changes_nothing(stele: Runtime, limited: tuple[str, Path]) -> None:
    name, folder = limited
    before = resources_in_state(stele, name)
    update = {**pages(8), "unified": {"cgroup.max.depth": "7", "cgroup.max.descendants": "many"}}
    done = stele("update", "-r", "-", name, input=json.dumps(update))
    assert done.returncode == 1
    assert done.stderr.startswith("linux.resources.unified.cgroup.max.descendants: cannot write 'many' to cgroup.max.")
    values = [(folder / f).read_text() for f in ("hugetlb.2MB.max", "cgroup.max.depth", "cgroup.max.descendants")]
    assert values == [f"{4 * MEGA}\n", "max\n", "9\n"]
    assert resources_in_state(stele, name) == before


@pytest.mark.parametrize(
    ("flag", "given", "field", "file", "value"),
    [
        ("--memory", "64m", "memory.limit", "memory.max", f"{64 * MEGA}"),
        ("--memory-reservation", "1g", "memory.reservation", "memory.low", f"{1024 * MEGA}"),
        ("--cpu-period", "50000", "cpu.period", "cpu.max", "max 50000"),
        ("--cpu-share", "512", "cpu.shares", "cpu.weight", "59"),
        ("--cpuset-cpus", "0", "cpu.cpus", "cpuset.cpus", "0"),
        ("--cpu-idle", "1", "cpu.idle", "cpu.idle", "1"),
        ("--pids-limit", "5", "pids.limit", "pids.max", "5"),
        ("--blkio-weight", "50", "blockIO.weight", "io.weight", "default 405"),
    ],
    ids=lambda v: v if v.startswith("--") else "",
)
def test_a_flag_is_a_limit(
    stele: Runtime, limited: tuple[str, Path], flag: str, given: str, field: str, file: str, value: str
) -> None:
    """Each flag ends in its file; a controller that this machine lacks is said of the field."""
    name, folder = limited
    done = stele("update", flag, given, name)
    controller = file.partition(".")[0]
    if controller in cgroup2.controllers():
        assert (done.returncode, done.stderr) == (0, "")
        if file == "io.weight" and (folder / "io.bfq.weight").exists():  # then the weight is BFQ's own, unconverted
            file, value = "io.bfq.weight", given
        assert (folder / file).read_text() == f"{value}\n"
    else:
        assert done.returncode == 1
        assert f'linux.resources.{field}: needs the cgroup controller "{controller}"' in done.stderr


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--cpu-rt-period", "50"], "cgroup v2 has no realtime limits"),
        (["--l3-cache-schema", "L3:0=f"], "was created without linux.intelRdt"),
        (["--memory", "lots"], 'invalid value "lots" for --memory'),
        (["--cpu-quota", "1x"], 'invalid value "1x" for --cpu-quota'),
    ],
    ids=lambda v: v[0] if isinstance(v, list) else "",
)
def test_a_flag_that_says_nothing_usable(
    stele: Runtime, limited: tuple[str, Path], words: list[str], text: str
) -> None:
    """One sentence tells what is wrong with it."""
    name, _ = limited
    done = stele("update", *words, name)
    assert done.returncode == 1
    assert text in done.stderr


def test_flags_beside_a_document_are_ignored(stele: Runtime, limited: tuple[str, Path]) -> None:
    name, folder = limited
    stele.ok("update", "--memory", "1", "-r", "-", name, input=json.dumps(pages(6)))
    assert (folder / "hugetlb.2MB.max").read_text() == f"{6 * MEGA}\n"


def test_what_cgroup_v2_has_not_is_taken_without_a_word(stele: Runtime, limited: tuple[str, Path]) -> None:
    name, _ = limited
    assert stele.ok("update", "--kernel-memory", "1m", "--kernel-memory-tcp", "1m", name) == ""


def test_a_document_with_a_fault(stele: Runtime, limited: tuple[str, Path]) -> None:
    name, _ = limited
    for text, said in (
        ("{", "not valid JSON"),
        ('{"cpu": {"quota": "1"}}', "cpu.quota: must be an integer"),
        ("[]", "must hold a JSON object"),
    ):
        done = stele("update", "-r", "-", name, input=text)
        assert (done.returncode, said in done.stderr) == (1, True), done.stderr


def test_only_what_lives_is_updated(stele: Runtime, bundle: BundleFactory) -> None:
    name = stele.detached(bundle(["true"]))
    stele.wait_stopped(name)
    done = stele("update", "-r", "-", name, input="{}")
    assert (done.returncode, "container not running" in done.stderr) == (1, True)
    stele.ok("delete", name)
