"""Names of images: what each means, and what is refused in which words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import UsageError
from runtime.images.references import ArchiveReference, Reference, parse, parse_archive

D = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("debian", Reference("docker.io", "library/debian", "latest")),
        ("debian:12", Reference("docker.io", "library/debian", "12")),
        ("team/app", Reference("docker.io", "team/app", "latest")),
        ("a/b/c:v1", Reference("docker.io", "a/b/c", "v1")),
        ("docker.io/debian", Reference("docker.io", "library/debian", "latest")),
        ("index.docker.io/debian:12", Reference("docker.io", "library/debian", "12")),
        ("docker://debian:12", Reference("docker.io", "library/debian", "12")),
        ("localhost/app", Reference("localhost", "app", "latest")),
        ("localhost:5000/app:2", Reference("localhost:5000", "app", "2")),
        ("127.0.0.1:5000/a/b:2", Reference("127.0.0.1:5000", "a/b", "2")),
        ("[::1]:5000/app", Reference("[::1]:5000", "app", "latest")),
        ("quay.io/team/app:v1.2_3-x", Reference("quay.io", "team/app", "v1.2_3-x")),
        ("QUAY.io/team/app", Reference("quay.io", "team/app", "latest")),
        (f"debian@{D}", Reference("docker.io", "library/debian", "", D)),
        (f"debian:12@{D}", Reference("docker.io", "library/debian", "12", D)),
        (f"host:5000/app@{D}", Reference("host:5000", "app", "", D)),
        ("a__b/c-d/e---f", Reference("docker.io", "a__b/c-d/e---f", "latest")),
        ("x:" + "t" * 128, Reference("docker.io", "library/x", "t" * 128)),
    ],
)
def test_parse(text: str, reference: Reference) -> None:
    """A name as people write it, and the full name that it stands for, which stands for itself."""
    assert parse(text) == reference
    assert parse(str(reference)) == reference


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the name is empty"),
        (":12", '"" is not a repository: it is empty'),
        ("Debian", '"library/Debian" is not a repository'),
        ("host.io/App", '"App" is not a repository'),
        ("debian:", '"" is not a tag'),
        ("debian:.x", '".x" is not a tag'),
        ("debian:" + "t" * 129, "is not a tag"),
        ("debian@sha256:abc", '"sha256:abc" is not a digest'),
        (f"debian@{D.upper()}", "is not a digest"),
        (f"debian@{D}0", "is not a digest"),
        (f"debian@{D}@{D}", "is not a digest"),
        ("debian@md5:" + "0" * 32, "is not a digest"),
        ("a//b", "is not a repository"),
        ("a/../b", "is not a repository"),
        ("host.io/../../etc/passwd", "is not a repository"),
        ("/etc/passwd", "is not a repository"),
        ("a_-b", "is not a repository"),
        ("a___b", "is not a repository"),
        ("host:0/a", '"host:0" is not a host or host:port'),
        ("host:99999/a", "is not a host or host:port"),
        ("user@host/a", "is not a digest"),
        ("-host.io/a", "is not a host or host:port"),
        ("host..io/a", "is not a host or host:port"),
        ("deb\nian", "cannot be printed"),
        ("deb\x00ian", "cannot be printed"),
        ("déb", "is not a repository"),
        ("٣", "is not a repository"),
        ("x.io/" + "a" * 300, "longer than 255"),
        ("a" * 5000, "longer than 4096"),
    ],
)
def test_refused(text: str, words: str) -> None:
    """What is malformed is told with the part that is."""
    with pytest.raises(UsageError) as told:
        parse(text)
    assert words in str(told.value)
    assert len(str(told.value)) < 400


def test_a_registry_is_asked_for_the_digest_before_the_tag() -> None:
    assert [Reference("r", "x", tag, digest).wanted for tag, digest in (("t", "d"), ("t", ""), ("", "d"))] == [
        "d",
        "t",
        "d",
    ]


def test_short_names() -> None:
    """A name without a host goes to the one configured registry or to its alias; with several it is ambiguous."""
    assert parse("app", search=["registry.example.org"]) == Reference("registry.example.org", "app", "latest")
    assert parse("app:2", aliases={"app": "quay.io/team/app"}) == Reference("quay.io", "team/app", "2")
    assert parse("x.io/app", search=[]) == Reference("x.io", "app", "latest")
    with pytest.raises(UsageError, match=r"names no registry; write one of a\.io/app, b\.io/app"):
        parse("app", search=["a.io", "b.io"])
    with pytest.raises(UsageError, match="names no registry"):
        parse("app", search=[])


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("oci:/a/b", ArchiveReference("oci", "/a/b")),
        ("oci:dir:name", ArchiveReference("oci", "dir", "name")),
        ("oci:dir:docker.io/library/debian:12", ArchiveReference("oci", "dir", "docker.io/library/debian:12")),
        ("oci-archive:f.tar", ArchiveReference("oci-archive", "f.tar")),
        ("docker-archive:f.tar:debian:12", ArchiveReference("docker-archive", "f.tar", "debian:12")),
        ("debian:12", None),
        ("host:5000/oci", None),
    ],
)
def test_places(text: str, place: ArchiveReference | None) -> None:
    """A transport before the first colon names a file or folder."""
    assert parse_archive(text) == place
    if place is not None:
        assert parse_archive(str(place)) == place


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("oci:", "no path stands behind oci:"),
        ("docker-archive::x", "no path stands behind docker-archive:"),
        ("docker-daemon:x", "docker-daemon: is not read by stele; copy it with skopeo"),
        ("containers-storage:x", "containers-storage: is not read by stele"),
        ("https://host/x", "https: is not read by stele; write the name without it"),
    ],
)
def test_places_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError) as told:
        parse_archive(text)
    assert words in str(told.value)


@given(st.text(max_size=300) | st.from_regex(r"[a-z0-9.:/@_-]{1,80}", fullmatch=True))
def test_any_text(text: str) -> None:
    """Whatever is written: a reference that stands for itself, or a clear refusal."""
    try:
        found = parse_archive(text) or parse(text)
    except UsageError:
        return
    assert (parse_archive(str(found)) or parse(str(found))) == found
