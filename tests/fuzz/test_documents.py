"""config.json from bytes to a plan: only ConfigErrors, quickly; and what is valid has a plan whose bytes say the same."""

from __future__ import annotations

import copy
import json
import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from bundles.config import docker_like
from runtime.errors import SteleError
from runtime.oci.load import check_config, parse_document
from runtime.oci.template import spec_template
from runtime.plan import compile as planning
from runtime.plan import explain, model, wire
from tests.fuzz import SECONDS

FACTS = model.Facts()
SEEDS = [
    docker_like(["sh"]),
    docker_like(["sh"], terminal=True, readonly=False, uid=1000),
    json.loads(json.dumps(spec_template(rootless=False))),
    json.loads(json.dumps(spec_template(rootless=True))),
]
ODD: list[Any] = [
    0, 1, -1, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 1, 2**64, -(2**63), 1.5, 1e300, True, False, None, "",
    "0", "-1", "/", "..", "../x", "a" * 5000, "é\u202e", "\x7f", "a\nb", "\0", "/proc", "/proc/self/fd/3", "/dev/null",
    [], [[]], [None], {}, {"": {}}, ["ro", "rw", "bind"], {"type": "user"}, {"type": "nonsense", "path": "/x"},
    [{"type": "mount"}, {"type": "mount"}], [{"containerID": 0, "hostID": 0, "size": 0}],
    {"hard": 2**64 - 1, "soft": 0, "type": "RLIMIT_NOFILE"}, {"destination": "/x", "options": ["size=\0"]},
]  # fmt: skip
NAMES = [
    "uid",
    "args",
    "options",
    "linux",
    "hooks",
    "seccomp",
    "namespaces",
    "uidMappings",
    "rlimits",
    "path",
    "x" * 300,
    "",
]
SLOW = 2.0
"""Seconds of CPU for one document: far more than any takes."""


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all members and elements."""
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += places(item, (*path, key))
    return found


def valued(document: Any, path: tuple[Any, ...]) -> Any:
    """What is at a path."""
    for key in path:
        document = document[key]
    return document


def mutated(rng: random.Random) -> bytes:
    """A seed with some members replaced, removed, added, repeated; at times the bytes themselves are bent."""
    document: Any = copy.deepcopy(rng.choice(SEEDS))
    for _ in range(rng.randint(1, 5)):
        path = rng.choice(places(document))
        numbers = [p for p in places(document) if type(valued(document, p)) is int]
        kind = rng.randrange(8)
        if kind > 4 and numbers:  # they are few among the strings, and where limits are
            path = rng.choice(numbers)
        parent = valued(document, path[:-1])
        if kind > 4 and numbers:
            parent[path[-1]] = rng.choice([odd for odd in ODD if type(odd) is int])
        elif kind == 0:
            del parent[path[-1]]
        elif kind == 1 and isinstance(parent, dict):
            parent[rng.choice(NAMES)] = rng.choice(ODD)
        elif kind == 2 and isinstance(parent, list):
            parent += [copy.deepcopy(parent[path[-1]])] * rng.choice((1, 2, 100))
        else:
            parent[path[-1]] = copy.deepcopy(rng.choice(ODD))
        if not places(document):
            break
    text = json.dumps(document).encode()
    if rng.randrange(8) == 0:
        raw = bytearray(text)
        for _ in range(rng.randint(1, 4)):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        text = bytes(raw)
    return text


def plan(text: bytes) -> model.Plan | None:
    """The plan of a document; None when it is refused."""
    try:
        document = parse_document(text, "config.json")
        check_config(document)
        request = planning.Request(bundle="/b", container_id="c", state={"id": "c"})
        made = planning.compile_create(document, request, FACTS, lambda rules: b"\6\0\0\0\0\0\377\177")
        encoded = wire.encode(made.steps)
    except SteleError as e:
        assert str(e) and "Traceback" not in str(e)
        return None
    assert wire.decode(encoded) == made.steps
    for step in made.steps:  # the invariants that no document may break
        if isinstance(step, model.Credentials):
            assert 0 <= step.uid < 2**32 - 1 and 0 <= step.gid < 2**32 - 1
            assert (
                step.effective | step.permitted == step.permitted
                and step.ambient | step.inheritable == step.inheritable
            )
        if isinstance(step, model.BindMount | model.NewMount):
            assert step.target.startswith("/") and "\0" not in step.target
    assert explain.render(made, encoded, "c")
    return made


def search(judge: Callable[[bytes], object], seconds: float) -> tuple[int, int]:
    """Judge random documents; how many there were, and how many got a plan."""
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    end = time.monotonic() + seconds
    tried = planned = 0
    while time.monotonic() < end:
        text = mutated(rng)
        begin = time.process_time()
        try:
            planned += judge(text) is not None
        except Exception as e:
            raise AssertionError(f"seed {seed}, document {tried}: {type(e).__name__}: {e}\n{text[:6000]!r}") from e
        assert time.process_time() - begin < SLOW, f"seed {seed}, document {tried} took too long"
        tried += 1
    return tried, planned


def test_random_documents() -> None:
    """Both kinds come: those that are refused and those that have a plan."""
    tried, planned = search(plan, SECONDS)
    assert 0 < planned < tried, (tried, planned)


@pytest.mark.parametrize("text", [
    pytest.param(b'{"a":' * 100_000, id="deep"),
    pytest.param(b"[" * 1_000_000, id="deep-list"),
    pytest.param(b'{"ociVersion":"1.0.2","x":1e400}', id="infinite"),
    pytest.param(b'{"ociVersion":"1.0.2","x":NaN}', id="nan"),
    pytest.param(b'{"ociVersion":"\\ud800"}', id="lone-surrogate"),
    pytest.param(b'{"ociVersion":"1.0.2","process":{"user":{"uid":' + b"9" * 5000 + b"}}}", id="huge-number"),
    pytest.param(b"\xff\xfe{}", id="utf-16"),
    pytest.param(b"", id="empty"),
    pytest.param(b"x" * (5 << 20), id="too-large"),
])  # fmt: skip
def test_hostile_documents(text: bytes) -> None:
    """Refused in a sentence, in no time."""
    begin = time.process_time()
    assert plan(text) is None
    assert time.process_time() - begin < SLOW


PLANTED: dict[str, tuple[str, Any]] = {
    "a check of the document is missing": ("runtime.oci.validate.check", lambda *_: None),
    "the encoder cuts": ("runtime.plan.wire._string", lambda data: b"\3\0\0\0" + (data + b"\0\0\0")[:3] + b"\0"),
    "a destination may be relative": ("runtime.plan.mounts.destination", lambda path, index: path.lstrip("/")),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_finds_what_was_planted(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a check taken out, the same search ends with a finding."""
    monkeypatch.setattr(*PLANTED[fault])
    with pytest.raises(AssertionError, match="seed"):
        search(plan, 60)
