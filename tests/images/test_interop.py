"""With the other tools: what skopeo, umoci, buildah and podman make is taken in, what stele writes they read back."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.harness.registry import skopeo
from tests.images.conftest import Image
from tests.images.made import Layout, Made, digest_of, layer
from tests.images.tools import Tool


def raw(place: str) -> tuple[str, list[str]]:
    """skopeo's view: digest of the config, and digests of the layers."""
    manifest = json.loads(skopeo("inspect", "--raw", place))
    return manifest["config"]["digest"], [told["digest"] for told in manifest["layers"]]


def manifest_digest(place: str) -> str:
    return digest_of(subprocess.run(["skopeo", "inspect", "--raw", place], check=True, capture_output=True).stdout)


@pytest.mark.parametrize("form", ["oci", "oci-archive", "docker-archive", "dir-v2s2"])
def test_from_skopeo(image: Image, made: Made, tmp_path: Path, form: str) -> None:
    """Each form that skopeo writes: the config, and so the image's identity, is the same."""
    source = f"oci:{made.path}:amd64"
    if form == "dir-v2s2":
        place = f"oci-archive:{tmp_path}/image:team/app:2"
        skopeo("copy", "--format", "oci", "--dest-compress-format", "zstd", source, place)
    else:
        place = f"{form}:{tmp_path}/image:team/app:2"
        skopeo("copy", source, place)
    (told,) = image.json("image", "import", place)
    found = image.json("image", "inspect", told["digest"])
    assert found["configDigest"] == made.images["amd64"][1]
    assert [one["diffId"] for one in found["layers"]] == diff_ids(made, "amd64")
    if form == "oci":
        assert told["digest"] == made.images["amd64"][0]
    registry = "docker.io" if form == "docker-archive" else "localhost"
    assert told["name"] == (f"{registry}/team/app:2")
    assert "all contents match their digests" in image.good("image", "verify", told["name"])


def diff_ids(made: Made, name: str) -> list[str]:
    config = json.loads((made.path / "blobs/sha256" / made.images[name][1][7:]).read_bytes())
    found: list[str] = config["rootfs"]["diff_ids"]
    return found


@pytest.mark.parametrize("form", ["oci", "oci-archive", "docker-archive"])
def test_to_skopeo(image: Image, made: Made, tmp_path: Path, form: str) -> None:
    """What is written has the digests of the store, by skopeo's reading; and comes in again as the same."""
    image.good("image", "import", f"oci:{made.path}:amd64", "team/app:2")
    place = f"{form}:{tmp_path}/out"
    image.good("image", "export", "team/app:2", place)
    assert raw(place)[0] == made.images["amd64"][1]
    if form != "docker-archive":
        assert manifest_digest(place) == made.images["amd64"][0]
        assert raw(place)[1] == made.images["amd64"][2:]
    copied = f"{form}:{tmp_path}/copied:team/app:x"
    skopeo("copy", place, copied)
    assert raw(copied)[0] == made.images["amd64"][1]
    image.good("image", "rm", "team/app:2")
    (told,) = image.json("image", "import", place)
    assert told["name"] == "docker.io/team/app:2"
    assert image.json("image", "inspect", "team/app:2")["configDigest"] == made.images["amd64"][1]


def test_several_to_one_layout_at_once(image: Image, made: Made, tmp_path: Path) -> None:
    """Each finds what the others have added, and leaves it there."""
    names = [f"localhost/app:{number}" for number in range(6)]
    for name in names:
        image.good("image", "import", f"oci:{made.path}:amd64", name)
    words = [*image.argv, "--store", str(image.store), "image", "export", "--quiet"]
    writers = [subprocess.Popen([*words, name, f"oci:{tmp_path}/out"], env=image.env) for name in names]
    assert [writer.wait(60) for writer in writers] == [0] * len(names)
    entries = json.loads((tmp_path / "out/index.json").read_text())["manifests"]
    assert sorted(entry["annotations"]["org.opencontainers.image.ref.name"] for entry in entries) == names


def test_a_layout_of_several(image: Image, made: Made, tmp_path: Path) -> None:
    """Exports add to a layout; a name that is there already goes to the newer image; all come in at once."""
    for which in ("amd64", "other"):
        image.good("image", "import", f"oci:{made.path}:{which}", f"team/{which}:1")
    out = tmp_path / "out"
    for source, name in (("team/amd64:1", "a"), ("team/other:1", "b"), ("team/other:1", "a"), ("team/amd64:1", "c")):
        image.good("image", "export", source, f"oci:{out}:{name}")
    assert manifest_digest(f"oci:{out}:a") == made.images["other"][0]
    assert manifest_digest(f"oci:{out}:c") == made.images["amd64"][0]
    told = image.json("image", "import", f"oci:{out}")
    assert [one["name"] for one in told] == ["localhost/out:b", "localhost/out:a", "localhost/out:c"]
    assert "holds several images" in image.bad("image", "import", f"oci:{out}", "one/name:1")
    assert 'it holds no image "z", but a, b, c' in image.bad("image", "import", f"oci:{out}:z")


