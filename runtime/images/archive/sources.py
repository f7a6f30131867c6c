"""What an image is imported from: the files of a folder, or of an archive, by name."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from functools import partial
from typing import Protocol

from runtime.errors import HostError
from runtime.host.files import write_all
from runtime.host.unpack import Budget, LayerError, unpacked
from runtime.images.archive import tar
from runtime.images.model import ImageError

PIECE = 1 << 20
PACKED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zX", b"BZh")  # gzip, zstd, xz, bzip2


class Source(Protocol):
    """Files by name. what: how to call it in a sentence."""

    what: str

    def has(self, name: str) -> bool: ...

    def size(self, name: str) -> int:
        """Raises: ImageError: it is not there."""

    def pieces(self, name: str) -> Iterator[bytes]: ...

    def close(self) -> None: ...


def read(source: Source, name: str, limit: int) -> bytes:
    """A small file. Raises: ImageError: it is not there, or larger than limit bytes."""
    if source.size(name) > limit:
        raise ImageError(f'{source.what}: "{name}" is larger than {limit} bytes')
    return b"".join(source.pieces(name))


class Folder:
    """A folder; special files in it are not opened, and a name never leads out by a link at its end."""

    def __init__(self, path: str) -> None:
        self.what = f'"{path}"'
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as e:
            raise HostError(f"{self.what}: cannot read this folder: {e.strerror}", e.errno or 0) from None

    def _open(self, name: str) -> int:
        try:
            fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self._fd)
        except FileNotFoundError:
            raise ImageError(f'{self.what}: it has no "{name}"; it is not an image, or not whole') from None
        except OSError as e:
            raise HostError(f'{self.what}: cannot read "{name}": {e.strerror}', e.errno or 0) from None
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise ImageError(f'{self.what}: "{name}" is not a regular file')
        return fd

    def has(self, name: str) -> bool:
        return os.access(name, os.F_OK, dir_fd=self._fd)

    def size(self, name: str) -> int:
        fd = self._open(name)
        try:
            return os.fstat(fd).st_size
        finally:
            os.close(fd)

    def pieces(self, name: str) -> Iterator[bytes]:
        fd = self._open(name)
        try:
            while data := os.read(fd, PIECE):
                yield data
        finally:
            os.close(fd)

    def close(self) -> None:
        os.close(self._fd)


class Archive:
    """A tar, plain or packed by gzip, zstd or xz; a packed one, or one that comes through a pipe, is first laid out.

    Args:
        room: a directory's fd, for a file without a name.
        budget: what a packed one may be at most.
    """

    def __init__(self, path: str, room: int, budget: Budget) -> None:
        self.what = f'"{path}"'
        try:
            given = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as e:
            raise HostError(f"{self.what}: cannot read it: {e.strerror}", e.errno or 0) from None
        self._fd = -1
        try:
            self._fd = self._plain(given, room, budget)
        finally:
            if self._fd != given:
                os.close(given)
        try:
            self._members = tar.index(self._fd, self.what)
        except BaseException:
            self.close()
            raise

    def _plain(self, given: int, room: int, budget: Budget) -> int:
        """The file itself, or a copy that is plain and can be read from any place: an fd."""
        mode = os.fstat(given).st_mode
        if stat.S_ISDIR(mode):
            raise ImageError(f"{self.what}: it is a folder; a layout is written oci:DIR")
        fd = given if stat.S_ISREG(mode) else self._laid_out(room, iter(partial(os.read, given, PIECE), b""))
        try:
            first = os.pread(fd, 4, 0)
            # A frame of zstd that is to be skipped may be the first (RFC 8878, 3.1.2).
            if not first.startswith(PACKED) and first[1:] != b"\x2a\x4d\x18":
                return fd
            plain = self._laid_out(room, unpacked(fd, budget))
        except BaseException:
            if fd != given:
                os.close(fd)
            raise
        if fd != given:
            os.close(fd)
        return plain

    def _laid_out(self, room: int, pieces: Iterator[bytes]) -> int:
        """A new file without a name."""
        fd = os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=room)
        try:
            for piece in pieces:
                write_all(fd, piece)
        except LayerError as e:
            os.close(fd)
            raise ImageError(f"{self.what}: {e}") from None
        except OSError as e:
            os.close(fd)
            raise HostError(f"{self.what}: cannot lay it out: {e.strerror}", e.errno or 0) from None
        except BaseException:
            os.close(fd)
            raise
        return fd

    def has(self, name: str) -> bool:
        return name in self._members

    def _member(self, name: str) -> tar.Member:
        try:
            return self._members[name]
        except KeyError:
            raise ImageError(f'{self.what}: it has no "{name[:100]}"; it is not an image, or not whole') from None

    def size(self, name: str) -> int:
        return self._member(name).size

    def pieces(self, name: str) -> Iterator[bytes]:
        return tar.pieces(self._fd, self._member(name))

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
