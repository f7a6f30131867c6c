"""Get the wait status of another process's child, even if its parent reaps it at once.

Since Linux 6.15 the kernel keeps the status for holders of a pidfd (ioctl PIDFD_GET_INFO, <linux/pidfd.h>). Before
that, root must already be listening to the process connector (<linux/cn_proc.h>), which reports each exit once.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import socket
import struct
import time

from runtime.host.processes import stat_of

PIDFD_GET_INFO = 0xC040FF0B
PIDFD_INFO_EXIT = 1 << 3
INFO = struct.Struct("<QQ11Ii")
"""The first version of struct pidfd_info: mask, cgroup, 11 ids, wait status."""

NETLINK_CONNECTOR = 11
PROC_CONNECTOR = (1, 1)
LISTEN = 1
EVENT_EXIT = 0x80000000
NLMSG_DONE = 3
MESSAGE = struct.Struct("=IHHII")
"""struct nlmsghdr."""
CONNECTOR = struct.Struct("=IIIIHH")
"""struct cn_msg."""
EVENT = struct.Struct("=IIQIIi")
"""struct proc_event of an exit: what, cpu, time, pid, tgid, wait status."""

LATE = 1.0
"""Seconds to wait for the connector's event after the process has ended."""


def wait_status(pidfd: int, pid: int, start_time: int) -> int | None:
    """Wait until a process has ended and return its wait status; None if the kernel does not disclose it.

    Args:
        start_time: field 22 of /proc/PID/stat.
    """
    with contextlib.ExitStack() as stack:
        connector = None if _kernel() >= (6, 15) else _listen()
        if connector is not None:
            stack.enter_context(connector)
        told = _until_end(pidfd, pid, connector)
        for status in (told, _of_zombie(pid, start_time), _remembered(pidfd)):
            if status is not None:
                return status
    return None


def _kernel() -> tuple[int, int]:
    major, minor = os.uname().release.split(".")[:2]
    return int(major), int("".join(c for c in minor if c in "0123456789"))


def _listen() -> socket.socket | None:
    """Open the process connector; None without CAP_NET_ADMIN, in a namespace, or if the kernel lacks it."""
    connector = None
    try:
        connector = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, NETLINK_CONNECTOR)
        connector.bind((0, PROC_CONNECTOR[0]))
        body = CONNECTOR.pack(*PROC_CONNECTOR, 0, 0, 4, 0) + struct.pack("=I", LISTEN)
        connector.send(MESSAGE.pack(MESSAGE.size + len(body), NLMSG_DONE, 0, 0, 0) + body)
    except OSError:
        if connector is not None:
            connector.close()
        return None
    return connector


def _until_end(pidfd: int, pid: int, connector: socket.socket | None) -> int | None:
    """Wait for the exit and return the connector's status."""
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    if connector is not None:
        poller.register(connector, select.POLLIN)
    status = None
    while True:
        ready = dict(poller.poll())
        if connector is not None and connector.fileno() in ready:
            status = _read_events(connector, pid, status)
        if pidfd in ready:
            return status if connector is None else _last_event(connector, pid, status)


def _last_event(connector: socket.socket, pid: int, status: int | None) -> int | None:
    """Return the status once the process has ended: the kernel wakes the pidfd's holders before it reports the exit."""
    end = time.monotonic() + LATE
    while (status := _read_events(connector, pid, status)) is None and (left := end - time.monotonic()) > 0:
        select.select([connector], [], [], left)
    return status


def _read_events(connector: socket.socket, pid: int, status: int | None) -> int | None:
    while True:
        try:
            message = connector.recv(4096)
        except OSError as e:
            if e.errno == errno.ENOBUFS:
                continue  # some events were lost; ours may still come
            return status
        at = MESSAGE.size + CONNECTOR.size
        if len(message) < at + EVENT.size:
            continue
        what, _, _, thread, process, ended = EVENT.unpack_from(message, at)
        if what == EVENT_EXIT and thread == process == pid:
            status = ended


def _of_zombie(pid: int, start_time: int) -> int | None:
    """Field 52 of /proc/PID/stat (proc(5)), until the parent reaps the process; readable by root only."""
    found = stat_of(pid)
    if found is None or found["state"] not in (b"Z", b"X") or int(found["start"]) != start_time:
        return None
    return int(found["status"])


def _remembered(pidfd: int) -> int | None:
    buffer = bytearray(INFO.pack(PIDFD_INFO_EXIT, *([0] * 13)))
    try:
        fcntl.ioctl(pidfd, PIDFD_GET_INFO, buffer)
    except OSError:
        return None
    fields = INFO.unpack(buffer)
    return int(fields[13]) if fields[0] & PIDFD_INFO_EXIT else None
