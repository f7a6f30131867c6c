"""HTTP for registries: TLS checked against the host's authorities, proxies of the environment, redirects by our rules.

What urllib3 does: connections, their reuse, TLS. What it is not asked to do: redirects (credentials may not follow
them), retries (a transfer goes on where it stopped), decoding (a blob is what its digest says).
"""

from __future__ import annotations

import base64
import errno
import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, InsecureRequestWarning, NameResolutionError, SSLError

from runtime.errors import HostError, SteleError
from runtime.host.files import dangles
from runtime.images.registry import pace
from runtime.images.registry.pace import TooSlow
from runtime.oci.numbers import decimal
from runtime.printable import without_user

READ_SECONDS = 60.0
REDIRECTS_MAX = 5
CONNECTIONS = 8
PIECE = 1 << 18
BUSY = (408, 425, 429, 500, 502, 503, 504)  # answers after which another try may succeed
# Where distributions keep the certificates of authorities in one file.
BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/ssl/certs/ca-bundle.crt",
    "/var/lib/ca-certificates/ca-bundle.pem",
    "/usr/share/ca-certificates/ca-bundle.crt",
)
# Certificates for one registry: HOST[:PORT]/*.crt are authorities, NAME.cert with NAME.key are ours.
CERTIFICATES = ("/etc/containers/certs.d", "/etc/docker/certs.d")

Response = urllib3.BaseHTTPResponse


class Unreachable(SteleError):
    """The registry gave no answer, or one cut short: another try may succeed.

    after: seconds to wait, if the registry named them. nobody: there is no such host, or nothing listens there.
    """

    def __init__(self, problem: str, after: float = 0.0, *, nobody: bool = False) -> None:
        super().__init__(problem)
        self.after, self.nobody = after, nobody


class Missing(SteleError):
    """The registry says that it does not have it."""


