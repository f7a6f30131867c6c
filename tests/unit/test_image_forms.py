"""Documents and archives of images as common tools write them: manifests, indexes, configs, docker-archives, layouts."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import SteleError
from runtime.images import model
from runtime.images.archive import tar as image_tar
from runtime.images.archive.load import Imported, import_images
from runtime.images.config_fields import words
from runtime.images.model import ImageError
from runtime.images.platforms import Platform, choose, parse_platform
from runtime.images.policy.policy import parse
from runtime.images.progress import Progress
from runtime.images.references import parse_archive
from runtime.images.store.find import _of_index
from runtime.images.store.store import ImageStore
from tests.harness.layers import END, entry, folder, hardlink, layer, pax, record, sha256, symlink

D = "sha256:" + "a" * 64
CONFIG = {"mediaType": model.OCI_CONFIG, "digest": D, "size": 2}
DOCKER = {"schemaVersion": 2, "mediaType": model.DOCKER_MANIFEST}
OCI = {"schemaVersion": 2, "mediaType": model.OCI_MANIFEST, "config": CONFIG, "layers": []}


@pytest.mark.parametrize(
    "kind", ["application/octet-stream", "application/json", "text/html", "text/plain", "", None, model.OCI_CONFIG]
)
def test_a_docker_manifest_whose_config_has_another_type(kind: str | None) -> None:
    """Old pushes to the Docker Hub and bugs of registries; the config itself says whether it is an image's."""
    manifest = model.parse_manifest({**DOCKER, "config": {**CONFIG, "mediaType": kind}, "layers": []}, "", "m")
    assert manifest.config.media_type == (kind if kind == model.OCI_CONFIG else model.DOCKER_CONFIG)


@pytest.mark.parametrize("kind", ["application/vnd.docker.plugin.v1+json", "application/vnd.oci.empty.v1+json"])
def test_other_artifacts_are_no_images(kind: str) -> None:
    with pytest.raises(ImageError, match="another artifact"):
        model.parse_manifest({**DOCKER, "config": {**CONFIG, "mediaType": kind}, "layers": []}, "", "m")
    with pytest.raises(ImageError, match="another artifact"):
        model.parse_manifest({**OCI, "config": {**CONFIG, "mediaType": "application/octet-stream"}}, "", "m")


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"layers": None}, id="layers-null"),
        pytest.param({"layers": []}, id="layers-empty"),
        pytest.param({"annotations": None}, id="annotations-null"),
        pytest.param({"annotations": {"a": None}}, id="annotation-null"),
        pytest.param({"artifactType": "application/x", "subject": {"x": 1}, "unknown": [1]}, id="unknown-fields"),
        pytest.param({"config": {**CONFIG, "urls": ["https://x"], "data": "e30=", "platform": None}}, id="descriptor"),
    ],
)
def test_manifests(changes: dict[str, Any]) -> None:
    """Absent, null and empty are the same; what is not known is ignored."""
    assert model.parse_manifest({**OCI, **changes}, "", "m").layers == ()


def test_a_manifest_without_layers_field_or_version() -> None:
    """Go writes no nil slice with omitempty; a media type says what the version would."""
    assert model.parse_manifest({"config": CONFIG}, model.OCI_MANIFEST, "m").layers == ()
    with pytest.raises(ImageError, match="schemaVersion"):
        model.parse_manifest({"config": CONFIG, "layers": []}, "", "m")
    with pytest.raises(ImageError, match="must be 2"):
        model.parse_manifest({**OCI, "schemaVersion": "2"}, "", "m")


def test_a_manifest_is_no_index() -> None:
    with pytest.raises(ImageError, match="is not an index"):
        model.parse_index({"schemaVersion": 2}, model.OCI_MANIFEST, "it")


@pytest.mark.parametrize("plain", ["application/vnd.oci.image.layer.v1.tar", "application/vnd.oci.image.layer.nondistributable.v1.tar", "application/vnd.docker.image.rootfs.diff.tar", "application/vnd.docker.image.rootfs.foreign.diff.tar"])  # fmt: skip
def test_the_forms_of_layers(plain: str) -> None:
    mark = "." if "docker" in plain else "+"
    assert {plain, f"{plain}{mark}gzip", f"{plain}{mark}zstd"} <= model.LAYERS


