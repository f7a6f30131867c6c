"""The disk that the power cuts are tried on does lose what was not flushed, and only that."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

from tests.vm.volatile_disk import SECTOR, VolatileDisk

BLOCKS = 4


def after_a_cut(folder: Path, seed: int) -> bytes:
    """Ones everywhere, flushed; then each block twos, not flushed; then the cut: what the medium holds."""
    medium = folder / "medium"
    medium.write_bytes(bytes(BLOCKS * 2 * SECTOR))
    disk = VolatileDisk(medium, folder, random.Random(seed))
    twos = [f"write -q -P 2 {n * 2 * SECTOR} {2 * SECTOR}" for n in range(BLOCKS)]
    commands = [f"write -q -P 1 0 {BLOCKS * 2 * SECTOR}", "flush", *twos, "abort"]
    image = disk.drive.removeprefix("file=").partition(",")[0]
    words = [word for command in commands for word in ("-c", command)]
    subprocess.run(["qemu-io", "-f", "raw", "-t", "writeback", *words, image], capture_output=True, check=False)
    disk.cut()
    content = medium.read_bytes()
    assert disk.lost == sum(content[n * 2 * SECTOR : (n + 1) * 2 * SECTOR] != b"\2" * 2 * SECTOR for n in range(BLOCKS))
    return content


def test_what_was_not_flushed_is_there_by_chance(tmp_path: Path) -> None:
    """Each sector is old or new, never mixed or gone; each write is lost at times, kept at times, torn at times."""
    seen = set()
    for seed in range(40):
        content = after_a_cut(tmp_path, seed)
        sectors = [content[at : at + SECTOR] for at in range(0, len(content), SECTOR)]
        assert all(sector in (b"\1" * SECTOR, b"\2" * SECTOR) for sector in sectors)
        seen |= {(n // 2, sectors[n][0], sectors[n + 1][0]) for n in range(0, len(sectors), 2)}
    assert seen == {(n, first, second) for n in range(BLOCKS) for first, second in ((1, 1), (2, 2), (2, 1))}
