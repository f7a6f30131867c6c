"""logs: print what a detached container wrote."""

from __future__ import annotations

import os
import re
import select
import sys
from collections import deque
from collections.abc import Iterable, Iterator

from runtime.cli.context import Globals
from runtime.cli.events import DURATION, seconds
from runtime.cli.table import Logs
from runtime.container import logs as kept
from runtime.container.logs import Line, Reader
from runtime.container.state import Record, check_id, waiter_pidfd
from runtime.errors import HostError, UsageError
from runtime.printable import visible

JOURNALCTL = "/usr/bin/journalctl"
COMMANDS_OF_COLOUR = re.compile(r"(\x1b\[[0-9;:]*m)")
LOOK = 100
"""Milliseconds between two looks for new lines."""


def logs(context: Globals, options: Logs) -> int:
    store, container_id = context.store(), check_id(options.id)
    record = store.read(container_id)
    since = _since(options.since)
    if kept.driver(record) == "journald":
        return _journalctl(record, context.root, options, since)
    directory = os.open(store.path(container_id), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    reader = Reader(directory)
    try:
        lines = (line for line in _existing(reader) if line.time >= since)
        _print(lines if options.tail is None else _last(lines, options.tail), times=options.timestamps)
        if options.follow:
            _follow(record, reader, times=options.timestamps)
    finally:
        reader.close()
        os.close(directory)
    return 0


def _since(text: str) -> str:
    """Return the time that --since names, comparable with that of a line; "" if none is given.

    Raises:
        UsageError: it is neither a duration nor a time.
    """
    if not text:
        return ""
    from datetime import UTC, datetime, timedelta

    try:
        if DURATION.match(text):
            moment = datetime.now(UTC) - timedelta(seconds=seconds(text))
        else:
            moment = datetime.fromisoformat(text).astimezone(UTC)
    except (UsageError, ValueError, OverflowError):
        raise UsageError(
            f'invalid value "{text[:40]}" for --since; use a duration such as 10m or a time such as 2026-01-31T12:00:00Z'
        ) from None
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06d}000Z"


def _existing(reader: Reader) -> Iterator[Line]:
    yield from reader.older()
    yield from reader.new()


def _last(lines: Iterable[Line], count: int) -> list[Line]:
    """Return the last lines, each with all its parts."""
    kept_lines: deque[list[Line]] = deque(maxlen=count)
    open_parts: dict[bool, list[Line]] = {}
    for line in lines:
        parts = open_parts.setdefault(line.error, [])
        if not parts:
            kept_lines.append(parts)
        parts.append(line)
        if line.whole:
            del open_parts[line.error]
    return [line for parts in kept_lines for line in parts]


def _print(lines: Iterable[Line], *, times: bool) -> None:
    for line in lines:
        out = sys.stderr.buffer if line.error else sys.stdout.buffer
        text = for_terminal(line.text) if out.isatty() else line.text
        out.write((line.time.encode() + b" " if times else b"") + text + (b"\n" if line.whole else b""))
    sys.stdout.buffer.flush()
    sys.stderr.buffer.flush()


def for_terminal(text: bytes) -> bytes:
    """A line as a terminal may have it: with tabs and colours, but no other command that the container wrote."""
    parts = COMMANDS_OF_COLOUR.split(text.removesuffix(b"\r").decode("utf-8", "surrogateescape"))
    parts[::2] = ["\t".join(map(visible, part.split("\t"))) for part in parts[::2]]
    return "".join(parts).encode()


def _follow(record: Record, reader: Reader, *, times: bool) -> None:
    """Print lines as they come, until the container's waiter has ended and all is read."""
    pidfd = waiter_pidfd(record)
    poller = select.poll()
    if pidfd >= 0:
        poller.register(pidfd, select.POLLIN)
    ended = pidfd < 0
    while True:
        _print(reader.new(), times=times)
        while reader.follow():
            _print(reader.new(), times=times)
        if ended:
            return
        ended = bool(poller.poll(LOOK))


def _journalctl(record: Record, root: str, options: Logs, since: str) -> int:
    """Execute the host's journalctl, which can read the journal and follow it."""
    words = [JOURNALCTL, "--quiet", "--no-pager", "--output", "short-iso-precise" if options.timestamps else "cat"]
    words += ["--follow"] if options.follow else []
    words += [f"--lines={'all' if options.tail is None else options.tail}"]
    words += [f"--since={since[:10]} {since[11:19]} UTC"] if since else []
    words += [f"CONTAINER_ID_FULL={record.id}", f"STELE_ROOT={root}"]
    try:
        if sys.stdout.isatty():
            return _shown(words)
        os.execv(JOURNALCTL, words)
    except OSError as e:
        raise HostError(
            f"{JOURNALCTL}: cannot run it: {os.strerror(e.errno or 0)}; it reads the journal", e.errno or 0
        ) from e


def _shown(words: list[str]) -> int:
    """Run a program and print what it prints as a terminal may have it; returns its exit code."""
    reader, writer = os.pipe()
    with open(reader, "rb") as lines:
        try:
            child = os.posix_spawn(words[0], words, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, writer, 1)])
        finally:
            os.close(writer)
        for line in lines:
            sys.stdout.buffer.write(for_terminal(line.removesuffix(b"\n")) + b"\n")
            sys.stdout.buffer.flush()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