def test_indexes() -> None:
    """Unknown fields and types of entries are kept; a list may be null."""
    child = {"mediaType": model.OCI_MANIFEST, "digest": D, "size": 1}
    told = {"schemaVersion": 2, "mediaType": model.OCI_INDEX, "artifactType": "a/b", "subject": child}
    assert model.parse_index({**told, "manifests": None}, "", "i").manifests == ()
    platform = {"os": "linux", "architecture": "arm", "variant": None, "os.features": ["x"], "features": ["sse4"]}
    (found,) = model.parse_index({**told, "manifests": [{**child, "platform": platform}]}, "", "i").manifests
    assert found.platform == {"os": "linux", "architecture": "arm", "variant": ""}


@pytest.mark.parametrize(
    "document",
    [
        {"rootfs": {"type": "layers", "diff_ids": []}},
        {"rootfs": {"type": "layers", "diff_ids": None}},
        {"rootfs": {"type": "layers"}},
        {"rootfs": {}},
        {"rootfs": None},
        {},
        {"history": None, "config": None, "created": None, "os": None, "architecture": None, "variant": None},
        {"history": [None, {"empty_layer": True}], "author": 3, "container_config": {"Cmd": "x"}, "moby.x": {}},
        {"config": {"Healthcheck": 1, "OnBuild": {}, "ArgsEscaped": "x", "ExposedPorts": [], "Shell": 3}},
    ],
)
def test_configs(document: dict[str, Any]) -> None:
    """No layers is an empty root; what an engine other than ours uses is not looked at."""
    assert model.parse_config(document, "c").diff_ids == ()


@pytest.mark.parametrize(
    ("value", "read"),
    [(None, ()), ([], ()), ("", ()), ("sh", ("sh",)), (["a", None], ("a", "")), (["a", "b"], ("a", "b"))],
)
def test_words_of_a_config(value: object, read: tuple[str, ...]) -> None:
    """Entrypoint, Cmd and Env: a list, one text alone, null or nothing."""
    assert words(model.parse_config({"config": {"Cmd": value}}, "c"), "Cmd") == read


@pytest.mark.parametrize("value", [{"a": 1}, 3, ["a", 3], [["a"]]])
def test_words_that_are_none(value: object) -> None:
    with pytest.raises(ImageError, match="Cmd"):
        words(model.parse_config({"config": {"Cmd": value}}, "c"), "Cmd")


@pytest.mark.parametrize(
    ("wanted", "offered", "place"),
    [
        ("linux/amd64/v3", ["linux/amd64"], 0),
        ("linux/amd64/v3", ["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"], 1),
        ("linux/amd64/v3", ["linux/amd64/v3", "linux/amd64"], 0),
        ("linux/amd64/v2", ["linux/amd64/v3"], None),
        ("linux/amd64", ["linux/amd64/v2"], None),
        ("linux/amd64", ["linux/amd64/v1"], 0),
        ("linux/arm64/v9", ["linux/arm64"], 0),
        ("linux/arm64/v8.2", ["linux/arm64/v8", "linux/arm64/v9"], 0),
        ("linux/arm64", ["linux/arm64/v9"], None),
        ("linux/arm/v7", ["linux/arm/v6", "linux/arm/v5"], 0),
        ("linux/amd64/v3", ["linux/arm64", "windows/amd64"], None),
    ],
)
def test_variants_step_down(wanted: str, offered: list[str], place: int | None) -> None:
    """A processor runs what was made for those before it; the nearest is taken."""

    def told(text: str) -> Platform:
        return Platform(*text.split("/"))

    assert choose(parse_platform(wanted), [told(text) for text in offered]) == place


# ---- archives that hold images ----


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ImageStore]:
    made = ImageStore(str(tmp_path / "store"))
    yield made
    made.close()


