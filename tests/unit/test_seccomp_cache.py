"""Programs kept by content: found again, never believed, never in the way."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import ConfigError
from runtime.host import seccomp as host
from runtime.plan.seccomp import SeccompRules, plan_seccomp

PROFILE: dict[str, Any] = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}],
}


def rules(**fields: Any) -> SeccompRules:
    planned = plan_seccomp({**PROFILE, **fields})
    assert planned is not None
    return planned


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


@pytest.fixture
def cache(root: int) -> Iterator[int]:
    fd = host.open_cache(root)
    assert fd is not None
    yield fd
    os.close(fd)


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[SeccompRules]:
    """What was compiled, in order."""
    seen: list[SeccompRules] = []
    real = host.compile_program

    def counted(wanted: SeccompRules) -> bytes:
        seen.append(wanted)
        return real(wanted)

    monkeypatch.setattr(host, "compile_program", counted)
    return seen


def entry(tmp_path: Path) -> Path:
    (found,) = (tmp_path / ".cache/seccomp").iterdir()
    return found


def test_compiled_once(tmp_path: Path, cache: int, compiled: list[SeccompRules]) -> None:
    """The second time it is read back, the same bytes; flags do not count, rules do. Nobody else may look or write."""
    first = host.program(rules(), cache)
    assert host.program(rules(), cache) == host.program(rules(flags=[]), cache) == first
    assert len(compiled) == 1
    assert host.program(rules(defaultErrnoRet=2), cache) != first
    assert len(compiled) == 2
    folder = tmp_path / ".cache/seccomp"
    assert len(list(folder.iterdir())) == 2
    assert [stat.S_IMODE(p.stat().st_mode) for p in (folder.parent, folder, *folder.iterdir())] == [
        0o700,
        0o700,
        0o600,
        0o600,
    ]


def test_without_a_cache(compiled: list[SeccompRules]) -> None:
    """None is not a cache: compiled each time."""
    assert host.program(rules(), None) == host.program(rules(), None)
    assert len(compiled) == 2


def damaged(path: Path, how: str) -> None:
    data = path.read_bytes()
    path.unlink()
    if how == "flipped":
        path.write_bytes(data[:-4] + bytes([data[-4] ^ 1]) + data[-3:])
    elif how == "cut":
        path.write_bytes(data[:-8])
    elif how == "odd":
        path.write_bytes(data + b"\0")
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "longer":
        path.write_bytes(data + bytes(40_000))
    elif how == "link":
        (path.parent.parent / "elsewhere").write_bytes(data)
        path.symlink_to("../elsewhere")
    elif how == "fifo":
        os.mkfifo(path)
    elif how == "writable":
        path.write_bytes(data)
        path.chmod(0o622)
    elif how == "foreign":
        path.write_bytes(data)
        os.chown(path, 12345, 12345)


@pytest.mark.parametrize("how", ["flipped", "cut", "odd", "empty", "longer", "link", "fifo", "writable", "foreign"])
def test_a_bad_entry_is_made_anew(tmp_path: Path, cache: int, compiled: list[SeccompRules], how: str) -> None:
    """Not believed, replaced by a good one; each of these is told from good by one check."""
    if how == "foreign" and os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    good = host.program(rules(), cache)
    path = entry(tmp_path)
    damaged(path, how)
    assert host.program(rules(), cache) == good
    assert host.program(rules(), cache) == good
    assert len(compiled) == 2
    assert path.is_file() and not path.is_symlink() and path.stat().st_uid == os.geteuid()


def test_a_folder_in_the_place_of_an_entry(tmp_path: Path, cache: int, compiled: list[SeccompRules]) -> None:
    """It cannot be replaced by a file, so it stays; the program is made each time."""
    good = host.program(rules(), cache)
    path = entry(tmp_path)
    path.unlink()
    path.mkdir()
    assert host.program(rules(), cache) == host.program(rules(), cache) == good
    assert len(compiled) == 3
    assert entry(tmp_path) == path


def test_an_entry_under_another_name_is_not_taken(tmp_path: Path, cache: int, compiled: list[SeccompRules]) -> None:
    """A whole, valid program that belongs to other rules: the checksum is over the name too."""
    host.program(rules(), cache)
    lax = entry(tmp_path)
    strict = host.program(rules(defaultErrnoRet=2), cache)
    (other,) = set(lax.parent.iterdir()) - {lax}
    other.unlink()
    lax.rename(other)
    assert host.program(rules(defaultErrnoRet=2), cache) == strict
    assert len(compiled) == 3


def test_the_cache_is_bounded(tmp_path: Path, cache: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Profiles made for each container do not fill the file system."""
    monkeypatch.setattr(host, "MAX_ENTRIES", 5)
    for number in range(20):
        host.program(rules(defaultErrnoRet=number), cache)
        assert len(list((tmp_path / ".cache/seccomp").iterdir())) <= 5


def test_a_cache_that_cannot_be_written_is_no_failure(tmp_path: Path, cache: int, compiled: list[SeccompRules]) -> None:
    """Nothing is kept, nothing is left, and the program is there."""
    (tmp_path / ".cache/seccomp").rmdir()  # the fd now leads to a folder that takes no files
    assert host.program(rules(), cache) == host.program(rules(), cache)
    assert len(compiled) == 2


@pytest.mark.parametrize("what", ["link", "file", "open-to-all"])
def test_a_folder_that_is_not_ours_is_not_used(tmp_path: Path, root: int, what: str) -> None:
    """A link, a file, or a folder that others may write: then there is no cache."""
    if what == "link":
        (tmp_path / "other").mkdir()
        (tmp_path / ".cache").symlink_to("other")
    elif what == "file":
        (tmp_path / ".cache").write_bytes(b"")
    else:
        (tmp_path / ".cache").mkdir()
        (tmp_path / ".cache").chmod(0o777)
    assert host.open_cache(root) is None
    assert not (tmp_path / "other/seccomp").exists()


def test_a_flag_that_the_kernel_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told by its field, before anything is started."""

    class Old:
        def stele_seccomp_has_flag(self, flag: int) -> int:
            return 0

    wanted = rules(
        flags=["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
        listenerPath="/s",
        syscalls=[{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}],
    )
    assert host.program(wanted, None)
    monkeypatch.setattr(host, "lib", Old())
    with pytest.raises(
        ConfigError, match=r"^linux\.seccomp\.flags: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV needs Linux 5\.19"
    ):
        host.program(wanted, None)
