"""A real registry on loopback with two images, and `image` to call stele's commands on a store of the test's own.

The images are made here: two layers, of which one is shared, and an index of two platforms.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.harness.registry import Between, DockerRegistry, Trick
from tests.harness.runtime import command
from tests.images.made import Made, make_layout
from tests.images.tools import Tool

EXECUTABLE = command()


@dataclass
class Image:
    """Calls stele with a --store of its own and an empty home; `env` is added to its environment."""

    store: Path
    argv: list[str]
    env: dict[str, str]

    def __call__(self, *words: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.argv, "--store", str(self.store), *map(str, words)],
            capture_output=True, text=True, check=False, timeout=120, env={**self.env, **env},
        )  # fmt: skip

    def good(self, *words: str | Path, **env: str) -> str:
        done = self(*words, **env)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def bad(self, *words: str | Path, **env: str) -> str:
        """The sentence of a command that fails; it is one line, and no traceback."""
        done = self(*words, **env)
        assert done.returncode == 1, done.stdout
        last = done.stderr.strip().splitlines()[-1]
        assert "Traceback" not in done.stderr and "internal error" not in done.stderr, done.stderr
        return last

    def json(self, *words: str | Path, **env: str) -> Any:
        return json.loads(self.good(*words, "--format", "json", **env))

    def names(self) -> list[str]:
        return self.good("image", "list", "--quiet").split()

    def blobs(self) -> set[str]:
        folder = self.store / "blobs/sha256"
        return set(os.listdir(folder)) if folder.exists() else set()

    def begun(self) -> list[int]:
        """Sizes of blobs that are on their way."""
        folder = self.store / "ingest"
        return [file.stat().st_size for file in folder.iterdir()] if folder.exists() else []


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_layout(tmp_path_factory.mktemp("layout"))


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory, made: Made) -> Iterator[DockerRegistry]:
    """Without TLS and open to all; it has team/app:1 (the index), team/app:amd64 and team/other:1."""
    server = DockerRegistry(tmp_path_factory.mktemp("registry"))
    server.push(f"oci:{made.path}:index", "team/app:1", "--all")
    server.push(f"oci:{made.path}:amd64", "team/app:amd64")
    server.push(f"oci:{made.path}:other", "team/other:1")
    yield server
    server.stop()


@pytest.fixture
def image(tmp_path: Path) -> Image:
    """The executable, with an empty home and no configuration of the host's registries."""
    conf = tmp_path / "registries.conf"
    conf.write_text("")
    home = tmp_path / "home"
    home.mkdir()
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(home),
        "CONTAINERS_REGISTRIES_CONF": str(conf),
        **{name: os.environ[name] for name in os.environ.keys() & {"PYTHONPATH"}},  # with STELE_BIN=python
    }
    return Image(tmp_path / "store", EXECUTABLE, env)


@pytest.fixture
def between(registry: DockerRegistry) -> Iterator[Callable[..., Between]]:
    """`between(trick)` is a server in front of the registry that plays the trick."""
    started: list[Between] = []

    def start(trick: Trick, **options: Any) -> Between:
        started.append(Between(registry.address, trick, **options))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def tool(tmp_path: Path) -> Tool:
    """Calls a tool with a container storage of the test's own."""
    conf = tmp_path / "storage.conf"
    conf.write_text(
        f'[storage]\ndriver = "vfs"\ngraphroot = "{tmp_path}/graph"\nrunroot = "{tmp_path}/run"\n'
        f'[storage.options]\nignore_chown_errors = "true"\n'
    )
    policy = tmp_path / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    env = {
        **os.environ,
        "CONTAINERS_STORAGE_CONF": str(conf),
        "HOME": str(tmp_path / "home"),
        "TMPDIR": str(tmp_path),
        "BUILDAH_ISOLATION": "chroot",
    }

    def call(*words: str | Path) -> str:
        done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False, timeout=120, env=env)
        assert done.returncode == 0, f"{' '.join(map(str, words))}: {done.stderr}"
        return done.stdout.strip()

    return call
