"""Signed images: made as cosign makes them, in a real registry, pulled under policies."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ecdsa import Ed25519, NIST256p, SigningKey
from ecdsa.util import sigencode_der

from tests.harness.registry import DockerRegistry, skopeo
from tests.images.conftest import Image
from tests.images.made import Layout, Made

KEY, OTHER, EDWARDS = SigningKey.generate(NIST256p), SigningKey.generate(NIST256p), SigningKey.generate(Ed25519)
ANNOTATION = "dev.cosignproject.cosign/signature"


def sign(key: SigningKey, payload: bytes) -> str:
    if key is EDWARDS:
        return base64.b64encode(key.sign(payload)).decode()
    return base64.b64encode(key.sign(payload, hashfunc=hashlib.sha256, sigencode=sigencode_der)).decode()


def payload(digest: str, name: str, kind: str = "cosign container image signature") -> bytes:
    critical = {"type": kind, "image": {"docker-manifest-digest": digest}, "identity": {"docker-reference": name}}
    return json.dumps({"critical": critical, "optional": None}).encode()


Attach = Callable[..., str]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    started = DockerRegistry(tmp_path_factory.mktemp("signed"))
    yield started
    started.stop()


@pytest.fixture
def attach(server: DockerRegistry, made: Made, tmp_path: Path) -> Attach:
    """`attach(repository, [(payload, signature)])` pushes the image and the signatures; returns its name."""

    def push(repository: str, signatures: list[tuple[bytes, str]], of: str = "") -> str:
        server.push(f"oci:{made.path}:index", f"{repository}:1", "--all")
        layout = Layout(tmp_path / repository)
        layers = [
            {
                **layout.blob(text, "application/vnd.dev.cosign.simplesigning.v1+json"),
                "annotations": {ANNOTATION: value},
            }
            for text, value in signatures
        ]
        config = layout.document(
            {"rootfs": {"type": "layers", "diff_ids": []}}, "application/vnd.oci.image.config.v1+json"
        )
        kind = "application/vnd.oci.image.manifest.v1+json"
        document: dict[str, Any] = {"schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers}
        layout.name(layout.document(document, kind), "sig")
        tag = (of or made.images["amd64"][0]).replace(":", "-") + ".sig"
        place = f"docker://{server.address}/{repository}:{tag}"
        skopeo("copy", "--dest-tls-verify=false", "--preserve-digests", f"oci:{layout.path}:sig", place)
        return f"{server.address}/{repository}:1"

    return push


def policy(folder: Path, *keys: SigningKey, **more: Any) -> Path:
    """A policy that wants a signature by one of the keys."""
    files = []
    for number, key in enumerate(keys):
        file = folder / f"key{number}.pem"
        file.write_bytes(key.get_verifying_key().to_pem())
        files.append(str(file))
    document = {"default": [{"type": "sigstoreSigned", "keyPaths": files, **more}]}
    path = folder / "policy.json"
    path.write_text(json.dumps(document))
    return path


REPOSITORY = {"signedIdentity": {"type": "matchRepository"}}
PULL = ("image", "pull", "--platform", "amd64", "--signature-policy")


@pytest.mark.parametrize("key", [KEY, EDWARDS], ids=["ecdsa", "ed25519"])
def test_signed(image: Image, attach: Attach, made: Made, tmp_path: Path, key: SigningKey) -> None:
    """By the right key, for this repository: it comes in."""
    data = payload(made.images["amd64"][0], f"{attach('a/signed', []).rpartition(':')[0]}")
    (tmp_path / "a/signed").rename(tmp_path / "first")
    name = attach("a/signed", [(data, sign(key, data))])
    image.good(*PULL, policy(tmp_path, OTHER, key, **REPOSITORY), name)
    assert image.names() == [name]


def test_the_index_is_signed(image: Image, attach: Attach, made: Made, server: DockerRegistry, tmp_path: Path) -> None:
    """A signature of the index holds for the images in it."""
    data = payload(made.index, f"{server.address}/b/index:1")
    name = attach("b/index", [(data, sign(KEY, data))], made.index)
    image.good(*PULL, policy(tmp_path, KEY), name)


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("none", "wants a signature: it has none"),
        ("other key", "none of its signatures is by a key that the policy names"),
        ("other text", "none of its signatures is by a key that the policy names"),
        ("no signature", "none of its signatures is by a key that the policy names"),
        ("other image", "what was signed is another image"),
        ("other name", "which is not this image by signedIdentity"),
        ("no tag", "which is not this image by signedIdentity"),
        ("other type", "what was signed is another image"),
        ("no json", "what was signed is not an image's signature"),
    ],
)
def test_not_signed(
    image: Image, attach: Attach, made: Made, server: DockerRegistry, tmp_path: Path, case: str, words: str
) -> None:
    """Each thing that can be wrong: told, and nothing of the image is fetched but its manifest."""
    repository = f"c/{case.replace(' ', '-')}"
    name = f"{server.address}/{repository}:1"
    digest = made.images["amd64"][0]
    data = {
        "other image": payload(made.images["other"][0], name),
        "other name": payload(digest, f"{server.address}/c/some:1"),
        "no tag": payload(digest, f"{server.address}/{repository}"),
        "other type": payload(digest, name, "something"),
        "no json": b"{",
    }.get(case, payload(digest, name))
    signature = {
        "other key": sign(OTHER, data),
        "other text": sign(KEY, data + b" "),
        "no signature": "AAAA",
    }.get(case, sign(KEY, data))
    attach(repository, [] if case == "none" else [(data, signature)])
    told = image.bad(*PULL, policy(tmp_path, KEY), name)
    assert words in told
    assert image.names() == []
    assert made.images["amd64"][2][7:] not in image.blobs()


def test_rejected(image: Image, made: Made, server: DockerRegistry, tmp_path: Path) -> None:
    """From a registry and from a file: nothing comes in."""
    file = tmp_path / "reject.json"
    file.write_text('{"default": [{"type": "reject"}]}')
    server.push(f"oci:{made.path}:amd64", "d/x:1")
    assert "default[0] rejects it" in image.bad(*PULL, file, f"{server.address}/d/x:1")
    told = image.bad("image", "import", "--signature-policy", file, f"oci:{made.path}:amd64")
    assert "default[0] rejects it" in told
    assert image.blobs() == set()
