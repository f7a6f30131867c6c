"""Stands for pyroute2.netns in the executable, which enters a network namespace in a process of multiprocessing: here
a socket is made in the namespace and handed over as a number (runtime/host/network.py)."""

import socket


def create_socket(
    netns=None, family=socket.AF_INET, socket_type=socket.SOCK_STREAM, proto=0, fileno=None, flags=0, libc=None
):
    """A socket of this process's own network namespace, or the one that is there."""
    if netns is not None:
        raise NotImplementedError("not in the executable")
    return socket.socket(family, socket_type, proto) if fileno is None else socket.socket(fileno=fileno)


def setns(*args, **more):
    """No namespace is entered here."""
    raise NotImplementedError("not in the executable")
