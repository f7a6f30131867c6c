"""A veth pair: one end is the container's eth0, the other is on the host and routes for it (veth(4)).

Each container address has a full-length prefix and the host's end as gateway, so that even neighbours are reached
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
NODAD = 0x02  # IFA_F_NODAD: use an IPv6 address at once instead of after a second
ONLINK = 4  # RTNH_F_ONLINK: the gateway is on this link, whatever its address


def new_name() -> str:
    """A random name for the host's end of a new pair.

    The container's record keeps it. No other container uses it, not even one with the same ID in another --root, so a
    device named in a record is safe to remove. The kernel allows 15 characters.
    """
    return "stele" + os.urandom(5).hex()


def make_pair(addresses: Sequence[Veth], outside: str, pid: int) -> None:
    """Create the pair, give both ends their addresses and routes, and bring them up.

    Args:
        outside: the name of the host's end.
        pid: a process in the container's network namespace.
    Raises:
        HostError: the kernel refused something; the pair has been removed.
    """
    from pyroute2.netlink.exceptions import NetlinkError

    with route_socket() as host, route_socket(pid) as inside:
        try:
            host.link("add", ifname=outside, kind="veth", peer={"ifname": INSIDE, "net_ns_pid": pid})
        except NetlinkError as e:
            raise HostError(f"--net: cannot create a veth pair: {e.args[-1]}", e.code) from e
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
                raise HostError(f"--net: cannot configure the veth pair: {e.args[-1]}", e.code) from e
            raise


def remove_pair(outside: str) -> None:
    """Remove a pair, if it still exists, by the name of its host end."""
    with route_socket() as host:
        _remove(host, outside)


def _remove(host: Any, name: str) -> None:
    from pyroute2.netlink.exceptions import NetlinkError

    with contextlib.suppress(NetlinkError, IndexError):  # the kernel may have removed it with the container's namespace
        host.link("del", index=host.link_lookup(ifname=name)[0])


def _connect(link: Any, index: int, own: str, other: str, *, gateway: bool) -> None:
    """Configure one end: its address, and a route to the other end, or through it to everywhere."""
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
