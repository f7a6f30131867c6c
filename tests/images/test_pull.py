"""Pulling from Debian's docker-registry: what arrives, and what happens when the way to it is bad.

A server between (tests/harness/registry.py) cuts connections, sends elsewhere and lies.
"""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.registry import Between, DockerRegistry, Handler, certificate
from tests.images.conftest import EXECUTABLE, Image
from tests.images.made import Made

Start = Callable[..., Between]


def hexes(digests: list[str]) -> set[str]:
    return {digest.removeprefix("sha256:") for digest in digests}


def is_big(handler: Handler, made: Made) -> bool:
    """Whether the largest layer is asked for."""
    return handler.path.endswith(made.images["amd64"][2])


def test_a_tag(image: Image, registry: DockerRegistry, made: Made) -> None:
    """By tag: the image for this machine of an index; the second pull fetches nothing; both names are there."""
    name = f"{registry.address}/team/app"
    told = image.json("image", "pull", "--platform", "linux/amd64", f"{name}:1")
    assert (told["digest"], told["name"]) == (made.images["amd64"][0], f"{name}:1")
    assert told["platform"] == {"os": "linux", "architecture": "amd64"}
    assert told["fetched"] == told["size"]
    assert image.blobs() == hexes([*made.images["amd64"], made.index])
    assert image.begun() == []
    again = image.json("image", "pull", f"{name}:amd64")
    assert (again["digest"], again["fetched"]) == (made.images["amd64"][0], 0)
    assert image.names() == [f"{name}:1", f"{name}:amd64"]
    assert "all contents match their digests" in image.good("image", "verify")


@pytest.mark.parametrize(
    ("platform", "which"), [("linux/arm64", "arm64"), ("linux/arm64/v8", "arm64"), ("amd64", "amd64")]
)
def test_a_platform(image: Image, registry: DockerRegistry, made: Made, platform: str, which: str) -> None:
    told = image.json("image", "pull", "--platform", platform, f"{registry.address}/team/app:1")
    assert told["digest"] == made.images[which][0]


def test_a_platform_that_is_not_there(image: Image, registry: DockerRegistry) -> None:
    """The error tells which there are; nothing is named."""
    told = image.bad("image", "pull", "--platform", "linux/s390x", f"{registry.address}/team/app:1")
    assert "has no image for linux/s390x; --platform can choose one of: linux/amd64, linux/arm64/v8" in told
    assert image.names() == []


def test_unpacked(image: Image, registry: DockerRegistry, made: Made) -> None:
    """--unpack: the layers are there as files, verified against the config's diff_ids."""
    image.good("image", "pull", "--unpack", f"{registry.address}/team/app:amd64")
    told = image.json("image", "inspect", f"{registry.address}/team/app:amd64")
    assert [one["unpacked"] for one in told["layers"]] == [True, True]
    tree = image.store / "layers/sha256" / told["layers"][0]["diffId"][7:] / "tree"
    assert (tree / "etc/name").read_text() == "base\n"


def test_a_digest(image: Image, registry: DockerRegistry, made: Made) -> None:
    """By digest of a manifest or of an index; the name keeps it."""
    for digest in (made.images["amd64"][0], made.index):
        told = image.json("image", "pull", "--platform", "amd64", f"{registry.address}/team/app@{digest}")
        assert (told["digest"], told["name"]) == (made.images["amd64"][0], f"{registry.address}/team/app@{digest}")


def test_a_layer_is_shared(image: Image, registry: DockerRegistry, made: Made) -> None:
    """Of the second image, only what the first has not is fetched and kept."""
    image.good("image", "pull", f"{registry.address}/team/app:amd64")
    told = image.json("image", "pull", f"{registry.address}/team/other:1")
    assert told["fetched"] < 2000
    assert image.blobs() == hexes(made.images["amd64"] + made.images["other"])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("team/none:1", 'team/none:1": http://{r} does not have it, MANIFEST_UNKNOWN'),
        ("team/app:none", 'team/app:none": http://{r} does not have it, MANIFEST_UNKNOWN'),
        (f"team/app@sha256:{'0' * 64}", "does not have it"),
    ],
)
def test_what_is_not_there(image: Image, registry: DockerRegistry, name: str, words: str) -> None:
    told = image.bad("image", "pull", f"{registry.address}/{name}")
    assert words.format(r=registry.address) in told
    assert image.blobs() == set()


