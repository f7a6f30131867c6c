"""Where images are asked for, and as whom: registries_conf.conf and auth files."""

from __future__ import annotations

import base64
import contextlib
import json
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from runtime.errors import ConfigError, HostError, SteleError, UsageError
from runtime.images import registries_conf
from runtime.images.model import ImageError
from runtime.images.platforms import Platform
from runtime.images.references import Reference
from runtime.images.registry import credentials, http, pull
from runtime.images.registry.credentials import Credentials

D = "sha256:" + "ab" * 32
CONF = """
unqualified-search-registries = ["one.example"]
[aliases]
"app" = "two.example/team/app"
[[registry]]
prefix = "docker.io"
location = "docker.io"
[[registry.mirror]]
location = "mirror.example:5000/hub"
insecure = true
[[registry.mirror]]
location = "digests.example"
pull-from-mirror = "digest-only"
[[registry]]
prefix = "docker.io/library/secret"
blocked = true
[[registry]]
prefix = "*.inner.example"
location = "outer.example/inner"
[[registry]]
location = "plain.example:80"
insecure = true
"""


def rules(text: str) -> registries_conf.Registries:
    return registries_conf.merge([("r.conf", tomllib.loads(text))])


@pytest.mark.parametrize(
    ("name", "sources"),
    [
        ("docker.io/debian:12", ["mirror.example:5000/hub/library/debian:12 insecure", "docker.io/library/debian:12"]),
        (
            f"docker.io/debian@{D}",
            [
                f"mirror.example:5000/hub/library/debian@{D} insecure",
                f"digests.example/library/debian@{D}",
                f"docker.io/library/debian@{D}",
            ],
        ),
        ("a.inner.example/x:1", ["outer.example/inner/x:1"]),
        ("inner.example/x:1", ["inner.example/x:1"]),
        ("plain.example:80/x:1", ["plain.example:80/x:1 insecure"]),
        ("plain.example:8080/x:1", ["plain.example:8080/x:1"]),
        ("docker.io/library/secrets:1", None),
        ("short:1", ["one.example/short:1"]),
        ("app", ["two.example/team/app:latest"]),
    ],
)
def test_sources(name: str, sources: list[str] | None) -> None:
    """The rule with the longest prefix decides; mirrors come before the registry itself."""
    found = rules(CONF).sources(rules(CONF).parse(name))
    if sources is None:
        assert len(found) == 2  # the longer prefix is of another repository
    else:
        assert [f"{s.reference}{' insecure' if s.insecure else ''}" for s in found] == sources


def test_blocked() -> None:
    with pytest.raises(SteleError, match=r'blocks "docker\.io/library/secret"'):
        rules(CONF).sources(Reference("docker.io", "library/secret", "1"))


def test_without_rules() -> None:
    """A short name is Docker Hub's, as everybody expects."""
    empty = registries_conf.merge([])
    assert empty.sources(empty.parse("debian")) == [
        registries_conf.Source(Reference("docker.io", "library/debian", "latest"))
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("registry = 1", "registry: it must be an array of tables"),
        ("[[registry]]\nprefix = 1", r"registry\[0\].prefix: it must be a text"),
        ("[[registry]]\ninsecure = true", "it needs a prefix or a location"),
        ('[[registry]]\nlocation = "a b"', r'location: "a b" is not a host or host:port'),
        ('[[registry]]\nlocation = "h/../x"', "is not a repository"),
        ('[[registry]]\nlocation = "h"\ninsecure = "yes"', "insecure: it must be true or false"),
        ('[[registry]]\nlocation = "h"\n[[registry.mirror]]\ninsecure = true', r"mirror\[0\].location: it is missing"),
        (
            '[[registry]]\nlocation = "h"\n[[registry.mirror]]\nlocation = "m"\npull-from-mirror = "x"',
            "use all, digest-only or tag-only",
        ),
        ('unqualified-search-registries = ["http://x"]', "it must be an array of hosts"),
        ("[aliases]\na = 1", "aliases: it must be a table of texts"),
        ('[registries.block]\nregistries = ["h"]', "registries: it is of version 1, which is not obeyed"),
    ],
)
def test_wrong_rules(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        rules(text)


def test_loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """$CONTAINERS_REGISTRIES_CONF names the file; the error for a missing one, or one that is not TOML, has its name."""
    file = tmp_path / "r.conf"
    file.write_text(CONF)
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(file))
    assert registries_conf.load().search == ("one.example",)
    file.write_text("[")
    with pytest.raises(ConfigError, match=r"r\.conf: it is not TOML"):
        registries_conf.load()
    with pytest.raises(HostError, match='"/nowhere": cannot read it: No such file'):
        registries_conf.load("/nowhere")


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def nobody(name: str, registry: str) -> Credentials | None:
    raise AssertionError(f"helper {name} was asked for {registry}")


