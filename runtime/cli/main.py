"""The command line: find the command, run it, and report errors in the format that runc's callers parse."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from contextlib import nullcontext
from importlib import import_module
from typing import Any

from runtime import VERSION
from runtime.cli.context import Globals, settle
from runtime.cli.declare import Command
from runtime.cli.log import Log
from runtime.cli.parse import HelpWanted, parse_command, parse_options
from runtime.cli.streams import check_preserved, flush, listen_fds, settle_streams, silence
from runtime.cli.table import COMMANDS, GLOBALS, GROUPS, GlobalOptions
from runtime.errors import SteleError, UsageError
from runtime.host.interrupt import interruptible
from runtime.oci import OCI_VERSION

COMPLETE = "_STELE_COMPLETE"  # as in runtime.cli.clicked, which is imported only when needed

INTERRUPTIBLE = {
    **dict.fromkeys(("create", "run", "exec", "unpack"), "; nothing of it is left"),
    "start": "; the container may have started",
}
"""What an interrupted command leaves. TERM, HUP and INT end all other commands by their default action."""
PREFIX = {"create": "stele create failed: ", "run": "stele run failed: ", "exec": "exec failed: "}


def main(argv: Sequence[str]) -> int:
    """Run a command line, given without the program's name; returns the exit code."""
    try:
        settle_streams()
        status = _main(argv)
        flush()
    except BrokenPipeError:
        silence()
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except OSError as e:  # from flush, such as a full disk
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
        given = GlobalOptions(**parsed.values)
        log = Log(given.log, given.log_format, debug=given.debug)
        name = parsed.rest[0] if parsed.rest else ""
        if given.version:
            return _version()
        words = parsed.rest[1:]
        if name in GROUPS and words and words[0] not in ("--help", "-h", "help"):
            name, words = f"{name} {words[0]}", words[1:]
        command = _find(name, words)
        options = parse_command(command, words)
        check_preserved(listen_fds() if name in ("create", "run") else 0, getattr(options, "preserve_fds", 0))
        log.open()
        context = settle(given, log)
    except HelpWanted as wanted:
        return _help(wanted.command or name)
    except UsageError as e:
        return _usage(e, name, log)
    except SteleError as e:
        _open_for_error(log)
        log.error(f"{PREFIX.get(name, '')}{e}")
        return COMMANDS[name].failure if name in COMMANDS else 1
    log.command(argv)
    if given.trace:
        from runtime.cli.trace import traced

        return traced(given.trace, argv, begin, log, lambda: _run(command, context, options))
    return _run(command, context, options)


def _find(name: str, words: Sequence[str]) -> Command:
    if name in ("", "help", *GROUPS):
        raise HelpWanted(name if name in GROUPS else " ".join(words))
    command = COMMANDS.get(name)
    if command is None:
        group = name.partition(" ")[0]
        raise UsageError(f'unknown command "{name}"; `stele {f"{group} " if group in GROUPS else ""}--help` lists all')
    if command.refused:  # even for --help: Podman takes a successful `checkpoint --help` for support
        raise SteleError(command.refused)
    return command


def _run(command: Command, context: Globals, options: Any) -> int:
    """Run a command; report any failure in one sentence."""
    log, name = context.log, command.name
    module, _, function = command.run.partition(":")
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # if inherited as ignored, the kernel would reap our children
    try:
        with interruptible(INTERRUPTIBLE[name]) if name in INTERRUPTIBLE else nullcontext():
            status: int = getattr(import_module(f"runtime.cli.{module}"), function)(context, options)
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


def _version() -> int:
    """Print the versions. Callers parse the line that contains "version", so only stele's own may."""
    from runtime.built import COMMIT, COMPONENTS
    from runtime.host.seccomp import libseccomp_version

    commit = [("commit", COMMIT)] if COMMIT else []
    lines = [*commit, ("spec", OCI_VERSION), ("libseccomp", libseccomp_version()), *COMPONENTS]
    print("\n".join([f"stele version {VERSION}", *(f"{name}: {value}" for name, value in lines)]))
    return 0


def _help(name: str) -> int:
    from runtime.cli.clicked import help_text

    print(help_text(name))
    return 0


def _usage(e: UsageError, name: str, log: Log) -> int:
    """Like runc, print the misused command's help on stdout, then the error."""
    from runtime.cli.clicked import help_text

    _open_for_error(log)
    print(f"Incorrect Usage.\n\n{help_text(name)}\n", flush=True)
    log.error(str(e))
    return 1


def _open_for_error(log: Log) -> None:
    """Open the log early, for an error in the command line."""
    if log.fd < 0:
        try:
            log.open()
        except SteleError:
            pass  # the error about to be reported came first