def test_nobody_listens(image: Image) -> None:
    assert "connection refused" in image.bad("image", "pull", "127.0.0.1:1/x")


def test_cut_connections(image: Image, registry: DockerRegistry, between: Start, made: Made) -> None:
    """A blob that is cut again and again is fetched in pieces, each from where the one before ended."""

    def cut(handler: Handler) -> bool:
        if is_big(handler, made):
            handler.forward(cut=1 << 20)
        return is_big(handler, made)

    server = between(cut)
    told = image.json("image", "pull", f"{server.address}/team/app:amd64")
    ranges = [seen.headers.get("Range") for seen in server.seen if seen.path.endswith(made.images["amd64"][2])]
    assert ranges[0] is None
    assert len(ranges) >= 3
    starts = [int(r.removeprefix("bytes=").rstrip("-")) for r in ranges[1:] if r]
    assert starts == sorted(starts) and len(set(starts)) == len(starts) == len(ranges) - 1
    assert told["fetched"] == told["size"]
    assert "all contents match their digests" in image.good("image", "verify")


def test_no_ranges(image: Image, between: Start, made: Made) -> None:
    """A registry that knows no ranges sends the blob from its beginning again."""
    cuts = [1 << 20, 2 << 20]

    def cut(handler: Handler) -> bool:
        if is_big(handler, made):
            handler.forward(cut=cuts.pop(0) if cuts else None, plain=True)
        return is_big(handler, made)

    server = between(cut)
    image.good("image", "pull", f"{server.address}/team/app:amd64")
    assert "all contents match their digests" in image.good("image", "verify")


@pytest.mark.parametrize("answer", ["416", "another part"])
def test_ranges_that_cannot_be_had(image: Image, between: Start, made: Made, answer: str) -> None:
    """A beginning that the registry does not go on with is given up, not tried for ever."""
    left = [1 << 20]

    def refuse(handler: Handler) -> bool:
        if not is_big(handler, made):
            return False
        if "Range" not in handler.headers:
            handler.forward(cut=left.pop() if left else None)
        elif answer == "416":
            handler.answer(416, {}, b"")
        else:
            handler.answer(206, {"Content-Range": "bytes 5-10/11"}, b"123456")
        return True

    image.good("image", "pull", f"{between(refuse).address}/team/app:amd64")
    assert "all contents match their digests" in image.good("image", "verify")


def test_always_cut(image: Image, between: Start, made: Made) -> None:
    """Without any progress it gives up, names nothing, and tells why."""

    def cut(handler: Handler) -> bool:
        if is_big(handler, made):
            handler.forward(cut=0)
        return is_big(handler, made)

    server = between(cut)
    image.bad("image", "pull", f"{server.address}/team/app:amd64")
    assert image.names() == []
    assert made.images["amd64"][2][7:] not in image.blobs()


