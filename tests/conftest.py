"""Fixtures for every folder of tests; those that need root say so when they are used."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.harness import cgroup2, leaks
from tests.harness.bundles import BundleFactory, busybox_rootfs
from tests.harness.runtime import TOKEN, Runtime
from tests.vm.fixtures import guest, guest_bundle, machine

# Fixtures that tests/vm and tests/callers share: one boot of the test host for both.
__all__ = ["guest", "guest_bundle", "machine"]

FAILED = pytest.StashKey[bool]()

# How long an example takes, or its making, is for the machine to say.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# Root file systems that tests make are for the users in them, too, however closed the files of who runs the tests are.
os.umask(0o022)

# A shell without job control ignores these for what it starts in the background, and so would all that tests start.
for _number, _usual in (
    (signal.SIGHUP, signal.SIG_DFL),
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, _usual)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Remember that a test failed: then its leftovers are removed and not reported a second time."""
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


@pytest.fixture(scope="session")
def cgroup2_root() -> Path:
    """/sys/fs/cgroup as cgroup2, in a mount namespace of this test process's own; this process reaps orphans."""
    if os.geteuid() != 0:
        pytest.fail("kernel tests need root: run them as `make test-kernel` as root", pytrace=False)
    cgroup2.enter()
    if not cgroup2.is_cgroup2():
        pytest.fail(f"{cgroup2.ROOT} is not cgroup2 even in a private mount namespace", pytrace=False)
    leaks.become_subreaper()
    return cgroup2.ROOT


@pytest.fixture(scope="session")
def busybox_master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The busybox root file system that bundles are copied from. Never changed."""
    return busybox_rootfs(tmp_path_factory.mktemp("busybox") / "rootfs")


@pytest.fixture
def bundle(tmp_path: Path, busybox_master: Path) -> BundleFactory:
    """`bundle(args, changes)` makes a bundle; see BundleFactory."""
    return BundleFactory(tmp_path, busybox_master)


@pytest.fixture
def stele(request: pytest.FixtureRequest, cgroup2_root: Path, tmp_path: Path) -> Iterator[Runtime]:
    """`stele("run", ...)` calls the runtime under a --root of its own.

    When the test ends, no process, mount, cgroup or state that it made may be left.
    """
    root = tmp_path / "state"
    root.mkdir(mode=0o700)
    runtime = Runtime(root, f"{os.environ.get(TOKEN, 't')}{uuid.uuid4().hex[:8]}")
    watch = leaks.Watch(runtime)
    yield runtime
    left = watch.left()
    watch.clean()
    if left and not request.node.stash.get(FAILED, False):
        pytest.fail("left behind:\n  " + "\n  ".join(left), pytrace=False)


@pytest.fixture
def leftovers(stele: Runtime) -> leaks.Watch:
    """For a test that looks for leftovers in its middle: `assert leftovers.left() == []`."""
    return leaks.Watch(stele)
