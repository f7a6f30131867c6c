"""Rows of the catalogue that are not run here, and why."""

from __future__ import annotations

SKIPPED = (
    ("B8", "a name in /dev/pts cannot be forged before the terminal is made; A4 and B5 forge all that is around it"),
    ("C11, C16", "daemons and builders: containerd, docker cp"),
    (
        "B16",
        "umount by path: stele unmounts by fd only, and only the old root; seen in the trace of tests/attacks/test_trace.py",
    ),
    ("C8", "cgroup v1's release_agent: stele refuses v1; C7 writes to the v2 mount"),
    ("D10, D14", "Python's tarfile, which stele does not use to unpack; file systems of the kernel"),
)
