"""Who may know credentials, what a challenge says, what is an address, and archives of any bytes."""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import SteleError
from runtime.images.archive import tar
from runtime.images.model import ImageError
from runtime.images.progress import human
from runtime.images.registry.http import check_url, is_loopback, origin, proxy_of, without_proxy
from runtime.images.registry.tokens import challenges, may_know, words
from runtime.images.store.names import name_of


@pytest.mark.parametrize(
    ("registry", "realm", "may"),
    [
        ("https://registry-1.docker.io", "https://auth.docker.io/token", True),
        ("https://ghcr.io", "https://ghcr.io/token", True),
        ("https://registry.gitlab.com", "https://gitlab.com/jwt/auth", True),
        ("https://a.b.example.org", "https://c.b.example.org/t", True),
        ("https://host:5000", "https://host:5000/t", True),
        ("https://host:5000", "https://host:5001/t", False),
        ("https://quay.io", "https://evil.io/t", False),
        ("https://registry.example.org", "https://example.org.evil.com/t", False),
        ("https://registry.example.org", "https://evilexample.org/t", False),
        ("https://registry.co.uk", "https://evil.co.uk/t", False),
        ("https://my.registry.co.uk", "https://auth.registry.co.uk/t", True),
        ("https://10.0.0.1", "https://10.0.0.2/t", False),
        ("https://1.10.0.1", "https://2.10.0.1/t", False),
        ("https://localhost", "https://evil.localhost/t", False),
    ],
)
def test_may_know(registry: str, realm: str, may: bool) -> None:
    """Credentials go to the registry itself and to servers of its domain, which is more than a country's."""
    assert may_know(urlsplit(registry), urlsplit(realm)) is may


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ([], {}),
        (['Basic realm="x"'], {"basic": {"realm": "x"}}),
        (
            ['Bearer realm="https://a/t",service="s",scope="repository:x:pull,push"'],
            {"bearer": {"realm": "https://a/t", "service": "s", "scope": "repository:x:pull,push"}},
        ),
        (['BEARER Realm=abc, service="s"', "Basic"], {"bearer": {"realm": "abc", "service": "s"}, "basic": {}}),
        (
            ['Negotiate, Bearer realm="https://a/t, Basic x",service=s, Basic realm="b"'],
            {"negotiate": {}, "bearer": {"realm": "https://a/t, Basic x", "service": "s"}, "basic": {"realm": "b"}},
        ),
        (["Negotiate dG9rZW4=, Basic realm=b"], {"negotiate": {}, "basic": {"realm": "b"}}),
    ],
)
def test_challenges(headers: list[str], told: dict[str, dict[str, str]]) -> None:
    assert challenges(headers) == told


@given(st.lists(st.text(max_size=200), max_size=3), st.binary(max_size=300))
def test_what_strangers_say(headers: list[str], body: bytes) -> None:
    """No header and no body of an error makes more than a short line of it."""
    challenges(headers)
    assert words(body).isprintable() and len(words(body)) < 210


@pytest.mark.parametrize(
    ("url", "of"),
    [
        ("https://a.example:443/x", "https://a.example"),
        ("http://a.example:443/x", "http://a.example:443"),
        ("https://A.example/x?y", "https://a.example"),
        ("http://[::1]:80/", "http://[::1]"),
        ("https://[::1]:5000/", "https://[::1]:5000"),
    ],
)
def test_origin(url: str, of: str) -> None:
    assert origin(url) == of


@pytest.mark.parametrize(
    "url", ["", "x", "ftp://h/", "https://", "https://u@h/", "http://h:0/", "http://h:99999/", "https://h/\n"]
)
def test_no_addresses(url: str) -> None:
    with pytest.raises(SteleError, match="which is not an address that is followed"):
        check_url(url, "it sends")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("localhost", True), ("127.0.0.1", True), ("127.8.9.1", True), ("[::1]", True), ("127.evil.org", False),
     ("localhost.evil.org", False), ("::ffff:127.0.0.1", False), ("10.0.0.1", False)],
)  # fmt: skip
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("host", "without"),
    [("example.org", True), ("a.example.org", True), ("b.inner.net", True), ("notexample.org", False),
     ("127.0.0.1", True), ("10.1.2.3", True), ("11.1.2.3", False), ("fd00::1", True), ("fe00::1", False),
     ("192.0.2.7", True), ("any.port.org", True), ("10.evil.org", False), ("a.star.org", True), ("tar.org", False),
     ("172.20.0.9", True), ("172.32.0.9", False)],
)  # fmt: skip
def test_no_proxy(monkeypatch: pytest.MonkeyPatch, host: str, without: bool) -> None:
    monkeypatch.setenv(
        "no_proxy", "example.org, .inner.net 10.0.0.0/8,fd00::/8,172.16.5.1/12,192.0.2.7,port.org:5000,x/y,*.star.org"
    )
    assert without_proxy(host) is without


@pytest.mark.parametrize(
    ("text", "url", "headers"),
    [
        ("http://proxy.example:3128", "http://proxy.example:3128", {}),
        ("https://proxy.example", "https://proxy.example", {}),
        ("proxy.example:3128", "http://proxy.example:3128", {}),
        ("http://anna:p%40ss@proxy.example:3128/", "http://proxy.example:3128", {"proxy-authorization": "Basic YW5uYTpwQHNz"}),
        ("http://[fd00::1]:3128", "http://[fd00::1]:3128", {}),
    ],
)  # fmt: skip
def test_proxies(text: str, url: str, headers: dict[str, str]) -> None:
    assert proxy_of(text, "HTTPS_PROXY") == (url, headers)


