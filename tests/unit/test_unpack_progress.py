"""Unpacking tells how far it is, on a terminal only."""

from __future__ import annotations

import io
import os
import pty
import sys
import threading

import pytest

from runtime.images.progress import unpacking
from runtime.images.store.layers import Work, all_at_once


def test_the_watcher_is_called_while_jobs_run() -> None:
    """Event-driven: the job ends once it was watched."""
    seen: list[tuple[int, int]] = []
    watched = threading.Event()

    def job(work: Work) -> None:
        assert watched.wait(60)

    def watch(done: int, size: int) -> None:
        seen.append((done, size))
        watched.set()

    all_at_once([(1000, job)], watch)
    assert seen[0][1] == 1000
    assert 0 <= seen[0][0] <= 1000


def test_a_terminal_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with unpacking() as watch:
            assert watch
            watch(50, 100)
    said = os.read(master, 65536).decode()
    os.close(master)
    assert "unpacking" in said
    assert "[===============               ]" in said


def test_a_pipe_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with unpacking() as watch:
        assert watch is None
