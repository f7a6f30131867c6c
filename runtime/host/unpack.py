"""Unpack layers into a directory with the C shim (cshim/unpack.h), in parallel: its calls release Python's lock."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from runtime.errors import HostError
from runtime.host.facts import in_user_namespace
from runtime.host.shim import ffi, lib

OVERLAY: int = lib.STELE_FORM_OVERLAY
OVERLAY_USER: int = lib.STELE_FORM_OVERLAY_USER
LOWEST: int = lib.STELE_FORM_LOWEST


class LayerError(HostError):
    """A layer is damaged or hostile (errno EBADMSG), or exceeds the budget (another errno)."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits for one layer, against decompression bombs; a layer that exceeds them is not unpacked.

    bytes: size of the uncompressed archive. ratio: uncompressed to compressed, checked from 64 MiB on. entries: files,
    directories and links. header: bytes of one PAX header, long name or sparse map. file: size of one file with holes.
    """

    bytes: int = 64 << 30
    ratio: int = 500
    entries: int = 2_000_000
    header: int = 1 << 20
    file: int = 4 << 40

    def limits(self) -> dict[str, int]:
        """As struct stele_tar_limits."""
        return {"bytes": self.bytes, "ratio": self.ratio, "header": self.header, "file": self.file}


@dataclass(frozen=True, slots=True)
class Unpacked:
    """The result.

    diff_id: digest of the uncompressed archive. whiteouts: includes opaque directories.
    implied: paths of directories that no entry describes, "" for the root; through links that the layer has.
    left_out: a sentence about extended attributes that were not set, "" if all were.
    """

    diff_id: str
    entries: int
    whiteouts: int
    implied: tuple[str, ...] = ()
    left_out: str = ""


class Unpacking:
    """The unpacking of one layer; `stop` may be called from another thread."""

    __slots__ = ("_budget", "_work")

    def __init__(self, blob: int, directory: int, form: int, budget: Budget, *, durable: bool) -> None:
        """Args: fds of the layer and of an empty directory, which the caller still owns; OVERLAY, OVERLAY_USER or
        LOWEST; durable: sync everything to disk before `run` returns."""
        self._budget = budget
        self._work: Any = ffi.new("struct stele_unpack *")
        self._work.blob, self._work.directory, self._work.form = blob, directory, form
        self._work.skip_devices = in_user_namespace()
        self._work.durable = durable
        self._work.limits = budget.limits()
        self._work.most_entries = budget.entries

    @property
    def size(self) -> int:
        """The bytes of the packed layer."""
        return os.fstat(self._work.blob).st_size

    def run(self) -> Unpacked:
        """Unpack all entries.

        Raises:
            LayerError: the archive is at fault. HostError: the kernel refused.
        """
        work = self._work
        work.implied = os.memfd_create("implied", os.MFD_CLOEXEC)
        try:
            result: int = lib.stele_unpack(work)
            if result == 0:
                return Unpacked(
                    f"sha256:{bytes(work.digest).hex()}",
                    work.entries,
                    work.whiteouts,
                    _paths(work.implied),
                    _left_out(work),
                )
        finally:
            os.close(work.implied)
        path = ffi.string(work.path)
        entry = f"entry {_quoted(path)}: " if path else ""
        words = told(-result, ffi.string(work.problem).decode("utf-8", "replace"), self._budget)
        kind = LayerError if -result in _AT_FAULT else HostError
        raise kind(entry + words, -result)

    def stop(self) -> None:
        """Make `run` fail soon with ECANCELED."""
        lib.stele_unpack_stop(self._work)


def _quoted(path: bytes) -> str:
    return ascii(path.decode("utf-8", "surrogateescape"))[:200]


def _paths(fd: int) -> tuple[str, ...]:
    with open(os.dup(fd), "rb") as file:
        file.seek(0)
        return tuple(os.fsdecode(path) for path in file.read().split(b"\0")[:-1])


def _left_out(work: Any) -> str:
    if not work.left_out:
        return ""
    name, path = ascii(ffi.string(work.left_out_name).decode("utf-8", "replace"))[1:-1], ffi.string(work.left_out_path)
    more = f" and {work.left_out - 1} more" if work.left_out > 1 else ""
    return (
        f"entry {_quoted(path)}: the extended attribute {name}{more} left out; this system has no such attribute, "
        "or keeps it for itself"
    )


_AT_FAULT = (errno.EBADMSG, errno.ENODATA, errno.EFBIG, errno.EOVERFLOW, errno.EPROTONOSUPPORT, errno.ELOOP)


def told(error: int, problem: str, budget: Budget) -> str:
    """Describe the error: the reader's own message, or one for the errno."""
    if problem:
        return ascii(problem)[1:-1]
    return {
        errno.EBADMSG: "the packed data is damaged, or there is something behind its end",
        errno.ENODATA: "the packed data ends too early",
        errno.EFBIG: f"it is more than the {budget.bytes} bytes that it may have",
        errno.EOVERFLOW: f"it is packed tighter than {budget.ratio} to 1, as bombs are",
        errno.EPROTONOSUPPORT: "it is packed by bzip2 or xz, or with a window of more than 128 MiB; gzip and zstd are known",
        errno.ECANCELED: "interrupted",
    }.get(error, f"cannot make it: {os.strerror(error)} ({errno.errorcode.get(error, error)})")


def overlay_form() -> int:
    """Return the form of layers for overlayfs: OVERLAY, or in a user namespace OVERLAY_USER, with user.* attributes."""
    return OVERLAY_USER if in_user_namespace() else OVERLAY


_PIECE = 1 << 20


def unpacked(fd: int, budget: Budget) -> Iterator[bytes]:
    """Decompress a gzip, zstd or xz file; other content is returned as it is.

    Raises:
        LayerError: the file is damaged or exceeds the budget. HostError: it cannot be read.
    """
    out, into = os.pipe2(os.O_CLOEXEC)
    try:
        pid: int = lib.stele_stream_start(fd, budget.bytes, budget.ratio, into)
    finally:
        os.close(into)
    problem = ffi.new("char[200]")
    whole = False
    try:
        while pid > 0 and (piece := os.read(out, _PIECE)):
            yield piece
        whole = True
    finally:
        os.close(out)
        result: int = lib.stele_stream_end(pid, not whole, problem) if pid > 0 else pid
    if result == -errno.EPROTONOSUPPORT:
        raise LayerError(
            "it is packed by bzip2, or with a window of more than 128 MiB; pack it by gzip, zstd or xz", -result
        )
    if result < 0:
        kind = LayerError if -result in _AT_FAULT else HostError
        raise kind(told(-result, ffi.string(problem).decode("utf-8", "replace"), budget), -result)
