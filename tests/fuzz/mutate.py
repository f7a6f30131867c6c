"""Random JSON documents: known ones with some members replaced, removed, renamed, added or repeated."""

from __future__ import annotations

import copy
import json
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from tests.fuzz import going_on

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
    "manifests",
    "layers",
    "config",
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


def mutated(rng: random.Random, seeds: Sequence[Any]) -> bytes:
    """A seed with some members replaced, removed, renamed, added, repeated; at times the bytes themselves are bent."""
    document: Any = copy.deepcopy(rng.choice(seeds))
    for _ in range(rng.randint(1, 5)):
        path = rng.choice(places(document))
        numbers = [p for p in places(document) if type(valued(document, p)) is int]
        kind = rng.randrange(9)
        if kind > 4 and numbers:  # they are few among the strings, and where limits are
            path = rng.choice(numbers)
        parent = valued(document, path[:-1])
        if kind == 8 and isinstance(parent, dict) and path[-1] in parent:
            parent[rng.choice([odd for odd in ODD if type(odd) is str])] = parent.pop(path[-1])
        elif kind > 4 and numbers:
            parent[path[-1]] = rng.choice([odd for odd in ODD if type(odd) is int])
        elif kind == 0:
            del parent[path[-1]]
        elif kind == 1 and isinstance(parent, dict):
            parent[rng.choice(NAMES)] = copy.deepcopy(rng.choice(ODD))
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


def search(judge: Callable[[bytes], object], seeds: Sequence[Any], seconds: float) -> tuple[int, int]:
    """Judge random documents; how many there were, and of how many something was made: the judge gave not None."""
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    start = time.monotonic()
    tried = made = 0
    while going_on(start, seconds, 0 < made < tried):
        text = mutated(rng, seeds)
        begin = time.process_time()
        try:
            made += judge(text) is not None
        except Exception as e:
            raise AssertionError(f"seed {seed}, document {tried}: {type(e).__name__}: {e}\n{text[:6000]!r}") from e
        assert time.process_time() - begin < SLOW, f"seed {seed}, document {tried} took too long"
        tried += 1
    return tried, made
