"""Errors a user can cause, with the exit codes that runc's callers expect.

An exception's text is one sentence: which field or object, what failed, why, what to do.
Only `runtime.cli` prints it. The exit codes are runc's, which go-runc and conmon rely on:
1 for every failure, 255 for a failed exec.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class SteleError(Exception):
    """A failure reported to the user in one sentence; the process exits with `exit_code`.

    Args:
        given: the word that was not understood, if `choices` are the words that would be.
    """

    exit_code = 1

    def __init__(self, problem: str, *, given: str = "", choices: Iterable[str] = ()) -> None:
        super().__init__(problem)
        self.given = given
        self.choices = choices


class UsageError(SteleError):
    """The command line is wrong: unknown flag, missing argument, malformed value."""


class ConfigError(SteleError):
    """A document (config.json, process.json, resources) is wrong.

    Args:
        path: the JSON path of the fault, such as `mounts[3].destination`; "" for the document itself.
        problem: what is wrong with it and what to do.
    """

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}" if path else problem)
        self.path = path
        self.problem = problem


class StateError(SteleError):
    """The container's state does not allow the command."""


class NewerState(StateError):
    """A newer stele created the container; removing it with this version could leave things behind."""


class NotFound(SteleError):
    """No container has this id. The text contains "does not exist", which go-runc looks for."""


class AlreadyExists(SteleError):
    """The container id is taken."""


class HostError(SteleError):
    """The kernel or the host refused: what was tried, on which object, the errno text, what to do.

    Args:
        problem: the whole sentence.
        errno: the kernel's errno, or 0 if there is none.
    """

    def __init__(self, problem: str, errno: int = 0) -> None:
        super().__init__(problem)
        self.errno = errno


class HookError(HostError):
    """A hook failed, could not be executed, or did not end in time."""


class Become(BaseException):
    """The command is done, and this process is to execute another program. Nothing but `main` catches it.

    Args:
        now: executes the program. It returns only on failure: it raises OSError or SteleError.
    """

    def __init__(self, now: Callable[[], object]) -> None:
        super().__init__()
        self.now = now
