"""Section D, hostile layers and manifests, from the tests of the unpacker: runtimes such as runc and crun have none."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from tests.attacks.arena import BROKEN, HELD, UNKNOWN, Outcome
from tests.harness.runtime import REPO

TESTS = "tests/kernel/test_layers_attacks.py"
ROWS = (
    ("D1", "CVE-2014-9356", "links and .. lead later entries out of the root", r"dotdot|hardlink|link|dangling|folder"),
    ("D2", "CVE-2021-32760", "modes and owners follow links", r"modes_and_owners"),
    ("D3", "CVE-2025-47290", "layers that are unpacked at once meet", r"parallel"),
    ("D4", "CVE-2021-29136", "the root itself becomes a link", r"root-is"),
    ("D5", "-", "whiteouts of . and ..", r"whiteout-of|whiteout-folder|whiteout-link"),
    ("D6", "CVE-2026-95838", "opaque whiteouts in squares", r"quadratic"),
    ("D7", "-", "extended attributes and devices that steer overlayfs", r"covert|overlay"),
    ("D8", "-", "devices, fifos, setuid files open to others", r"fifo|closed_to_others"),
    ("D9", "CVE-2025-62518", "two readings of one archive: sizes, NULs, headers", r"desync|nul|pax|long-name|negative|wraps"),
    ("D11", "CVE-2021-20291", "bombs: entries, bytes, headers, compression, no tar at all", r"bomb|entries|bytes|xattrs|no_tar|deeper"),
    ("D12", "CVE-2021-41190", "manifests of two kinds, digests that are paths", r"manifest|CVE-|digest|type|size|html|schema"),
)  # fmt: skip


def outcomes() -> Iterator[tuple[str, str, str, Outcome]]:
    """Each row, with what the unpacker's tests say of it: one run of them all."""
    with tempfile.TemporaryDirectory(prefix="stele-attack-D-") as folder:
        report = Path(folder) / "report.xml"
        argv = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", TESTS]
        subprocess.run(argv, cwd=REPO, capture_output=True, check=False)
        cases = list(ElementTree.parse(report).iter("testcase")) if report.exists() else []
    for row, cve, title, names in ROWS:
        matching = [case for case in cases if re.search(names, case.get("name", ""))]
        failed = [case.get("name", "") for case in matching if len(case)]
        if failed:
            yield row, cve, title, Outcome(BROKEN, ", ".join(failed))
        else:
            yield row, cve, title, Outcome(HELD if matching else UNKNOWN, f"{len(matching)} cases")
