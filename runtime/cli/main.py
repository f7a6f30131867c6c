"""The command line: find the command, run it, and tell errors as runc's callers read them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from runtime.cli.declare import Command
from runtime.cli.parse import HelpWanted, parse_command, parse_options
from runtime.cli.table import BY_NAME, GLOBALS, GROUPS
from runtime.container.requests import CgroupManager
from runtime.container.state import Store
from runtime.errors import SteleError, UsageError

VERSION = "0.1.0"
DEFAULT_ROOT = "/run/stele"
DEFAULT_IMAGES = "/var/lib/stele"
ROLLED_BACK = frozenset({"create", "run", "exec", "start"})


@dataclass(frozen=True, slots=True)
class Globals:
    """The global options, settled."""

    root: str
    root_given: bool
    log: str
    log_format: str
    debug: bool
    cgroup_manager: CgroupManager
    rootless: bool
    images: str

    def store(self) -> Store:
        return Store(self.root)


def main(argv: Sequence[str]) -> int:
    """Run one command line, without the program's name; returns the exit code."""
    log = Log("", "text", debug=False)
    failure, name = 1, ""
    try:
        parsed = parse_options((*GLOBALS, VERSION_OPTION), argv, stop=True)
        options = _settle(parsed.values)
        log = Log(options.log, options.log_format, debug=options.debug)
        if parsed.values["version"]:
            return _version()
        if not parsed.rest:
            raise HelpWanted
        name, *words = parsed.rest
        if name in GROUPS:
            if not words or words[0] in ("--help", "-h", "help"):
                raise HelpWanted
            name, words = f"{name} {words[0]}", words[1:]
        command = BY_NAME.get(name)
        if command is None:
            if name == "help":
                raise HelpWanted
            raise UsageError(f'unknown command "{name}"; `stele --help` lists all')
        failure = command.failure
        values = parse_command(command, words)
        with interruptible() if name in ROLLED_BACK else nullcontext():
            result: int = _function(command)(options, values)
        return result
    except HelpWanted:
        from runtime.cli.clicked import help_text

        print(help_text(name))
        return 0
    except UsageError as e:
        return _usage(e, name, log)
    except SteleError as e:
        log.error(f"{_PREFIX.get(name, '')}{e}")
        return failure
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt:
        return 130
    except OSError as e:
        log.error(f"{_PREFIX.get(name, '')}{e.filename or name}: {e.strerror or e}")
        log.traceback()
        return failure
    except Exception as e:
        log.error(f"{name}: internal error, a bug of stele: {type(e).__name__}: {e}; --debug shows where")
        log.traceback()
        return failure
    finally:
        _flush()


from runtime.cli.declare import flag  # noqa: E402

VERSION_OPTION = flag("--version", "-v", help="print the version")
_PREFIX = {
    "create": "stele create failed: ",
    "run": "stele run failed: ",
    "exec": "exec failed: ",
}


def _function(command: Command) -> Any:
    module, _, function = command.run.partition(":")
    return getattr(import_module(f"runtime.cli.{module}"), function)


@contextmanager
def interruptible() -> Iterator[None]:
    """A TERM, HUP or INT while a container is made is a failure like any other: all of it is taken back."""

    def stop(number: int, _: object) -> None:
        raise SteleError(f"interrupted by {signal.Signals(number).name}; nothing of it is left")

    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    before = {n: signal.signal(n, stop) for n in numbers if signal.getsignal(n) is not signal.SIG_IGN}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _settle(values: dict[str, Any]) -> Globals:
    euid = os.geteuid()
    rootless = values["rootless"] == "true" or (values["rootless"] == "auto" and euid != 0)
    root = values["root"]
    if not root:
        runtime_dir = os.environ.get("XDG_RUNTIME_DIR", "")
        root = f"{runtime_dir}/stele" if rootless and runtime_dir else DEFAULT_ROOT
    root = os.path.abspath(root)
    if root == "/":
        raise UsageError("--root cannot be /; name a directory of its own")
    manager: CgroupManager = values["cgroup_manager"] or ("systemd" if values["systemd_cgroup"] else "cgroupfs")
    images = values["store"]
    if not images:
        data_home = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
        images = f"{data_home}/stele" if rootless and euid != 0 else DEFAULT_IMAGES
    return Globals(
        root,
        bool(values["root"]),
        values["log"],
        values["log_format"],
        values["debug"],
        manager,
        rootless,
        os.path.abspath(images),
    )


def _version() -> int:
    print(f"stele version {VERSION}\nspec: 1.2.0")
    return 0


def _usage(e: UsageError, name: str, log: Log) -> int:
    """runc prints the help of what was misused on stdout, and the error last."""
    from runtime.cli.clicked import help_text

    print(f"Incorrect Usage.\n\n{help_text(name)}\n")
    log.error(str(e))
    return 1


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (BrokenPipeError, ValueError, AttributeError):
            pass  # nobody reads it any more, or it was closed when we were started


class Log:
    """Errors go to stderr, and to --log in its format: one line each, as containerd and Podman parse it."""

    def __init__(self, path: str, form: str, *, debug: bool) -> None:
        self.path, self.form, self.debug = path, form, debug

    def error(self, message: str) -> None:
        self._write("error", message)
        if sys.stderr is not None:
            print(self._line("error", message) if self.form == "json" and not self.path else message, file=sys.stderr)

    def warning(self, message: str) -> None:
        self._write("warning", message)
        if not self.path and sys.stderr is not None:
            print(f"warning: {message}", file=sys.stderr)

    def traceback(self) -> None:
        if self.debug:
            import traceback

            traceback.print_exc()

    def _line(self, level: str, message: str) -> str:
        from runtime.container.state import now

        if self.form == "json":
            import json

            return json.dumps({"level": level, "msg": message, "time": now()})
        return f'time="{now()}" level={level} msg="{message}"'

    def _write(self, level: str, message: str) -> None:
        if not self.path:
            return
        try:
            fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as e:
            print(f'--log "{self.path}": cannot write it: {e.strerror}', file=sys.stderr)
            return
        try:
            os.write(fd, self._line(level, message).encode() + b"\n")
        finally:
            os.close(fd)
