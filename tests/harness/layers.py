"""Layers made byte by byte, also such as no tar program would make; and images of them in a store."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime.images import model
from runtime.images.store.store import ImageStore

END = b"\0" * 1024


def octal(value: int, size: int) -> bytes:
    """A number as tar has it."""
    return f"{value:0{size - 1}o}".encode() + b"\0"


def base256(value: int, size: int) -> bytes:
    """The same where octal digits do not suffice, or for a number below zero."""
    return value.to_bytes(size, "big", signed=True) if value < 0 else b"\x80" + value.to_bytes(size - 1, "big")


def header(
    name: bytes,
    kind: bytes = b"0",
    *,
    size: int | bytes = 0,
    mode: int | bytes = 0o644,
    uid: int | bytes = 0,
    gid: int | bytes = 0,
    mtime: int | bytes = 0,
    link: bytes = b"",
    major: int | bytes = 0,
    minor: int | bytes = 0,
    magic: bytes = b"ustar\x0000",
    prefix: bytes = b"",
    checksum: bytes | None = None,
) -> bytes:
    """A header block; numbers may be given as the bytes of their field."""

    def number(value: int | bytes, width: int) -> bytes:
        return value.ljust(width, b"\0") if isinstance(value, bytes) else octal(value, width)

    made = bytearray(
        name.ljust(100, b"\0")
        + number(mode, 8)
        + number(uid, 8)
        + number(gid, 8)
        + number(size, 12)
        + number(mtime, 12)
        + b" " * 8
        + kind
        + link.ljust(100, b"\0")
        + magic
        + b"\0" * 64
        + number(major, 8)
        + number(minor, 8)
        + prefix.ljust(155, b"\0")
    ).ljust(512, b"\0")
    made[148:156] = checksum if checksum is not None else octal(sum(made), 7) + b" "
    assert len(made) == 512
    return bytes(made)


def padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 512)


def entry(name: str | bytes, kind: bytes = b"0", data: bytes = b"", **fields: Any) -> bytes:
    """A header and its data; a link's target that is too long for it goes before it, as GNU tar does it."""
    raw = name.encode() if isinstance(name, str) else name
    if isinstance(fields.get("link"), str):
        fields["link"] = fields["link"].encode()
    if len(fields.get("link", b"")) > 100:
        link = fields.pop("link")
        return entry("././@LongLink", b"K", link + b"\0") + entry(raw, kind, data, link=link[:100], **fields)
    return header(raw, kind, **{"size": len(data), **fields}) + padded(data)


def folder(name: str, **fields: Any) -> bytes:
    return entry(name, b"5", **{"mode": 0o755, **fields})


def symlink(name: str, target: str, **fields: Any) -> bytes:
    return entry(name, b"2", link=target, **fields)


def hardlink(name: str, target: str, **fields: Any) -> bytes:
    return entry(name, b"1", link=target, **fields)


def record(key: str, value: bytes) -> bytes:
    """A PAX record; its length counts itself."""
    body = b" " + key.encode() + b"=" + value + b"\n"
    size = len(body) + 1
    while len(str(size)) + len(body) != size:
        size = len(str(size)) + len(body)
    return str(size).encode() + body


def pax(records: Mapping[str, str | bytes], kind: bytes = b"x") -> bytes:
    """A PAX header for the next entry, or for all (kind b"g")."""
    body = b"".join(record(k, v.encode() if isinstance(v, str) else v) for k, v in records.items())
    return entry("PaxHeaders/x", kind, body)


def layer(*entries: bytes) -> bytes:
    """A whole archive."""
    return b"".join(entries) + END


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def add_image(
    store: ImageStore, *layers: bytes | tuple[bytes, bytes], config: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Put an image into a store; the manifest's descriptor.

    Args:
        layers: plain tars, or each with its packed form, as (plain, packed).
        config: the config's own `config` object.
    """
    pairs = [(item, item) if isinstance(item, bytes) else item for item in layers]
    document = {
        "architecture": "amd64",
        "os": "linux",
        "config": dict(config or {}),
        "rootfs": {"type": "layers", "diff_ids": [sha256(plain) for plain, _ in pairs]},
    }
    told = json.dumps(document).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": model.OCI_MANIFEST,
        "config": {"mediaType": model.OCI_CONFIG, "digest": store.add_bytes(told), "size": len(told)},
        "layers": [
            {
                "mediaType": model.OCI_LAYER + ("" if plain is packed else "+gzip"),
                "digest": store.add_bytes(packed),
                "size": len(packed),
            }
            for plain, packed in pairs
        ],
    }
    data = json.dumps(manifest).encode()
    return {"mediaType": model.OCI_MANIFEST, "digest": store.add_bytes(data), "size": len(data)}


def tree(root: Path) -> dict[str, dict[str, Any]]:
    """All that a tree is made of: path to type, mode, owner, times, attributes, content, and the names of each inode."""
    found: dict[str, dict[str, Any]] = {}
    inodes: dict[int, list[str]] = {}
    pending = [root]
    while pending:
        path = pending.pop()
        name = "/" + str(path.relative_to(root)).removeprefix(".")
        try:
            told = path.lstat()
        except FileNotFoundError:
            continue  # overlayfs lists a whiteout in a directory that no lower layer has, but it is not there
        one: dict[str, Any] = {
            "type": stat.S_IFMT(told.st_mode),
            "mode": oct(stat.S_IMODE(told.st_mode)),
            "owner": (told.st_uid, told.st_gid),
            "mtime": told.st_mtime_ns,
            "xattrs": {
                key: os.getxattr(path, key, follow_symlinks=False) for key in os.listxattr(path, follow_symlinks=False)
            },
        }
        if stat.S_ISDIR(told.st_mode):
            pending += path.iterdir()
        elif stat.S_ISREG(told.st_mode):
            one["content"] = (told.st_size, hashlib.sha256(path.read_bytes()).hexdigest())
        elif stat.S_ISLNK(told.st_mode):
            one["target"] = os.readlink(path)
        elif stat.S_ISCHR(told.st_mode) or stat.S_ISBLK(told.st_mode):
            one["device"] = (os.major(told.st_rdev), os.minor(told.st_rdev))
        if not stat.S_ISDIR(told.st_mode):
            inodes.setdefault(told.st_ino, []).append(name)
        found[name] = one
    for names in inodes.values():
        for name in names:
            found[name]["names"] = sorted(names)
    return found
