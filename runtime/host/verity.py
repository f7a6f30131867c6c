"""fs-verity: the kernel makes a file immutable and verifies every read against a digest (fsverity.rst)."""

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
    """Enable fs-verity on a file that nobody has open for writing.

    Args:
        fd: open for reading.
    Returns:
        the file's digest, `sha256:...`; "" if the file system or kernel does not support fs-verity.
    Raises:
        OSError: fs-verity is supported, but the kernel refused.
    """
    try:
        fcntl.ioctl(fd, ENABLE, struct.pack("<IIII", 1, SHA256, BLOCK, 0) + bytes(112))
    except OSError as e:
        if e.errno in NOT_THERE:
            return ""
        if e.errno != errno.EEXIST:  # already enabled
            raise
    return measure(fd)


def measure(fd: int) -> str:
    """The fs-verity digest of a file, "" if fs-verity is not enabled on it.

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
