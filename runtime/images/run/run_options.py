"""What the command line changes of what an image says, as values; and the words of it, parsed strictly."""

from __future__ import annotations

import contextlib
import os
import posixpath
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from runtime.errors import UsageError
from runtime.images.references import VOLUME_NAME
from runtime.images.run import defaults
from runtime.images.run.user import FILE_MAX
from runtime.oci.constants import CAPABILITIES, MOUNT_ATTRS, PROPAGATION
from runtime.oci.numbers import ascii_upper
from runtime.oci.sizes import size
from runtime.plan.model import Veth
from runtime.plan.steps import UPPER_DIRECTORY, UPPER_NONE, UPPER_TMPFS

Network = Literal["none", "host", "veth"]
TMPFS_SIZE = re.compile(r"[0-9]+(?:[kmgt]|%)?", re.ASCII | re.IGNORECASE)
PERIOD = 100_000  # microseconds, what --cpus is a part of
LINK_LOCAL = {4: "169.254.1.1", 6: "fe80::1"}
"""The host's end of a veth pair whose address has no network of its own to take one from."""


if TYPE_CHECKING:
    from typing import Protocol

    @dataclass(frozen=True, match_args=False)  # frozen: options are read, so a read-only attribute fits
    class Given(Protocol):
        """The options as strings, as the command line has them (ImageOptions in runtime/cli/table.py)."""

        command: list[str]
        entrypoint: str | None
        env: list[str]
        env_file: list[str]
        user: str
        workdir: str
        hostname: str
        volume: list[str]
        mount: list[str]
        tmpfs: list[str]
        memory: str
        cpus: str
        pids_limit: int | None
        cap_add: list[str]
        cap_drop: list[str]
        allow_new_privileges: bool
        read_only: bool
        upper: str
        net: str
        dns: list[str]
        label: list[str]
        stop_signal: str
        tty: bool
        rootfs: str


@dataclass(frozen=True, slots=True)
class Volume:
    """Something mounted into the container. kind "volume": a named one, source is its name; "tmpfs": source is ""."""

    kind: Literal["bind", "volume", "tmpfs"]
    source: str
    target: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Upper:
    """Where writes to the root go. kind: UPPER_*; size of the tmpfs; directory: absolute path."""

    kind: int = UPPER_NONE
    size: str = ""
    directory: str = ""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """None or empty: as the image, or the default, has it.

    entrypoint: () for none at all. memory: bytes. cpus: microseconds in each PERIOD. pids: processes. env: NAME=VALUE.
    capabilities: of the bounding set. network addresses in `veth`; dns: addresses of name servers.
    """

    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    env: tuple[str, ...] = ()
    user: str | None = None
    workdir: str = ""
    hostname: str = ""
    volumes: tuple[Volume, ...] = ()
    memory: int | None = None
    cpus: int | None = None
    pids: int | None = None
    capabilities: tuple[str, ...] = ()
    new_privileges: bool = False
    readonly: bool = False
    upper: Upper = Upper()
    network: Network = "none"
    veth: tuple[Veth, ...] = ()
    dns: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    stop_signal: str = ""
    terminal: bool = False
    cgroups_path: str = ""
    single_file: bool = False


def parse(given: Given, *, cgroups_path: str = "") -> RunOptions:
    """Parse the options of the command line.

    Args:
        cgroups_path: linux.cgroupsPath, or "" for the default.

    Raises:
        UsageError: an option is malformed.
    """
    kind, veth = network(given.net)
    return RunOptions(
        command=tuple(given.command),
        entrypoint=words(given.entrypoint, "--entrypoint") if given.entrypoint is not None else None,
        env=environment(given.env, [_read(path) for path in given.env_file], os.environ),
        user=given.user or None,
        workdir=given.workdir,
        hostname=given.hostname,
        volumes=_volumes(given),
        memory=size(given.memory, "memory") if given.memory else None,
        cpus=cpus(given.cpus) if given.cpus else None,
        pids=given.pids_limit,
        capabilities=capabilities(given.cap_add, given.cap_drop, defaults.CAPABILITIES),
        new_privileges=given.allow_new_privileges,
        readonly=given.read_only,
        upper=upper(given.upper),
        network=kind,
        veth=veth,
        dns=dns(given.dns),
        labels=labels(given.label),
        stop_signal=given.stop_signal,
        terminal=given.tty,
        cgroups_path=cgroups_path,
        single_file=given.rootfs == "erofs",
    )


