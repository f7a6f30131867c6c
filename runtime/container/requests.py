"""Parsed requests: the interface between cli and container."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from runtime.images.run.prepare import FromImage

CgroupManager = Literal["cgroupfs", "systemd", "disabled"]


@dataclass(frozen=True, slots=True)
class LogRequest:
    """Where a detached container's output goes. size: bytes of the largest file. files: how many are kept."""

    driver: Literal["file", "journald", "none"]
    size: int = 8 << 20
    files: int = 2


@dataclass(frozen=True, slots=True)
class Readiness:
    """When `run` reports readiness. host: the service manager's socket, "" for none.

    kind: "notify": when the container does, if it has been given a socket; "started": at once; "exec": when `command`,
    run in it, succeeds.
    """

    host: str = ""
    kind: Literal["notify", "started", "exec"] = "notify"
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """`create` and `run`.

    bundle: directory with config.json; unused with `image`. console_socket, pidfd_socket: paths of unix sockets, "" for
    none. preserve_fds: number of fds passed, from 3 on. environment: extra variables for the program.
    waiter: this process is to become the container's waiter (`runtime.container.waiter`).
    log: the waiter gets its output; None: it has `stdio`.
    notify: give the container a socket on which to report readiness (`runtime.container.notify`).
    keep_master: the caller relays the terminal itself. stdio: fds of the container's standard streams.
    """

    bundle: str = "."
    pid_file: str = ""
    console_socket: str = ""
    pidfd_socket: str = ""
    no_pivot: bool = False
    no_new_keyring: bool = False
    preserve_fds: int = 0
    cgroup_manager: CgroupManager = "cgroupfs"
    rootless: bool = False
    keep_master: bool = False
    environment: tuple[str, ...] = ()
    notify: bool = False
    waiter: bool = False
    log: LogRequest | None = None
    stdio: tuple[int, int, int] = (0, 1, 2)
    image: FromImage | None = None


@dataclass(frozen=True, slots=True)
class ExecRequest:
    """`exec`.

    process: builds the process object from the container's own, which it does not modify, and the command line.
    cgroup: a path below the container's cgroup, "" for the cgroup itself.
    """

    process: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    pid_file: str = ""
    console_socket: str = ""
    pidfd_socket: str = ""
    preserve_fds: int = 0
    cgroup: str = ""
    ignore_paused: bool = False
    stdio: tuple[int, int, int] = (0, 1, 2)


@dataclass(frozen=True, slots=True)
class Started:
    """A started process; the caller owns both fds.

    master: its terminal's master unless a console socket got it, else -1. notes: requests not granted.
    """

    pid: int
    pidfd: int
    master: int = -1
    notes: tuple[str, ...] = ()