FILE: dict[str, Any] = {
    "auths": {
        "quay.io": {"auth": b64("q:pw")},
        "quay.io/team": {"auth": b64("t:p:w")},
        "https://index.docker.io/v1/": {"auth": b64("hub:secret")},
        "https://old.example/v2/": {"username": "u", "password": "p"},
        "token.example": {"identitytoken": "abc"},
        "empty.example": {},
        "localhost:5000": {"auth": b64("l:p")},
    }
}


@pytest.mark.parametrize(
    ("registry", "repository", "found"),
    [
        ("quay.io", "other/app", Credentials("q", "pw")),
        ("quay.io", "team/app", Credentials("t", "p:w")),
        ("quay.io", "teams/app", Credentials("q", "pw")),
        ("docker.io", "library/debian", Credentials("hub", "secret")),
        ("old.example", "x", Credentials("u", "p")),
        ("token.example", "x", Credentials("", identity_token="abc")),
        ("empty.example", "x", None),
        ("localhost:5000", "x", Credentials("l", "p")),
        ("localhost", "x", None),
        ("evil-quay.io", "x", None),
        ("quay.io.evil", "x", None),
    ],
)
def test_entries(registry: str, repository: str, found: Credentials | None) -> None:
    """The longest name decides; no other host gets what is one's."""
    assert credentials.search(FILE, registry, repository, "f", nobody) == found


def test_helpers() -> None:
    """A registry's own helper goes before entries, the general one behind them."""

    def helper(name: str, registry: str) -> Credentials:
        return Credentials(name, registry)

    document = {**FILE, "credHelpers": {"quay.io": "cloud"}, "credsStore": "all"}
    assert credentials.search(document, "quay.io", "team/app", "f", helper) == Credentials("cloud", "quay.io")
    assert credentials.search(document, "new.example", "x", "f", helper) == Credentials("all", "new.example")
    assert credentials.search(document, "localhost:5000", "x", "f", helper) == Credentials("l", "p")


