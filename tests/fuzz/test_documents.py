"""config.json from bytes to a plan: only ConfigErrors, quickly; and what is valid has a plan whose bytes say the same."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from bundles.config import docker_like
from runtime.errors import SteleError
from runtime.oci.load import check_config, parse_document
from runtime.oci.template import spec_template
from runtime.plan import compile as planning
from runtime.plan import explain, model, steps, wire
from tests.fuzz import LONG, SECONDS
from tests.fuzz.mutate import SLOW, search

FACTS = model.Facts()
SEEDS = [
    docker_like(["sh"]),
    docker_like(["sh"], terminal=True, readonly=False, uid=1000),
    json.loads(json.dumps(spec_template(rootless=False))),
    json.loads(json.dumps(spec_template(rootless=True))),
]


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
        if isinstance(step, steps.Credentials):
            assert 0 <= step.uid < 2**32 - 1 and 0 <= step.gid < 2**32 - 1
            assert (
                step.effective | step.permitted == step.permitted
                and step.ambient | step.inheritable == step.inheritable
            )
        if isinstance(step, steps.BindMount | steps.NewMount):
            assert step.target.startswith("/") and "\0" not in step.target
    assert explain.render(made, encoded, "c")
    return made


def test_random_documents() -> None:
    """Both kinds come: those that are refused and those that have a plan."""
    tried, planned = search(plan, SEEDS, SECONDS)
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
        search(plan, SEEDS, LONG)
