"""linux.resources to writes, without a kernel."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import ConfigError
from runtime.plan.resources import cpu_weight, plan_resources

GIB = 1 << 30


def planned(resources: dict[str, Any], *, update: bool = False) -> list[tuple[str, str]]:
    return [(w.file, w.value) for w in plan_resources(resources, update=update)]


@pytest.mark.parametrize(
    ("resources", "writes"),
    [
        pytest.param({}, [], id="nothing"),
        pytest.param({"memory": {}, "cpu": {}, "pids": {}, "blockIO": {}, "network": {}}, [], id="empty-objects"),
        pytest.param({"memory": {"limit": GIB}}, [("memory.max", "1073741824")], id="memory"),
        pytest.param(
            {"memory": {"limit": -1}}, [("memory.swap.max", "max"), ("memory.max", "max")], id="memory-unlimited"
        ),
        pytest.param(
            {"memory": {"limit": GIB, "swap": 3 * GIB, "reservation": 5}},
            [("memory.swap.max", "2147483648"), ("memory.max", "1073741824"), ("memory.low", "5")],
            id="swap-counts-memory-too",
        ),
        pytest.param(
            {"memory": {"limit": 5, "swap": 5}}, [("memory.swap.max", "0"), ("memory.max", "5")], id="no-swap"
        ),
        pytest.param(
            {"memory": {"limit": 5, "swap": -1}}, [("memory.swap.max", "max"), ("memory.max", "5")], id="swap-1"
        ),
        pytest.param(
            {"memory": {"limit": -1, "swap": 7}}, [("memory.swap.max", "7"), ("memory.max", "max")], id="swap-as-is"
        ),
        pytest.param(
            {"memory": {"kernel": 1, "kernelTCP": 2, "useHierarchy": True, "disableOOMKiller": False, "swappiness": 0}},
            [],
            id="what-runc-ignores-too",
        ),
        pytest.param({"cpu": {"shares": 1024}}, [("cpu.weight", "100")], id="shares"),
        pytest.param({"cpu": {"quota": 50_000}}, [("cpu.max", "50000 100000")], id="quota"),
        pytest.param({"cpu": {"period": 50_000}}, [("cpu.max", "max 50000")], id="period"),
        pytest.param({"cpu": {"quota": -1, "period": 50_000}}, [("cpu.max", "max 50000")], id="no-quota"),
        pytest.param(
            {"cpu": {"quota": 20_000, "period": 10_000, "burst": 5}},
            [("cpu.max", "20000 10000"), ("cpu.max.burst", "5")],
            id="burst-after-quota",
        ),
        pytest.param({"cpu": {"idle": 1, "shares": 1024}}, [("cpu.idle", "1")], id="idle-has-no-weight"),
        pytest.param(
            {"cpu": {"idle": 0, "shares": 2}}, [("cpu.idle", "0"), ("cpu.weight", "1")], id="weight-after-idle"
        ),
        pytest.param(
            {"cpu": {"cpus": "0-3, 7", "mems": "0"}}, [("cpuset.cpus", "0-3,7"), ("cpuset.mems", "0")], id="cpuset"
        ),
        pytest.param({"pids": {"limit": 0}}, [("pids.max", "1")], id="pids-0-is-a-limit"),
        pytest.param({"pids": {"limit": -1}}, [("pids.max", "max")], id="pids-1"),
        pytest.param(
            {"hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}]},
            [("hugetlb.2MB.max", "4194304"), ("hugetlb.2MB.rsvd.max", "4194304")],
            id="hugepages",
        ),
        pytest.param(
            {"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 0}}},
            [("rdma.max", "mlx5_1 hca_handle=3 hca_object=0")],
            id="rdma",
        ),
        pytest.param(
            {
                "blockIO": {
                    "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 600}],
                    "throttleWriteBpsDevice": [{"major": 8, "minor": 0, "rate": 0}],
                    "throttleReadIOPSDevice": [{"major": 8, "minor": 16, "rate": 7}],
                    "throttleWriteIOPSDevice": [{"major": 259, "minor": 1048575, "rate": 8}],
                }
            },
            [
                ("io.max", "8:0 rbps=600"),
                ("io.max", "8:0 wbps=max"),
                ("io.max", "8:16 riops=7"),
                ("io.max", "259:1048575 wiops=8"),
            ],
            id="throttle",
        ),
        pytest.param(
            {"unified": {"memory.high": "5M", "io.max": "8:0 rbps=1\n8:16 rbps=2\n", "cgroup.max.depth": "3"}},
            [("memory.high", "5M"), ("io.max", "8:0 rbps=1"), ("io.max", "8:16 rbps=2"), ("cgroup.max.depth", "3")],
            id="unified-by-line",
        ),
        pytest.param(
            {"unified": {"memory.max": "7"}, "memory": {"limit": 5}},
            [("memory.max", "5"), ("memory.max", "7")],
            id="unified-has-the-last-word",
        ),
    ],
)
def test_create(resources: dict[str, Any], writes: list[tuple[str, str]]) -> None:
    """What a new cgroup is told, in the order in which the kernel takes it."""
    assert planned(resources) == writes


@pytest.mark.parametrize(
    ("resources", "writes"),
    [
        pytest.param({"cpu": {"period": 50_000}}, [("cpu.max", "= 50000")], id="period-keeps-quota"),
        pytest.param({"cpu": {"quota": 20_000}}, [("cpu.max", "20000 =")], id="quota-keeps-period"),
        pytest.param({"cpu": {"quota": -1}}, [("cpu.max", "max =")], id="no-quota-keeps-period"),
        pytest.param(
            {"cpu": {"quota": 20_000, "burst": 9}},
            [("cpu.max.burst", "0"), ("cpu.max", "20000 ="), ("cpu.max.burst", "9")],
            id="burst-never-above-quota",
        ),
        pytest.param({"cpu": {"burst": 0}}, [("cpu.max.burst", "0")], id="burst-off"),
    ],
)
def test_update(resources: dict[str, Any], writes: list[tuple[str, str]]) -> None:
    """An update leaves what it does not name."""
    assert planned(resources, update=True) == writes


def test_update_of_swap_alone_subtracts_what_the_limit_is_then() -> None:
    """The memory limit is not in the update, so it is read when the update is applied."""
    (write,) = plan_resources({"memory": {"swap": 900}}, update=True)
    assert (write.file, write.value, write.minus) == ("memory.swap.max", "900", "memory.max")


@pytest.mark.parametrize(
    ("resources", "update", "below"),
    [
        ({"memory": {"limit": 9, "checkBeforeUpdate": True}}, True, "memory.current"),
        ({"memory": {"limit": -1, "checkBeforeUpdate": True}}, True, ""),
        ({"memory": {"limit": 9, "checkBeforeUpdate": True}}, False, ""),
        ({"memory": {"limit": 9, "checkBeforeUpdate": False}}, True, ""),
    ],
)
def test_check_before_update(resources: dict[str, Any], update: bool, below: str) -> None:
    """checkBeforeUpdate compares with what is in use, where there can be anything in use."""
    assert plan_resources(resources, update=update)[-1].below == below


def test_weights_of_io_go_to_bfq_where_it_is() -> None:
    """A weight of blkio is BFQ's own; elsewhere io.weight has it on its scale."""
    weights = plan_resources({"blockIO": {"weight": 10, "weightDevice": [{"major": 8, "minor": 0, "weight": 1000}]}})
    assert [(w.file, w.value, w.otherwise, w.field) for w in weights] == [
        ("io.bfq.weight", "10", ("io.weight", "default 1"), "linux.resources.blockIO.weight"),
        ("io.bfq.weight", "8:0 1000", ("io.weight", "8:0 10000"), "linux.resources.blockIO.weightDevice[0]"),
    ]