def test_umoci(image: Image, made: Made, tool: Tool, tmp_path: Path) -> None:
    """A layout that umoci made from nothing, changed by it, goes in; umoci unpacks what stele wrote."""
    layout, root = tmp_path / "umoci", tmp_path / "bundle"
    tool("umoci", "init", "--layout", layout)
    tool("umoci", "new", "--image", f"{layout}:first")
    tool("umoci", "unpack", "--image", f"{layout}:first", root)
    (root / "rootfs/etc").mkdir()
    (root / "rootfs/etc/name").write_text("umoci\n")
    tool("umoci", "repack", "--image", f"{layout}:second", root)
    tool("umoci", "config", "--image", f"{layout}:second", "--config.cmd", "/bin/true", "--config.env", "A=b")
    (told,) = image.json("image", "import", f"oci:{layout}:second")
    assert told["name"] == "localhost/umoci:second"
    found = image.json("image", "inspect", "umoci:second")
    assert found["config"]["Cmd"] == ["/bin/true"]
    assert len(found["history"]) >= 1
    image.good("image", "export", "umoci:second", f"oci:{tmp_path}/out:back")
    assert manifest_digest(f"oci:{tmp_path}/out:back") == told["digest"]
    tool("umoci", "unpack", "--image", f"{tmp_path}/out:back", tmp_path / "again")
    assert (tmp_path / "again/rootfs/etc/name").read_text() == "umoci\n"


def test_buildah(image: Image, made: Made, tool: Tool, tmp_path: Path) -> None:
    """An image that buildah builds, from one of stele's, in both formats that it has."""
    image.good("image", "import", f"oci:{made.path}:amd64", "team/app:2")
    image.good("image", "export", "team/app:2", f"oci-archive:{tmp_path}/base.tar")
    base = tool("buildah", "from", "--signature-policy", tmp_path / "policy.json", f"oci-archive:{tmp_path}/base.tar")
    (tmp_path / "added").write_text("by buildah\n")
    tool("buildah", "copy", base, tmp_path / "added", "/added")
    tool("buildah", "config", "--entrypoint", '["/bin/tool"]', "--label", "made=here", base)
    for form in ("oci", "docker"):
        commit = ("buildah", "commit", "--signature-policy", tmp_path / "policy.json")
        tool(*commit, "--format", form, base, f"localhost/built:{form}")
        kind = "oci-archive" if form == "oci" else "docker-archive"
        place = f"{kind}:{tmp_path}/{form}.tar"
        tool("buildah", "push", "--signature-policy", tmp_path / "policy.json", f"localhost/built:{form}", place)
        (told,) = image.json("image", "import", place, f"built:{form}")
        found = image.json("image", "inspect", f"built:{form}")
        assert found["config"]["Entrypoint"] == ["/bin/tool"]
        assert found["config"]["Labels"]["made"] == "here"
        assert [one["diffId"] for one in found["layers"]][:2] == diff_ids(made, "amd64")
        assert "all contents match their digests" in image.good("image", "verify", told["name"])


def test_podman(image: Image, made: Made, tool: Tool, tmp_path: Path) -> None:
    """podman loads what stele writes under the same identity, and stele what podman saves."""
    image.good("image", "import", f"oci:{made.path}:amd64", "team/app:2")
    podman = ("podman", "--cgroup-manager=cgroupfs")
    for kind in ("oci-archive", "docker-archive"):
        image.good("image", "export", "team/app:2", f"{kind}:{tmp_path}/{kind}.tar")
        load = ("load", "--quiet", "--signature-policy", tmp_path / "policy.json")
        tool(*podman, *load, "--input", tmp_path / f"{kind}.tar")
        (found,) = json.loads(tool(*podman, "image", "inspect", "docker.io/team/app:2"))
        assert f"sha256:{found['Id']}" == made.images["amd64"][1]
        assert found["RootFS"]["Layers"] == diff_ids(made, "amd64")
        save = ("save", "--quiet", "--format", kind, "--output", tmp_path / f"saved-{kind}.tar")
        tool(*podman, *save, "docker.io/team/app:2")
        (told,) = image.json("image", "import", f"{kind}:{tmp_path}/saved-{kind}.tar", "back:1")
        assert image.json("image", "inspect", told["digest"])["configDigest"] == made.images["amd64"][1]
        tool(*podman, "image", "rm", "docker.io/team/app:2")