def test_a_killed_pull(image: Image, between: Start, made: Made) -> None:
    """Killed in the middle of a blob: nothing is named or believed; the next pull fetches only the rest."""
    reached = f"{image.store}-reached"
    os.mkfifo(reached)

    def stall(handler: Handler) -> bool:
        if not is_big(handler, made) or handler.headers.get("Range"):
            return False
        data = (made.path / "blobs/sha256" / made.images["amd64"][2][7:]).read_bytes()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data[: 2 << 20])
        handler.wfile.flush()
        with open(reached, "w") as told:
            told.write("x")
        handler.close_connection = True
        handler.rfile.read(1)  # until the client is gone
        return True

    server = between(stall)
    argv = [*image.argv, "--store", str(image.store), "image", "pull", f"{server.address}/team/app:amd64"]
    with subprocess.Popen(argv, env=image.env, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        with open(reached) as told:
            told.read()
        while sum(image.begun()) < 1 << 20:
            assert process.poll() is None
        process.kill()
    assert image.names() == []
    assert made.images["amd64"][2][7:] not in image.blobs()
    done = image.json("image", "pull", f"{server.address}/team/app:amd64")
    assert done["fetched"] <= done["size"] - (1 << 20)
    assert "all contents match their digests" in image.good("image", "verify")


def test_an_interrupt(image: Image, between: Start, made: Made) -> None:
    """^C ends a pull at once, even while a server is silent."""
    silent = threading.Event()

    def stall(handler: Handler) -> bool:
        if is_big(handler, made):
            handler.send_response(200)
            handler.send_header("Content-Length", "1000000")
            handler.end_headers()
            handler.wfile.flush()
            silent.set()
            handler.close_connection = True
            handler.rfile.read(1)
            return True
        return False

    server = between(stall)
    argv = [*image.argv, "--store", str(image.store), "image", "pull", f"{server.address}/team/app:amd64"]
    with subprocess.Popen(argv, env=image.env, stderr=subprocess.PIPE, text=True) as process:
        assert silent.wait(30)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "the next pull resumes here" in told


def test_a_terminal(image: Image, between: Start, made: Made) -> None:
    """Bars on a terminal, taken away at the end; a line for each blob stays."""

    def slow(handler: Handler) -> bool:
        if is_big(handler, made):
            handler.forward(cut=2 << 20)
        return is_big(handler, made)

    server = between(slow)
    master, slave = pty.openpty()
    argv = [*image.argv, "--store", str(image.store), "image", "pull", f"{server.address}/team/app:amd64"]
    with subprocess.Popen(argv, env=image.env, stderr=slave, stdout=subprocess.DEVNULL) as process:
        os.close(slave)
        seen = b""
        while True:
            try:
                seen += os.read(master, 65536)
            except OSError:  # EIO: nobody has the other end any more
                break
    os.close(master)
    assert process.returncode == 0
    assert b"  [=" in seen
    assert b"\x1b[J" in seen
    last = seen.rpartition(b"\x1b[J")[2]
    assert b"[=" not in last
    for digest in made.images["amd64"][1:]:
        assert seen.count(digest[7:19].encode()) >= 1


def test_gc_takes_what_came_long_ago(image: Image, between: Start, made: Made) -> None:
    """What a gc takes while the rest still comes is fetched again: no image has a name that is not whole."""
    config = image.store / "blobs/sha256" / made.images["amd64"][1].removeprefix("sha256:")

    def take(handler: Handler) -> bool:
        if is_big(handler, made):
            config.unlink()
        return False

    image.good("image", "pull", f"{between(take).address}/team/app:amd64")
    image.good("image", "verify")


def test_two_pulls_at_once(image: Image, between: Start, made: Made) -> None:
    """Concurrent pulls of one image fetch each blob once."""
    server = between(lambda handler: False)
    argv = [*image.argv, "--store", str(image.store), "image", "pull", f"{server.address}/team/app:amd64"]
    both = [subprocess.Popen(argv, env=image.env, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0], [p.stderr and p.stderr.read() for p in both]
    for process in both:
        assert process.stderr is not None
        process.stderr.close()
    fetched = [seen.path for seen in server.seen if "/blobs/" in seen.path]
    assert len(fetched) == len(set(fetched))


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_registry(image: Image, between: Start, status: int) -> None:
    """It is asked again, after the time that it says."""
    left = [status, status]

    def busy(handler: Handler) -> bool:
        if "/blobs/" in handler.path and left:
            handler.answer(left.pop(), {"Retry-After": "0"}, b"")
            return True
        return False

    image.good("image", "pull", f"{between(busy).address}/team/app:amd64")
    assert left == []


def test_another_blob(image: Image, between: Start, made: Made) -> None:
    """Bytes that are not the digest's are thrown away."""

    def lie(handler: Handler) -> bool:
        if is_big(handler, made):
            size = (made.path / "blobs/sha256" / made.images["amd64"][2][7:]).stat().st_size
            handler.answer(200, {}, b"\0" * size)
        return is_big(handler, made)

    told = image.bad("image", "pull", f"{between(lie).address}/team/app:amd64")
    assert "it was damaged or exchanged on the way" in told
    assert (image.names(), sum(image.begun())) == ([], 0)


def test_more_than_a_blob(image: Image, between: Start, made: Made) -> None:
    """More bytes than the manifest says are not taken, however many come."""

    def more(handler: Handler) -> bool:
        if is_big(handler, made):
            handler.answer(200, {}, b"\0" * (8 << 20))
        return is_big(handler, made)

    told = image.bad("image", "pull", f"{between(more).address}/team/app:amd64")
    assert "bytes came" in told
    assert image.names() == []


@pytest.mark.parametrize("wanted", ["tag", "digest"])
def test_another_manifest(image: Image, between: Start, made: Made, wanted: str) -> None:
    """A manifest that is not what was asked for, or not what the registry itself says it is."""

    def lie(handler: Handler) -> bool:
        if "/manifests/" not in handler.path:
            return False
        data = (made.path / "blobs/sha256" / made.images["other"][0][7:]).read_bytes()
        kind = "application/vnd.oci.image.manifest.v1+json"
        handler.answer(200, {"Content-Type": kind, "Docker-Content-Digest": made.images["amd64"][0]}, data)
        return True

    name = "team/app:amd64" if wanted == "tag" else f"team/app@{made.images['amd64'][0]}"
    told = image.bad("image", "pull", f"{between(lie).address}/{name}")
    assert f"the registry sent {made.images['other'][0]} for {made.images['amd64'][0]}" in told


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"schemaVersion": 1}, "schemaVersion: it must be 2"),
        ({"schemaVersion": 2, "manifests": [], "layers": []}, 'has "layers", which belongs to another kind'),
        ({"schemaVersion": 2, "layers": [], "config": {"digest": "sha256:../../etc/passwd"}}, "is not a media type"),
    ],
)
def test_a_manifest_of_two_meanings(image: Image, between: Start, document: object, words: str) -> None:
    def lie(handler: Handler) -> bool:
        if "/manifests/" in handler.path:
            handler.answer(200, {"Content-Type": "text/plain"}, json.dumps(document).encode())
            return True
        return False

    assert words in image.bad("image", "pull", f"{between(lie).address}/team/app:1")


