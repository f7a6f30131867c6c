"""What a command line asks for, as values: the seam between cli and container."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from runtime.plan.model import ImageRoot, Veth

CgroupManager = Literal["cgroupfs", "systemd", "disabled"]


@dataclass(frozen=True, slots=True)
class FromImage:
    """A container made of an image instead of a bundle: its bundle is written into its state directory.

    config: the whole config.json, root.path aside. files: name to content, kept beside it for its mounts to bind.
    store: path of the image store, which keeps the digests `chain` for as long as the container is there.
    volumes: the named volumes it has, each with the owner, group and mode to make it with if it is not there.
    """

    config: Mapping[str, Any]
    root: ImageRoot
    files: Mapping[str, bytes]
    store: str
    chain: tuple[str, ...]
    network: tuple[Veth, ...] = ()
    volumes: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """`create` and `run`.

    bundle: directory with config.json; unused with `image`. console_socket, pidfd_socket: paths of unix sockets, "" for
    none. preserve_fds: how many fds from 3 on are passed. environment: variables for the program beside its own.
    notify: the container gets a socket on which it says that it is ready (`runtime.container.notify`).
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
    stdio: tuple[int, int, int] = (0, 1, 2)
    image: FromImage | None = None


@dataclass(frozen=True, slots=True)
class ExecRequest:
    """`exec`.

    process: makes the whole process object of the container's own one, which it leaves as it is, and of what the
    command line says. cgroup: a path below the container's cgroup, "" for the cgroup itself.
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
    """A process that was started; both fds are the caller's.

    pidfd: of the process. master: of its terminal when no console socket took it, else -1. notes: what it asked for and
    did not get.
    """

    pid: int
    pidfd: int
    master: int = -1
    notes: tuple[str, ...] = ()
