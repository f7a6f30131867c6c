"""Layers carried out below a directory by the C shim (cshim/unpack.h), many at a time: no call holds Python's lock."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from runtime.errors import HostError
from runtime.host.shim import ffi, lib

OVERLAY: int = lib.STELE_FORM_OVERLAY
OVERLAY_USER: int = lib.STELE_FORM_OVERLAY_USER
LOWEST: int = lib.STELE_FORM_LOWEST


class LayerError(HostError):
    """A layer is no sound archive, is hostile, or is beyond the budget; errno says which: EBADMSG for the first two."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What one layer may be at most, against bombs; beyond it, unpacking fails and leaves nothing.

    bytes: of the plain archive. ratio: plain to packed, once there are 64 MiB. entries: files, directories and links.
    header: bytes of one PAX header, long name or sparse map. file: size of one file, its holes included.
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
    """What came out. diff_id: digest of the plain archive. whiteouts: opaque directories too."""

    diff_id: str
    entries: int
    whiteouts: int


class Unpacking:
    """One layer on its way; `stop` may be called from another thread."""

    __slots__ = ("_budget", "_work")

    def __init__(self, blob: int, directory: int, form: int, budget: Budget, *, durable: bool) -> None:
        """Args: the layer's file and an empty directory, fds that stay the caller's; OVERLAY, OVERLAY_USER or LOWEST;
        whether all must be on disk when `run` returns."""
        self._budget = budget
        self._work: Any = ffi.new("struct stele_unpack *")
        self._work.blob, self._work.directory, self._work.form = blob, directory, form
        self._work.skip_devices = not initial_user_namespace()
        self._work.durable = durable
        self._work.limits = budget.limits()
        self._work.most_entries = budget.entries

    def run(self) -> Unpacked:
        """Make all entries.

        Raises:
            LayerError: the archive is at fault. HostError: the kernel refuses.
        """
        result: int = lib.stele_unpack(self._work)
        work = self._work
        if result == 0:
            return Unpacked(f"sha256:{bytes(work.digest).hex()}", work.entries, work.whiteouts)
        path = ffi.string(work.path)
        entry = f"entry {ascii(path.decode('utf-8', 'surrogateescape'))[:200]}: " if path else ""
        words = told(-result, ffi.string(work.problem).decode("utf-8", "replace"), self._budget)
        kind = LayerError if -result in _AT_FAULT else HostError
        raise kind(entry + words, -result)

    def stop(self) -> None:
        """Make `run` fail soon with ECANCELED."""
        lib.stele_unpack_stop(self._work)


_AT_FAULT = (errno.EBADMSG, errno.ENODATA, errno.EFBIG, errno.EOVERFLOW, errno.EPROTONOSUPPORT, errno.ELOOP)


def told(error: int, problem: str, budget: Budget) -> str:
    """What is wrong with a layer: the reader's own words, or those for the error number of one of its calls."""
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


def initial_user_namespace() -> bool:
    """Whether this process is in no user namespace of its own (user_namespaces(7)): all ids map to themselves."""
    with open("/proc/self/uid_map", "rb") as file:
        return file.read().split() == [b"0", b"0", b"4294967295"]


_PIECE = 1 << 20


def unpacked(fd: int, budget: Budget) -> Iterator[bytes]:
    """The bytes of a file before gzip, zstd or xz packed them; its own if it is plain.

    Raises:
        LayerError: it is damaged, or more than the budget. HostError: it cannot be read.
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