def test_what_a_kernel_may_lack() -> None:
    """Only where there is nothing to limit is a missing file no error."""
    optional = {w.file: w.optional for w in plan_resources({
        "memory": {"limit": 5, "swap": 5},
        "hugepageLimits": [{"pageSize": "1GB", "limit": 1}],
        "pids": {"limit": 4},
    })}  # fmt: skip
    assert optional == {
        "memory.swap.max": True,
        "memory.max": False,
        "pids.max": False,
        "hugetlb.1GB.max": False,
        "hugetlb.1GB.rsvd.max": True,
    }
    (swap, _) = plan_resources({"memory": {"limit": 5, "swap": 6}})
    assert not swap.optional


@pytest.mark.parametrize(
    ("resources", "path", "words"),
    [
        ({"memory": {"limit": -2}}, "memory.limit", "out of range"),
        ({"memory": {"reservation": -3}}, "memory.reservation", "out of range"),
        ({"memory": {"swap": -2, "limit": 5}}, "memory.swap", "out of range"),
        ({"memory": {"swap": 4, "limit": 5}}, "memory.swap", "below the memory limit 5"),
        ({"memory": {"swap": 4}}, "memory.swap", "needs linux.resources.memory.limit"),
        ({"memory": {"disableOOMKiller": True}}, "memory.disableOOMKiller", "cannot disable"),
        ({"memory": {"swappiness": 60}}, "memory.swappiness", "has no swappiness"),
        ({"cpu": {"realtimeRuntime": 5}}, "cpu.realtimeRuntime", "no realtime limits"),
        ({"cpu": {"realtimePeriod": 5}}, "cpu.realtimePeriod", "no realtime limits"),
        ({"cpu": {"idle": 2}}, "cpu.idle", "neither 0 nor 1"),
        ({"cpu": {"quota": 999}}, "cpu.quota", "1000 microseconds or more"),
        ({"cpu": {"quota": -2}}, "cpu.quota", "out of range"),
        ({"cpu": {"quota": 1 << 44}}, "cpu.quota", "out of range"),
        ({"cpu": {"period": 999}}, "cpu.period", "1000 to 1000000"),
        ({"cpu": {"period": 1_000_001}}, "cpu.period", "1000 to 1000000"),
        ({"cpu": {"quota": 5000, "burst": 5001}}, "cpu.burst", "above the quota 5000"),
        ({"cpu": {"cpus": "0-"}}, "cpu.cpus", "is not a list such as 0-3,7"),
        ({"cpu": {"cpus": "3-1"}}, "cpu.cpus", "is not a list such as 0-3,7"),
        ({"cpu": {"mems": "0\n1"}}, "cpu.mems", "is not a list such as 0-3,7"),
        ({"pids": {"limit": -2}}, "pids.limit", "out of range"),
        ({"blockIO": {"weight": 9}}, "blockIO.weight", "10 to 1000"),
        ({"blockIO": {"weight": 1001}}, "blockIO.weight", "10 to 1000"),
        ({"blockIO": {"leafWeight": 10}}, "blockIO.leafWeight", "no leaf weight"),
        ({"blockIO": {"weightDevice": [{"major": 1, "minor": 1, "leafWeight": 10}]}},
         "blockIO.weightDevice[0].leafWeight", "no leaf weight"),
        ({"blockIO": {"weightDevice": [{"major": 1, "minor": 1, "weight": 5}]}},
         "blockIO.weightDevice[0].weight", "10 to 1000"),
        ({"blockIO": {"throttleReadBpsDevice": [{"major": -1, "minor": 0, "rate": 1}]}},
         "blockIO.throttleReadBpsDevice[0].major", "0 to 4095"),
        ({"blockIO": {"throttleReadBpsDevice": [{"major": 1, "minor": 1 << 20, "rate": 1}]}},
         "blockIO.throttleReadBpsDevice[0].minor", "0 to 1048575"),
        ({"hugepageLimits": [{"pageSize": "2MB/..", "limit": 1}]}, "hugepageLimits[0].pageSize", "is not a page size such as 2MB"),
        ({"rdma": {"a b": {"hcaHandles": 1}}}, "rdma.a b", "is not a device name"),
        ({"rdma": {"mlx": {}}}, "rdma.mlx", "neither hcaHandles nor hcaObjects"),
        ({"network": {"classID": 5}}, "network.classID", "no network classes"),
        ({"network": {"priorities": [{"name": "eth0", "priority": 1}]}}, "network.priorities", "no network classes"),
        ({"unified": {"../memory.max": "1"}}, "unified.../memory.max", "without a slash"),
        ({"unified": {"memory/x.max": "1"}}, "unified.memory/x.max", "without a slash"),
        ({"unified": {"memorymax": "1"}}, "unified.memorymax", "such as memory.high"),
        ({"unified": {"net_cls.classid": "1"}}, "unified.net_cls.classid", "is not the name of a cgroup file"),
        ({"unified": {"devices.allow": "a"}}, "unified.devices.allow", "unknown cgroup v2 controller"),
        ({"unified": {"cgroup.procs": "1"}}, "unified.cgroup.procs", "may be set among the cgroup"),
        ({"unified": {"cgroup.kill": "1"}}, "unified.cgroup.kill", "may be set among the cgroup"),
        ({"unified": {"memory.max": " \n"}}, "unified.memory.max", "is empty"),
    ],
)  # fmt: skip
def test_refused(resources: dict[str, Any], path: str, words: str) -> None:
    """What is out of range or has no counterpart names its field, and says what may stand there."""
    with pytest.raises(ConfigError) as e:
        plan_resources(resources)
    assert e.value.path == f"linux.resources.{path}"
    assert words in e.value.problem


def test_cpu_weight_on_the_points_of_the_published_curve() -> None:
    """The values that runc, crun and the Kubernetes enhancement 2254 name."""
    points = {0: 0, 1: 1, 2: 1, 1024: 100, 2000: 170, 262144: 10000, 1 << 60: 10000}
    assert {shares: cpu_weight(shares) for shares in points} == points


@given(st.integers(2, 262144))
def test_cpu_weight_never_falls(shares: int) -> None:
    """More shares never give less weight, and every weight is one that the kernel takes."""
    assert 1 <= cpu_weight(shares) <= cpu_weight(min(shares + 1, 262144)) <= 10000