def _volumes(given: Given) -> tuple[Volume, ...]:
    volumes = (
        *(volume(text) for text in given.volume),
        *(mount(text) for text in given.mount),
        *(tmpfs(text) for text in given.tmpfs),
    )
    targets = [each.target for each in volumes]
    for target in targets:
        if targets.count(target) > 1:
            raise UsageError(f'two volumes have the destination "{target}"; remove one')
    for each in volumes:
        if each.kind == "bind" and not os.path.exists(each.source):
            raise UsageError(f'--volume: the host has no "{each.source}"; create it, or correct the source')
    return volumes


def _read(path: str) -> bytes:
    """Read an --env-file; "-" is stdin."""
    try:
        with contextlib.nullcontext(sys.stdin.buffer) if path == "-" else open(path, "rb") as file:
            content: bytes = file.read(FILE_MAX + 1)
    except OSError as e:
        raise UsageError(f'--env-file "{path}": {os.strerror(e.errno or 0)}') from e
    if len(content) > FILE_MAX:
        raise UsageError(f'--env-file "{path}": it is larger than {FILE_MAX >> 20} MiB; split it')
    return content


def absolute(path: str, what: str) -> str:
    """A path in the container, made plain.

    Raises:
        UsageError: it is not absolute, or the root itself.
    """
    plain = posixpath.normpath(path)
    plain = "/" + plain.lstrip("/") if plain.startswith("/") else plain
    if not plain.startswith("/") or plain == "/":
        raise UsageError(f'{what}: "{path}" must be an absolute path in the container, and not / itself')
    return plain


def volume(text: str) -> Volume:
    """--volume SRC:DST[:OPTION,...], NAME:DST[:...], or DST alone for a tmpfs.

    Raises:
        UsageError
    """
    parts = text.split(":")
    what = f'--volume "{text}"'
    if len(parts) == 1:
        return Volume("tmpfs", "", absolute(parts[0], what))
    if len(parts) > 3 or not parts[0]:
        raise UsageError(f"{what}: write SOURCE:DESTINATION or SOURCE:DESTINATION:ro")
    options = tuple(o for o in parts[2].split(",") if o) if len(parts) == 3 else ()
    return _volume(parts[0], parts[1], options, what)


def _volume(source: str, target: str, options: Sequence[str], what: str) -> Volume:
    for option in options:
        if option not in MOUNT_ATTRS and option not in PROPAGATION and option not in ("bind", "rbind"):
            raise UsageError(
                f'{what}: option "{option}" is not known; use ro, rw, nosuid, nodev, noexec, rbind, rslave, ...'
            )
    if source.startswith("/"):
        return Volume("bind", posixpath.normpath(source), absolute(target, what), tuple(options))
    if not VOLUME_NAME.fullmatch(source):
        raise UsageError(f'{what}: "{source}" is neither an absolute path nor a name of letters, digits and _ . -')
    return Volume("volume", source, absolute(target, what), tuple(options))


