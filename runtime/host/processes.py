"""Other processes, as /proc tells of them."""

from __future__ import annotations

import os
import re

INIT = "stele-init"
"""init's name, and that of its memfd, which is what /proc/PID/exe shows until init has executed the user's program."""


_STAT = re.compile(
    rb"\d+ \((?P<name>.*)\) (?P<state>\S) (?P<parent>\d+) (?:\S+ ){4}(?P<flags>\d+) (?:\S+ ){12}(?P<start>\d+) "
    rb"(?:\S+ ){29}(?P<status>\d+)",
    re.DOTALL,
)
"""proc(5), fields 2, 3, 4, 9, 22 and 52; the name may hold anything, ")" too. The counters between them are passed over:
as objects they would be more or fewer by what they count, and the snapshot is to be the same each time."""


def stat_of(pid: int) -> re.Match[bytes] | None:
    """What /proc/PID/stat (proc(5)) tells of a process; None when it is gone.

    Returns:
        the groups name, state (a letter), parent, flags, start (time) and (wait) status.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as f:
            return _STAT.match(f.read(4096))
    except (FileNotFoundError, ProcessLookupError):
        return None


def signal_name(number: int) -> str:
    """As "SIGKILL"; of real-time signals, which have no name of their own, as "SIGRTMIN+6"."""
    import signal

    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"


def is_init(pid: int) -> bool:
    """Whether a process has init's executable still, not the user's. Raises OSError: it is not ours to look at, or a zombie."""
    return os.readlink(f"/proc/{pid}/exe").startswith(f"/memfd:{INIT}")


def executed(pid: int) -> bool:
    """Whether init has executed the user's program in a process that told its end or that; True if nobody knows any more.

    A zombie has its name still, and no /proc/PID/exe. What lives has that before it has its new name (execve(2)).
    """
    found = stat_of(pid)
    if found is None or found["name"] != INIT.encode():
        return True
    try:
        return not is_init(pid)
    except PermissionError:
        return True
    except OSError:
        return False
