"""`login` and `logout`: credentials are checked at the registry, and kept as Podman keeps them."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from runtime.images.registry import credentials
from tests.harness.runtime import REPO

ACCEPTED = "Basic " + base64.b64encode(b"ann:s3cret").decode()


class Registry(BaseHTTPRequestHandler):
    """Knows one user."""

    def do_GET(self) -> None:
        known = self.headers.get("Authorization") == ACCEPTED
        self.send_response(200 if known else 401)
        if not known:
            self.send_header("WWW-Authenticate", 'Basic realm="test"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def registry() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Registry)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def stele(*words: str | Path, input: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "runtime", *map(str, words)]
    return subprocess.run(command, input=input, capture_output=True, text=True, check=False, cwd=REPO)


def test_login_and_logout(registry: str, tmp_path: Path) -> None:
    file = tmp_path / "containers/auth.json"
    more = ("--authfile", file)
    done = stele("login", *more, "-u", "ann", "--password-stdin", registry, input="s3cret\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert "s3cret" not in done.stdout
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_text()) == {"auths": {registry: {"auth": ACCEPTED.removeprefix("Basic ")}}}
    assert credentials.find(registry, "team/app", str(file)) == credentials.Credentials("ann", "s3cret")
    assert stele("logout", *more, registry).returncode == 0
    assert json.loads(file.read_text()) == {"auths": {}}
    assert "has no credentials for" in stele("logout", *more, registry).stderr


def test_a_wrong_password_is_not_kept(registry: str, tmp_path: Path) -> None:
    file = tmp_path / "auth.json"
    file.write_text('{"auths": {"other.example": {"auth": "eDp5"}}, "credHelpers": {"a.example": "a"}}')
    before = file.read_text()
    done = stele("login", "--authfile", file, "-u", "ann", "--password-stdin", registry, input="wrong\n")
    assert done.returncode == 1
    assert "refuses this user and password" in done.stderr
    assert file.read_text() == before
    done = stele("login", "--authfile", file, "-u", "ann", "--password-stdin", registry, input="s3cret\n")
    assert done.returncode == 0
    kept = json.loads(file.read_text())
    assert set(kept["auths"]) == {"other.example", registry}
    assert kept["credHelpers"] == {"a.example": "a"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["quay.io/team/app"], "write its host, or host:port"),
        (["quay.io"], "stdin is not a terminal; give --username"),
        (["-u", "a", "quay.io"], "stdin is not a terminal"),
    ],
)
def test_what_is_refused(tmp_path: Path, words: list[str], said: str) -> None:
    done = stele("login", "--authfile", tmp_path / "auth.json", *words)
    assert done.returncode == 1
    assert said in done.stderr
    assert not (tmp_path / "auth.json").exists()
