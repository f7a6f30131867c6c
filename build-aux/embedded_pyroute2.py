"""Stands for the package pyroute2's own __init__ in the executable, which would import all it has: of it, routes,
addresses and links are used here."""

from pyroute2.iproute import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

__all__ = ["IPRoute", "NetlinkError"]