class Untrusted(SteleError):
    """TLS failed: the registry is not who it says, or (plain) speaks no TLS."""

    def __init__(self, problem: str, *, plain: bool = False) -> None:
        super().__init__(problem)
        self.plain = plain


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said. response: its body, still to be read; close it. url: where it came from, at last."""

    status: int
    headers: urllib3.HTTPHeaderDict
    response: Response
    url: str


class Transport:
    """Connections to one registry and to where it sends us. Safe for threads.

    Args:
        host: host[:port], for its own certificates.
        verify: whether TLS must prove who a server is.
    Raises:
        HostError: no certificates of authorities are on this host, or a registry's own cannot be read.
    """

    def __init__(self, host: str, *, verify: bool = True) -> None:
        options = {
            "maxsize": CONNECTIONS,
            "block": True,
            "retries": False,
            "timeout": urllib3.Timeout(connect=pace.CONNECT_SECONDS, read=READ_SECONDS),
            "ssl_context": context(host, verify=verify),
            "assert_hostname": None if verify else False,
        }
        self._direct = urllib3.PoolManager(**options)  # type: ignore[arg-type]
        self._proxied: dict[str, urllib3.PoolManager] = {}
        for scheme in ("http", "https"):
            for name in (f"{scheme}_proxy", f"{scheme.upper()}_PROXY"):
                if os.environ.get(name) and scheme not in self._proxied:
                    url, headers = proxy_of(os.environ[name], name)
                    self._proxied[scheme] = urllib3.ProxyManager(url, proxy_headers=headers, **options)  # type: ignore[arg-type]

        for manager in (self._direct, *self._proxied.values()):
            pace.keep_pace(manager)

    def request(
        self, method: str, url: str, headers: Mapping[str, str], *, body: bytes | None = None, downgrade: bool = False
    ) -> Answer:
        """One request, and the redirects that it leads to. Authorization and body are for the server of `url` alone.

        Args:
            downgrade: a redirect may lead from https to http.
        Raises:
            Unreachable, Untrusted, SteleError: a redirect that is not followed.
        """
        sent = dict(headers)
        for _ in range(REDIRECTS_MAX + 1):
            answer = self._once(method, url, sent, body)
            location = answer.headers.get("Location", "")
            if answer.status not in (301, 302, 303, 307, 308) or not location:
                return answer
            answer.response.close()
            try:
                target = urljoin(url, location)
            except ValueError:
                target = location
            check_url(target, f"{origin(url)} redirects")
            if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https" and not downgrade:
                raise SteleError(f"{origin(url)} redirects to {origin(target)}, which has no TLS; it is not followed")
            if origin(target) != origin(url):
                sent.pop("Authorization", None)
                if body is not None:  # a token is in it
                    raise SteleError(
                        f"{origin(url)} redirects to {origin(target)} what holds credentials; it is not followed"
                    )
            url = target
        raise SteleError(f"{origin(url)} redirects more than {REDIRECTS_MAX} times")

    def _once(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        parts = urlsplit(url)
        pool = self._proxied.get(parts.scheme, self._direct)
        if pool is not self._direct and without_proxy(parts.hostname or ""):
            pool = self._direct
        try:
            response = pool.request(
                method, url, headers=headers, body=body, redirect=False, preload_content=False, decode_content=False
            )
        except HTTPError as e:
            raise told(e, origin(url)) from None
        return Answer(response.status, urllib3.HTTPHeaderDict(response.headers), response, url)

    def close(self) -> None:
        for pool in (self._direct, *self._proxied.values()):
            pool.clear()


def read(answer: Answer, limit: int, what: str) -> bytes:
    """The whole of a small body, which is closed. Raises: Unreachable; SteleError: it is larger than limit bytes."""
    try:
        data = bytearray()
        for piece in pieces(answer):
            data += piece
            if len(data) > limit:
                answer.response.close()
                raise SteleError(f"{origin(answer.url)}: {what} is larger than {limit >> 10} KiB; it is not read")
        return bytes(data)
    finally:
        answer.response.release_conn()


def pieces(answer: Answer) -> Iterator[bytes]:
    """A body as it comes. Raises: Unreachable: it ends before its time, or comes too slowly."""
    try:
        yield from pace.pieces(answer.response, PIECE)
    except HTTPError as e:
        raise told(e, origin(answer.url)) from None


def told(error: HTTPError, server: str) -> Unreachable | Untrusted:
    """urllib3's error in a sentence."""
    if isinstance(error, TooSlow):
        return Unreachable(f"{server}: {error}")
    inner: BaseException = error
    while isinstance(inner, HTTPError):
        reasons = (getattr(inner, "reason", None), getattr(inner, "original_error", None), *inner.args[-1:])
        reason = next((r for r in (*reasons, inner.__cause__) if isinstance(r, BaseException)), None)
        if reason is None:
            break
        inner = reason
    if isinstance(error, SSLError) or isinstance(inner, ssl.SSLError | ssl.CertificateError):
        why = getattr(inner, "verify_message", "") or getattr(inner, "reason", "") or str(inner)
        words = str(why).replace("_", " ").lower()
        if "wrong version number" in words or "http request" in words or "record layer failure" in words:
            return Untrusted(f"{server}: it speaks no TLS; --plain-http if that is meant", plain=True)
        return Untrusted(f"{server}: TLS failed: {words}; give its authority by SSL_CERT_FILE, or --tls-verify=false")
    if isinstance(error, NameResolutionError) or isinstance(inner, socket.gaierror):
        return Unreachable(f"{server}: no address is known of this host, or no name server answers", nobody=True)
    if isinstance(inner, OSError) and inner.errno == errno.ECONNREFUSED:
        return Unreachable(f"{server}: connection refused; correct host and port, or start the registry", nobody=True)
    if isinstance(inner, OSError) and inner.strerror:
        return Unreachable(f"{server}: {inner.strerror.lower()}")
    name = type(error).__name__.removesuffix("Error")
    words = {"ReadTimeout": f"no answer in {READ_SECONDS:.0f} s", "ConnectTimeout": "no connection in time"}.get(
        name, ""
    )
    return Unreachable(f"{server}: {words or f'its answer is broken: {ascii(str(inner))[1:-1][:200]}'}")


