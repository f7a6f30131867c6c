"""Seccomp programs for the containers below one --root, with a cache."""

from __future__ import annotations

import os
from collections.abc import Callable

from runtime.host.seccomp import open_cache, program
from runtime.plan.seccomp import SeccompRules


def compiler(root: str) -> Callable[[SeccompRules], bytes]:
    """Return a function that compiles rules or takes them from the cache; planning calls it if there are any."""

    def compile_rules(rules: SeccompRules) -> bytes:
        root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        cache = open_cache(root_fd)
        try:
            return program(rules, cache)
        finally:
            os.close(root_fd)
            if cache is not None:
                os.close(cache)

    return compile_rules
