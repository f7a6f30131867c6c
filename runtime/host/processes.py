"""Other processes, as /proc tells of them."""

from __future__ import annotations

import os

INIT = "stele-init"
"""init's name, and that of its memfd, which is what /proc/PID/exe shows until init has executed the user's program."""


def stat_fields(pid: int) -> tuple[bytes, list[bytes]] | None:
    """The name of a process, and the fields after it, of /proc/PID/stat (proc(5)); None when it is gone.

    Returns:
        the fields from the state letter on: the manual's number 3 is the first.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as f:
            text = f.read(4096)
    except (FileNotFoundError, ProcessLookupError):
        return None
    end = text.rindex(b")")  # the name may hold anything, ")" too
    return text[text.index(b"(") + 1 : end], text[end + 2 :].split()


def executed(pid: int) -> bool:
    """Whether init has executed the user's program in a process that told its end or that; True if nobody knows any more.

    A zombie has its name still, and no /proc/PID/exe. What lives has that before it has its new name (execve(2)).
    """
    found = stat_fields(pid)
    if found is None or found[0] != INIT.encode():
        return True
    try:
        return not os.readlink(f"/proc/{pid}/exe").startswith(f"/memfd:{INIT}")
    except PermissionError:
        return True
    except OSError:
        return False