def imported(store: ImageStore, archive: bytes, kind: str = "docker-archive") -> list[Imported]:
    path = Path(store.path).parent / "archive.tar"
    path.write_bytes(archive)
    place = parse_archive(f"{kind}:{path}")
    assert place
    accept = parse({"default": [{"type": "insecureAcceptAnything"}]}, "test")
    return import_images(store, place, "", Platform("linux", "amd64"), Progress(None), accept)


LAYER = layer(entry("a"))
IMAGE = json.dumps({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [sha256(LAYER)]}})


def saved(
    *before: bytes,
    config: str = "c.json",
    layers: object = ("l/layer.tar",),
    name: Callable[[str], str] = str,
    end: bytes = END,
) -> bytes:
    """As `docker save` writes it, with other entries before, and names as some tool writes them."""
    index = [{"Config": config, "RepoTags": ["app:1"], "Layers": layers}]
    files = {"c.json": IMAGE.encode(), "l/layer.tar": LAYER, "manifest.json": json.dumps(index).encode()}
    return b"".join([*before, *(entry(name(path), data=data) for path, data in files.items())]) + end


@pytest.mark.parametrize(
    "archive",
    [
        pytest.param(saved(), id="plain"),
        pytest.param(gzip.compress(saved()), id="gzip"),
        pytest.param(saved(config="./c.json", layers=["./l/layer.tar"]), id="bazel"),
        pytest.param(saved(config="/c.json", layers=["l//layer.tar"]), id="absolute"),
        pytest.param(saved(config="l/../c.json"), id="dotdot-inside"),
        pytest.param(saved(name=lambda path: f"./{path}"), id="dot-names"),
        pytest.param(saved(name=lambda path: f"/{path}"), id="absolute-names"),
        pytest.param(saved(folder("l", size=700)), id="folder-size"),
        pytest.param(saved(symlink("x", "y", size=9)), id="symlink-size"),
        pytest.param(saved(hardlink("x", "y", size=9)), id="hardlink-size"),
        pytest.param(saved(entry("x", b"6", size=99), entry("n", b"3", size=99)), id="special-files"),
        pytest.param(saved(pax({"size": "700"}), folder("l")), id="folder-pax-size"),
        pytest.param(saved(pax({"comment": "x"}, b"g")), id="global-comment"),
        pytest.param(saved(entry("x", b"x", record("path", b"p") + record("path", b"q")), entry("z")), id="two-paths"),
        pytest.param(saved(pax({"path": "", "size": ""}), entry("z", data=b"z")), id="empty-records"),
        pytest.param(saved(entry("x", b"L", b"l\0"), pax({"uid": "1"}), entry("z")), id="gnu-and-pax"),
        pytest.param(saved(entry("c.json", data=IMAGE.encode())), id="member-twice"),
        pytest.param(saved(end=b""), id="no-end"),
        pytest.param(saved(end=END + b"junk" * 999), id="junk-behind"),
    ],
)
def test_docker_archives(store: ImageStore, archive: bytes) -> None:
    """Members do not vanish and names are found, whichever tool wrote the archive."""
    (found,) = imported(store, archive)
    assert found.name == "docker.io/library/app:1"
    assert [one.digest for one in found.manifest.layers] == [sha256(LAYER)]


