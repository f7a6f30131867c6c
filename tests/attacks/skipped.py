"""Rows of the catalogue that are not run here, and why."""

from __future__ import annotations

SKIPPED = (
    ("A9", "netlink between runtime and init (runc): stele's plan has 32-bit lengths; tests/fuzz cuts and bends them"),
    ("B8", "a name in /dev/pts cannot be forged before the terminal is made; A4 and B5 forge all that is around it"),
    ("B11", "the krun handler of crun, which stele has not"),
    ("B12, B14, C6, C11, C15, C16", "daemons and builders: containerd, cri-o, buildah, buildkit, docker cp"),
    ("B15", "checkpoint and restore: stele has none"),
    (
        "B16",
        "umount by path: stele unmounts by fd only, and only the old root; seen in the trace of tests/attacks/test_trace.py",
    ),
    ("C3", "rkt enter, kata: C3 is run as exec's confinement"),
    ("C8", "cgroup v1's release_agent: stele refuses v1; C7 writes to the v2 mount"),
    ("D", "unpackers: tests of runtime/images"),
)
