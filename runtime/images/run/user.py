"""Who an image's process is: names and numbers, looked up in the image's own passwd and group files.

Source: image-spec config.md ("User"), passwd(5), group(5).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from runtime.images.model import ImageError
from runtime.oci.numbers import decimal
from runtime.plan.identity import MAX_ID

PASSWD, GROUP = "/etc/passwd", "/etc/group"
FILE_MAX = 1 << 20
"""Bytes of passwd or group that are read, and of other lists that people write."""
GROUPS_MAX = 65536
"""Supplementary groups of one process (setgroups(2), NGROUPS_MAX)."""


@dataclass(frozen=True, slots=True)
class Identity:
    """uid, gid, and all groups, the gid among them (CVE-2022-36109)."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = (0,)

    def document(self) -> dict[str, object]:
        """process.user of config.json."""
        return {"uid": self.uid, "gid": self.gid, "additionalGids": list(self.groups)}


def identity(user: str, read: Callable[[str], bytes], whose: str = "image") -> Identity:
    """Find a user.

    Args:
        user: "user", "uid", "user:group", "uid:gid" and so on. As for Docker, an empty user is root, an empty group the user's
            own, and what follows a second colon is ignored.
        whose: of what the files are, for errors.
        read: gives the content of a file of the image, b"" if it has none. Not called if nothing is to be looked up.
    Raises:
        ImageError: the image does not know the name, or a number is not an id.
    """
    name, group = f"{user}:".split(":")[:2]
    if not name and not group:
        return Identity()
    name = name or "0"
    uid, gid = _number(name, user), _number(group, user)
    if uid is not None and gid is not None:
        return Identity(uid, gid, (gid,))
    entry = _user(name, uid, _lines(read(PASSWD), 4))
    if entry is None and uid is None:
        raise ImageError(
            f"user {name!a}: the {whose}'s {PASSWD} does not have it; use a number, or another with --user"
        )
    own_uid, own_gid, own_name = entry or (uid or 0, 0, "")
    if group:
        if gid is None:
            gid = _group(group, _lines(read(GROUP), 3), whose)
        return Identity(own_uid, gid, (gid,))
    groups = [own_gid]
    if own_name:
        groups += _memberships(own_name, _lines(read(GROUP), 4))
    return Identity(own_uid, own_gid, tuple(dict.fromkeys(groups))[:GROUPS_MAX])


def _number(text: str, whole: str) -> int | None:
    """An id, None if it is not written as a number. Numbers come first (CVE-2016-3697), and never wrap (CVE-2024-40635)."""
    if not (text.isascii() and text.isdecimal()):
        if text[:1] in "+-" and text[1:].isdecimal():
            raise ImageError(f'user "{whole}": {text} is not an id; it must be from 0 to {MAX_ID}')
        return None
    number = decimal(text, MAX_ID)
    if number is None:
        raise ImageError(f'user "{whole}": {text[:20]} is not an id; it must be from 0 to {MAX_ID}')
    return number


def _lines(content: bytes, least: int) -> Iterator[list[str]]:
    """The lines of passwd or group as fields; those with fewer than `least` are passed over.

    Only a line feed ends a line, as for libc: str.splitlines would also cut at U+2028 in somebody's full name.
    """
    for line in content.decode("utf-8", "surrogateescape").split("\n"):
        fields = line.split(":")
        if len(fields) >= least and fields[0] and not line.startswith("#"):
            yield fields


def _id(text: str) -> int | None:
    return decimal(text, MAX_ID)


def _user(name: str, uid: int | None, entries: Iterator[list[str]]) -> tuple[int, int, str] | None:
    """uid, gid and name of the first line that has the name, or for a number the uid."""
    for fields in entries:
        own_uid, own_gid = _id(fields[2]), _id(fields[3])
        if own_uid is None or own_gid is None:
            continue
        if (own_uid == uid) if uid is not None else (fields[0] == name):
            return own_uid, own_gid, fields[0]
    return None


def _group(name: str, entries: Iterator[list[str]], whose: str) -> int:
    for fields in entries:
        gid = _id(fields[2])
        if fields[0] == name and gid is not None:
            return gid
    raise ImageError(f"group {name!a}: the {whose}'s {GROUP} does not have it; use a number, or another with --user")


def _memberships(name: str, entries: Iterator[list[str]]) -> list[int]:
    return [gid for fields in entries if name in fields[3].split(",") and (gid := _id(fields[2])) is not None]
