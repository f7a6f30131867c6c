"""SHA-256 of our own against hashlib's, by the processor's instructions and without them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.host.hashing import Sha256
from runtime.host.shim import ffi, lib

LENGTHS = (0, 1, 55, 56, 57, 63, 64, 65, 111, 112, 119, 120, 127, 128, 129, 1000, 65_536)


def has_instructions() -> bool:
    return bool(Sha256()._state.fast)


def hasher(*, fast: bool) -> Sha256:
    if fast and not has_instructions():
        pytest.skip("this processor has no instructions for SHA-256")
    made = Sha256()
    made._state.fast = fast
    return made


def test_the_instructions_are_used_where_they_are() -> None:
    """Else both paths would be the same one."""
    flags = Path("/proc/cpuinfo").read_text()
    assert has_instructions() == (" sha_ni " in flags.replace("\n", " "))


@pytest.mark.parametrize("fast", [True, False], ids=["instructions", "portable"])
@pytest.mark.parametrize("length", LENGTHS)
def test_lengths_around_the_padding(length: int, fast: bool) -> None:
    data = bytes(i * 7 % 251 for i in range(length))
    made = hasher(fast=fast)
    made.update(data)
    assert made.hexdigest() == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("fast", [True, False], ids=["instructions", "portable"])
@settings(max_examples=200, deadline=None)
@given(pieces=st.lists(st.binary(max_size=300), max_size=20))
def test_any_pieces(pieces: list[bytes], fast: bool) -> None:
    """However the bytes come; and a digest in between changes nothing."""
    made = hasher(fast=fast)
    theirs = hashlib.sha256()
    for piece in pieces:
        made.update(piece)
        theirs.update(piece)
        assert made.hexdigest() == theirs.hexdigest()


@pytest.mark.parametrize("fast", [True, False], ids=["instructions", "portable"])
def test_beyond_512_mib(fast: bool) -> None:
    """The length is counted in bits, of which there are then more than 2^32.

    The digest of what came before is taken at each step, so that a counter which is too narrow is seen where it wraps.
    """
    made, theirs = hasher(fast=fast), hashlib.sha256()
    piece = bytes(64 << 20)
    for _ in range(8):
        made.update(piece)
        theirs.update(piece)
    for more in (b"", b"x", b"y" * 100):
        made.update(more)
        theirs.update(more)
        assert made.hexdigest() == theirs.hexdigest()


def test_the_bytes_are_counted_in_64_bits() -> None:
    state = ffi.new("struct stele_sha256 *")
    lib.stele_sha256_init(state)
    state.length = (1 << 32) - 64  # as if so many bytes had been hashed
    lib.stele_sha256_update(state, bytes(128), 128)
    assert state.length == (1 << 32) + 64
