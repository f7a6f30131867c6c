"""Groups of resctrl, on a directory tree: no processor here has them, so what the kernel does with it is not seen.

The tree's double of mkdir(2) and rmdir(2) makes and removes a group's files, as the kernel's does.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import ConfigError, HostError
from runtime.host import resctrl
from runtime.plan import model
from runtime.plan.resctrl import plan_resctrl


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A resctrl file system with nothing but its root group."""
    real, real_rmdir = os.mkdir, os.rmdir

    def fill(group: Path) -> None:
        (group / "tasks").write_text("")
        if group.parent.name != "mon_groups":
            (group / "schemata").write_text("    L3:0=7ff;1=7ff\n    MB:0=100;1=100\n")
            real(group / "mon_groups")

    def mkdir(path: str, mode: int = 0o777) -> None:
        real(path, mode)
        fill(Path(path))

    def rmdir(path: str) -> None:
        for folder, folders, files in os.walk(path, topdown=False):
            for name in files:
                os.unlink(f"{folder}/{name}")
            for name in folders:
                real_rmdir(f"{folder}/{name}")
        real_rmdir(path)

    root = tmp_path / "resctrl"
    root.mkdir()
    fill(root)
    monkeypatch.setattr(os, "mkdir", mkdir)
    monkeypatch.setattr(os, "rmdir", rmdir)
    monkeypatch.setattr(resctrl, "ROOT", str(root))
    return root


def planned(**rdt: Any) -> model.Resctrl:
    made = plan_resctrl(rdt, "c1")
    assert made
    return made


@pytest.mark.parametrize(
    ("rdt", "plan"),
    [
        ({}, None),
        ({"closID": "", "l3CacheSchema": "", "schemata": [], "enableCMT": False}, None),
        ({"closID": "gold"}, model.Resctrl("gold", True, "", "", "")),
        ({"closID": "/"}, model.Resctrl("", True, "", "", "")),
        ({"l3CacheSchema": "L3:0=f"}, model.Resctrl("c1", False, "L3:0=f\n", "", "")),
        # "the value written MUST be the non-MB: line(s) from l3CacheSchema and the line from memBWSchema"
        (
            {"l3CacheSchema": "L3:0=f\nMB:0=1", "memBwSchema": "MB:0=20"},
            model.Resctrl("c1", False, "L3:0=f\nMB:0=20\n", "", ""),
        ),
        ({"l3CacheSchema": "L3:0=f\nMB:0=1"}, model.Resctrl("c1", False, "L3:0=f\nMB:0=1\n", "", "")),
        (
            {"closID": "x", "memBwSchema": "MB:0=20", "schemata": ["L2:0=f", "MB:0=30\nL3:0=1"]},
            model.Resctrl("x", True, "MB:0=20\n", "L2:0=f\nMB:0=30\nL3:0=1\n", ""),
        ),
        ({"enableMonitoring": True}, model.Resctrl("c1", False, "", "", "c1")),
        ({"enableCMT": True, "closID": "x"}, model.Resctrl("x", True, "", "", "c1")),
        ({"enableMBM": True, "closID": "x"}, model.Resctrl("x", True, "", "", "c1")),
    ],
)
def test_plan(rdt: dict[str, Any], plan: model.Resctrl | None) -> None:
    assert plan_resctrl(rdt, "c1") == plan