def test_through_a_pipe(image: Image, made: Made, tmp_path: Path) -> None:
    """An archive may come from and go to a pipe, packed or not."""
    image.good("image", "import", f"oci:{made.path}:amd64", "team/app:2")
    argv = [*image.argv, "--store", str(image.store), "image"]
    archive = subprocess.run(
        [*argv, "export", "--quiet", "team/app:2", "oci-archive:/dev/stdout"],
        env=image.env,
        check=True,
        capture_output=True,
    ).stdout
    for number, data in enumerate((archive, gzip.compress(archive, 1), lzma.compress(archive, preset=0))):
        into = [*argv, "import", "--quiet", "oci-archive:/dev/stdin", f"piped:{number}"]
        done = subprocess.run(into, env=image.env, check=True, capture_output=True, input=data)
        assert done.stdout.decode().strip() == made.images["amd64"][0]


PACKERS = {
    "gzip": ["gzip"],
    "zstd": ["zstd", "-q"],
    "zstd-skippable": ["sh", "-c", r"printf '\120\052\115\030\4\0\0\0abcd'; exec zstd -q -c"],
    "zstd-two": ["sh", "-c", "head -c 1500000 | zstd -q -c; exec zstd -q -c"],
    "xz": ["xz", "-1"],
    "xz-crc": ["xz", "-1", "--check=crc64", "--block-size=1MiB"],
    "xz-two": ["sh", "-c", "head -c 1500000 | xz -0; exec xz -0 --check=sha256"],
}


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("kind", ["oci-archive", "docker-archive"])
def test_a_packed_archive(image: Image, made: Made, tmp_path: Path, kind: str, packer: str) -> None:
    """`docker save | PACKER`: what comes in is the same; a cut or damaged one is refused, and names nothing."""
    image.good("image", "import", f"oci:{made.path}:amd64", "team/app:2")
    image.good("image", "export", "team/app:2", f"{kind}:{tmp_path}/plain")
    with (tmp_path / "plain").open("rb") as plain:
        data = subprocess.run(PACKERS[packer], stdin=plain, check=True, capture_output=True).stdout
    image.good("image", "rm", "team/app:2")
    image.good("image", "gc", "--grace-period", "0s")
    file = tmp_path / "packed"
    half = len(data) // 2
    for damaged in (data[:-30], data[:half] + bytes(64) + data[half + 64 :], data + b"more"):
        file.write_bytes(damaged)
        told = image.bad("image", "import", f"{kind}:{file}")
        assert "ends too early" in told or "damaged" in told, told
        assert image.names() == []
    file.write_bytes(data)
    (told,) = image.json("image", "import", f"{kind}:{file}")
    assert image.json("image", "inspect", told["digest"])["configDigest"] == made.images["amd64"][1]


@pytest.mark.parametrize(
    ("packer", "words"),
    [
        (["gzip"], "packed tighter than 500 to 1"),
        (["zstd", "-q"], "packed tighter than 500 to 1"),
        (["xz", "-0"], "packed tighter than 500 to 1"),
        (["bzip2"], "it is packed by bzip2, or with a window of more than 128 MiB"),
        (["zstd", "-q", "--long=31", "--ultra", "--single-thread"], "or with a window of more than 128 MiB"),
        (["xz", "--lzma2=dict=256MiB"], "or with a window of more than 128 MiB"),
    ],
    ids=["gzip", "zstd", "xz", "bzip2", "zstd-long", "xz-large"],
)
def test_packed_archives_that_are_refused(image: Image, tmp_path: Path, packer: list[str], words: str) -> None:
    """Bombs, and what would take too much memory: nothing is left in the store."""
    with (tmp_path / "x").open("wb") as out, subprocess.Popen(packer, stdin=subprocess.PIPE, stdout=out) as process:
        assert process.stdin
        for _ in range(160):
            process.stdin.write(bytes(1 << 20))
    assert words in image.bad("image", "import", f"oci-archive:{tmp_path}/x")
    assert image.begun() == []


