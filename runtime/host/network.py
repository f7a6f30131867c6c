"""Network devices of the host that a container gets (config-linux.md "Network Devices", spec 1.3)."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.errors import HostError
from runtime.plan.model import NetDevice


def move_devices(devices: Sequence[NetDevice], pid: int) -> None:
    """Move devices into the network namespace of `pid`, under their new names, with their addresses, and up.

    Raises:
        HostError: names the device.
    """
    from pyroute2 import IPRoute, NetNS
    from pyroute2.netlink.exceptions import NetlinkError

    with IPRoute() as host, NetNS(f"/proc/{pid}/ns/net") as inside:
        for device in devices:
            field = f"linux.netDevices.{device.host_name}"
            try:
                indices = host.link_lookup(ifname=device.host_name)
                if not indices:
                    raise HostError(f"{field}: this host has no such network device; correct its name")
                # Moving a device takes its addresses away; those that are for all the world are given back inside.
                addresses = [
                    (a.get_attr("IFA_ADDRESS"), a["prefixlen"], a["family"])
                    for a in host.get_addr(index=indices[0])
                    if a["scope"] == 0
                ]
                host.link("set", index=indices[0], net_ns_pid=pid, ifname=device.container_name)
                index = inside.link_lookup(ifname=device.container_name)[0]
                for address, length, family in addresses:
                    inside.addr("add", index=index, address=address, prefixlen=length, family=family)
                inside.link("set", index=index, state="up")
            except NetlinkError as e:
                raise HostError(
                    f"{field}: cannot move it into the container: {e.args[-1]}; is the name free there?", e.code
                ) from e