def test_a_helper_runs_only_from_known_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not from PATH; its answer is checked."""
    program = tmp_path / "docker-credential-mine"
    program.write_text('#!/bin/sh\nread r\nprintf \'{"Username":"u","Secret":"%s"}\' "$r"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(HostError, match='"docker-credential-mine" is in none of'):
        credentials.ask_helper("mine", "r.example")
    monkeypatch.setattr(credentials, "HELPERS", (str(tmp_path),))
    assert credentials.ask_helper("mine", "r.example") == Credentials("u", "r.example")
    for text, words in (("echo credentials not found in native keychain; exit 1", None), ("echo x", "no Username")):
        program.write_text(f"#!/bin/sh\n{text}\n")
        if words is None:
            assert credentials.ask_helper("mine", "r.example") is None
        else:
            with pytest.raises(HostError, match=words):
                credentials.ask_helper("mine", "r.example")
    with pytest.raises(SteleError, match="it may hold"):
        credentials.ask_helper("../mine", "r.example")


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"auths": [1]}, "auths: it must be an object"),
        ({"auths": {"h.example": 1}}, r'auths\["h.example"\]: it must be an object'),
        ({"auths": {"h.example": {"auth": "%"}}}, "it is not the base64 of USER:PASSWORD"),
        ({"auths": {"h.example": {"auth": b64("nocolon")}}}, "it is not the base64 of USER:PASSWORD"),
    ],
)
def test_wrong_files(document: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as told:
        credentials.search(document, "h.example", "x", "f", nobody)
    assert "nocolon" not in str(told.value)


def test_files_in_order(tmp_path: Path) -> None:
    """The files of podman before those of docker; --authfile or its variable alone when given."""
    environment = {"HOME": "/h", "XDG_RUNTIME_DIR": "/r"}
    assert credentials.files("", environment) == [
        "/r/containers/auth.json",
        "/h/.config/containers/auth.json",
        "/h/.docker/config.json",
    ]
    assert credentials.files("", {**environment, "REGISTRY_AUTH_FILE": "/x"}) == ["/x"]
    assert credentials.files("/y", {**environment, "REGISTRY_AUTH_FILE": "/x"}) == ["/y"]
    assert credentials.files("", {**environment, "DOCKER_CONFIG": "/d"})[-1] == "/d/config.json"
    with pytest.raises(HostError, match=r'auth file ".*none": cannot read it: No such file'):
        credentials.find("h.example", "x", str(tmp_path / "none"))


@pytest.mark.parametrize("how", ["option", "variable", "docker", "folder"])
def test_an_auth_file_that_is_a_dangling_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """A dangling link is an error; a missing file is not, except for --authfile."""
    auth_files, file, folder = credentials.files, tmp_path / "auth.json", tmp_path / "docker"
    environment = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path), "DOCKER_CONFIG": str(folder)}
    monkeypatch.setattr(credentials, "files", lambda given="": auth_files(given, environment))
    if how == "variable":
        environment["REGISTRY_AUTH_FILE"] = str(file)
    if how != "option":
        assert credentials.find("h.example", "x") is None
    if how == "docker":
        folder.mkdir()
        file = folder / "config.json"
    elif how == "folder":
        file = folder
    file.symlink_to(tmp_path / "gone")
    with pytest.raises(HostError, match=f'auth file "{file}.*": cannot read it: No such file'):
        credentials.find("h.example", "x", str(file) if how == "option" else "")


def test_certificates_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry's own certificates are read, or the error names them; a missing folder is fine."""
    monkeypatch.setattr(http, "CERTIFICATES", (str(tmp_path),))
    http.context("h.example", verify=True)
    folder = tmp_path / "h.example"
    folder.symlink_to(tmp_path / "gone")
    with pytest.raises(HostError, match=f'"{folder}": cannot be read: No such file'):
        http.context("h.example", verify=True)
    folder.unlink()
    folder.write_text("")
    with pytest.raises(HostError, match=f'"{folder}": cannot be read: Not a directory'):
        http.context("h.example", verify=True)
    folder.unlink()
    folder.mkdir()
    (folder / "ca.crt").symlink_to(tmp_path / "gone")
    with pytest.raises(HostError, match=f'"{folder}/ca.crt": cannot be read: No such file'):
        http.context("h.example", verify=True)
    (folder / "ca.crt").unlink()
    (folder / "me.cert").write_text("")
    with pytest.raises(HostError, match=f'"{folder}/me.cert" and its .key: cannot be read'):
        http.context("h.example", verify=True)


@pytest.mark.parametrize(("depth", "good"), [(64, True), (65, False)])
def test_a_path_too_deep_ends_a_pull(depth: int, good: bool) -> None:
    """Before its layers are fetched: no container could be made of it."""
    digest = "sha256:" + "0" * 64
    part = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": 1}
    kind = "application/vnd.oci.image.manifest.v1+json"
    told = {"schemaVersion": 2, "mediaType": kind, "config": part, "layers": []}
    document = SimpleNamespace(data=json.dumps(told).encode(), media_type=kind, digest=digest)
    config = SimpleNamespace(run={"Volumes": {"/d" * depth: {}}}, os="linux", architecture="amd64", variant="")
    own = MagicMock(indexes=[], how=SimpleNamespace(policy=MagicMock(), platform=Platform("linux", "amd64", "")))
    own._document.return_value = document, {}
    own.store.config.return_value = config
    with contextlib.nullcontext() if good else pytest.raises(ImageError, match=r"Volumes: .* 65 directories deep"):
        pull._Pull.run(own)
    assert own.store.tag.called is good
    assert own._blobs.call_count == (3 if good else 1)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.1", True), ("127.٣", False), ("127.².0.1", False), ("127.x", False)],
)
def test_loopback_is_told_by_digits_of_ascii(host: str, loopback: bool) -> None:
    assert http.is_loopback(host) is loopback


def test_secrets_are_not_printed() -> None:
    """A record that ends in a log or traceback tells no password."""
    assert "secret" not in repr(Credentials("u", "secret", "secret"))
    assert credentials.from_option("u:a:b") == Credentials("u", "a:b")
    with pytest.raises(UsageError, match="write USER:PASSWORD"):
        credentials.from_option("u")
