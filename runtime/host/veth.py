"""A veth pair: one end in the container, as eth0, the other on the host, which is the way to all else (veth(4)).

The container's addresses stand alone, each with the host's end as gateway, so that its neighbours too are reached
through the host.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Sequence
from typing import Any

from runtime.errors import HostError
from runtime.host.network import route_socket
from runtime.plan.model import Veth

INSIDE = "eth0"
NODAD = 0x02  # IFA_F_NODAD: no second of waiting before an IPv6 address can be used
ONLINK = 4  # RTNH_F_ONLINK: the gateway is on this link, whatever the addresses say


def new_name() -> str:
    """A name for the host's end of a new pair.

    It is random, and the container's record keeps it: no other container has it, also not one of the same ID below
    another --root, so whoever reads it in a record may remove the device. The kernel allows 15 characters.
    """
    return "stele" + os.urandom(5).hex()


def make_pair(addresses: Sequence[Veth], outside: str, pid: int) -> None:
    """Make the pair, give both ends their addresses and routes, and set them up.

    Args:
        outside: the name of the host's end.
        pid: a process in the container's network namespace.
    Raises:
        HostError: names what the kernel refused; nothing of the pair is left.
    """
    from pyroute2.netlink.exceptions import NetlinkError

    with route_socket() as host, route_socket(pid) as inside:
        try:
            host.link("add", ifname=outside, kind="veth", peer={"ifname": INSIDE, "net_ns_pid": pid})
        except NetlinkError as e:
            raise HostError(f"--net: cannot make a veth pair: {e.args[-1]}", e.code) from e
        try:
            own, other = host.link_lookup(ifname=outside)[0], inside.link_lookup(ifname=INSIDE)[0]
            host.link("set", index=own, state="up")
            inside.link("set", index=other, state="up")
            for address in addresses:
                _connect(host, own, address.gateway, address.address, gateway=False)
                _connect(inside, other, address.address, address.gateway, gateway=True)
        except BaseException as e:
            _remove(host, outside)
            if isinstance(e, NetlinkError):
                raise HostError(f"--net: cannot give the pair its addresses: {e.args[-1]}", e.code) from e
            raise


def remove_pair(outside: str) -> None:
    """Remove a pair, if it is still there, by the name of its host end."""
    with route_socket() as host:
        _remove(host, outside)


def _remove(host: Any, name: str) -> None:
    from pyroute2.netlink.exceptions import NetlinkError

    with contextlib.suppress(NetlinkError, IndexError):  # the kernel removes it too, with the container's namespace
        host.link("del", index=host.link_lookup(ifname=name)[0])


def _connect(link: Any, index: int, own: str, other: str, *, gateway: bool) -> None:
    """One end: its address, and the way to the other's, or by it to everywhere."""
    ipv4 = ":" not in own
    bits = 32 if ipv4 else 128
    more = {} if ipv4 else {"flags": NODAD}
    link.addr("add", index=index, address=own, prefixlen=bits, **more)
    if gateway:
        link.route(
            "add",
            dst="default",
            gateway=other,
            oif=index,
            flags=ONLINK,
            family=socket.AF_INET if ipv4 else socket.AF_INET6,
        )
    else:
        link.route("add", dst=f"{other}/{bits}", oif=index)