def test_an_endless_manifest(image: Image, between: Start) -> None:
    def endless(handler: Handler) -> bool:
        if "/manifests/" in handler.path:
            handler.answer(200, {}, b" " * (5 << 20))
            return True
        return False

    assert "the manifest is larger than 4096 KiB" in image.bad("image", "pull", f"{between(endless).address}/a/b:1")


@pytest.mark.parametrize(
    "body",
    [b"<html>please log in</html>", b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", '{"schemaVersion": 2}'.encode("utf-16")],
    ids=["html", "deep", "utf-16"],
)  # fmt: skip
def test_what_is_no_manifest(image: Image, between: Start, body: bytes) -> None:
    def lie(handler: Handler) -> bool:
        if "/manifests/" in handler.path:
            handler.answer(200, {"Content-Type": "text/html"}, body)
            return True
        return False

    server = between(lie)
    assert f'image "{server.address}/a/b:1"' in image.bad("image", "pull", f"{server.address}/a/b:1")


# ---- who we are ----


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory, made: Made) -> object:
    server = DockerRegistry(tmp_path_factory.mktemp("locked"), users={"anna": "pass:word"})
    server.push(f"oci:{made.path}:amd64", "team/app:amd64")
    yield server
    server.stop()


def test_credentials(image: Image, locked: DockerRegistry, tmp_path: Path) -> None:
    """None, wrong ones, and right ones: from --creds, from podman's and from docker's file as their logins write them."""
    name = f"{locked.address}/team/app:amd64"
    assert "it wants a user and password; log in first" in image.bad("image", "pull", name)
    assert "it refuses this user and password" in image.bad("image", "pull", "--creds", "anna:wrong", name)
    image.good("image", "pull", "--creds", "anna:pass:word", name)
    authfile = tmp_path / "auth.json"
    login = ["skopeo", "login", "--tls-verify=false", "-u", "anna", "-p", "pass:word", "--authfile", str(authfile)]
    subprocess.run([*login, locked.address], check=True, capture_output=True)
    image.good("image", "pull", "--authfile", authfile, name)
    for place in (".config/containers/auth.json", ".docker/config.json"):
        file = Path(image.env["HOME"]) / place
        file.parent.mkdir(parents=True)
        file.write_bytes(authfile.read_bytes())
        image.good("image", "pull", name)
        file.unlink()
    assert "it wants a user and password" in image.bad("image", "pull", name)


