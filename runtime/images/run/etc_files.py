"""The files in /etc that say who and where a container is: hostname, hosts, resolv.conf (hosts(5), resolv.conf(5))."""

from __future__ import annotations

from collections.abc import Sequence


def hostname(name: str) -> bytes:
    """/etc/hostname."""
    return f"{name}\n".encode()


def hosts(name: str, addresses: Sequence[str]) -> bytes:
    """/etc/hosts.

    Args:
        addresses: the container's own; without any its name is one of the loopback's.
    """
    lines = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]
    lines += [f"{address}\t{name}" for address in addresses or ("127.0.1.1",)]
    return ("\n".join(lines) + "\n").encode()


def resolv_conf(servers: Sequence[str], host: bytes, *, own_network: bool) -> bytes:
    """/etc/resolv.conf.

    Args:
        servers: of --dns; they take the place of the host's.
        host: the host's file.
        own_network: the host's loopback, on which its own name server may listen, is not the container's.
    """
    kept = []
    for line in host.decode("utf-8", "surrogateescape").split("\n"):
        words = [word for word in line.replace("\t", " ").split(" ") if word]
        if not words or words[0][0] in "#;":
            continue
        if words[0] == "nameserver" and (servers or (own_network and _is_loopback(words[1:2]))):
            continue
        if words[0] != "nameserver" and servers:
            continue
        kept.append(" ".join(words))
    kept += [f"nameserver {server}" for server in servers]
    return "".join(f"{line}\n" for line in kept).encode("utf-8", "surrogateescape")


def _is_loopback(words: Sequence[str]) -> bool:
    return not words or words[0].startswith("127.") or words[0] == "::1"
