"""Requests to the services of bundles/, asked from inside their containers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

Ask = Callable[..., str]
"""Runs a program in the container and returns what it printed."""


def redis(ask: Ask) -> None:
    """What is set by one client is got by another."""
    assert ask("/usr/bin/redis-cli", "set", "stone", "written once") == "OK\n"
    assert ask("/usr/bin/redis-cli", "get", "stone") == "written once\n"


def web(ask: Ask) -> None:
    """The page is served to a client who is the same ordinary user."""
    assert "Served from a read-only root." in ask("wget", "-qO-", "http://127.0.0.1:8080/")
    assert ask("/bin/busybox", "id", "-u") == "101\n"


def python(ask: Ask) -> None:
    """A text's hash comes back as JSON."""
    get = "import sys, urllib.request as u; sys.stdout.write(u.urlopen(sys.argv[1]).read().decode())"
    answer = ask("/usr/bin/python3", "-c", get, "http://127.0.0.1:8000/?text=stele")
    assert json.loads(answer) == {"text": "stele", "sha256": hashlib.sha256(b"stele").hexdigest()}


SERVICES: list[tuple[str, str, Callable[[Ask], None]]] = [
    ("redis", "Ready to accept connections", redis),
    ("web", "start worker process ", web),
    ("python", "ready", python),
]
"""Name of the recipe, what its log says when it is ready, and the request."""
