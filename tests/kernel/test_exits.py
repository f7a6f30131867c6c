"""How a process ended whose parent reaps it at once: each way in which the kernel tells it."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator

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


def _exits(child: Child) -> None:
    os.write(child.pipe, b"\7")


def _is_killed(child: Child) -> None:
    os.kill(child.pid, signal.SIGTERM)


ways = pytest.mark.parametrize(
    ("end", "status"), [pytest.param(_exits, 7 << 8, id="exits"), pytest.param(_is_killed, signal.SIGTERM, id="killed")]
)
End = Callable[[Child], None]


@pytest.mark.usefixtures("nobody_sees_the_zombie")
@ways
def test_the_kernel_remembers_it_for_a_pidfd(child: Child, end: End, status: int) -> None:
    """Since Linux 6.15; before, who comes too late to listen is told nothing."""
    end(child)
    child.reaper.join()
    remembered = status if exits._kernel() >= (6, 15) else None
    assert exits.wait_status(child.pidfd, child.pid, child.start_time) == remembered


@pytest.mark.usefixtures("nobody_sees_the_zombie")
@ways
def test_an_older_kernel_tells_it_to_who_listens(monkeypatch: pytest.MonkeyPatch, end: End, status: int) -> None:
    monkeypatch.setattr(exits, "_kernel", lambda: (6, 1))
    monkeypatch.setattr(exits, "_remembered", lambda pidfd: None)
    listen = exits._listen
    made: Child

    def listen_and_end() -> socket.socket | None:
        connector = listen()
        end(made)
        return connector

    monkeypatch.setattr(exits, "_listen", listen_and_end)
    for _ in range(20):
        made = Child()
        try:
            assert exits.wait_status(made.pidfd, made.pid, made.start_time) == status
        finally:
            made.close()


def test_the_versions_of_kernels() -> None:
    assert exits._kernel() > (5, 14)