@pytest.mark.parametrize("text", ["socks5://h:1", "http://", "http://[::1", "http://h:x"])
def test_no_proxies(text: str) -> None:
    """The error has the variable's name, not its value, which may be a password."""
    with pytest.raises(SteleError, match=r"^\$HTTPS_PROXY: it must be an address such as http://proxy.example:3128"):
        proxy_of(text, "HTTPS_PROXY")


@pytest.mark.parametrize(
    ("told", "place", "docker", "name"),
    [
        ("", "/a/redis.tar", False, "localhost/redis:latest"),
        ("", "/a/redis.tar.zst", False, "localhost/redis:latest"),
        ("", "/a/redis.txz", False, "localhost/redis:latest"),
        ("redis", "build/redis/", False, "localhost/redis:latest"),
        ("1.2", "/a/redis", False, "localhost/redis:1.2"),
        ("team/app:2", "/x", False, "localhost/team/app:2"),
        ("quay.io/team/app:2", "/x", False, "quay.io/team/app:2"),
        ("debian:12", "/x", True, "docker.io/library/debian:12"),
        ("debian:12", "/x", False, "localhost/debian:12"),
        ("", "/Weird Näme!.tar.gz", False, "localhost/weird-n-me:latest"),
        ("not a name", "/x", True, "localhost/x:latest"),
    ],
)
def test_names_of_files(told: str, place: str, docker: bool, name: str) -> None:
    assert name_of(told, place, docker=docker) == name


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB"), (9 << 40, "9.0 TiB")]
)
def test_human(size: int, text: str) -> None:
    assert human(size) == text


def indexed(data: bytes) -> dict[str, bytes]:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        found = tar.index(file.fileno(), "x")
        return {name: b"".join(tar.pieces(file.fileno(), member)) for name, member in found.items()}


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_forms(form: int) -> None:
    """All forms that tools write, with long names, links and directories; and what stele itself writes."""
    long = "d" * 90 + "/" + "f" * 90
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, kind, link, content in (
            ("./a", tarfile.REGTYPE, "", b"A" * 600), (long, tarfile.REGTYPE, "", b"long"), ("d", tarfile.DIRTYPE, "", b""),
            ("d/l", tarfile.SYMTYPE, "../a", b""), ("h", tarfile.LNKTYPE, "a", b""), ("out", tarfile.SYMTYPE, "/etc/passwd", b""),
        ):  # fmt: skip
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname, entry.size = kind, link, len(content)
            archive.addfile(entry, io.BytesIO(content))
    assert indexed(out.getvalue()) == {"a": b"A" * 600, long: b"long", "d/l": b"A" * 600, "h": b"A" * 600}
    own = tar.header("d/", 0) + tar.header("d/x", 3) + b"abc" + tar.padding(3) + bytes(1024)
    assert indexed(own) == {"d/x": b"abc"}
    with tarfile.open(fileobj=io.BytesIO(own)) as archive:
        assert archive.getnames() == ["d", "d/x"]


def test_large_sizes() -> None:
    """From 8 GiB on, a size is written in GNU's form, which others read."""
    head = tar.header("x", 9 << 30)
    assert tarfile.TarInfo.frombuf(head, "utf-8", "strict").size == 9 << 30


def extended(records: bytes) -> bytes:
    """An archive whose only file has a PAX header of these records."""
    head = bytearray(tar.header("h", len(records)))
    head[156:157], head[148:156] = b"x", b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + records + tar.padding(len(records)) + tar.header("x", 0) + bytes(1024)


def test_a_bomb_of_records() -> None:
    """D11: a header of many records is read, but it is not long: an archive may have ten thousand such."""
    assert indexed(extended(b"5 a=\n" * (12 << 10) + b"9 path=y\n")) == {"y": b""}
    with pytest.raises(ImageError, match="a header of 65540 bytes; at most 65536 are taken"):
        indexed(extended(b"5 a=\n" * (65540 // 5)))


def test_twice() -> None:
    """The same content twice is one member; of two contents, readers take one or the other."""
    one, other = (tar.header("x", 1) + text.ljust(512, b"\0") for text in (b"a", b"b"))
    assert indexed(one + one + bytes(1024)) == {"x": b"a"}
    with pytest.raises(ImageError, match='it holds "x" twice'):
        indexed(one + other + bytes(1024))


@given(st.integers(0, 1535), st.binary(min_size=1, max_size=40), st.booleans())
def test_any_archive(at: int, junk: bytes, right: bool) -> None:
    """Whatever stands in an archive: its files, or a refusal; nothing outside of it is ever given."""
    data = bytearray(tar.header("a", 10) + b"0123456789" + tar.padding(10) + tar.header("b", 0) + bytes(1024))
    data[at : at + len(junk)] = junk
    if right:
        for start in (0, 1024):
            block = data[start : start + 512]
            block[148:156] = b" " * 8
            data[start + 148 : start + 156] = b"%06o\0 " % sum(block)
    try:
        found = indexed(bytes(data))
    except ImageError:
        return
    assert sum(map(len, found.values())) <= len(data)


def test_fds_are_not_left() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(ImageError):
            indexed(b"x" * 2000)
    assert len(os.listdir("/proc/self/fd")) == before
