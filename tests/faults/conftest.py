"""Every test here runs as root, on the real kernel, with cgroup2 on a /sys/fs/cgroup of its own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _private_cgroup2(cgroup2_root: Path) -> None:
    """Enter the private mount namespace before anything of a test runs."""
