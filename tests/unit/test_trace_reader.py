"""What strace tells, read back: only what was written, with the path it went to."""

from __future__ import annotations

import pytest

from tests.vm.trace import written


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param('7 openat(3</run/x>, "f", O_RDONLY|O_CLOEXEC) = 4</run/x/f>', [], id="read"),
        pytest.param(
            '7 openat(3</run/x>, "f", O_WRONLY|O_CREAT, 0600) = 4</run/x/f>', [("openat", "/run/x/f")], id="write"
        ),
        pytest.param('7 openat(AT_FDCWD</>, "/f", O_RDWR) = -1 EROFS (Read-only file system)', [], id="refused"),
        pytest.param(
            '7 openat2(6</>, "self/x", {flags=O_WRONLY|O_CLOEXEC, resolve=RESOLVE_BENEATH}, 24) = 7</7/x>',
            [("openat2", "/7/x")],
            id="openat2",
        ),
        pytest.param('7 openat(4</>, "f", O_WRONLY|O_CREAT, 0600) = 5</f>', [("openat", "//f")], id="detached"),
        pytest.param('7 open_tree(4</a>, "O_RDWR", OPEN_TREE_CLONE) = 5</>', [], id="open-tree"),
        pytest.param('7 mkdir("/run/x", 0700) = 0', [("mkdir", "/run/x")], id="mkdir"),
        pytest.param('7 mkdirat(7</dev>, "pts", 0755) = 0', [("mkdirat", "/dev/pts")], id="mkdirat"),
        pytest.param('7 symlinkat("/proc/self/fd", 7</dev>, "fd") = 0', [("symlinkat", "/dev/fd")], id="symlink"),
        pytest.param(
            '7 renameat(3</r>, "a", 3</r>, "b") = 0', [("renameat", "/r/a"), ("renameat", "/r/b")], id="both-names"
        ),
        pytest.param(
            '7 openat(3</r>, "a", O_RDWR <unfinished ...>\n8 mkdir("/m", 0700) = 0\n7 <... openat resumed>) = 4</r/a>',
            [("mkdir", "/m"), ("openat", "/r/a")],
            id="in-two-parts",
        ),
    ],
)
def test_written(text: str, found: list[tuple[str, str]]) -> None:
    """One call, or two that are woven."""
    assert written(text) == found
