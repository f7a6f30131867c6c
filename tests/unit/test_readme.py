"""README and docs/ describe what is there."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.harness.runtime import REPO

COMMANDS = (REPO / "docs/commands.md").read_text()
PAGES = "".join(page.read_text() for page in (REPO / "README.md", *(REPO / "docs").glob("*.md")))


def test_the_table_names_every_command() -> None:
    """The rows of the command table in docs/commands.md are the commands that --help lists."""
    told = subprocess.run([sys.executable, "-m", "runtime", "--help"], capture_output=True, text=True, check=True)
    offered = set(re.findall(r"^  ([a-z]+) ", told.stdout.partition("Commands:")[2], re.MULTILINE))
    table = COMMANDS.partition("# Commands")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert {name for row in rows for name in re.findall(r"`([a-z]+)", row)} == offered


def test_the_make_targets_named_are_there() -> None:
    """Each `make TARGET` of README and docs/ is a target of the Makefile or of build-aux."""
    named = set(re.findall(r"(?:`|^    )make ([a-z-]+)", PAGES, re.MULTILINE))
    assert {"run", "test", "bench"} <= named
    rules = "".join(file.read_text() for file in [REPO / "Makefile", *(REPO / "build-aux").glob("*.mk")])
    targets = {name for line in re.findall(r"^([a-z -]+):(?!=)", rules, re.MULTILINE) for name in line.split()}
    assert named <= targets, named - targets


def test_every_recipe_is_listed() -> None:
    """`python -m bundles --list` knows each folder of bundles/ that has files."""
    told = subprocess.run([sys.executable, "-m", "bundles", "--list"], capture_output=True, text=True, check=True)
    names = [line.split()[0] for line in told.stdout.splitlines()]
    assert names == ["hello", "python", "redis", "shell", "web"]


def test_every_page_is_in_the_index() -> None:
    """docs/index.md links to each page, and no link of README or docs/ leads nowhere."""
    index = (REPO / "docs/index.md").read_text()
    assert {page.name for page in (REPO / "docs").glob("*.md")} - {"index.md"} == set(
        re.findall(r"\]\(([\w-]+\.md)\)", index)
    )
    for page in (REPO / "README.md", REPO / "SECURITY.md", *(REPO / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