def token_server(seen: list[dict[str, str]], *, token: str = "t0ken", status: int = 200) -> Callable[[Handler], bool]:
    """A trick that gives tokens at /token, and notes who asked."""

    def give(handler: Handler) -> bool:
        seen.append({"path": handler.path, **{k.lower(): v for k, v in handler.headers.items()}})
        handler.answer(status, {"Content-Type": "application/json"}, json.dumps({"token": token}).encode())
        return True

    return give


def wants_token(realm: Callable[[], str], token: str = "t0ken") -> Callable[[Handler], bool]:
    """A trick that lets only those in who have the token."""

    def guard(handler: Handler) -> bool:
        if handler.headers.get("Authorization") == f"Bearer {token}":
            del handler.headers["Authorization"]
            return False
        handler.answer(401, {"WWW-Authenticate": f'Bearer realm="{realm()}",service="test",scope="x"'}, b"{}")
        return True

    return guard


def test_a_token(image: Image, between: Start) -> None:
    """Anonymous: one token for all requests, for pulling this repository alone."""
    seen: list[dict[str, str]] = []
    tokens = between(token_server(seen))
    server = between(wants_token(lambda: f"http://{tokens.address}/token"))
    image.good("image", "pull", f"{server.address}/team/app:amd64")
    assert [asked["path"] for asked in seen] == ["/token?service=test&scope=repository%3Ateam%2Fapp%3Apull"]
    assert "authorization" not in seen[0]


def test_a_token_that_expires(image: Image, between: Start, made: Made) -> None:
    """A token that is refused in the middle is renewed once for all."""
    seen: list[dict[str, str]] = []
    tokens = between(token_server(seen))
    inner = wants_token(lambda: f"http://{tokens.address}/token")
    expired: list[str] = []

    def guard(handler: Handler) -> bool:
        if "/blobs/" in handler.path and not expired:
            expired.append(handler.path)
            handler.headers.replace_header("Authorization", "Bearer old")
        return inner(handler)

    image.good("image", "pull", f"{between(guard).address}/team/app:amd64")
    assert len(seen) == 2


def test_credentials_are_not_shown_elsewhere(image: Image, between: Start) -> None:
    """A registry cannot have a password sent to a server of tokens of its choice (another port is another server)."""
    seen: list[dict[str, str]] = []
    tokens = between(token_server(seen, token="none", status=401))
    server = between(wants_token(lambda: f"http://{tokens.address}/token"))
    told = image.bad("image", "pull", "--creds", "anna:secret", f"{server.address}/team/app:amd64")
    assert "credentials for 127.0.0.1 are not shown to it" in told
    assert seen and all("authorization" not in asked for asked in seen)