def origin(url: str) -> str:
    """scheme://host[:port]: what credentials belong to. The port is left out where it is the usual one."""
    parts = urlsplit(url)
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port not in (None, usual) else "")


def check_url(url: str, what: str) -> None:
    """Raises: SteleError: it is not http or https, has no host or hides credentials."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None
        good = good and (parts.port is None or parts.port > 0) and url.isprintable()
    except ValueError:
        good = False
    if not good:
        raise SteleError(
            f"{what} to {ascii(without_user(url).partition('?')[0])[:200]}, which is not an address that is followed"
        )


def proxy_of(text: str, variable: str) -> tuple[str, dict[str, str]]:
    """The URL of a proxy without its user and password, and the headers that show it those.

    Raises:
        SteleError: it is none. Its text is not told: it may hold a password.
    """
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        url = f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")
    except ValueError:
        raise SteleError(f"${variable}: it must be an address such as http://proxy.example:3128") from None
    if parts.username is None:
        return url, {}
    known = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return url, {"proxy-authorization": "Basic " + base64.b64encode(known.encode()).decode()}


def without_proxy(host: str) -> bool:
    """Whether $NO_PROXY names the host, a domain or a network it is in; loopback never goes through a proxy."""
    names = (os.environ.get("no_proxy") or os.environ.get("NO_PROXY", "")).replace(",", " ").lower().split()
    return is_loopback(host) or any(name == "*" or _covers(name, host.lower()) for name in names)


def _covers(name: str, host: str) -> bool:
    """Whether an entry of $NO_PROXY (a domain, an address or a network, perhaps with a port) is for a host."""
    import ipaddress

    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(name, strict=False)
    except ValueError:
        domain = name.partition(":")[0].lstrip("*").lstrip(".")
        return host == domain or host.endswith(f".{domain}")


def is_loopback(host: str) -> bool:
    """Whether a host, without its port, is this one."""
    name = host.strip("[]").lower()
    return (
        name == "localhost"
        or name == "::1"
        or (name.startswith("127.") and all(decimal(part, 255) is not None for part in name.split(".")))
    )


def context(host: str, *, verify: bool) -> ssl.SSLContext:
    """TLS 1.2 or newer, with the host's authorities and those for one registry. Raises: HostError."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        urllib3.disable_warnings(InsecureRequestWarning)  # it is what the user asked for
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    given = os.environ.get("SSL_CERT_FILE", ""), os.environ.get("SSL_CERT_DIR", "")
    bundle = given[0] or ("" if given[1] else next((b for b in BUNDLES if os.path.exists(b)), ""))
    try:
        if bundle or given[1]:
            made.load_verify_locations(bundle or None, given[1] or None)
    except (OSError, ssl.SSLError) as e:
        where = f"SSL_CERT_FILE={given[0]}" if given[0] else bundle or given[1]
        raise HostError(f"certificates of authorities ({where}): cannot be read: {e.strerror or e}") from None
    for base in CERTIFICATES:
        _load_own(made, f"{base}/{host}")
    return made


def _load_own(made: ssl.SSLContext, folder: str) -> None:
    """The certificates for one registry, if it has a folder. Raises: HostError: one cannot be read."""
    path = folder
    try:
        try:
            names = sorted(os.listdir(folder))
        except (FileNotFoundError, PermissionError):
            if os.path.lexists(folder) or dangles(folder):
                raise
            return  # there is none, or it is in a folder that is closed to us, and so is not for us
        for name in names:
            path = f"{folder}/{name}"
            if name.endswith(".crt"):
                made.load_verify_locations(path)
            elif name.endswith(".cert"):
                made.load_cert_chain(path, path.removesuffix(".cert") + ".key")
    except (OSError, ssl.SSLError) as e:
        more = " and its .key" if path.endswith(".cert") else ""
        raise HostError(f'certificates of a registry: "{path}"{more}: cannot be read: {e.strerror or e}') from None


def no_authorities() -> bool:
    """Whether this host has no certificates of authorities where they are looked for."""
    given = os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR")
    return not given and not any(os.path.exists(b) for b in BUNDLES)
