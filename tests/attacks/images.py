"""Hostile layers, manifests and what else an image says, section D before all, from the tests of what reads them: runtimes
such as runc and crun have none of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from tests.attacks.arena import BROKEN, HELD, UNKNOWN, Outcome
from tests.attacks.doubles import Patch
from tests.harness.runtime import REPO

TESTS = (
    "tests/kernel/test_layers_attacks.py",
    "tests/unit/test_runtime_config.py",
    "tests/unit/test_image_transport.py",
    "tests/kernel/test_unpack_confined.py::test_the_child_as_the_kernel_sees_it",
    "tests/unit/test_image_pace.py",
)


@dataclass(frozen=True, slots=True)
class Row:
    """tests: a pattern of the names of its tests; a test belongs to the first row that has it. planted: its fault."""

    id: str
    cve: str
    title: str
    tests: str
    planted: tuple[Patch, ...]


def in_c(row: str, file: str, sound: str, faulty: str) -> Patch:
    """An expression that is faulty while the environment names the row: so that one build has the faults of all."""
    return Patch(
        f"cshim/{file}", sound, f'(getenv("PLANTED") && !strcmp(getenv("PLANTED"), "{row}") ? {faulty} : ({sound}))'
    )


def in_python(row: str, file: str, sound: str, faulty: str) -> Patch:
    """The same for an expression of Python."""
    return Patch(
        f"runtime/images/{file}",
        sound,
        f'({faulty} if __import__("os").environ.get("PLANTED") == "{row}" else {sound})',
    )


# The unpacker's child is confined so that most of its faults lead nowhere. Those of the rows are shown without that.
FREE = (
    Patch("cshim/confined.c", "/* ---- fds and the root ---- */",
          '#include <stdlib.h>\nstatic int planted(const char *row) { const char *p = getenv("PLANTED"); return p && !strncmp(p, row, strlen(row)); }'),
    Patch("cshim/confined.c", 'chroot(".") < 0', '!planted("D") && chroot(".") < 0'),
    Patch("cshim/confined.c", "version < 2", 'planted("D") || version < 2'),
)  # fmt: skip
OPEN = '(0o755 if __import__("os").environ.get("PLANTED") == "D8" else 0o700)'
IN_ROOT = "RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV"
HEX = 'diff_id.removeprefix("sha256:")'
ROWS = (
    Row("B12i", "CVE-2019-16884", "volumes of an image over what the kernel shows", r"cannot_put_a_volume",
        (in_python("B12i", "run/runtime_config.py", 'any(f"{each}/".startswith(f"{kernel}/") for kernel in KERNELS for each in (path, led))', "False"),)),
    Row("C4i", "CVE-2016-3697", "users of an image that wrap, or are called by a number", r"nobody_becomes_root|who_it_is",
        (Patch("runtime/images/run/user.py", "    number = decimal(text, MAX_ID)\n",
               '    number = int(text) & 0xFFFFFFFF if __import__("os").environ.get("PLANTED") == "C4i" else decimal(text, MAX_ID)\n'),)),
    Row("C15", "CVE-2026-53488", "labels of an image that are orders to a runtime", r"never_orders",
        (in_python("C15", "run/runtime_config.py", "not key.startswith(RESERVED)", "True"),)),
    Row("D13", "-", "credentials shown to whom a registry names", r"may_know",
        (in_python("D13", "registry/tokens.py", 'its == ".".join(domain) or its.endswith("." + ".".join(domain))', "True"),)),
    Row("G13", "-", "a registry that sends a byte a second", r"byte_now_and_then",
        (in_python("G13", "registry/pace.py", "came - seen < LEAST_RATE * RATE_SECONDS", "False"),)),
    Row("D4", "CVE-2021-29136", "the root itself becomes a link", r"root-is",
        (in_c("D4", "unpack.c", 'bad(w, "the root must be a directory")', "0"),)),
    Row("D5", "-", "whiteouts of . and ..", r"whiteout-of|whiteout-folder|whiteout-link|opaque-link",
        (in_c("D5", "unpack.c", '!*name || !strcmp(name, ".") || !strcmp(name, "..")', "0"),)),
    Row("D9", "CVE-2025-62518", "two readings of one archive: sizes, NULs, headers",
        r"desync|nul\b|pax-path|pax-link|long-name\b|negative-size|wraps|trailing",
        (in_c("D9", "tar.c", "size != t->size && t->size <= USTAR_SIZE_MAX", "0"),)),
    Row("D11", "CVE-2021-20291", "bombs: entries, bytes, headers, compression, no tar at all",
        r"bomb|refused\[\w+-entries|refused\[\w+-bytes|xattrs|pax-header|implied|no_tar|deeper|multi-volume",
        (in_c("D11", "unpack.c", "w->u->entries >= w->u->most_entries", "0"),)),
    Row("D12", "CVE-2021-41190", "manifests of two kinds, digests that are paths",
        r"test_documents|diff_id|changed_on_disk",
        (in_python("D12", "model.py", "not DIGEST.fullmatch(value)", "False"),)),
    Row("D2", "CVE-2021-32760", "modes and owners follow links", r"modes_and_owners",
        (in_c("D2", "unpack.c", "fchownat(parent, name, e->uid, e->gid, AT_SYMLINK_NOFOLLOW)",
              "fchownat(parent, name, e->uid, e->gid, 0)"),)),
    Row("D3", "CVE-2025-47290", "layers that are unpacked at once meet", r"parallel",
        (Patch("runtime/images/store/contents.py", f"{{self.path}}/{{LAYERS}}/{{{HEX.replace(chr(34), chr(39))}}}/{{TREE}}",
               "{self.path}/{LAYERS}/{'0' * 64 if os.environ.get('PLANTED') == 'D3' else diff_id.removeprefix('sha256:')}/{TREE}"),)),
    Row("D6", "CVE-2026-95838", "opaque whiteouts in squares", r"quadratic",
        (Patch("cshim/unpack.c", "\tw->u->whiteouts++;\n\tif (w->u->form == STELE_FORM_LOWEST)",
               '\tstruct stat seen;\n\tfor (uint64_t i = 0; getenv("PLANTED") && !strcmp(getenv("PLANTED"), "D6") && i < 8 * w->u->entries; i++)\n'
               '\t\tfstatat(parent, "x", &seen, AT_SYMLINK_NOFOLLOW);\n'
               "\tw->u->whiteouts++;\n\tif (w->u->form == STELE_FORM_LOWEST)"),)),
    Row("D7", "-", "extended attributes and devices that steer overlayfs", r"covert|overlay",
        (in_c("D7", "unpack.c", '!strncmp(x->name, "trusted.overlay.", 16) || !strncmp(x->name, "user.overlay.", 13)', "0"),)),
    Row("D8", "-", "devices, fifos, setuid files open to others", r"fifo|closed_to_others",
        (Patch("runtime/images/store/contents.py", "mode=0o700", f"mode={OPEN}"), Patch("runtime/images/store/files.py", "os.mkdir(name, 0o700, dir_fd=at)", f"os.mkdir(name, {OPEN}, dir_fd=at)"),
         Patch("runtime/images/store/layers.py", "os.mkdir(name, 0o700, dir_fd=place)", f"os.mkdir(name, {OPEN}, dir_fd=place)"))),
    Row("D10", "CVE-2025-4517", "paths that are longer, or lead elsewhere, than who computes them believes", r"overflow|never_cut",
        (in_c("D10", "unpack.c", IN_ROOT, "strlen(path) > 1000 ? 0 : RESOLVE_IN_ROOT"),)),
    Row("D14i", "-", "layers that are file systems, by what they are called or by their bytes", r"file_systems",
        (in_python("D14i", "model.py", "layer.media_type not in LAYERS", "False"),)),
    Row("D15", "-", "a fault in the reader of layers is a fault with root's rights", r"as_the_kernel_sees_it",
        (Patch("cshim/confined.c", "result < 0 ? result : confine_calls(", 'result < 0 || planted("D15") ? result : confine_calls('),)),
    Row("D1", "CVE-2014-9356", "links and .. lead later entries out of the root",
        r"dotdot|hardlink|link|dangling|folder",
        (in_c("D1", "unpack.c", IN_ROOT, "0"),)),
)  # fmt: skip
PLANTED = FREE + tuple(patch for row in ROWS for patch in row.planted)
RUN = """
import os, re, sys
sys.path.insert(0, sys.argv.pop(1))
import runtime.images.store.layers, runtime.images.store.store, pytest
class Plant:
    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        rows = [row for row, pattern in ROWS if re.search(pattern, item.name)]
        os.environ["PLANTED"] = rows[0] if rows else ""
        return (yield)
