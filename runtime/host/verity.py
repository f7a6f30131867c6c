"""fs-verity: a file that the kernel lets nobody change, and checks against one digest as it is read (fsverity.rst)."""

from __future__ import annotations

import errno
import fcntl
import struct

ENABLE = 0x40806685  # FS_IOC_ENABLE_VERITY: _IOW('f', 133, struct fsverity_enable_arg)
MEASURE = 0xC0046686  # FS_IOC_MEASURE_VERITY: _IOWR('f', 134, struct fsverity_digest)
SHA256 = 1
BLOCK = 4096
NOT_THERE = (errno.EOPNOTSUPP, errno.ENOTTY, errno.EROFS)


def enable(fd: int) -> str:
    """Turn it on for a file that nobody has open for writing.

    Args:
        fd: open for reading.
    Returns:
        its digest, `sha256:...`; "" where the file system or the kernel has no fs-verity.
    Raises:
        OSError: it is there and refuses.
    """
    try:
        fcntl.ioctl(fd, ENABLE, struct.pack("<IIII", 1, SHA256, BLOCK, 0) + bytes(112))
    except OSError as e:
        if e.errno in NOT_THERE:
            return ""
        if e.errno != errno.EEXIST:  # it is on already
            raise
    return measure(fd)


def measure(fd: int) -> str:
    """The digest of a file that has it on, "" for one that has not.

    Raises:
        OSError
    """
    space = bytearray(struct.pack("<HH", 0, 64) + bytes(64))
    try:
        fcntl.ioctl(fd, MEASURE, space)
    except OSError as e:
        if e.errno in (*NOT_THERE, errno.ENODATA):
            return ""
        raise
    algorithm, size = struct.unpack_from("<HH", space)
    return f"{'sha256' if algorithm == SHA256 else algorithm}:{bytes(space[4 : 4 + size]).hex()}"
