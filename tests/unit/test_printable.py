"""What strangers wrote, where people see it; and secrets of the command line, where others may see them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from runtime.cli.log import Log
from runtime.errors import UsageError
from runtime.images.references import parse_archive
from runtime.images.store.describe import table
from runtime.printable import visible, without_secrets
from tests.harness.runtime import REPO, command

EVIL = "\x1b]0;x\x07 \x9b31m \x7f \u202e \u2066 \u2028 \r"
PASSWORDS = (
    ("-p hunter2", "-p ..."),
    ("-phunter2", "-p..."),
    ("-p=hunter2", "-p..."),
    ("--password hunter2", "--password ..."),
    ("--password=hunter2", "--password=..."),
    ("-password hunter2", "-password ..."),
    ("-password=hunter2", "-password=..."),
    ("--password-stdin", "--password-stdin"),
)
HARMLESS = r"\x1b]0;x\x07 \x9b31m \x7f \u202e \u2066 \u2028 \r"


def test_what_a_terminal_obeys_is_escaped() -> None:
    assert visible(EVIL) == HARMLESS
    assert visible("é 日本 a\nb") == r"é 日本 a\nb"


def test_a_log_entry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = Log(str(tmp_path / "log"), "json", debug=False)
    log.open()
    log.error(EVIL)
    assert capsys.readouterr().err == f"{HARMLESS}\n"
    assert visible((tmp_path / "log").read_text().strip()) == (tmp_path / "log").read_text().strip()
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_the_table_of_an_image() -> None:
    """Each of its values that an image can choose."""
    described = {
        "names": [EVIL], "digest": "sha256:0", "platform": {"os": EVIL, "architecture": EVIL, "variant": ""}, "created": EVIL,
        "size": 1, "layers": [], "history": [{"created": EVIL, "created_by": EVIL, "emptyLayer": True}],
        "config": {**dict.fromkeys(("User", "WorkingDir", "StopSignal"), EVIL),
                   **{key: [EVIL] for key in ("Entrypoint", "Cmd", "Env")}, "Volumes": {EVIL: {}}},
    }  # fmt: skip
    assert all(line == visible(line) for line in table(described).split("\n"))


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("image pull --creds user:hunter2 x", "image pull --creds ... x"),
        ("image pull --creds=user:hunter2 x", "image pull --creds=... x"),
        ("image pull -creds user:hunter2 -q x", "image pull -creds ... -q x"),
        *((f"login -u me {given} host", f"login -u me {shown} host") for given, shown in PASSWORDS),
        ("exec -p process.json c", "exec -p process.json c"),
        ("exec --env A=hunter2 c sh", "exec --env A=... c sh"),
        ("exec --env=A=hunter2 c sh", "exec --env=A=... c sh"),
        ("exec -te A=hunter2 -e B c sh", "exec -te A=... -e B c sh"),
        ("exec -eA=hunter2 c sh", "exec -eA=... c sh"),
        ("import https://me:hunter2@host/x oci:a@b", "import https://...@host/x oci:a@b"),
    ],
)
def test_a_command_line(words: str, shown: str) -> None:
    assert " ".join(without_secrets(words.split())) == shown


def test_secrets_of_the_command_line_are_written_nowhere(tmp_path: Path) -> None:
    """With all that is written of a command: --debug, --trace, --log. These files are the caller's alone."""
    words = [
        "--debug",
        "--trace",
        "trace",
        "--log",
        "log",
        "--store",
        "store",
        "image",
        "pull",
        "--creds",
        "me:hunter2",
    ]
    done = subprocess.run(
        [*command(), *words, "127.0.0.1:1/x"], capture_output=True, cwd=tmp_path, check=False,
        env={**os.environ, "PYTHONPATH": str(REPO)}, umask=0,
    )  # fmt: skip
    assert done.returncode == 1
    assert b"hunter2" not in done.stdout + done.stderr
    assert "image pull --creds ..." in (tmp_path / "log").read_text()
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or "hunter2" not in path.read_text(), path
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in ("trace", "log")} == {0o600}


def test_a_name_that_is_refused_is_told_without_its_password() -> None:
    with pytest.raises(UsageError, match=r'image "http://\.\.\.@host/x": http: is not read by stele'):
        parse_archive("http://me:hunter2@host/x")
