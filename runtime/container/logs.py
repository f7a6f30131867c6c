"""A detached container's output: how its waiter gets and keeps it, and reading it back."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from runtime.container.requests import LogRequest
from runtime.container.state import LOG_FILE, Record
from runtime.errors import StateError
from runtime.plan.waiter import FIELDS, JOURNAL, LOG, LOG_FILES, OUTPUT, Entry

JOURNAL_SOCKET = "/run/systemd/journal/socket"
PIPE_SIZE = 1 << 18
"""Bytes that a container can write before its waiter reads."""
F_SETPIPE_SZ = 1031
FILES_MAX = 99
"""As in cshim/waiter/log.c."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of output, or a part of one. time: RFC 3339 in UTC. error: it was written to stderr. whole: its end is here."""

    time: str
    error: bool
    whole: bool
    text: bytes


@contextlib.contextmanager
def streams(log: LogRequest) -> Iterator[tuple[tuple[int, int, int], list[Entry]]]:
    """Open the container's streams, which are closed at the end, and the entries by which its waiter reads them."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    if log.driver == "none":
        try:
            yield (null, null, null), []
        finally:
            os.close(null)
        return
    import fcntl

    given, ours = [null], []
    for number in (1, 2):
        reader, writer = os.pipe()
        with contextlib.suppress(OSError):  # beyond what an ordinary user may have
            fcntl.fcntl(writer, F_SETPIPE_SZ, PIPE_SIZE)
        given.append(writer)
        ours.append(Entry(OUTPUT, reader, number))
    try:
        yield (given[0], given[1], given[2]), ours
    finally:
        for fd in given:
            os.close(fd)


def entries(log: LogRequest, record: Record, root: str) -> list[Entry]:
    """Return where the waiter puts the lines."""
    if log.driver == "file":
        return [Entry(LOG, number=log.size, text=LOG_FILE), Entry(LOG_FILES, number=log.files)]
    if log.driver == "journald":
        sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        return [Entry(JOURNAL, sender.detach(), text=JOURNAL_SOCKET), Entry(FIELDS, text=fields(record, root))]
    return []


def fields(record: Record, root: str) -> str:
    """Return the fields of each message in the journal; the names are those that Docker and Podman use."""
    known = {
        "CONTAINER_ID": record.id,
        "CONTAINER_ID_FULL": record.id,
        "CONTAINER_NAME": record.id,
        "SYSLOG_IDENTIFIER": record.id,
        "STELE_ROOT": root,
    }
    return "".join(f"{name}={value}\n" for name, value in known.items() if "\n" not in value)


class Reader:
    """Reads the files that a waiter writes, from the oldest to the newest line.

    Args:
        directory: fd of the container's directory; the caller closes it.
    """

    def __init__(self, directory: int) -> None:
        self.directory = directory
        self.file = -1
        self.rest = b""

    def older(self) -> Iterator[Line]:
        """The lines that have been replaced by newer files but are still kept."""
        for number in range(FILES_MAX, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                self._open(_name(number))
                yield from self.new()
        with contextlib.suppress(FileNotFoundError):
            self._open(LOG_FILE)

    def new(self) -> Iterator[Line]:
        """The lines that were added to the file at hand since the last call."""
        while self.file >= 0 and (data := os.read(self.file, 1 << 16)):
            *lines, self.rest = (self.rest + data).split(b"\n")
            yield from filter(None, map(parse, lines))

    def follow(self) -> bool:
        """Go on with the file after the one at hand, which is read to its end; False if there is none."""
        inode = os.fstat(self.file).st_ino if self.file >= 0 else 0
        while True:
            numbers = self._numbers()
            number = numbers.get(inode, len(numbers))  # the oldest is next if the one at hand is no longer kept
            if number == 0:
                return False
            try:
                self._open(_name(number - 1))
            except FileNotFoundError:
                return False
            if inode not in numbers or self._numbers().get(inode) == number:  # none was replaced, which renames all
                return True

    def _numbers(self) -> dict[int, int]:
        """The inodes of the files that are kept, each with its number: 0 for the current one."""
        found: dict[int, int] = {}
        with contextlib.suppress(FileNotFoundError):
            for number in range(FILES_MAX):
                found[os.stat(_name(number), dir_fd=self.directory, follow_symlinks=False).st_ino] = number
        return found

    def _open(self, name: str) -> None:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.directory)
        self.close()
        self.file, self.rest = fd, b""

    def close(self) -> None:
        if self.file >= 0:
            os.close(self.file)
            self.file = -1


def _name(number: int) -> str:
    return f"{LOG_FILE}.{number}" if number else LOG_FILE


def parse(line: bytes) -> Line | None:
    """Parse a line of the file; None if it is malformed, such as one that a full disk cut."""
    parts = line.split(b" ", 3)
    if len(parts) != 4 or parts[1] not in (b"stdout", b"stderr") or parts[2] not in (b"F", b"P"):
        return None
    return Line(parts[0].decode("ascii", "replace"), parts[1] == b"stderr", parts[2] == b"F", parts[3])


def driver(record: Record) -> str:
    """Return where a container's output is: "file" or "journald".

    Raises:
        StateError: it is not kept.
    """
    if record.log in ("file", "journald"):
        return record.log
    why = "--log-driver none drops it" if record.log == "none" else "it went to the streams of whoever started it"
    raise StateError(
        f'the output of container "{record.id}" is not kept: {why}; start it with `run --detach --log-driver file` or journald'
    )
