"""How a process ended whose parent reaps it at once: each way in which the kernel tells it."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator

import pytest

from runtime.container.state import process_stat
from runtime.host import exits


class Child:
    """A process of ours that ends when told, reaped by a thread the moment it does."""

    def __init__(self) -> None:
        read, self.pipe = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.pipe)
            code = os.read(read, 1)
            os._exit(code[0] if code else 0)
        os.close(read)
        self.pidfd = os.pidfd_open(self.pid)
        stat = process_stat(self.pid)
        assert stat is not None
        self.start_time = stat[1]
        self.reaper = threading.Thread(target=os.waitpid, args=(self.pid, 0))
        self.reaper.start()

    def close(self) -> None:
        os.close(self.pipe)
        self.reaper.join()
        os.close(self.pidfd)


@pytest.fixture
def child() -> Iterator[Child]:
    made = Child()
    yield made
    made.close()


@pytest.fixture
def nobody_sees_the_zombie(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exits, "_of_zombie", lambda pid, start_time: None)


@pytest.mark.usefixtures("nobody_sees_the_zombie")
def test_the_kernel_remembers_it_for_a_pidfd(child: Child) -> None:
    os.write(child.pipe, b"\7")
    child.reaper.join()
    assert exits.wait_status(child.pidfd, child.pid, child.start_time) == 7 << 8


@pytest.mark.usefixtures("nobody_sees_the_zombie")
def test_an_older_kernel_tells_it_to_who_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exits, "_kernel", lambda: (6, 1))
    monkeypatch.setattr(exits, "_remembered", lambda pidfd: None)
    listen = exits._listen

    def listen_and_end() -> socket.socket | None:
        connector = listen()
        os.write(child.pipe, b"\7")
        return connector

    monkeypatch.setattr(exits, "_listen", listen_and_end)
    for _ in range(20):
        child = Child()
        try:
            assert exits.wait_status(child.pidfd, child.pid, child.start_time) == 7 << 8
        finally:
            child.close()


def test_a_signal_is_told_as_such(child: Child) -> None:
    os.kill(child.pid, signal.SIGTERM)
    child.reaper.join()
    assert exits.wait_status(child.pidfd, child.pid, child.start_time) == signal.SIGTERM


def test_the_versions_of_kernels() -> None:
    assert exits._kernel() > (5, 14)
