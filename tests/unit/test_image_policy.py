"""policy.json: which requirement an image falls under, what is refused, and what is not a policy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import ConfigError, HostError, SteleError
from runtime.images.policy import policy
from runtime.images.references import ArchiveReference, Reference, parse

D = "sha256:" + "ab" * 32
ACCEPT, REJECT = [{"type": "insecureAcceptAnything"}], [{"type": "reject"}]


def rules(**scopes: Any) -> policy.Policy:
    return policy.parse({"default": REJECT, "transports": scopes}, "p.json")


@pytest.mark.parametrize(
    ("name", "scope"),
    [
        ("quay.io/team/app:1", "quay.io/team/app:1"),
        ("quay.io/team/app:1", "quay.io/team/app"),
        ("quay.io/team/app:1", "quay.io/team"),
        ("quay.io/team/app:1", "quay.io"),
        ("quay.io/team/app:1", "*.io"),
        ("a.b.quay.io/x:1", "*.quay.io"),
        ("debian", "docker.io/library/debian:latest"),
        (f"quay.io/app@{D}", f"quay.io/app@{D}"),
        ("host:5000/app:1", "host:5000"),
        ("x.y/app", ""),
    ],
)
def test_a_scope_that_fits(name: str, scope: str) -> None:
    """The image is let in by this scope alone, as the default rejects."""
    rules(docker={scope: ACCEPT}).check(parse(name), [D], list)


@pytest.mark.parametrize(
    ("name", "scope"),
    [
        ("quay.io/team/app:1", "quay.io/team/app:2"),
        ("quay.io/team/app:1", "quay.io/te"),
        ("quay.io/team/app:1", "uay.io"),
        ("evilquay.io/app", "*.quay.io"),
        ("quay.io/app", "*.quay.io"),
        ("quay.io.evil.org/app", "quay.io"),
        ("host:5000/app", "host"),
    ],
)
def test_a_scope_that_does_not(name: str, scope: str) -> None:
    with pytest.raises(SteleError, match=r"p\.json: default\[0\] rejects it"):
        rules(docker={scope: ACCEPT}).check(parse(name), [D], list)


def test_the_narrowest_decides() -> None:
    made = rules(docker={"quay.io": ACCEPT, "quay.io/team": REJECT, "quay.io/team/app": ACCEPT})
    made.check(parse("quay.io/x"), [D], list)
    made.check(parse("quay.io/team/app:3"), [D], list)
    with pytest.raises(SteleError, match=r'transports.docker\["quay.io/team"\]\[0\] rejects it'):
        made.check(parse("quay.io/team/other"), [D], list)


def test_all_must_hold() -> None:
    with pytest.raises(SteleError, match=r"\[1\] rejects it"):
        rules(docker={"": ACCEPT + REJECT}).check(parse("x"), [D], list)


def test_places(tmp_path: Path) -> None:
    """Layouts and archives fall under their folder; docker's archives under their transport."""
    made = rules(**{"oci": {str(tmp_path): ACCEPT}, "docker-archive": {"": ACCEPT}})
    made.check(ArchiveReference("oci", f"{tmp_path}/a/b", "x"), [], list)
    made.check(ArchiveReference("docker-archive", "/x"), [], list)
    for place in (ArchiveReference("oci", f"{tmp_path}/../a"), ArchiveReference("oci-archive", f"{tmp_path}/a")):
        with pytest.raises(SteleError, match="rejects it"):
            made.check(place, [], list)


@pytest.mark.parametrize(
    ("requirement", "words"),
    [
        ({"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/k"}, "wants a GPG signature"),
        ({"type": "sigstoreSigned", "fulcio": {}}, "wants a sigstore signature with fulcio, which stele cannot check"),
        ({"type": "sigstoreSigned", "keyData": "", "rekorPublicKeyData": ""}, "with rekorPublicKeyData"),
    ],
)
def test_what_cannot_be_checked_refuses(requirement: object, words: str) -> None:
    with pytest.raises(SteleError, match=words):
        rules(docker={"": [requirement]}).check(parse("x"), [D], list)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "p.json: it must be an object"),
        ({}, "p.json: default: it is missing"),
        ({"default": []}, "default: it must be a list of at least one requirement"),
        ({"default": [{}]}, "default[0].type: None is not a type of requirement"),
        ({"default": [{"type": "accept"}]}, "'accept' is not a type of requirement"),
        ({"default": [{"type": "reject", "x": 1}]}, 'default[0]: "x" is not known here'),
        ({"default": REJECT, "transport": {}}, 'p.json: "transport" is not known here'),
        ({"default": REJECT, "transports": {"docker": []}}, "transports.docker: it must be an object"),
        ({"default": REJECT, "transports": {"docker": {"a": {}}}}, 'docker["a"]: it must be a list'),
        ({"default": [{"type": "sigstoreSigned"}]}, "it needs one of keyPath, keyPaths, keyData, keyDatas"),
        ({"default": [{"type": "sigstoreSigned", "keyData": "%"}]}, "keyData: it is not base64"),
        ({"default": [{"type": "sigstoreSigned", "keyData": "", "keyPath": ""}]}, "it needs one of"),
    ],
)
def test_what_is_no_policy(document: object, words: str) -> None:
    with pytest.raises(ConfigError) as told:
        policy.parse(document, "p.json")
    assert words in str(told.value)


def test_files(tmp_path: Path) -> None:
    """A file that is given must be there and sound; a key that stands twice is not a policy."""
    with pytest.raises(HostError, match="cannot read it: No such file"):
        policy.load(str(tmp_path / "none"))
    file = tmp_path / "p.json"
    for text, words in (("{", "it is not JSON"), ('{"default": [], "default": []}', "a key stands twice")):
        file.write_text(text)
        with pytest.raises(ConfigError, match=words):
            policy.load(str(file))
    file.write_text(json.dumps({"default": [{"type": "sigstoreSigned", "keyPath": "/nowhere"}]}))
    with pytest.raises(HostError, match='keyPath: key "/nowhere": cannot read it'):
        policy.load(str(file))


def test_scopes() -> None:
    assert policy.scopes_of(Reference("a.b:5", "x/y", "1")) == [
        "a.b:5/x/y:1",
        "a.b:5/x/y",
        "a.b:5/x",
        "a.b:5",
        "*.b",
        "",
    ]


def test_a_dangling_link_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy that cannot be read is not "no policy", by which all images may come in."""
    link = tmp_path / "policy.json"
    monkeypatch.setattr(policy, "SYSTEM", str(link))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert policy.load().path == "no policy.json"
    link.symlink_to(tmp_path / "none")
    with pytest.raises(HostError, match="cannot read it: No such file"):
        policy.load()
