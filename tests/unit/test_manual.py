"""The man pages: every command has one with every option, and they are well formed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from runtime.cli.table import COMMANDS, GLOBALS
from tests.harness.runtime import REPO


@pytest.fixture(scope="module")
def share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("share")
    subprocess.run([sys.executable, REPO / "build-aux/manual.py", out], check=True)
    return out


def test_pages_are_well_formed(share: Path) -> None:
    pages = sorted(share.glob("man/man?/*"))
    assert {"stele.1", "stele-run.1", "stele-image.1", "stele-image-pull.1", "stele-images.5"} <= {
        p.name for p in pages
    }
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", *pages], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_each_command_has_a_page_with_its_options(share: Path) -> None:
    """Rendered, so that an option which roff swallows is missed."""
    for command in COMMANDS.values():
        page = share / f"man/man1/stele-{command.name.replace(' ', '-')}.1"
        assert page.exists() == (not command.refused), command.name
        if page.exists():
            text = subprocess.run(["mandoc", "-T", "ascii", page], capture_output=True, check=True).stdout
            plain = subprocess.run(["col", "-b"], input=text, capture_output=True, check=True).stdout.decode()
            assert "EXAMPLES" in plain
            for option in command.record.options:
                names = ", ".join(option.names)
                assert option.hidden or f"\n       {names}" in plain, (command.name, names)
    top = (share / "man/man1/stele.1").read_text().replace("\\", "")
    assert all(name in top for option in GLOBALS for name in option.names)


@pytest.mark.parametrize(
    "file", ["bash-completion/completions/stele", "zsh/site-functions/_stele", "fish/vendor_completions.d/stele.fish"]
)
def test_completion_files(share: Path, file: str) -> None:
    text = (share / file).read_text()
    assert "_STELE_COMPLETE" in text
    if file.startswith("bash"):
        subprocess.run(["bash", "-n", share / file], check=True)