def mount(text: str) -> Volume:
    """--mount type=bind|volume|tmpfs,source=...,destination=...[,readonly][,size=...][,mode=...].

    Raises:
        UsageError
    """
    what = f'--mount "{text}"'
    parts: dict[str, str] = {}
    options: list[str] = []
    names = {"src": "source", "dst": "destination", "target": "destination", "tmpfs-size": "size", "tmpfs-mode": "mode"}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        key = names.get(key, key)
        if key in ("readonly", "ro"):
            options.append("rw" if value.lower() in ("false", "0") else "ro")
        elif key in ("type", "source", "destination", "size", "mode") and equals:
            parts[key] = value
        elif not equals:
            options.append(key)
        else:
            raise UsageError(f'{what}: "{key}" is not known; use type, source, destination, readonly, size, mode')
    kind = parts.get("type", "volume")
    if "destination" not in parts:
        raise UsageError(f"{what}: destination= is missing")
    if kind == "tmpfs":
        given = [f"{key}={parts[key]}" for key in ("size", "mode") if key in parts]
        return _tmpfs(parts["destination"], (*given, *options), what)
    source = parts.get("source", "")
    if kind not in ("bind", "volume") or source.startswith("/") != (kind == "bind"):
        raise UsageError(f"{what}: type=bind needs source=/PATH, type=volume source=NAME; type=tmpfs has no source")
    return _volume(source, parts["destination"], options, what)


def tmpfs(text: str) -> Volume:
    """--tmpfs DST[:OPTION,...].

    Raises:
        UsageError
    """
    path, _, rest = text.partition(":")
    return _tmpfs(path, tuple(o for o in rest.split(",") if o), f'--tmpfs "{text}"')


def _tmpfs(path: str, options: tuple[str, ...], what: str) -> Volume:
    for option in options:
        if option not in MOUNT_ATTRS and option.partition("=")[0] not in ("size", "mode", "uid", "gid", "nr_inodes"):
            raise UsageError(f'{what}: option "{option}" is not known; use size=, mode=, uid=, gid=, ro, exec, ...')
    return Volume("tmpfs", "", absolute(path, what), options)


def upper(text: str) -> Upper:
    """--upper none | tmpfs[:SIZE] | DIRECTORY.

    Raises:
        UsageError
    """
    kind, _, size = text.partition(":")
    if text in ("", "none"):
        return Upper()
    if kind == "tmpfs":
        if size and not TMPFS_SIZE.fullmatch(size):
            raise UsageError(f'--upper "{text}": "{size}" is not a size of a tmpfs; use one such as 64m or 10%')
        return Upper(UPPER_TMPFS, size)
    if not text.startswith("/"):
        raise UsageError(f'--upper "{text}": use none, tmpfs, tmpfs:SIZE or an absolute path of a directory')
    return Upper(UPPER_DIRECTORY, directory=posixpath.normpath(text))


def network(text: str) -> tuple[Network, tuple[Veth, ...]]:
    """--net none | host | veth:ADDRESS[/PREFIX][,...][,gateway=ADDRESS].

    Without a gateway the host's end gets the first address of the network, or a link-local one where there is but one
    address in it.

    Raises:
        UsageError
    """
    if text in ("", "none"):
        return "none", ()
    if text == "host":
        return "host", ()
    from ipaddress import ip_address, ip_interface

    what = f'--net "{text}"'
    kind, colon, rest = text.partition(":")
    if kind != "veth" or not colon or not rest:
        raise UsageError(
            f"{what}: use none, host or veth:ADDRESS/PREFIX, as veth:10.88.0.2/24",
            given=text,
            choices=("none", "host", "veth:10.88.0.2/24"),
        )
    addresses, gateways = [], {}
    try:
        for part in rest.split(","):
            if part.startswith("gateway="):
                gateway = ip_address(part.removeprefix("gateway="))
                gateways[gateway.version] = str(gateway)
            else:
                addresses.append(ip_interface(part))
    except ValueError as e:
        raise UsageError(f"{what}: {e}") from None
    found = []
    for address in addresses:
        whole = address.network
        outside = gateways.get(address.version) or (
            str(whole[1]) if whole.num_addresses > 2 else LINK_LOCAL[address.version]
        )
        if outside == str(address.ip):
            raise UsageError(f"{what}: {outside} is the host's end; choose another address, or gateway=ADDRESS")
        found.append(Veth(str(address.ip), outside))
    if not found or set(gateways) - {a.version for a in addresses}:
        raise UsageError(f"{what}: it has a gateway without an address of its kind")
    return "veth", tuple(found)