def test_credentials_for_a_token(image: Image, between: Start) -> None:
    """The registry's own server of tokens sees them."""
    asked: list[str | None] = []
    address: list[str] = []
    guard = wants_token(lambda: f"http://{address[0]}/token")

    def both(handler: Handler) -> bool:
        if handler.path.startswith("/token"):
            asked.append(handler.headers.get("Authorization"))
            handler.answer(200, {}, b'{"access_token": "t0ken"}')
            return True
        return guard(handler)

    server = between(both)
    address.append(server.address)
    image.good("image", "pull", "--creds", "anna:secret", f"{server.address}/team/app:amd64")
    assert asked == ["Basic YW5uYTpzZWNyZXQ="]


def test_a_login_is_not_sent_on(image: Image, between: Start, tmp_path: Path) -> None:
    """What is exchanged for a token, in a request's body, goes to the server of tokens and nowhere that this leads."""
    elsewhere = between(token_server([]))
    address: list[str] = []
    guard = wants_token(lambda: f"http://{address[0]}/token")

    def send_on(handler: Handler) -> bool:
        if not handler.path.startswith("/token"):
            return guard(handler)
        handler.rfile.read(int(handler.headers["Content-Length"]))
        handler.answer(307, {"Location": f"http://{elsewhere.address}/token"})
        return True

    address.append(between(send_on).address)
    authfile = tmp_path / "auth.json"
    authfile.write_text(json.dumps({"auths": {address[0]: {"identitytoken": "secret"}}}))
    told = image.bad("image", "pull", "--authfile", authfile, f"{address[0]}/team/app:amd64")
    assert f"redirects to http://{elsewhere.address} what holds credentials; it is not followed" in told
    assert elsewhere.seen == []


@pytest.mark.parametrize("realm", ["file:///etc/passwd", "http://user:pw@host/", "gopher://x", "", "http://"])
def test_a_realm_that_is_none(image: Image, between: Start, realm: str) -> None:
    server = between(wants_token(lambda: realm))
    assert "which is not an address that is followed" in image.bad("image", "pull", f"{server.address}/team/app:amd64")


def test_redirects(image: Image, between: Start, made: Made) -> None:
    """Blobs from another server, as registries of clouds give them: it does not see the token."""
    store = between(lambda handler: False)
    tokens: list[dict[str, str]] = []
    giver = between(token_server(tokens))
    guard = wants_token(lambda: f"http://{giver.address}/token")

    def send_on(handler: Handler) -> bool:
        if guard(handler):
            return True
        if "/blobs/" in handler.path:
            handler.answer(307, {"Location": f"http://{store.address}{handler.path}"})
            return True
        return False

    image.good("image", "pull", f"{between(send_on).address}/team/app:amd64")
    assert len(store.seen) == 4 - 1
    assert all("Authorization" not in seen.headers for seen in store.seen)


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("{here}{path}", "redirects more than 5 times"),
        ("file:///etc/passwd", "which is not an address that is followed"),
        ("http://[::1", "which is not an address that is followed"),
    ],
)
def test_redirects_that_are_not_followed(image: Image, between: Start, location: str, words: str) -> None:
    def send_on(handler: Handler) -> bool:
        if "/blobs/" in handler.path:
            here = f"http://127.0.0.1:{handler.server.server_address[1]}"  # type: ignore[index]
            handler.answer(307, {"Location": location.format(here=here, path=handler.path)})
            return True
        return False

    assert words in image.bad("image", "pull", f"{between(send_on).address}/team/app:amd64")


# ---- where it comes from ----


