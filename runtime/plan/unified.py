"""linux.resources.unified: set any cgroup v2 file by name, except those that the container's lifecycle depends on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from runtime.errors import ConfigError

FILE_NAME = re.compile(r"([a-z]+)\.[A-Za-z0-9_.]{1,200}")
CONTROLLERS = frozenset(("cpu", "cpuset", "dmem", "hugetlb", "io", "memory", "misc", "pids", "rdma"))
CORE = frozenset(("cgroup.max.depth", "cgroup.max.descendants", "cgroup.pressure"))
"""The core files that are limits. The others move, kill, freeze or delegate processes, which a config must not do."""


def unified(files: Mapping[str, str]) -> Iterator[tuple[str, str, str, str]]:
    """Plan unified, in order. A value of several lines becomes one write per line, as nested keyed files need.

    Returns:
        (controller, file, line, field).
    Raises:
        ConfigError: the file is unknown or may not be set, or the value is empty.
    """
    for file, value in files.items():
        field = f"linux.resources.unified.{file}"
        match = FILE_NAME.fullmatch(file)
        if not match:
            raise ConfigError(
                field, f"{file!r} is not the name of a cgroup file; use one such as memory.high, without a slash"
            )
        controller = match[1]
        if controller == "cgroup" and file not in CORE:
            raise ConfigError(field, f"only {', '.join(sorted(CORE))} may be set among the cgroup.* files; remove it")
        if controller != "cgroup" and controller not in CONTROLLERS:
            raise ConfigError(
                field, f"unknown cgroup v2 controller {controller!r}; use one of {', '.join(sorted(CONTROLLERS))}"
            )
        lines = [line for line in value.split("\n") if line.strip()]
        if not lines:
            raise ConfigError(field, "is empty; give the text to write")
        for line in lines:
            yield "" if controller == "cgroup" else controller, file, line, field