def test_a_packed_layer_of_dockers_archive(image: Image, tmp_path: Path) -> None:
    """Nothing but the config's diff_id tells what it must be, so that is asked before the image has a name."""
    good, other = layer({"a": b"good"}), layer({"a": b"evil"})
    config = json.dumps({"os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest_of(good)]}}).encode()
    manifest = b'[{"Config": "c", "RepoTags": ["x:1"], "Layers": ["l"]}]'
    for plain in (other, good):
        files = {"manifest.json": manifest, "c": config, "l": gzip.compress(plain)}
        (tmp_path / "x.tar").write_bytes(layer(files))
        if plain is other:
            told = image.bad("image", "import", f"docker-archive:{tmp_path}/x.tar")
            assert f'layer "l" unpacks to {digest_of(other)}, its config says {digest_of(good)}' in told
            assert image.names() == []
    image.good("image", "import", f"docker-archive:{tmp_path}/x.tar")


def test_a_layout_with_an_index(image: Image, made: Made) -> None:
    """Of an index in a layout, the image for the platform comes in."""
    (told,) = image.json("image", "import", "--platform", "arm64", f"oci:{made.path}:index")
    assert told["digest"] == made.images["arm64"][0]


def test_names(image: Image, made: Made) -> None:
    """tag, list, rm: several names of one image, by name, short digest and digest."""
    image.good("image", "import", f"oci:{made.path}:amd64", "team/app:2")
    image.good("image", "tag", "team/app:2", "host:5000/x:1")
    image.good("image", "tag", made.images["amd64"][0][7:19], "localhost/y")
    assert image.names() == ["docker.io/team/app:2", "host:5000/x:1", "localhost/y:latest"]
    assert image.json("image", "inspect", "y")["names"] == image.names()
    assert image.good("image", "rm", "y", "host:5000/x:1").split() == ["localhost/y:latest", "host:5000/x:1"]
    assert image.good("image", "rm", made.images["amd64"][0]) == "docker.io/team/app:2\n"
    assert 'image "docker.io/team/app:2" is not in the store' in image.bad("image", "rm", "team/app:2")
    assert image.blobs()
    image.good("image", "gc", "--grace-period", "0s")
    assert image.blobs() == set()


def test_verify_finds_damage(image: Image, made: Made) -> None:
    """One bit of a layer."""
    image.good("image", "import", f"oci:{made.path}:amd64", "team/app:2")
    file = image.store / "blobs/sha256" / made.images["amd64"][2][7:]
    file.chmod(0o600)
    with file.open("r+b") as blob:
        blob.seek(1000)
        byte = blob.read(1)[0]
        blob.seek(1000)
        blob.write(bytes([byte ^ 1]))
    assert "1 fault" in image.bad("image", "verify", "team/app:2")
    assert made.images["amd64"][2] in image("image", "verify").stderr


def test_inspect(image: Image, made: Made) -> None:
    """The steps of the history, each with the layer that it made; a terminal is sent nothing of the image's."""
    image.good("image", "import", f"oci:{made.path}:amd64", "team/app:2")
    history = image.json("image", "inspect", "team/app:2")["history"]
    assert [step.get("layer") for step in history] == [made.images["amd64"][2], None, made.images["amd64"][3]]
    told = image.good("image", "inspect", "--format", "table", "team/app:2")
    assert "docker.io/team/app:2" in told and "base" in told


@pytest.mark.parametrize(
    "kind", ["vnd.oci.image.layer.nondistributable.v1.tar+gzip", "vnd.docker.image.rootfs.foreign.diff.tar.gzip"]
)
def test_layers_that_may_not_be_passed_on(image: Image, tmp_path: Path, kind: str) -> None:
    """They are layers like others, where they are; nobody's list of other addresses for them is followed."""
    layout = Layout(tmp_path / "l")
    manifest, digests = layout.image([layer({"a": b"x"})], {"os": "linux", "architecture": "amd64"})
    document = json.loads((layout.path / "blobs/sha256" / digests[0][7:]).read_text())
    document["layers"][0] |= {"mediaType": f"application/{kind}", "urls": ["http://127.0.0.1:1/x"]}
    layout.name(layout.document(document, manifest["mediaType"]), "x")
    image.good("image", "import", "--unpack", f"oci:{layout.path}:x")
    (layout.path / "blobs/sha256" / digests[2][7:]).unlink()
    image.good("image", "rm", "l:x")
    image.good("image", "gc", "--grace-period", "0s")
    assert f'it has no "blobs/sha256/{digests[2][7:]}"' in image.bad("image", "import", f"oci:{layout.path}:x")


# ---- what is wrong ----


def archive_of(files: dict[str, bytes]) -> bytes:
    return layer(files)


CONFIG = json.dumps(
    {
        "os": "linux",
        "architecture": "amd64",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "0" * 64]},
    }
).encode()