def dns(texts: Sequence[str]) -> tuple[str, ...]:
    """--dns ADDRESS, or several with commas.

    Raises:
        UsageError
    """
    if not texts:
        return ()
    from ipaddress import ip_address

    try:
        return tuple(str(ip_address(part)) for text in texts for part in text.split(","))
    except ValueError as e:
        raise UsageError(f"--dns: {e}; it takes addresses, as 9.9.9.9") from None


def capabilities(add: Sequence[str], drop: Sequence[str], default: Sequence[str]) -> tuple[str, ...]:
    """The default set, less what is dropped, and what is added; ALL stands for all.

    Raises:
        UsageError: no capability has this name.
    """

    def names(words: Sequence[str], flag: str) -> set[str]:
        found: set[str] = set()
        for word in (ascii_upper(w.strip()) for text in words for w in text.split(",")):
            name = word if word.startswith("CAP_") else f"CAP_{word}"
            if word == "ALL":
                found |= set(CAPABILITIES)
            elif name in CAPABILITIES:
                found.add(name)
            else:
                choices = (known.removeprefix("CAP_") for known in CAPABILITIES)
                raise UsageError(
                    f'{flag}: unknown capability "{word}"; names look like NET_ADMIN',
                    given=word.removeprefix("CAP_"),
                    choices=choices,
                )
        return found

    added, dropped = names(add, "--cap-add"), names(drop, "--cap-drop")
    # What is named beats ALL: --cap-drop ALL --cap-add CHOWN leaves CHOWN, --cap-add ALL --cap-drop CHOWN all but that.
    kept = ((set(default) - dropped) | added) if added < set(CAPABILITIES) else set(CAPABILITIES) - dropped
    return tuple(name for name in CAPABILITIES if name in kept)


def cpus(text: str) -> int:
    """Microseconds of CPU time in each PERIOD, of a number of CPUs such as 1.5.

    Raises:
        UsageError
    """
    if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,6})?", text, re.ASCII) or float(text) < 0.01:
        raise UsageError(f'--cpus: "{text}" is not a number of CPUs; use one such as 0.5 or 2')
    return round(float(text) * PERIOD)


def environment(given: Sequence[str], files: Sequence[bytes], own: Mapping[str, str]) -> tuple[str, ...]:
    """NAME=VALUE of --env-file and then --env; a NAME alone takes its value from `own`, and is left out if unset there.

    A line of a file ends at its line end only, CR or not, and what stands behind the "=" is taken as it is, as Docker does.

    Raises:
        UsageError: a name is empty.
    """
    lines = [line.removesuffix(b"\r").lstrip() for content in files for line in content.split(b"\n")]
    words = [os.fsdecode(line) for line in lines if line and not line.startswith(b"#")] + list(given)
    found = []
    for word in words:
        name, equals, _ = word.partition("=")
        if not name:
            raise UsageError(f'--env "{word}": the name is empty; write NAME=VALUE')
        if equals:
            found.append(word)
        elif name in own:
            found.append(f"{name}={own[name]}")
    return tuple(found)


def labels(texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """--label KEY=VALUE.

    Raises:
        UsageError
    """
    found = []
    for text in texts:
        key, _, value = text.partition("=")
        if not key:
            raise UsageError(f'--label "{text}": the key is empty; write KEY=VALUE')
        found.append((key, value))
    return tuple(found)


def words(text: str, what: str) -> tuple[str, ...]:
    """A program, or a JSON list of a program and its arguments; () for "".

    Raises:
        UsageError
    """
    import json

    if not text.startswith("["):
        return (text,) if text else ()
    try:
        value: Any = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise UsageError(f'{what} {text}: it is not a JSON list of words; write a program, or as ["sh", "-c"]')
    return tuple(value)
