"""The command line: find the command, run it, and tell errors as runc's callers read them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from runtime.cli.declare import Command
from runtime.cli.log import Log
from runtime.cli.parse import HelpWanted, parse_command, parse_options
from runtime.cli.streams import check_preserved, flush, listen_fds, settle_streams, silence
from runtime.cli.table import BY_NAME, GLOBALS, GROUPS
from runtime.container.requests import CgroupManager
from runtime.container.state import Store
from runtime.errors import SteleError, UsageError
from runtime.host.facts import in_user_namespace
from runtime.host.interrupt import interruptible
from runtime.host.paths import absolute

VERSION = "0.1.0"
DEFAULT_ROOT = "/run/stele"
DEFAULT_IMAGES = "/var/lib/stele"
COMPLETE = "_STELE_COMPLETE"  # as in runtime.cli.clicked, which is loaded only when it is wanted

INTERRUPTIBLE = {
    **dict.fromkeys(("create", "run", "exec", "unpack"), "; nothing of it is left"),
    "start": "; the container may have started",
}
"""What is left of an interrupted command. The signals TERM, HUP and INT end others as they end any process."""
PREFIX = {"create": "stele create failed: ", "run": "stele run failed: ", "exec": "exec failed: "}


@dataclass(frozen=True, slots=True)
class Globals:
    """The global options, settled. rootless_option: "true", "false" or "auto"; images: directory of the image store."""

    root: str
    root_given: bool
    cgroup_manager: CgroupManager
    rootless_option: str
    log: Log
    images: str

    @property
    def rootless(self) -> bool:
        """Whether errors for want of privilege over cgroups and devices are expected: also of root in a user namespace."""
        if self.rootless_option == "auto":
            return os.geteuid() != 0 or in_user_namespace()
        return self.rootless_option == "true"

    def store(self) -> Store:
        return Store(self.root)


def main(argv: Sequence[str]) -> int:
    """Run one command line, without the program's name; returns the exit code."""
    try:
        settle_streams()
        status = _main(argv)
        flush()
    except BrokenPipeError:
        silence()
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except OSError as e:  # of flush: the disk is full that our output goes to
        Log("", "text", debug=False).error(f"cannot write the output: {os.strerror(e.errno or 0)}")
        silence()
        return 1
    return status


def _main(argv: Sequence[str]) -> int:
    if COMPLETE in os.environ:
        from runtime.cli.clicked import complete

        return complete()
    begin = time.time_ns()  # for --trace
    log = Log("", "text", debug=False)
    name = ""
    try:
        parsed = parse_options(GLOBALS, argv, stop=True)
        log = Log(parsed.values["log"], parsed.values["log_format"], debug=parsed.values["debug"])
        name = parsed.rest[0] if parsed.rest else ""
        if parsed.values["version"]:
            return _version()
        words = parsed.rest[1:]
        if name in GROUPS and words and words[0] not in ("--help", "-h", "help"):
            name, words = f"{name} {words[0]}", words[1:]
        command = _find(name, words)
        values = parse_command(command, words)
        check_preserved(listen_fds() if name in ("create", "run") else 0, values.get("preserve_fds", 0))
        log.open()
        options = _settle(parsed.values, log)
    except HelpWanted as wanted:
        return _help(wanted.command or name)
    except UsageError as e:
        return _usage(e, name, log)
    except SteleError as e:
        _open_for_error(log)
        log.error(f"{PREFIX.get(name, '')}{e}")
        return BY_NAME[name].failure if name in BY_NAME else 1
    log.trace(f"stele {' '.join(argv)}")
    if parsed.values["trace"]:
        from runtime.cli.trace import traced

        return traced(parsed.values["trace"], argv, begin, log, lambda: _run(command, options, values))
    return _run(command, options, values)


def _find(name: str, words: Sequence[str]) -> Command:
    if name in ("", "help", *GROUPS):
        raise HelpWanted(name if name in GROUPS else " ".join(words))
    command = BY_NAME.get(name)
    if command is None:
        group = name.partition(" ")[0]
        raise UsageError(f'unknown command "{name}"; `stele {f"{group} " if group in GROUPS else ""}--help` lists all')
    if command.refused:  # also of --help: Podman takes the success of `checkpoint --help` for support
        raise SteleError(command.refused)
    return command


def _run(command: Command, options: Globals, values: dict[str, Any]) -> int:
    """Run a command; whatever goes wrong is told in one sentence."""
    log, name = options.log, command.name
    module, _, function = command.run.partition(":")
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # a caller that ignores it has the kernel reap our children
    try:
        with interruptible(INTERRUPTIBLE[name]) if name in INTERRUPTIBLE else nullcontext():
            status: int = getattr(import_module(f"runtime.cli.{module}"), function)(options, values)
            return status
    except SteleError as e:
        log.error(f"{PREFIX.get(name, '')}{e}")
    except BrokenPipeError:
        raise
    except OSError as e:
        told = f"{e.filename}: {e.strerror}" if e.filename and e.strerror else str(e.strerror or e)
        log.error(f"{PREFIX.get(name, f'{name}: ')}{told}")
        log.traceback()
    except MemoryError:
        log.error(
            f"{PREFIX.get(name, f'{name}: ')}no memory: raise the caller's limit (ulimit -v, ulimit -d) or that of its cgroup"
        )
    except Exception as e:
        log.error(
            f"{PREFIX.get(name, f'{name}: ')}internal error, a bug of stele: {type(e).__name__}: {e}; --debug shows where"
        )
        log.traceback()
    return command.failure


def _settle(values: dict[str, Any], log: Log) -> Globals:
    root = absolute(values["root"] or default_root(), "--root")
    if root == "/":
        raise UsageError("--root cannot be /; name a directory of its own")
    manager: CgroupManager = values["cgroup_manager"] or ("systemd" if values["systemd_cgroup"] else "cgroupfs")
    images = absolute(values["store"] or default_images(), "--store")
    return Globals(root, bool(values["root"]), manager, values["rootless"], log, images)


def default_images() -> str:
    """Where images are kept: of an ordinary user in the home directory (XDG Base Directory Specification)."""
    if os.geteuid() == 0:
        return DEFAULT_IMAGES
    return f"{os.environ.get('XDG_DATA_HOME') or os.path.expanduser('~/.local/share')}/stele"


def default_root() -> str:
    """Where containers are kept: of an ordinary user in the session's own directory, if there is one."""
    own = os.environ.get("XDG_RUNTIME_DIR", "")
    if not own or (os.geteuid() == 0 and (os.environ.get("USER") == "root" or not in_user_namespace())):
        return DEFAULT_ROOT
    return f"{own}/stele"


def _version() -> int:
    from runtime.host.seccomp import libseccomp_version

    print(f"stele version {VERSION}\nspec: 1.2.0\nlibseccomp: {libseccomp_version()}")
    return 0


def _help(name: str) -> int:
    from runtime.cli.clicked import help_text

    print(help_text(name))
    return 0


def _usage(e: UsageError, name: str, log: Log) -> int:
    """runc prints the help of what was misused on stdout, and the error last."""
    from runtime.cli.clicked import help_text

    _open_for_error(log)
    print(f"Incorrect Usage.\n\n{help_text(name)}\n", flush=True)
    log.error(str(e))
    return 1


def _open_for_error(log: Log) -> None:
    """Open the log for an error from before the usual time for that."""
    if log.fd < 0:
        try:
            log.open()
        except SteleError:
            pass  # one error is enough, and the one that is about to be told came first
