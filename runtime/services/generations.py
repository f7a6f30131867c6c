"""Generations: what a host ran, each written once and kept whole.

<store>/generations/
  lock            held by whoever changes generations
  N/              one generation; renamed into place when it is whole, never changed afterwards
    manifest.json what it is made of
    sources/      the files as they were read
    units/        the units of systemd
    good          present once it ran through its probation
    tries-K       present on trial: K boots are left before the host returns to the last good one
    pinned        kept until it is unpinned
  current         a symbolic link to the N that is to run; replaced by rename(2)
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from runtime.errors import HostError, SteleError
from runtime.host.trees import remove_tree

VERSION = 1
KEPT = 10
"""Generations kept besides the pinned ones, the last good one and the current one."""
TRIES = 3
"""Boots that a generation on trial gets."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation. services: by name, see `build.entry` for what each holds."""

    number: int
    path: str
    manifest: Mapping[str, Any]
    good: bool
    pinned: bool
    tries: int | None

    @property
    def services(self) -> Mapping[str, Mapping[str, Any]]:
        found: Mapping[str, Mapping[str, Any]] = self.manifest["services"]
        return found

    def unit_texts(self) -> dict[str, bytes]:
        """Return the content of each unit by its name."""
        found = {}
        for name in sorted(os.listdir(f"{self.path}/units")):
            with open(f"{self.path}/units/{name}", "rb") as file:
                found[name] = file.read()
        return found


class Generations:
    """The generations below a store.

    Args:
        store: path of the image store.
    """

    def __init__(self, store: str) -> None:
        self.path = f"{store}/generations"

    @contextlib.contextmanager
    def locked(self, *, wait: bool = True) -> Iterator[None]:
        """Hold the lock: one change at a time.

        Raises:
            HostError: the store is not writable. SteleError: `wait` is false and another process holds the lock.
        """
        try:
            os.makedirs(self.path, mode=0o700, exist_ok=True)
            fd = os.open(f"{self.path}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as e:
            raise HostError(f"{self.path}: cannot be written: {os.strerror(e.errno or 0)}", e.errno or 0) from e
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                raise SteleError("another `stele service` command is changing the services; wait for its end") from None
            yield
        finally:
            os.close(fd)

    def numbers(self) -> list[int]:
        try:
            return sorted(int(name) for name in os.listdir(self.path) if name.isascii() and name.isdecimal())
        except FileNotFoundError:
            return []

    def read(self, number: int) -> Generation:
        """Return a generation.

        Raises:
            SteleError: there is no such generation, or it is damaged.
        """
        path = f"{self.path}/{number}"
        try:
            with open(f"{path}/manifest.json", "rb") as file:
                manifest = json.loads(file.read())
            if manifest["version"] != VERSION or not isinstance(manifest["services"], dict):
                raise ValueError
            marks = os.listdir(path)
        except FileNotFoundError:
            kept = ", ".join(map(str, self.numbers())) or "none"
            raise SteleError(f"generation {number} does not exist; kept are {kept}") from None
        except (ValueError, KeyError, TypeError):
            raise SteleError(f"{path}/manifest.json is damaged or of a newer stele; roll back to another one") from None
        tries = [int(mark[6:]) for mark in marks if mark.startswith("tries-") and mark[6:].isdecimal()]
        return Generation(number, path, manifest, "good" in marks, "pinned" in marks, tries[0] if tries else None)

    def all(self) -> list[Generation]:
        """Return all generations that can be read, oldest first."""
        found = []
        for number in self.numbers():
            with contextlib.suppress(SteleError):
                found.append(self.read(number))
        return found

    def current(self) -> Generation | None:
        """Return the generation that is to run; None before the first."""
        try:
            name = os.readlink(f"{self.path}/current")
        except FileNotFoundError:
            return None
        return self.read(int(name))

    def last_good(self, *, before: int | None = None) -> Generation | None:
        """Return the newest good generation, or the newest of those older than `before`."""
        good = [g for g in self.all() if g.good and (before is None or g.number < before)]
        return good[-1] if good else None

    def write(
        self,
        manifest: Mapping[str, Any],
        sources: Mapping[str, bytes],
        units: Mapping[str, bytes],
        *,
        good: bool = False,
    ) -> Generation:
        """Write a new generation durably; it is whole or not there. The lock is held."""
        number = (self.numbers() or [0])[-1] + 1
        part = f"{self.path}/.{number}.part"
        self._remove(f".{number}.part")
        for folder, files in (("sources", sources), ("units", units)):
            os.makedirs(f"{part}/{folder}", mode=0o700)
            for name, content in files.items():
                _write(f"{part}/{folder}/{name}", content)
            _sync(f"{part}/{folder}")
        document = {"version": VERSION, "number": number, **manifest}
        _write(f"{part}/manifest.json", json.dumps(document, indent=1, sort_keys=True).encode())
        _write(f"{part}/good" if good else f"{part}/tries-{TRIES}", b"")
        _sync(part)
        os.rename(part, f"{self.path}/{number}")
        _sync(self.path)
        return self.read(number)

    def switch(self, number: int) -> None:
        """Make a generation the current one, durably. The lock is held."""
        link = f"{self.path}/.current.part"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(link)
        os.symlink(str(number), link)
        os.rename(link, f"{self.path}/current")
        _sync(self.path)

    def mark_good(self, number: int) -> None:
        self._mark(number, "good")
        for name in os.listdir(f"{self.path}/{number}"):
            if name.startswith("tries-"):
                os.unlink(f"{self.path}/{number}/{name}")

    def use_try(self, generation: Generation) -> None:
        """Count a boot of a generation on trial."""
        path = f"{self.path}/{generation.number}"
        left = max((generation.tries or 0) - 1, 0)
        os.rename(f"{path}/tries-{generation.tries}", f"{path}/tries-{left}")
        _sync(path)

    @contextlib.contextmanager
    def scratch(self) -> Iterator[str]:
        """Yield an empty directory that is gone afterwards. The lock is held."""
        self._remove(".scratch.part")
        os.mkdir(f"{self.path}/.scratch.part", 0o700)
        try:
            yield f"{self.path}/.scratch.part"
        finally:
            self._remove(".scratch.part")

    def pin(self, number: int, *, pinned: bool) -> None:
        """Keep a generation until it is unpinned. Raises SteleError: there is no such generation."""
        self.read(number)
        if pinned:
            self._mark(number, "pinned")
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{self.path}/{number}/pinned")
            _sync(f"{self.path}/{number}")

    def _mark(self, number: int, mark: str) -> None:
        _write(f"{self.path}/{number}/{mark}", b"")
        _sync(f"{self.path}/{number}")

    def prune(self, kept: int = KEPT) -> list[int]:
        """Remove all but the newest `kept`, the pinned, the current and the last good; return the numbers removed."""
        everything = self.all()
        current, good = self.current(), self.last_good()
        keep = {g.number for g in everything[-kept:]} | {g.number for g in everything if g.pinned}
        keep |= {g.number for g in (current, good) if g}
        gone = [g.number for g in everything if g.number not in keep]
        for number in gone:
            os.rename(f"{self.path}/{number}", f"{self.path}/.{number}.gone")
        for name in os.listdir(self.path):
            if name.startswith(".") and name.endswith((".gone", ".part")):
                self._remove(name)
        return gone

    def _remove(self, name: str) -> None:
        directory = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            remove_tree(directory, name)
        finally:
            os.close(directory)


def _write(path: str, content: bytes) -> None:
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with open(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(fd)


def _sync(folder: str) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
