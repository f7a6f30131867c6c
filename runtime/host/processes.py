"""Information about other processes, from /proc."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

INIT = "stele-init"
"""The name of init and of its memfd, which /proc/PID/exe shows until init executes the user's program."""

WAITER = "stele-waiter"
"""The name of the waiter, as /proc/PID/stat shows it."""

PR_SET_PDEATHSIG = 1

_STAT = re.compile(
    rb"\d+ \((?P<name>.*)\) (?P<state>\S) (?P<parent>\d+) (?:\S+ ){4}(?P<flags>\d+) (?:\S+ ){12}(?P<start>\d+) "
    rb"(?:\S+ ){29}(?P<status>\d+)",
    re.DOTALL,
)
"""proc(5), fields 2, 3, 4, 9, 22 and 52; the name may contain anything, even ")". The counters in between are skipped:
as objects they would vary with their values, and the snapshot must be reproducible."""


def stat_of(pid: int) -> re.Match[bytes] | None:
    """Parse /proc/PID/stat (proc(5)); None if the process is gone.

    Returns:
        a match with the groups name, state (a letter), parent, flags, start (time) and (wait) status.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as f:
            return _STAT.match(f.read(4096))
    except (FileNotFoundError, ProcessLookupError):
        return None


def signal_name(number: int) -> str:
    """A signal's name, such as "SIGKILL"; "SIGRTMIN+6" for real-time signals, which have no own names."""
    import signal

    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"


def is_waiter(pid: int) -> bool:
    """Whether a process runs the waiter. False also while a command that is to become it still works."""
    found = stat_of(pid)
    return found is not None and found["name"] == WAITER.encode()


def is_init(pid: int) -> bool:
    """Whether a process still runs init's executable. Raises OSError: access is denied, or it is a zombie."""
    return os.readlink(f"/proc/{pid}/exe").startswith(f"/memfd:{INIT}")


def executed(pid: int) -> bool:
    """Whether an init that closed its connection executed the user's program rather than died; True if unknown.

    A zombie keeps its name but has no /proc/PID/exe. In execve(2), a live process gets the new exe before the new name.
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


def ask(
    command: Sequence[str],
    *,
    text: bytes = b"",
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
    together: bool = False,
    file_max: int | None = None,
) -> tuple[int, bytes, bytes]:
    """Run a helper program to its end; it ends with us, however we end, and at a signal that ends what we do.

    Args:
        text: its stdin. env: None for ours. together: its stderr comes with its stdout.
        file_max: bytes of the largest file that it may write.
    Returns:
        its status as subprocess has it, stdout and stderr.
    Raises:
        OSError: it cannot be run. SteleError: interrupted. subprocess.TimeoutExpired.
    """
    import signal
    import subprocess

    from runtime.host import shim
    from runtime.host.interrupt import waiting

    parent = os.getpid()

    def confine() -> None:
        shim.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        if file_max is not None:
            import resource

            resource.setrlimit(resource.RLIMIT_FSIZE, (file_max, file_max))

    child = subprocess.Popen(
        command,
        env=env,
        stdin=subprocess.PIPE if text else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if together else subprocess.PIPE,
        preexec_fn=confine,  # no other thread of ours runs now
    )
    try:
        with waiting():
            out, err = child.communicate(text or None, timeout)
    except BaseException:
        child.kill()
        child.communicate()
        raise
    return child.returncode, out, err or b""
