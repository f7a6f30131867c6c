"""The command line: find the command, run it, and report errors in the format that runc's callers parse."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from contextlib import nullcontext
from importlib import import_module
from typing import Any

from runtime.cli.context import Globals, settle
from runtime.cli.declare import Command
from runtime.cli.log import Log
from runtime.cli.parse import HelpWanted, parse_command, parse_options
from runtime.cli.streams import check_preserved, flush, listen_fds, settle_streams, silence
from runtime.cli.table import COMMANDS, GLOBALS, GROUPS, GlobalOptions
from runtime.errors import Become, SteleError, UsageError
from runtime.host.interrupt import interruptible

COMPLETE = "_STELE_COMPLETE"  # as in runtime.cli.complete, which is imported only when needed

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
    except Become as become:
        return _become(become)
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


def _become(become: Become) -> int:
    try:
        become.now()
    except (OSError, SteleError) as e:
        Log("", "text", debug=False).error(f"{e}; the container exists nevertheless, delete --force removes it")
    return 1


def _main(argv: Sequence[str]) -> int:
    if COMPLETE in os.environ:
        from runtime.cli.complete import answer

        return answer(os.environ[COMPLETE].removesuffix("_complete"))
    begin = time.time_ns()  # for --trace
    log = Log("", "text", debug=False)
    name = ""
    try:
        parsed = parse_options(GLOBALS, argv, stop=True)
        given = GlobalOptions(**parsed.values)
        log = Log(given.log, given.log_format, debug=given.debug)
        name = parsed.rest[0] if parsed.rest else ""
        if given.version:
            from runtime.cli.inspect import print_version

            return print_version()
        words = parsed.rest[1:]
        if name not in COMMANDS and name not in GROUPS:
            from runtime.cli.suggest import OTHER_NAMES

            name = OTHER_NAMES.get(name, name)
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
        from runtime.cli.suggest import unknown

        raise unknown(name)
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
        _report(e, name, context, options)
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


def _help(name: str) -> int:
    from runtime.cli.help import help_text

    print(help_text(name))
    return 0


def _report(e: SteleError, name: str, context: Globals, options: Any) -> None:
    hint = ""
    if not context.log.path:  # a person reads it
        from runtime.cli.suggest import hint_for

        hint = hint_for(e, context, options)
    context.log.error(f"{PREFIX.get(name, '')}{e}", hint)


def _usage(e: UsageError, name: str, log: Log) -> int:
    """Report a mistake in the command line in two lines; to a caller, who gives --log, with runc's help on stdout."""
    _open_for_error(log)
    hint = ""
    if log.path:
        from runtime.cli.help import help_text

        print(f"Incorrect Usage.\n\n{help_text(name)}\n", flush=True)
    else:
        from runtime.cli.suggest import usage_hint

        hint = usage_hint(e, name)
    log.error(str(e), hint)
    return 1


def _open_for_error(log: Log) -> None:
    """Open the log early, for an error in the command line."""
    if log.fd < 0:
        try:
            log.open()
        except SteleError:
            pass  # the error about to be reported came first
