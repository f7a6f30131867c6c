"""Blobs by digest: what is there was verified; what is on its way is elsewhere, locked, and never believed.

<store>/blobs/sha256/<hex> holds whole blobs, <store>/ingest/<hex> the beginning of one. An interrupted transfer goes
on where it stopped; the digest over all of it decides.
"""

from __future__ import annotations

import fcntl
import os
from types import TracebackType

from runtime.errors import HostError
from runtime.host.files import write_all
from runtime.host.hashing import Sha256
from runtime.images.model import SIZE_MAX, ImageError, check_digest

PIECE = 1 << 20


class BlobWriter:
    """Takes a blob's bytes; made by `ImageStore.writer`, used in a with statement.

    Attributes:
        offset: bytes that are there already: go on with the next one.
        present: the whole blob is in the store; nothing is to be written, and `commit` does nothing.
    """

    __slots__ = ("_blobs", "_fd", "_hash", "_hex", "_ingest", "digest", "offset", "present", "size")

    def __init__(self, blobs: int, ingest: int, digest: str, size: int | None) -> None:
        """Args: directories of whole and of begun blobs, which stay the caller's; size in bytes, None if unknown."""
        self.digest, self.size = check_digest(digest, "blob"), size
        self._hex = digest.removeprefix("sha256:")
        self._blobs, self._ingest = blobs, ingest
        self._fd = -1
        self.offset = 0
        self.present = False

    def __enter__(self) -> BlobWriter:
        self._fd = self._lock()
        try:
            self._begin()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _lock(self) -> int:
        """The begun blob, locked; another writer of it is waited for."""
        while True:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            fd = os.open(self._hex, flags, 0o600, dir_fd=self._ingest)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                there = os.stat(self._hex, dir_fd=self._ingest, follow_symlinks=False)
                if there.st_ino == os.fstat(fd).st_ino:
                    return fd
            except FileNotFoundError:
                pass  # finished or dropped by the one who held the lock
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)

    def _begin(self) -> None:
        try:
            self.offset = os.stat(self._hex, dir_fd=self._blobs, follow_symlinks=False).st_size
        except FileNotFoundError:
            pass
        else:
            self.present = True
            os.unlink(self._hex, dir_fd=self._ingest)
            os.utime(self._hex, dir_fd=self._blobs, follow_symlinks=False)  # gc: it is wanted now
            return
        self._hash = Sha256()
        if self.size is not None and os.fstat(self._fd).st_size > self.size:
            os.ftruncate(self._fd, 0)
        while piece := os.read(self._fd, PIECE):
            self._hash.update(piece)
            self.offset += len(piece)

    def write(self, data: bytes | memoryview) -> None:
        """Append.

        Raises:
            ImageError: it is more than the blob may have; nothing is kept. HostError: the disk refuses.
        """
        if self.present:
            return
        most = SIZE_MAX if self.size is None else self.size
        if self.offset + len(data) > most:
            self.drop()
            raise ImageError(
                f"blob {self.digest}: more than its {most} bytes came; ask for it again, or tell its owner"
            )
        try:
            write_all(self._fd, data)
        except OSError as e:
            raise HostError(f"blob {self.digest}: cannot write it: {os.strerror(e.errno or 0)}", e.errno or 0) from e
        self._hash.update(data)
        self.offset += len(data)

    def restart(self) -> None:
        """Forget what came: the sender cannot go on where it stopped."""
        if not self.present:
            os.ftruncate(self._fd, 0)
            os.lseek(self._fd, 0, os.SEEK_SET)
            self._hash = Sha256()
            self.offset = 0

    def commit(self) -> None:
        """Verify size and digest, make it durable, give it its name.

        Raises:
            ImageError: too short (what came is kept, for another try), or of another digest (nothing is kept).
            HostError: the disk refuses.
        """
        if self.present:
            return
        if self.size is not None and self.offset < self.size:
            raise ImageError(f"blob {self.digest}: only {self.offset} of its {self.size} bytes came; ask for the rest")
        found = "sha256:" + self._hash.hexdigest()
        if found != self.digest:
            self.drop()
            raise ImageError(f"blob {self.digest}: what came is {found}; it was damaged or exchanged on the way")
        try:
            os.fsync(self._fd)
            os.fchmod(self._fd, 0o400)
            os.rename(self._hex, self._hex, src_dir_fd=self._ingest, dst_dir_fd=self._blobs)
            os.fsync(self._blobs)
        except OSError as e:
            raise HostError(f"blob {self.digest}: cannot keep it: {os.strerror(e.errno or 0)}", e.errno or 0) from e
        self.present = True

    def drop(self) -> None:
        """Remove what came."""
        if not self.present:
            os.unlink(self._hex, dir_fd=self._ingest)
            self.offset = 0
            # Whoever waits for the lock sees that the name is gone, and begins anew.
            self.__exit__(None, None, None)
