"""What a program and all its children write, by path, as strace saw it: `strace -f -qq -yy -e trace=%file -o FILE`.

Only what succeeded counts: files opened so that they can be written, and names made, changed or removed. Writes through
an fd are not looked at, because an open came before them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

STRACE = ("strace", "-f", "-qq", "-yy", "-s", "4096", "-e", "trace=%file", "-e", "signal=none", "-o")
LINE = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\w+)(?:<(.*)>)?.*")
UNFINISHED = re.compile(r"(\d+) +(\w+\(.*?) *<unfinished \.\.\.>")
RESUMED = re.compile(r"(\d+) +<\.\.\. \w+ resumed>(.*)")
FOR_WRITING = re.compile(r"\bO_(WRONLY|RDWR|CREAT|TRUNC|TMPFILE)\b")
NAMED = re.compile(r'(?:(?:AT_FDCWD|\d+)<(?P<at>[^>]*)>, )?"(?P<name>(?:[^"\\]|\\.)*)"')

# How many paths each of them changes: the last ones of its arguments.
CHANGES = {
    "mkdir": 1, "mkdirat": 1, "rmdir": 1, "unlink": 1, "unlinkat": 1, "mknod": 1, "mknodat": 1, "symlink": 1,
    "symlinkat": 1, "link": 1, "linkat": 1, "rename": 2, "renameat": 2, "renameat2": 2, "truncate": 1, "chmod": 1,
    "fchmodat": 1, "fchmodat2": 1, "chown": 1, "lchown": 1, "fchownat": 1, "utime": 1, "utimes": 1, "utimensat": 1,
    "setxattr": 1, "lsetxattr": 1, "removexattr": 1, "lremovexattr": 1, "creat": 1,
}  # fmt: skip


def whole_lines(text: str) -> Iterator[str]:
    """The lines, with each call that strace printed in two parts put together."""
    begun: dict[str, str] = {}
    for line in text.splitlines():
        if match := UNFINISHED.fullmatch(line):
            begun[match[1]] = match[2]
        elif match := RESUMED.fullmatch(line):
            yield f"{match[1]} {begun.pop(match[1])}{match[2]}"
        else:
            yield line


def written(text: str) -> list[tuple[str, str]]:
    """Each write: the call, and the path it went to, in the order they ended."""
    found: list[tuple[str, str]] = []
    for line in whole_lines(text):
        match = LINE.fullmatch(line)
        if not match or match[4].startswith("-"):
            continue
        call, arguments, path = match[2], match[3], match[5]
        if call.startswith("open") and call != "open_tree" and FOR_WRITING.search(arguments):
            named = NAMED.search(arguments)
            # A file made in a mount that is nowhere mounted has a path that begins there: report it as other calls are.
            detached = named and named["at"] == "/" and not named["name"].startswith("/") and "O_CREAT" in arguments
            found.append((call, f"//{named['name']}" if named and detached else path))
        elif call in CHANGES:
            names = [(m["at"], m["name"]) for m in NAMED.finditer(arguments)][-CHANGES[call] :]
            found += [(call, name if name.startswith("/") else f"{at}/{name}") for at, name in names]
    return found
