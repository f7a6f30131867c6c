"""Move host network devices into a container (config-linux.md "Network Devices", spec 1.3)."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator, Sequence
from typing import Any

from runtime.errors import HostError
from runtime.host import shim
from runtime.plan.model import NetDevice

CLONE_NEWNET = 0x4000_0000
NETLINK_ROUTE = 0


@contextlib.contextmanager
def route_socket(pid: int = 0) -> Iterator[Any]:
    """A pyroute2 IPRoute, in the network namespace of `pid` or in our own.

    A socket stays in the namespace it was created in, so we enter the other one only to create it. pyroute2 itself
    would start another Python interpreter through multiprocessing.
    """
    from pyroute2 import IPRoute

    if not pid:
        with IPRoute() as here:
            yield here
        return
    own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        other = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            shim.setns(other, CLONE_NEWNET)
        finally:
            os.close(other)
        try:
            there = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_ROUTE)
        finally:
            shim.setns(own, CLONE_NEWNET)
    finally:
        os.close(own)
    with IPRoute(fileno=there.detach()) as inside:
        yield inside


def move_devices(devices: Sequence[NetDevice], pid: int) -> None:
    """Move devices into the network namespace of `pid`, rename them, restore their addresses, and bring them up.

    Raises:
        HostError: names the device.
    """
    from pyroute2.netlink.exceptions import NetlinkError

    with route_socket() as host, route_socket(pid) as inside:
        found: list[int] = []
        for device in devices:  # check all before moving any: moved devices are lost with a failed container
            field = f"linux.netDevices.{device.host_name}"
            if inside.link_lookup(ifname=device.container_name):
                raise HostError(f'{field}: the container already has a "{device.container_name}"; use another name')
            indices = host.link_lookup(ifname=device.host_name)
            if not indices:
                raise HostError(f"{field}: this host has no such network device; correct its name")
            found.append(indices[0])
        for device, outside in zip(devices, found, strict=True):
            field = f"linux.netDevices.{device.host_name}"
            try:
                # Moving a device drops its addresses; restore those of global scope inside.
                addresses = [
                    (a.get_attr("IFA_ADDRESS"), a["prefixlen"], a["family"])
                    for a in host.get_addr(index=outside)
                    if a["scope"] == 0
                ]
                host.link("set", index=outside, net_ns_pid=pid, ifname=device.container_name)
                index = inside.link_lookup(ifname=device.container_name)[0]
                for address, length, family in addresses:
                    inside.addr("add", index=index, address=address, prefixlen=length, family=family)
                inside.link("set", index=index, state="up")
            except NetlinkError as e:
                raise HostError(f"{field}: cannot move it into the container: {e.args[-1]}", e.code) from e
