"""Archives that hold an image (not layers): an index of the files in one, and writing one.

A strict reader of the few forms that Docker, skopeo and Podman write: ustar, with PAX and GNU long names. Nothing is
ever extracted; a member is a range of the archive's bytes. Source: POSIX.1-2017 pax "ustar Interchange Format".
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from runtime.images.model import ImageError
from runtime.oci.numbers import decimal

BLOCK = 512
MEMBERS_MAX = 10_000
NAME_MAX = 4096
EXTENSION_MAX = 64 << 10
SIZE_MAX = 1 << 50
USTAR_SIZE_MAX = 0o77777777777
"""What a header's 11 octal digits hold; only beyond it may a PAX record differ from them, as in cshim/tar.c."""
HEADERS = (b"x", b"g", b"L", b"K")
"""Kinds of entries that are about the next one, or (g) about all."""
DATALESS = (b"1", b"2", b"3", b"4", b"5", b"6")
"""Links, devices, folders and fifos."""
OCTAL = re.compile(rb"[0-7]*")


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file of an archive, by where its bytes are."""

    offset: int
    size: int


def index(fd: int, what: str) -> dict[str, Member]:
    """The regular files of a plain tar by their paths ("./" taken off); links stand for what they lead to.

    Raises:
        ImageError: it is not a tar archive, is cut short, or names a file twice.
    """
    end = os.fstat(fd).st_size
    found: dict[str, Member] = {}
    links: dict[str, str] = {}
    extended: dict[str, str] = {}
    about = set[bytes]()  # kinds of headers that are about the next entry
    at = count = 0
    while at + BLOCK <= end:
        head = os.pread(fd, BLOCK, at)
        if not head.strip(b"\0"):
            break
        count += 1
        if count > MEMBERS_MAX:
            raise ImageError(f"{what}: it has more than {MEMBERS_MAX} entries; no image's archive has")
        _check(head, what, at)
        size = _number(head[124:136], what)
        kind = head[156:157]
        if kind in DATALESS:
            size = 0  # as in cshim/tar.c: what such a header says of a size means nothing
        elif "size" in extended and kind not in HEADERS:
            told = decimal(extended["size"], SIZE_MAX)
            if told is None:
                raise ImageError(f"{what}: its PAX record size is {ascii(extended['size'])[:40]}, no number in range")
            # CVE-2025-62518: readers that believe one or the other go on at different places.
            if told != size and told <= USTAR_SIZE_MAX:
                raise ImageError(f"{what}: a header and its PAX record tell different sizes, {size} and {told}")
            size = told
        data = at + BLOCK
        at = data + -(-size // BLOCK) * BLOCK
        if size > SIZE_MAX or data + size > end:
            raise ImageError(f"{what}: it is cut short, or no archive")
        if kind in HEADERS:
            if size > EXTENSION_MAX:
                raise ImageError(f"{what}: a header of {size} bytes; at most {EXTENSION_MAX} are taken")
            text = os.pread(fd, size, data)
            if kind in about and kind == b"x":
                raise ImageError(f"{what}: two PAX headers in it are about one entry")
            told_now: dict[str, str] = {}
            if kind == b"x":
                told_now = _records(text, what)
            elif kind in (b"L", b"K"):
                told_now = {"path" if kind == b"L" else "linkpath": _text(text.partition(b"\0")[0], what)}
            if kind != b"g":
                about.add(kind)
            for key, value in told_now.items():
                if key in extended and extended[key] != value:
                    raise ImageError(f"{what}: two headers in it give one entry different {key}s")
                extended[key] = value
            if kind == b"g" and "size" in _records(text, what):
                raise ImageError(f"{what}: a global PAX header has the record size, which is one entry's")
            continue
        prefix = head[345:500].split(b"\0")[0] if head[257:263] == b"ustar\0" else b""
        plain = head[0:100].split(b"\0")[0]
        name = _clean(extended.get("path") or _text(prefix + b"/" + plain if prefix else plain, what))
        link = extended.get("linkpath") or _text(head[157:257].split(b"\0")[0], what)
        extended = {}
        about.clear()
        if kind in (b"0", b"\0", b"7"):
            member = Member(data, size)
            if name in links or (name in found and not _alike(fd, found[name], member)):
                raise ImageError(f'{what}: it holds "{name[:100]}" twice, with different contents')
            found[name] = member
        elif kind == b"2":
            links[name] = _clean(os.path.normpath(os.path.join(os.path.dirname(name), link)))
        elif kind == b"1":
            links[name] = _clean(link)
    if not found:
        raise ImageError(f"{what}: it is not a tar archive, or an empty one")
    for name, target in links.items():
        for _ in range(8):
            target = links.get(target, target)
        if target in found:
            found.setdefault(name, found[target])
    return found


def _check(head: bytes, what: str, at: int) -> None:
    total = sum(head[:148]) + 8 * 32 + sum(head[156:])
    signed = total - 256 * sum(byte > 127 for byte in head[:148] + head[156:])  # of old tars, whose bytes had a sign
    digits = head[148:156].strip(b" \0")
    if not digits or not OCTAL.fullmatch(digits) or int(digits, 8) not in (total, signed):
        raise ImageError(f"{what}: it is not a tar archive" + (f", or damaged at byte {at}" if at else ""))


def _number(field: bytes, what: str) -> int:
    if field[0] == 0x80:  # GNU: binary, for sizes from 8 GiB
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    if not OCTAL.fullmatch(digits):
        raise ImageError(f"{what}: a size in it is {field!r}")
    return int(digits or b"0", 8)


def _text(raw: bytes, what: str) -> str:
    if len(raw) > NAME_MAX or b"\0" in raw:
        raise ImageError(f"{what}: a name in it is longer than {NAME_MAX} bytes, or holds a NUL")
    return raw.decode("utf-8", "surrogateescape")


def _clean(name: str) -> str:
    """As members are looked up: "./a//b/", "/a/b" and "../a/b" are "a/b"."""
    return os.path.normpath(f"/{name}").lstrip("/")


def _records(data: bytes, what: str) -> dict[str, str]:
    """PAX records: "LENGTH KEY=VALUE\\n"."""
    found = {}
    at = 0
    while at < len(data):
        number, space, _ = data[at : at + 8].partition(b" ")
        length = int(number) if number.isdigit() else 0
        record = data[at + len(number) + 1 : at + length]
        key, equals, value = record.partition(b"=")
        if not space or length <= len(number) + 1 or at + length > len(data) or not equals or record[-1:] != b"\n":
            raise ImageError(f"{what}: a PAX record in it is malformed")
        if key in (b"path", b"linkpath", b"size"):
            found[key.decode()] = _text(value[:-1], what)  # the later of two counts, POSIX pax
        at += length
    return {key: value for key, value in found.items() if value}  # an empty one leaves the header's


def _alike(fd: int, one: Member, other: Member) -> bool:
    """Whether two members have the same content."""
    return one.size == other.size and all(a == b for a, b in zip(pieces(fd, one), pieces(fd, other), strict=True))


def header(name: str, size: int) -> bytes:
    """The header of a regular file or, with a "/" at its end, a directory; owner, time and mode are always the same.

    name: ASCII, at most 100 bytes.
    """
    kind, mode = (b"5", 0o755) if name.endswith("/") else (b"0", 0o644)
    length = b"%011o\0" % size if size < 8 << 30 else b"\x80" + size.to_bytes(11, "big")
    head = bytearray(BLOCK)
    head[0 : len(name)] = name.encode("ascii")
    fields = b"%07o\0" % mode + b"0000000\0" * 2 + length + b"%011o\0" % 0 + b" " * 8 + kind
    head[100 : 100 + len(fields)] = fields
    head[257:265] = b"ustar\x0000"
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)


def padding(size: int) -> bytes:
    """What stands behind a file of this size."""
    return bytes(-size % BLOCK)


def pieces(fd: int, member: Member, piece: int = 1 << 20) -> Iterator[bytes]:
    """A member's bytes. They may be fewer than its size, if the archive is cut while it is read."""
    at, end = member.offset, member.offset + member.size
    while at < end and (data := os.pread(fd, min(piece, end - at), at)):
        yield data
        at += len(data)
