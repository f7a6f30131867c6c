"""What others made and is in the executable: its notices, the bill of materials, and the kit to link it anew."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.runtime import REPO

BUILT = REPO / "build/launcher"
LIBSECCOMP = next(Path("/usr/lib").glob("*/libseccomp.a"))
VERSION_IN_IT = b"".join(number.to_bytes(4, "little") for number in (2, 5, 4))


@pytest.fixture(autouse=True)
def _built() -> None:
    assert (BUILT / "link.txt").exists(), "first: make build"


def test_the_relink_kit_links_a_changed_libseccomp(tmp_path: Path) -> None:
    """The kit, unpacked elsewhere, makes a working stele whose libseccomp is the user's."""
    kit, library, relinked = tmp_path / "kit.tar.gz", tmp_path / "libseccomp.a", tmp_path / "stele"
    subprocess.run([sys.executable, "build-aux/relink_kit.py", BUILT, kit], cwd=REPO, check=True)
    shutil.unpack_archive(kit, tmp_path)
    original = LIBSECCOMP.read_bytes()
    assert original.count(VERSION_IN_IT) == 1
    library.write_bytes(original.replace(VERSION_IN_IT, VERSION_IN_IT[:8] + (77).to_bytes(4, "little")))
    subprocess.run([tmp_path / "stele-relink/relink.sh", "--libseccomp", library, relinked], check=True)
    told = subprocess.run([relinked, "--version"], capture_output=True, text=True, check=True).stdout
    assert "\nlibseccomp: 2.5.77\n" in told


def test_the_bill_of_materials_has_what_is_linked(tmp_path: Path) -> None:
    """Each library of the link command is a package of the SPDX document and has its notice."""
    command = [sys.executable, "build-aux/notices.py", REPO / "build/bin/stele", BUILT / "modules.txt", tmp_path]
    subprocess.run(command, cwd=REPO, check=True)
    document = json.loads((tmp_path / "sbom.spdx.json").read_text())
    packages = {package["name"] for package in document["packages"]}
    linked = {Path(word).stem for word in (BUILT / "link.txt").read_text().split() if word.endswith(".a")}
    names = {
        "stele-ext": "cffi", "stele-libpython3.11": "python", "stele-libpython3.13": "python", "stele-libffi": "libffi", "stele-libz": "zlib",
        "stele-libseccomp": "libseccomp", "stele-libzstd": "zstd", "liblzma": "liblzma",
        "stele-libexpat": "expat", "cold-ssl": "python", "cold-libssl": "openssl", "cold-libcrypto": "openssl",
    }  # fmt: skip
    assert {names[archive] for archive in linked} | {"glibc", "libgcc", "click", "pyroute2", "urllib3"} <= packages
    assert "jsonschema" not in packages and "python-prctl" not in packages
    notices = (tmp_path / "THIRD-PARTY").read_text()
    for name in packages - {"stele"}:
        assert f"\n{name} " in notices
    related = {relation["relatedSpdxElement"] for relation in document["relationships"]}
    assert related == {package["SPDXID"] for package in document["packages"]}
