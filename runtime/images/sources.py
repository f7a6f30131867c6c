"""What an image is imported from: the files of a folder, or of an archive, by name."""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Iterator
from typing import Protocol

from runtime.errors import HostError
from runtime.images import tar
from runtime.images.model import ImageError

PIECE = 1 << 20
RATIO_MAX = 1000  # bytes of an archive for each byte of its gzip


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
            raise ImageError(f'{self.what}: it has no "{name}"; it is no image, or not whole') from None
        except OSError as e:
            raise HostError(f'{self.what}: cannot read "{name}": {e.strerror}', e.errno or 0) from None
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise ImageError(f'{self.what}: "{name}" is no regular file')
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
    """A tar, plain or packed by gzip; a packed one, or one that comes through a pipe, is first laid out in room.

    Args:
        room: a directory's fd, for a file without a name.
    """

    def __init__(self, path: str, room: int) -> None:
        self.what = f'"{path}"'
        try:
            given = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as e:
            raise HostError(f"{self.what}: cannot read it: {e.strerror}", e.errno or 0) from None
        self._fd = -1
        try:
            self._fd = self._plain(given, room)
        finally:
            if self._fd != given:
                os.close(given)
        try:
            self._members = tar.index(self._fd, self.what)
        except BaseException:
            self.close()
            raise

    def _plain(self, given: int, room: int) -> int:
        mode = os.fstat(given).st_mode
        if stat.S_ISDIR(mode):
            raise ImageError(f"{self.what}: it is a folder; a layout is written oci:DIR")
        first = os.pread(given, 4, 0) if stat.S_ISREG(mode) else b""
        if stat.S_ISREG(mode) and first[:2] != b"\x1f\x8b":
            if first in (b"\x28\xb5\x2f\xfd", b"\xfd7zX") or first[:3] == b"BZh":
                raise ImageError(f"{self.what}: it is packed; unpack it first (plain and gzip are read)")
            return given
        spool = os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=room)
        try:
            self._spool(given, spool)
        except OSError as e:
            os.close(spool)
            raise HostError(f"{self.what}: cannot lay it out: {e.strerror}", e.errno or 0) from None
        except BaseException:
            os.close(spool)
            raise
        return spool

    def _spool(self, given: int, spool: int) -> None:
        unpack = None
        taken = put = 0
        with os.fdopen(os.dup(spool), "wb") as out:
            while data := os.read(given, PIECE):
                if not taken and data[:2] == b"\x1f\x8b":
                    unpack = zlib.decompressobj(31)
                taken += len(data)
                while data:
                    try:
                        piece = unpack.decompress(data, PIECE) if unpack else data
                    except zlib.error:
                        raise ImageError(f"{self.what}: its gzip is damaged") from None
                    out.write(piece)
                    put += len(piece)
                    if put > PIECE * RATIO_MAX and put > taken * RATIO_MAX:
                        raise ImageError(f"{self.what}: it unpacks to more than {RATIO_MAX} times its size")
                    data = unpack.unconsumed_tail if unpack else b""
                    if unpack and unpack.eof and unpack.unused_data:
                        data, unpack = unpack.unused_data, zlib.decompressobj(31)
        if unpack and not unpack.eof:
            raise ImageError(f"{self.what}: its gzip is cut short")

    def has(self, name: str) -> bool:
        return name in self._members

    def _member(self, name: str) -> tar.Member:
        try:
            return self._members[name]
        except KeyError:
            raise ImageError(f'{self.what}: it has no "{name[:100]}"; it is no image, or not whole') from None

    def size(self, name: str) -> int:
        return self._member(name).size

    def pieces(self, name: str) -> Iterator[bytes]:
        return tar.pieces(self._fd, self._member(name))

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