@pytest.mark.parametrize(
    ("rdt", "field"),
    [
        *(({"closID": name}, "closID") for name in ("..", ".", "a/b", "/a", "info", "mon_groups", "mon_data", "a\nb")),
        ({"memBwSchema": "L3:0=f"}, "memBwSchema"),
        ({"memBwSchema": "MB:0=5\nMB:1=5"}, "memBwSchema"),
    ],
)
def test_what_is_no_group_and_no_schema(rdt: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plan_resctrl(rdt, "c1")
    assert str(caught.value).startswith(f"linux.intelRdt.{field}: ")


def test_a_group_of_the_containers_own(tree: Path) -> None:
    """Made, shared out, joined, watched, and removed with the container."""
    plan = planned(l3CacheSchema="L3:0=f", schemata=["MB:0=20"], enableMonitoring=True)
    chosen = resctrl.choose(plan)
    assert chosen == {"group": f"{tree}/c1", "made": True, "monitor": f"{tree}/c1/mon_groups/c1"}
    assert not (tree / "c1").exists(), "choose changes nothing"
    resctrl.prepare(chosen, plan)
    assert (tree / "c1/schemata").read_text().startswith("MB:0=20\n"), "schemata is written last"
    resctrl.join(chosen, 4711)
    assert (tree / "c1/tasks").read_text() == (tree / "c1/mon_groups/c1/tasks").read_text() == "4711"
    for tasks in tree.glob("c1/**/tasks"):
        tasks.write_text("")  # it ended
    resctrl.remove(chosen)
    assert not (tree / "c1").exists()
    resctrl.remove(chosen)


def test_a_group_of_others_stays(tree: Path) -> None:
    os.mkdir(str(tree / "gold"))
    chosen = resctrl.choose(planned(closID="gold", enableMonitoring=True))
    resctrl.prepare(chosen, planned(closID="gold", enableMonitoring=True))
    resctrl.remove(chosen)
    assert (tree / "gold/schemata").exists()
    assert not (tree / "gold/mon_groups/c1").exists()


def test_a_group_that_others_joined_meanwhile_stays(tree: Path) -> None:
    """Two containers of one closID: the end of the first must not move the second to the root group."""
    plan = planned(closID="gold", memBwSchema="MB:0=20")
    chosen = resctrl.choose(plan)
    resctrl.prepare(chosen, plan)
    (tree / "gold/tasks").write_text("4712\n")
    resctrl.remove(chosen)
    assert (tree / "gold").exists()


@pytest.mark.parametrize("rdt", [{"memBwSchema": "MB:0=50"}, {"closID": "/", "enableMonitoring": True}])
def test_groups_of_a_container_of_the_same_id_below_another_root(tree: Path, rdt: dict[str, Any]) -> None:
    """They are neither joined while its processes are in them nor removed with ours."""
    plan = planned(**rdt)
    others = resctrl.choose(plan)
    resctrl.prepare(others, plan)
    ours = dict(others)  # made when the other was not there yet
    resctrl.join(others, 4711)
    with pytest.raises(HostError, match="of a container with the same ID in another --root"):
        resctrl.choose(plan)
    resctrl.remove(ours)
    assert Path(others["monitor"] or others["group"], "tasks").read_text() == "4711"


def test_the_root_group(tree: Path) -> None:
    chosen = resctrl.choose(planned(closID="/"))
    assert chosen == {"group": str(tree), "made": False, "monitor": ""}
    resctrl.prepare(chosen, planned(closID="/"))
    resctrl.join(chosen, 5)
    assert (tree / "tasks").read_text() == "5"
    resctrl.remove(chosen)
    assert tree.exists()


@pytest.mark.parametrize(
    ("rdt", "said"),
    [
        ({"closID": "silver"}, 'closID "silver": there is no such group'),
        (
            {"closID": "gold", "l3CacheSchema": "L3:0=7fe"},
            'the group "gold" exists with another schema (L3:0 differs)',
        ),
        ({"closID": "gold", "memBwSchema": "MB:1=100;2=100"}, "(MB:2 differs)"),
    ],
)
def test_a_group_that_does_not_fit(tree: Path, rdt: dict[str, Any], said: str) -> None:
    os.mkdir(str(tree / "gold"))
    with pytest.raises(HostError) as caught:
        resctrl.choose(planned(**rdt))
    assert str(caught.value).startswith("linux.intelRdt")
    assert said in str(caught.value)


def test_a_group_that_fits_however_it_is_written(tree: Path) -> None:
    os.mkdir(str(tree / "gold"))
    chosen = resctrl.choose(planned(closID="gold", l3CacheSchema="L3:1=07FF", memBwSchema="MB:0=100"))
    assert chosen["made"] is False


def test_a_refusal_quotes_the_kernel(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(closID="gold", schemata=["L3:0=0"])
    chosen = resctrl.choose(plan)
    os.makedirs(tree / "info")
    (tree / "info/last_cmd_status").write_text("Mask out of range\n")
    resctrl.prepare(chosen, planned(closID="gold"))
    (tree / "gold/schemata").unlink()
    with pytest.raises(HostError) as caught:
        resctrl.prepare(chosen, plan)
    assert str(caught.value) == (
        "linux.intelRdt: the kernel refused 'L3:0=0': no such file or directory (Mask out of range)"
    )


def test_another_schema_is_taken_back_when_the_rest_fails(tree: Path) -> None:
    os.mkdir(str(tree / "gold"))
    chosen = resctrl.choose(planned(closID="gold"))
    with resctrl.changed(chosen, "L3:0=1\n"):
        assert (tree / "gold/schemata").read_text().startswith("L3:0=1\n")
    (tree / "gold/schemata").write_text("L3:0=1\n")
    with pytest.raises(ValueError), resctrl.changed(chosen, "L3:0=2\n"):
        raise ValueError
    assert (tree / "gold/schemata").read_text() == "L3:0=1\n"


def test_without_resctrl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resctrl, "ROOT", str(tmp_path))
    with pytest.raises(HostError, match="no resctrl file system is mounted"):
        resctrl.choose(planned(closID="gold"))
