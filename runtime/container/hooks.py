"""Hooks that run in the host's namespaces: prestart, createRuntime, poststart, poststop (config.md "POSIX-platform Hooks").

A hook's environment comes only from its own `env`, never from the image or the caller (CVE-2025-23266). Hooks start in
the bundle directory, as under runc.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

from runtime.errors import HookError
from runtime.host.interrupt import waiting
from runtime.plan.hooks import host_hooks
from runtime.plan.model import HostHook

CATCHABLE = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
"""Reset to their defaults for hooks, whatever our caller ignores."""

WEEKS = 3 * 7 * 24 * 3600
"""In seconds; a longer timeout would overflow poll(2)'s milliseconds."""

TAIL = 500
"""Bytes of a failed hook's output that its error quotes."""


def run_hooks(hooks: Sequence[HostHook], state: Mapping[str, Any]) -> None:
    """Run hooks in order; stop at the first that fails.

    Args:
        state: the state document, passed to each hook on stdin.
    Raises:
        HookError: names the hook, and says how it ended.
    """
    document = json.dumps(state).encode()
    for hook in hooks:
        _run(hook, document, state["bundle"])


def run_poststop(config: Mapping[str, Any], state: Mapping[str, Any]) -> list[str]:
    """Run all poststop hooks; returns the failures, which are only warnings (runtime.md "Lifecycle")."""
    failed = []
    for hook in host_hooks(config, "poststop"):
        try:
            run_hooks([hook], state)
        except HookError as e:
            failed.append(str(e))
    return failed


@contextlib.contextmanager
def _inside(directory: str) -> Iterator[None]:
    """Change the working directory for a moment; ignored if it no longer exists (poststop)."""
    before = os.open(".", os.O_PATH | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            os.chdir(directory)
        yield
    finally:
        os.fchdir(before)
        os.close(before)


def _run(hook: HostHook, document: bytes, bundle: str) -> None:
    what = f"hooks.{hook.kind}[{hook.index}] {hook.path}"
    # memfds as stdin and stderr never block us, whatever the hook does with them.
    with _memory("state") as stdin, _memory("stderr") as stderr:
        stdin.write(document)
        stdin.seek(0)
        try:
            with _inside(bundle):
                pid = os.posix_spawn(
                    hook.path,
                    list(hook.args),
                    dict(e.partition("=")[::2] for e in hook.env),
                    file_actions=[
                        (os.POSIX_SPAWN_DUP2, stdin.fileno(), 0),
                        (os.POSIX_SPAWN_DUP2, stderr.fileno(), 1),
                        (os.POSIX_SPAWN_DUP2, stderr.fileno(), 2),
                    ],
                    setsid=True,
                    setsigmask=[],
                    setsigdef=CATCHABLE,
                )
        except OSError as e:
            raise HookError(
                f"{what}: cannot execute it: {os.strerror(e.errno or 0)}; install it or correct its path"
            ) from e
        ended = False
        try:
            ended = _ended(pid, hook.timeout)
        finally:  # also when we are interrupted
            if not ended:
                os.killpg(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        if not ended:
            raise HookError(f"{what} did not end within its timeout of {hook.timeout} s and was killed")
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status:
            size = stderr.seek(0, os.SEEK_END)
            stderr.seek(max(0, size - TAIL))
            said = stderr.read().decode("utf-8", "replace").strip()
            how = f"exit status {status}" if status > 0 else f"signal {-status}"
            raise HookError(f"{what} failed: {how}" + (f": {said}" if said else ""))


def _memory(name: str) -> IO[bytes]:
    return os.fdopen(os.memfd_create(name, os.MFD_CLOEXEC), "w+b")


def _ended(pid: int, timeout: int) -> bool:
    """Wait for a child to end, without reaping it; False on timeout. 0, or three weeks and more, means no timeout."""
    pidfd = os.pidfd_open(pid)
    try:
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        with waiting():
            return bool(poller.poll(timeout * 1000 if 0 < timeout < WEEKS else None))
    finally:
        os.close(pidfd)