@pytest.mark.parametrize(
    ("kind", "data", "words"),
    [
        ("oci-archive", b"no tar", "it is not a tar archive"),
        ("oci-archive", b"", "it is not a tar archive"),
        ("oci-archive", b"\0" * 2048, "it is not a tar archive, or an empty one"),
        ("oci-archive", b"\x1f\x8b\x08\0\0", "the packed data ends too early"),
        ("oci-archive", b"\x1f\x8bxxxxxxxx", "the packed data is damaged"),
        ("oci-archive", b"\x28\xb5\x2f\xfdxx", "the packed data ends too early"),
        ("oci-archive", archive_of({"a": b"x" * 5000})[:2048], "it is cut short"),
        ("oci-archive", archive_of({"manifest.json": b"[]"}), "it is docker's: docker-archive:"),
        ("docker-archive", archive_of({"oci-layout": b"{}"}), "it is an OCI layout: oci-archive:"),
        ("docker-archive", archive_of({"manifest.json": b"{}"}), "manifest.json must be a list of images"),
        ("docker-archive", archive_of({"manifest.json": b"["}), "manifest.json is not JSON"),
        (
            "docker-archive",
            archive_of({"manifest.json": b'[{"Config": "../c", "Layers": []}]'}),
            "must be names of files in it, not '../c'",
        ),
        (
            "docker-archive",
            archive_of({"manifest.json": b'[{"Config": "c", "Layers": ["l"]}]', "c": CONFIG, "l": b"x"}),
            'layer "l" is sha256:',
        ),
        (
            "docker-archive",
            archive_of({"manifest.json": b'[{"Config": "c", "Layers": []}]', "c": CONFIG}),
            "it has 0 layers, its config 1 diff_ids",
        ),
        ("oci-archive", archive_of({"oci-layout": b"{}"}), 'it has no "index.json"'),
        (
            "oci-archive",
            archive_of({"oci-layout": b"{}", "index.json": b'{"schemaVersion": 2, "manifests": []}'}),
            "it is empty",
        ),
    ],
)
def test_archives_that_are_none(image: Image, tmp_path: Path, kind: str, data: bytes, words: str) -> None:
    """Told in a sentence; nothing is named."""
    file = tmp_path / "x.tar"
    file.write_bytes(data)
    assert words in image.bad("image", "import", f"{kind}:{file}")
    assert image.names() == []


def test_a_layout_that_lies(image: Image, tmp_path: Path) -> None:
    """A blob that is not what its name says, and a digest that would be a path."""
    layout = Layout(tmp_path / "l")
    manifest, digests = layout.image([layer({"a": b"x"})], {"os": "linux", "architecture": "amd64"})
    layout.name(manifest, "x")
    file = layout.path / "blobs/sha256" / digests[2][7:]
    file.write_bytes(bytes(reversed(file.read_bytes())))
    assert "it was damaged or exchanged on the way" in image.bad("image", "import", f"oci:{layout.path}:x")
    assert image.names() == []
    entries: list[dict[str, Any]] = [{**manifest, "digest": "sha256:../../../../etc/passwd"}]
    (layout.path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))
    assert "is not a digest" in image.bad("image", "import", f"oci:{layout.path}")
    os.mkfifo(layout.path / "fifo")
    (layout.path / "index.json").unlink()
    os.mkfifo(layout.path / "index.json")
    assert "is not a regular file" in image.bad("image", "import", f"oci:{layout.path}")


def test_unpack(image: Image, made: Made, tmp_path: Path) -> None:
    """A bundle with the image's files and a valid config.json; into an empty directory only; nothing is left of a failure."""
    image.good("image", "import", f"oci:{made.path}:amd64", "team/app:2")
    bundle = tmp_path / "bundle"
    image.good("unpack", "team/app:2", bundle)
    assert (bundle / "rootfs/etc/name").read_text() == "base\n"
    assert (bundle / "rootfs/etc/own").read_text() == "amd64\n"
    assert bundle.stat().st_mode & 0o777 == 0o700
    config = json.loads((bundle / "config.json").read_text())
    assert (config["process"]["args"], config["root"]) == (["/bin/sh"], {"path": "rootfs", "readonly": True})
    image.good("validate", bundle / "config.json")
    assert "not empty; name a new directory" in image.bad("unpack", "team/app:2", bundle)
    file = image.store / "blobs/sha256" / made.images["amd64"][3][7:]
    file.chmod(0o600)
    file.write_bytes(file.read_bytes()[:-20])
    image.bad("unpack", "team/app:2", tmp_path / "second")
    assert not (tmp_path / "second").exists()