sys.exit(pytest.main(sys.argv[1:], plugins=[Plant()]))
"""


def _cases(double: Path | None) -> list[ElementTree.Element]:
    """The tests, each run with the fault of its row if a double is given, whose modules are then those under test."""
    with tempfile.TemporaryDirectory(prefix="stele-attack-D-") as folder:
        report = Path(folder) / "report.xml"
        argv = [sys.executable, "-m", "pytest"]
        if double:
            rows = f"ROWS = {[(row.id, row.tests) for row in ROWS]!r}\n"
            argv = [sys.executable, "-c", rows + RUN, str(double)]
        argv += ["-q", f"--junitxml={report}", f"--basetemp={folder}/tests", *TESTS]
        subprocess.run(argv, cwd=REPO, capture_output=True, check=False, env={**os.environ, "PLANTED": ""})
        # A double leaves folders deeper than Python recurses.
        subprocess.run(["rm", "-rf", f"{folder}/tests"], check=True)
        return list(ElementTree.parse(report).iter("testcase")) if report.exists() else []


def outcomes(double: Path | None = None) -> Iterator[tuple[Row, Outcome]]:
    """Each row, with what the unpacker's tests say of it: one run of them all."""
    found: dict[str, list[tuple[str, bool]]] = {row.id: [] for row in ROWS}
    for case in _cases(double):
        name = case.get("name", "")
        mine = next((row.id for row in ROWS if re.search(row.tests, name)), "")
        if mine:
            found[mine].append((name, len(case) == 0))
    for row in sorted(ROWS, key=lambda row: (row.id[0], int(row.id[1:].rstrip("i")))):
        failed = [name for name, well in found[row.id] if not well]
        if failed:
            yield row, Outcome(BROKEN, ", ".join(failed))
        else:
            yield row, Outcome(HELD if found[row.id] else UNKNOWN, f"{len(found[row.id])} cases")