def test_mirrors(image: Image, registry: DockerRegistry, tmp_path: Path) -> None:
    """The mirror is asked first; one that does not answer or has it not is told, and the next one asked."""
    conf = tmp_path / "mirrors.conf"
    mirrors = "".join(
        f'[[registry.mirror]]\nlocation = "{m}"\ninsecure = true\n'
        for m in ("127.0.0.1:1", f"{registry.address}/none", f"{registry.address}/team")
    )
    conf.write_text(f'[[registry]]\nlocation = "images.invalid/some"\n{mirrors}')
    told = image("image", "pull", "--registries-conf", conf, "--format", "json", "images.invalid/some/app:amd64")
    assert told.returncode == 0, told.stderr
    document = json.loads(told.stdout)
    assert document["name"] == "images.invalid/some/app:amd64"
    assert document["source"] == f"{registry.address}/team/app:amd64"
    assert told.stderr.count("asking the next source") == 2
    conf.write_text('[[registry]]\nlocation = "images.invalid"\nblocked = true\n')
    told_blocked = image.bad("image", "pull", "--registries-conf", conf, "images.invalid/some/app:amd64")
    assert 'registries.conf blocks "images.invalid"' in told_blocked


def test_tls(image: Image, registry: DockerRegistry, between: Start, tmp_path: Path) -> None:
    """An unknown authority is refused, also on loopback, and never gone around by plain HTTP."""
    files = certificate(tmp_path, "127.0.0.1")
    server = between(lambda handler: False, tls=files)
    name = f"{server.address}/team/app:amd64"
    assert "TLS failed: self-signed certificate" in image.bad("image", "pull", name)
    assert server.seen == []
    image.good("image", "pull", name, SSL_CERT_FILE=str(files[0]))
    image.good("image", "pull", "--tls-verify=false", name)


def test_plain_http_is_for_loopback(image: Image, registry: DockerRegistry) -> None:
    """A name that is not plainly this machine's is spoken to without TLS only if that is asked for."""
    name = f"[::ffff:127.0.0.1]:{registry.port}/team/app:amd64"
    assert "it speaks no TLS; --plain-http if that is meant" in image.bad("image", "pull", name)
    image.good("image", "pull", "--plain-http", name)
    image.good("image", "pull", "--tls-verify=false", name)


def test_a_proxy(image: Image, between: Start) -> None:
    """$HTTP_PROXY is asked instead of the registry, which $NO_PROXY can forbid."""

    def proxy(handler: Handler) -> bool:
        if handler.headers.get("Proxy-Authorization") != "Basic YW5uYTpwOnc=":
            handler.answer(407, {"Proxy-Authenticate": "Basic"}, b"")
            return True
        assert handler.path.startswith("http://images.invalid/v2/")
        handler.path = handler.path.removeprefix("http://images.invalid")
        return False

    server = between(proxy)
    pull = ("image", "pull", "--plain-http", "images.invalid/team/app:amd64")
    assert "answered 407" in image.bad(*pull, HTTP_PROXY=f"http://{server.address}")
    server.seen.clear()
    image.good(*pull, HTTP_PROXY=f"http://anna:p%3Aw@{server.address}")
    assert len(server.seen) == 5
    told = image.bad(*pull, HTTP_PROXY=f"http://{server.address}", NO_PROXY="invalid")
    assert "no address is known of this host" in told


def test_the_executable(image: Image, between: Start, tmp_path: Path) -> None:
    """The one executable pulls over TLS, and takes no notice of the host's openssl.cnf."""
    files = certificate(tmp_path, "127.0.0.1")
    server = between(lambda handler: False, tls=files)
    wrong = tmp_path / "openssl.cnf"
    wrong.write_text("openssl_conf = x\n[x]\nproviders = y\n[y]\nz = w\n[w]\nmodule = /nonexistent.so\nactivate = 1\n")
    environment = {"SSL_CERT_FILE": str(files[0]), "OPENSSL_CONF": str(wrong)}
    told = image.json("image", "pull", f"{server.address}/team/app:amd64", **environment)
    assert told["fetched"] == told["size"]
    assert "self-signed certificate" in image.bad("image", "pull", f"{server.address}/team/app:amd64")


def test_the_executable_is_small() -> None:
    """20 MB is what it may have."""
    assert Path(EXECUTABLE[0]).stat().st_size < 20_000_000
