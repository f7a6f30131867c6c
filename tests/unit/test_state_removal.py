"""A container's record on disk, when its making or its removal was interrupted: by a kill, or by the power."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.container.lifecycle import delete, listing
from runtime.container.state import CACHE, Record, Store, boot_id, is_alive, process_stat
from runtime.errors import HostError, NewerState, NotFound, StateError

CGROUP = {"manager": "disabled"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with one container that was created and not started, by a boot that is over."""
    store = Store(str(tmp_path / "root"))
    directory = store.make("c")
    config = {"ociVersion": "1.2.0", "linux": {}}
    store.write(directory, Record("c", "/b", "/b/rootfs", "", 0, config, CGROUP, "created", 1, 1, "of another boot"))
    os.close(directory)
    (tmp_path / "root/c/start").touch()
    (tmp_path / "root/c/.cgroup.new").touch()
    (tmp_path / "root/c/folder").mkdir()
    return store


def test_a_process_of_another_boot_is_not_the_containers() -> None:
    """After a reboot its pid may be anybody's; even one with the same start time."""
    found = process_stat(os.getpid())
    assert found is not None
    record = Record("c", "/b", "/b/rootfs", "", 0, {}, CGROUP, "created", os.getpid(), found[1], boot_id())
    assert is_alive(record)
    assert not is_alive(replace(record, boot_id="of another boot"))
    assert not is_alive(replace(record, start_time=found[1] + 1))


def statuses(store: Store) -> list[tuple[str, str]]:
    return [(row["id"], row["status"]) for row in listing(store)]


def test_an_interrupted_removal_can_be_finished(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted after each file: it is listed as stopped, and delete --force removes the rest."""
    real = os.unlink
    for files in (3, 2, 1):
        allowed = iter([True])

        def unlink(path: str, allowed: Iterator[bool] = allowed) -> None:
            if not os.path.isdir(path) and not next(allowed, False):
                raise KeyboardInterrupt
            real(path)

        with monkeypatch.context() as patch:
            patch.setattr(os, "unlink", unlink)
            with pytest.raises(KeyboardInterrupt):
                delete(store, "c", force=True)
        assert len(set(os.listdir(store.path("c"))) - {"folder"}) == files
        assert statuses(store) == [("c", "stopped")]
    delete(store, "c", force=True)
    assert os.listdir(store.root) == []


@pytest.mark.parametrize(
    "names",
    [[], [".cgroup.new"], ["cgroup"], ["cgroup", ".state.json.new"], ["cgroup", "state.json", "start"]],
    ids=" ".join,
)
def test_an_interrupted_creation(store: Store, names: list[str]) -> None:
    """Before its record is whole, a container is listed as stopped, and delete --force removes it."""
    folder = Path(store.path("c"))
    (folder / ".state.json.new").touch()
    (folder / "folder").rmdir()
    for path in folder.iterdir():
        if path.name not in names:
            path.unlink()
    assert statuses(store) == [("c", "stopped")]
    delete(store, "c", force=True)
    assert os.listdir(store.root) == []


def test_a_flipped_bit_is_seen(store: Store) -> None:
    """Any bit of a record: one in a hook's path would have another program run."""
    for name in ("state.json", "cgroup"):
        path = Path(store.path("c")) / name
        whole = path.read_bytes()
        for bit in range(len(whole) * 8):
            bent = bytearray(whole)
            bent[bit // 8] ^= 1 << bit % 8
            path.write_bytes(bent)
            if name == "cgroup":
                assert store.read_cgroup("c") is None, bit
            else:
                with pytest.raises((StateError, NewerState)):
                    store.read("c")
        path.write_bytes(whole)
        assert store.read("c").id == "c" and store.read_cgroup("c")


def test_what_is_being_removed_does_not_exist(store: Store) -> None:
    """To kill and state, between the removal of its records and of its folder: the words that callers look for."""
    os.unlink(f"{store.path('c')}/state.json")
    with pytest.raises(StateError, match=r'"c" does not exist: it is being created or removed; .*delete --force'):
        store.read("c")


def test_what_is_no_directory_is_no_container(store: Store) -> None:
    """Somebody's file below --root neither hides the containers nor is one; a name that begins with a dot is as good as others."""
    os.close(store.make(".d"))
    Path(store.root, "file").touch()
    Path(store.root, "link").symlink_to("c")
    Path(store.root, CACHE).mkdir()
    assert statuses(store) == [(".d", "stopped"), ("c", "stopped")]
    for name in ("file", "link"):
        with pytest.raises(NotFound):
            store.read("file")
        with pytest.raises(NotFound):
            store.lock(name)
    with pytest.raises(StateError, match="invalid container ID"):
        store.path(CACHE)


def test_a_root_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "root").touch()
    with pytest.raises(HostError, match="root: it is not a directory; choose another with --root"):
        Store(f"{tmp_path}/root").make("c")
