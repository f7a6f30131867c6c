"""Other processes, as /proc tells of them."""

from __future__ import annotations

INIT = "stele-init"
"""The name of init's memfd, which is what /proc/PID/exe shows until init has executed the user's program."""


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
