"""linux.resources.unified: any file of cgroup v2 by its name, but those that the container's life depends on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from runtime.errors import ConfigError

FILE_NAME = re.compile(r"([a-z]+)\.[A-Za-z0-9_.]{1,200}")
CONTROLLERS = frozenset(("cpu", "cpuset", "dmem", "hugetlb", "io", "memory", "misc", "pids", "rdma"))
CORE = frozenset(("cgroup.max.depth", "cgroup.max.descendants", "cgroup.pressure"))
"""The files of the core that are limits. The others move, kill, freeze or delegate processes: not a config's to say."""


def unified(files: Mapping[str, str]) -> Iterator[tuple[str, str, str, str]]:
    """Plan unified, in its order; a value of several lines is a write for each: so nested keyed files want it.

    Returns:
        (controller, file, line, field).
    Raises:
        ConfigError: no file of a cgroup has this name, or it is not to be set so, or the value is empty.
    """
    for file, value in files.items():
        field = f"linux.resources.unified.{file}"
        match = FILE_NAME.fullmatch(file)
        if not match:
            raise ConfigError(field, f"{file!r} is no file of a cgroup; it looks like memory.high, without a slash")
        controller = match[1]
        if controller == "cgroup" and file not in CORE:
            raise ConfigError(field, f"only {', '.join(sorted(CORE))} can be set of the cgroup.* files; remove it")
        if controller != "cgroup" and controller not in CONTROLLERS:
            raise ConfigError(
                field, f"{controller!r} is no cgroup v2 controller; there are {', '.join(sorted(CONTROLLERS))}"
            )
        lines = [line for line in value.split("\n") if line.strip()]
        if not lines:
            raise ConfigError(field, "is empty; say what is to be written")
        for line in lines:
            yield "" if controller == "cgroup" else controller, file, line, field
