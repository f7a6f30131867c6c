"""stele --trace: a launch in microseconds, as recorded by all processes that take part."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from tests.harness.bundles import BundleFactory
from tests.harness.runtime import Runtime


def spans(file: Path) -> list[tuple[str, str, float, float]]:
    """Lane, name, begin and end in microseconds."""
    told = json.loads(file.read_text())["traceEvents"]
    return [(e["cat"], e["name"], e["ts"], e["ts"] + e["dur"]) for e in told if e["ph"] == "X"]


def test_a_run_is_told_from_its_start_to_its_end(stele: Runtime, bundle: BundleFactory, tmp_path: Path) -> None:
    """Every step of the plan is there, in order and without overlap; execve(2) ends the last one."""
    made, file = bundle(["/bin/sh", "-c", "exit 6"], seccomp=True), tmp_path / "trace.json"
    assert stele("--trace", file, "run", "--bundle", made, stele.id()).returncode == 6
    told = spans(file)
    names = [name for lane, name, _, _ in told if lane == "stele"]
    for name in (
        "start of the process", "read and check config.json", "plan", "encode the plan", "make the cgroup",
        "clone into new namespaces, execute init", "start", "wait for the program's end", "delete",
    ):  # fmt: skip
        assert name in names
    planned = json.loads(stele.ok("plan", "--bundle", made, "--json"))["init"]
    steps = [span for span in told if span[0] == "init"]
    assert len(steps) == len(planned)
    assert steps[-1][1].startswith("execute")
    assert all(before[3] <= after[2] + 0.01 for before, after in itertools.pairwise(steps))
    assert all(begin <= end for _, _, begin, end in told)
    assert min(begin for _, _, begin, _ in told) == 0


def test_exec_is_told(stele: Runtime, bundle: BundleFactory, tmp_path: Path) -> None:
    name, file = stele.detached(bundle(["/bin/sleep", "1000"])), tmp_path / "trace.json"
    assert stele("--trace", file, "exec", name, "/bin/sh", "-c", "exit 5").returncode == 5
    names = [name.split(" ")[0] for lane, name, _, _ in spans(file) if lane == "init"]
    assert names[-1] == "execute"
    assert "join" in names
    stele.ok("delete", "--force", name)


def test_a_traced_create_can_be_started_untraced(stele: Runtime, bundle: BundleFactory, tmp_path: Path) -> None:
    """init goes on telling, and nobody minds; a start that is traced hears it."""
    for flags in ([], ["--trace", tmp_path / "start.json"]):
        made, name = bundle(["/bin/sleep", "1000"]), stele.id()
        with (made / "out").open("w") as out:
            assert (
                stele(
                    "--trace", tmp_path / "create.json", "create", "--bundle", made, name, stdout=out, stderr=out
                ).returncode
                == 0
            )
        assert stele(*flags, "start", name).returncode == 0
        assert stele.state(name)["status"] == "running"
        stele.ok("delete", "--force", name)
    assert [name for lane, name, _, _ in spans(tmp_path / "start.json") if lane == "init"][-1].startswith("execute")


@pytest.mark.parametrize("action", ["SCMP_ACT_KILL_PROCESS", "SCMP_ACT_ERRNO"])
def test_a_filter_that_forbids_telling_changes_nothing(
    stele: Runtime, bundle: BundleFactory, tmp_path: Path, action: str
) -> None:
    """With sendmsg and clock_gettime forbidden the program runs as it does untraced."""

    def edit(config: dict[str, Any]) -> None:
        rule = {"names": ["sendmsg", "clock_gettime"], "action": action}
        config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}

    made, file = bundle(["/bin/true"], edit=edit), tmp_path / "trace.json"
    assert stele("--trace", file, "run", "--bundle", made, stele.id()).returncode == 0
    assert any(lane == "init" for lane, _, _, _ in spans(file))


def test_a_failed_step_is_told_as_ever(stele: Runtime, bundle: BundleFactory, tmp_path: Path) -> None:
    made = bundle(["/bin/missing"])
    plain = stele("run", "--bundle", made, stele.id())
    traced = stele("--trace", tmp_path / "trace.json", "run", "--bundle", made, stele.id())
    assert (traced.returncode, traced.stderr) == (plain.returncode, plain.stderr)
    assert spans(tmp_path / "trace.json")
