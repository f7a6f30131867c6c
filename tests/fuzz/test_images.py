"""Documents of images and of who may use them: refused in a sentence, or what comes out keeps its promises."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from runtime.errors import SteleError
from runtime.images import model, registries_conf
from runtime.images.platforms import Platform, choose
from runtime.images.policy import policy
from runtime.images.references import HOST, REPOSITORY, parse
from runtime.images.registry import credentials
from runtime.images.run import runtime_config, user
from runtime.images.run.run_options import RunOptions
from runtime.oci.load import check_config, parse_document
from runtime.plan import compile as planning
from runtime.plan import model as plan_model
from tests.fuzz import LONG, SECONDS
from tests.fuzz.mutate import search

D = "sha256:" + "ab" * 32
LAYER = {"mediaType": f"{model.OCI_LAYER}+gzip", "digest": D, "size": 5, "annotations": {"a": "b"}}
MANIFEST = {
    "schemaVersion": 2,
    "mediaType": model.OCI_MANIFEST,
    "config": {"mediaType": model.OCI_CONFIG, "digest": D, "size": 2},
    "layers": [LAYER, {**LAYER, "mediaType": model.DOCKER_LAYER}],
    "annotations": {"x": "y"},
}
PLATFORM = {"os": "linux", "architecture": "arm", "variant": "v7", "os.features": ["x"]}
INDEX = {
    "schemaVersion": 2,
    "mediaType": model.OCI_INDEX,
    "manifests": [{"mediaType": model.OCI_MANIFEST, "digest": D, "size": 7, "platform": PLATFORM}],
}
CONFIG = {
    "architecture": "amd64",
    "os": "linux",
    "created": "2026-01-02T03:04:05Z",
    "rootfs": {"type": "layers", "diff_ids": [D]},
    "history": [{"created_by": "x", "empty_layer": True}],
    "config": {
        "Env": ["PATH=/bin", "A=b=c"],
        "Cmd": ["sh", "-c", "x"],
        "Entrypoint": ["/init"],
        "User": "1000:1000",
        "WorkingDir": "work",
        "Volumes": {"/data": {}, "/var/x/": {}},
        "Labels": {"a": "b", "org.systemd.property.ExecStart": "evil", "io.containerd.x": "y"},
        "StopSignal": "SIGTERM",
    },
}
POLICY = {
    "default": [{"type": "reject"}],
    "transports": {
        "docker": {
            "quay.io/x": [{"type": "sigstoreSigned", "keyData": "YQ==", "signedIdentity": {"type": "matchRepository"}}],
            "": [{"type": "insecureAcceptAnything"}],
        }
    },
}
AUTH = {
    "auths": {"quay.io": {"auth": "YTpi"}, "https://index.docker.io/v1/": {"identitytoken": "t"}, "x.y/z": {}},
    "credHelpers": {"gcr.io": "gcloud"},
    "credsStore": "desktop",
}
REGISTRIES = {
    "unqualified-search-registries": ["docker.io"],
    "aliases": {"app": "quay.io/team/app"},
    "registry": [
        {"prefix": "quay.io", "location": "mirror.org:5000/x", "mirror": [{"location": "a.b", "insecure": True}]}
    ],
}


def by_digest(told: model.Descriptor) -> None:
    """What may become the name of a file, and how much is read of it."""
    assert (
        len(told.digest) == 71 and told.digest.startswith("sha256:") and set(told.digest[7:]) <= set("0123456789abcdef")
    )
    assert 0 <= told.size < 1 << 62 and type(told.size) is int
    assert model.parse_descriptor(told.document(), "") == told


def a_manifest(text: bytes) -> object:
    document = parse_document(text, "m")
    found = model.parse_manifest(document, "", "m")
    assert not {"manifests", "fsLayers"} & set(document) and found.config.media_type in model.CONFIGS
    for each in (found.config, *found.layers):
        by_digest(each)
    return found


def an_index(text: bytes) -> object:
    document = parse_document(text, "i")
    found = model.parse_index(document, "", "i")
    assert not {"config", "layers", "fsLayers"} & set(document)
    for each in found.manifests:
        by_digest(each)
    told = [Platform(m.platform.get("os", ""), m.platform.get("architecture", ""), "") for m in found.manifests]
    chosen = choose(Platform("linux", "arm", "v7"), told)
    assert chosen is None or 0 <= chosen < len(told)
    return found


def an_image_config(text: bytes) -> object:
    """All the way to a plan: what an image says is a config.json that the runtime takes, and orders nothing."""
    image = model.parse_config(parse_document(text, "c"), "c")
    identity = user.identity(runtime_config.user(image, RunOptions()), lambda _: b"")
    place = runtime_config.ContainerFacts(
        "c", "x86_64", identity, present=runtime_config.image_volumes(image, RunOptions())
    )
    made = runtime_config.runtime_config(image, RunOptions(), place)
    made = json.loads(json.dumps(made))
    assert not [key for key in made["annotations"] if key.startswith(("org.systemd.", "io.containerd.", "run.oci."))]
    kernel = [m["destination"] for m in made["mounts"] if m["destination"].startswith("/proc/")]
    assert kernel == [], "a volume over what the kernel shows"
    assert made["process"]["cwd"].startswith("/")
    check_config(made)
    request = planning.Request(bundle="/b", container_id="c", state={"id": "c"})
    return planning.compile_create(made, request, plan_model.Facts(), lambda rules: b"\6\0\0\0\0\0\377\177")


def a_policy(text: bytes) -> object:
    """It lets in what falls under a rule that says so, and only that."""
    document = parse_document(text, "p")
    found = policy.parse(document, "p")
    for name in ("quay.io/x/y:1", "other.org/y:1"):
        requirements = found.find(parse(name))
        assert requirements
        if all(r.kind == "insecureAcceptAnything" for r in requirements):
            assert b"insecureAcceptAnything" in text
    return found


def some_credentials(text: bytes) -> object:
    document = parse_document(text, "a")
    found = credentials.search(document, "quay.io", "team/app", "a", lambda name, registry: None)
    assert found is None or (isinstance(found.user, str) and found.basic.isascii())
    return found


def sources(text: bytes) -> object:
    """Of one image, as many places as the rule that covers it has."""
    found = registries_conf.merge([("r", parse_document(text, "r"))])
    for place in found.sources(parse("quay.io/team/app:1")):
        told = place.reference
        assert HOST.fullmatch(told.registry) and REPOSITORY.fullmatch(told.repository), told
    return found


JUDGES: dict[str, tuple[Callable[[bytes], object], Any]] = {
    "manifest": (a_manifest, MANIFEST),
    "index": (an_index, INDEX),
    "config": (an_image_config, CONFIG),
    "policy": (a_policy, POLICY),
    "credentials": (some_credentials, AUTH),
    "registries": (sources, REGISTRIES),
}


def refusing(judge: Callable[[bytes], object]) -> Callable[[bytes], object]:
    """None for what is refused."""

    def judged(text: bytes) -> object:
        try:
            return judge(text)
        except SteleError as e:
            assert str(e) and "Traceback" not in str(e)
            return None

    return judged


@pytest.mark.parametrize("kind", JUDGES)
def test_random_documents(kind: str) -> None:
    """Both kinds come: those that are refused, and those that are not."""
    judge, seed = JUDGES[kind]
    tried, made = search(refusing(judge), [seed], SECONDS / 3)
    assert 0 < made < tried, (tried, made)


PLANTED: dict[str, tuple[str, str, Any]] = {
    "digests are any text": ("manifest", "runtime.images.model.check_digest", lambda value, where: str(value)),
    "one document, two kinds": (
        "manifest",
        "runtime.images.model.kind_of",
        lambda told, kind, where: model.OCI_MANIFEST,
    ),
    "an index may be a manifest": ("index", "runtime.images.model.kind_of", lambda told, kind, where: model.OCI_INDEX),
    "labels are orders": ("config", "runtime.images.run.runtime_config.RESERVED", ("nothing",)),
    "volumes anywhere": ("config", "runtime.images.run.runtime_config.KERNELS", ()),
    "requirements of any kind": (
        "policy",
        "runtime.images.policy.policy._requirement",
        lambda told, path, where: policy.Requirement("insecureAcceptAnything", where),
    ),
    "an entry is anything": (
        "credentials",
        "runtime.images.registry.credentials._entry",
        lambda entry, path: credentials.Credentials(entry.get("auth")),
    ),
    "a location is any text": (
        "registries",
        "runtime.images.registries_conf._location",
        lambda table, path: str(table.get("location", "")),
    ),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_finds_what_was_planted(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a check taken out, the same search ends with a finding."""
    kind, target, broken = PLANTED[fault]
    monkeypatch.setattr(target, broken)
    judge, seed = JUDGES[kind]
    with pytest.raises(AssertionError, match="seed"):
        search(refusing(judge), [seed], LONG)
