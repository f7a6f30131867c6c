"""Published attacks on container runtimes, each run against stele, against what is installed beside it, and against a
build of stele in which the fault was planted, which shows that the attack can succeed."""

from __future__ import annotations


def load() -> None:
    """Register all attacks."""
    from tests.attacks import (  # noqa: F401
        on_copies,
        on_filters,
        on_images,
        on_kernel_mounts,
        on_mounts,
        on_names,
        on_owners,
        on_privileges,
        on_services,
        on_the_host,
        on_the_runtime,
        on_words,
        races,
    )