def test_a_docker_archive_without_layers(store: ImageStore) -> None:
    config = json.dumps(
        {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": None}}
    ).encode()
    for layers in (None, []):
        index = json.dumps([{"Config": "c", "RepoTags": ["app:1"], "Layers": layers}]).encode()
        (found,) = imported(store, layer(entry("c", data=config), entry("manifest.json", data=index)))
        assert found.manifest.layers == ()


@pytest.mark.parametrize("config", ["../c.json", "l/../../c.json", "", ".", "/", "/..", 3, None])
def test_names_that_lead_out_of_an_archive(store: ImageStore, config: Any) -> None:
    with pytest.raises(ImageError, match="must be names of files in it"):
        imported(store, saved(config=config))


def test_a_damaged_archive_in_xz(store: ImageStore) -> None:
    packed = bytearray(lzma.compress(saved(entry("x", data=os.urandom(4096)))))
    packed[len(packed) // 2] ^= 0xFF
    with pytest.raises(SteleError, match="damaged"):
        imported(store, bytes(packed))


def test_a_member_twice_with_two_contents(store: ImageStore) -> None:
    """Readers differ in which of the two they take."""
    with pytest.raises(ImageError, match=r'holds "c\.json" twice, with different contents'):
        imported(store, saved(entry("c.json", data=b"{}")))


def test_an_old_header_whose_sum_has_signs() -> None:
    """Bytes above 127 were negative for some writers."""
    import os

    made = bytearray(entry("é", data=b"x"))
    made[148:156] = b" " * 8
    made[148:156] = f"{sum(made[:512]) - 2 * 256:06o}\0 ".encode()
    fd = os.memfd_create("archive", os.MFD_CLOEXEC)
    try:
        os.write(fd, bytes(made) + END)
        assert list(image_tar.index(fd, "x")) == ["é"]
    finally:
        os.close(fd)


def oci_archive(layout: bytes, *, index: dict[str, Any] | None = None) -> bytes:
    """As Podman writes it, by Python's tarfile."""
    config = IMAGE.encode()
    told = {
        "schemaVersion": 2,
        "config": {"mediaType": model.OCI_CONFIG, "digest": sha256(config), "size": len(config)},
        "layers": [{"mediaType": model.OCI_LAYER, "digest": sha256(LAYER), "size": len(LAYER)}],
    }
    manifest = json.dumps(told).encode()
    descriptor = {"mediaType": model.OCI_MANIFEST, "digest": sha256(manifest), "size": len(manifest)}
    tags = [{**descriptor, "annotations": {"org.opencontainers.image.ref.name": name}} for name in ("one", "two")]
    files = {f"blobs/sha256/{sha256(data)[7:]}": data for data in (config, LAYER, manifest)}
    files |= {"oci-layout": layout, "index.json": json.dumps(index or {"schemaVersion": 2, "manifests": tags}).encode()}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


@pytest.mark.parametrize(
    "layout", [b'{"imageLayoutVersion": "1.0.0"}', b'{"imageLayoutVersion": "1.1.0", "x": 1}', b"{}", b""]
)
def test_an_archive_of_several_tags(store: ImageStore, layout: bytes) -> None:
    found = imported(store, oci_archive(layout), "oci-archive")
    assert sorted(one.name.rpartition(":")[2] for one in found) == ["one", "two"]


@pytest.mark.parametrize("layout", [b'{"imageLayoutVersion": "2.0.0"}', b'{"imageLayoutVersion": 1}'])
def test_a_layout_of_another_version(store: ImageStore, layout: bytes) -> None:
    with pytest.raises(ImageError, match="imageLayoutVersion"):
        imported(store, oci_archive(layout), "oci-archive")


def test_long_names_of_gnu_and_what_links_lead_to(tmp_path: Path) -> None:
    target, name = "a/" * 60 + "file", "b/" * 60 + "link"
    body = entry("././@LongLink", b"L", data=target.encode() + b"\0") + entry("short", data=b"x")
    body += entry("././@LongLink", b"L", data=name.encode() + b"\0")
    body += entry("././@LongLink", b"K", data=b"/" + target.encode() + b"\0") + symlink("short", "nowhere")
    (tmp_path / "a.tar").write_bytes(body + END)
    with open(tmp_path / "a.tar", "rb") as file:
        found = image_tar.index(file.fileno(), "it")
    assert found.keys() == {target, name}
    assert found[name] == found[target]


def test_an_index_that_has_no_image_for_this_machine() -> None:
    child = {
        "mediaType": model.OCI_MANIFEST,
        "digest": D,
        "size": 1,
        "platform": {"os": "linux", "architecture": "arm"},
    }

    class Store:
        def read_json(self, digest: str) -> object:
            return {"schemaVersion": 2, "manifests": [child]}

        def has_blob(self, digest: str) -> bool:
            return True

    told = model.parse_descriptor({**child, "mediaType": model.OCI_INDEX}, "it")
    for offered in ("arm", "s390x"):
        child["platform"] = {"os": "linux", "architecture": offered}
        with pytest.raises(ImageError, match="has none of its images that is for linux/amd64"):
            _of_index(Store(), "x", told, parse_platform("linux/amd64"))  # type: ignore[arg-type]
