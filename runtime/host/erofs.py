"""Mount an erofs image from a file: directly (Linux 6.12), or through a loop device that ends with the mount."""

from __future__ import annotations

import errno
import fcntl
import os
import struct

from runtime.errors import HostError
from runtime.host import shim, verity
from runtime.plan.model import ErofsFd

MOUNT_ATTR_RDONLY, MOUNT_ATTR_NODEV = 1, 4
LOOP_CTL_GET_FREE, LOOP_CONFIGURE = 0x4C82, 0x4C0A
LO_FLAGS_READ_ONLY, LO_FLAGS_AUTOCLEAR = 1, 4
RETRIES = 16  # another process may take the free device first


def mount_erofs(source: ErofsFd) -> int:
    """A detached read-only mount of the image; the caller owns the fd.

    Raises:
        HostError: the image is missing, was changed, or is not erofs.
    """
    try:
        fd = os.open(source.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as e:
        raise HostError(
            f"erofs image {source.path}: {os.strerror(e.errno or 0)}; pull or import its image again", e.errno or 0
        ) from e
    try:
        if source.verity and verity.measure(fd) != source.verity:
            raise HostError(
                f"erofs image {source.path}: its fs-verity digest is not {source.verity}; remove it to have it rebuilt"
            )
        try:
            return shim.mount_source("erofs", f"/proc/self/fd/{fd}", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV)
        except OSError as e:
            if e.errno != errno.ENOTBLK:  # this kernel or the file's file system needs a block device
                raise
        return _by_loop(fd)
    except OSError as e:
        raise HostError(
            f"erofs image {source.path}: cannot mount it: {os.strerror(e.errno or 0)}; use --rootfs overlay",
            e.errno or 0,
        ) from e
    finally:
        os.close(fd)


def _by_loop(fd: int) -> int:
    """Mount through a loop device that the kernel frees with the mount (loop(4), LO_FLAGS_AUTOCLEAR)."""
    flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR
    # struct loop_config: fd, block size, struct loop_info64 with its flags at 52, reserved.
    config = struct.pack("<II", fd, 0) + bytes(52) + struct.pack("<I", flags) + bytes(176) + bytes(64)
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    try:
        for _ in range(RETRIES):
            device = f"/dev/loop{fcntl.ioctl(control, LOOP_CTL_GET_FREE)}"
            loop = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.ioctl(loop, LOOP_CONFIGURE, config)
                return shim.mount_source("erofs", device, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV)
            except OSError as e:
                if e.errno != errno.EBUSY:
                    raise
            finally:
                os.close(loop)
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), "loop device")
    finally:
        os.close(control)
