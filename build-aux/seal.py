"""Make the executable of the linked launcher and the snapshot it took of itself.

Usage: seal.py BARE OUTPUT
    Runs BARE --dump, then writes OUTPUT: BARE with the snapshot as its initialised memory.
The kernel maps the snapshot with the rest of the executable: it needs no file, no /proc and no system call of its own,
and cannot belong to another executable. Loadable segments of OUTPUT:
    as in BARE   headers, code, constants
    data         libc's and the launcher's .data as linked, pydata and pybss as dumped; then libc's and the launcher's .bss
    pristine     pydata as linked, deflated, for the cold start; behind it OpenSSL, packed
    arena        what was allocated until the dump, at ARENA_BASE
No section headers: the symbols are of use only in BARE.
Beside BARE, snapshot.txt names the modules that the snapshot holds.
"""

from __future__ import annotations

import array
import bisect
import hashlib
import struct
import subprocess
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

from recording import recorded

PAGE = 4096  # as in launcher.h; segments are aligned for the largest page of the architecture
ARENA_BASE = 0x2F500000000
PRISTINE_BASE = 0x50000000
PT_NULL, PT_LOAD, PT_NOTE, PT_TLS = 0, 1, 4, 7
PT_GNU_PROPERTY, PT_GNU_STACK, PT_GNU_RELRO = 0x6474E553, 0x6474E551, 0x6474E552
PF_W, PF_R = 2, 4
EM_X86_64, EM_AARCH64 = 62, 183
ID_SIZE = 32
HOT_MAX = 40
# Objects of libc's that the snapshot may point to: they are at the same place in every process of this executable.
LIBC_OBJECTS = ("_IO_2_1_stdin_", "_IO_2_1_stdout_", "_IO_2_1_stderr_", "environ")
# CPython's parser keeps a node there that it freed; it is only ever compared with NULL (_PyPegen_dummy_name).
DANGLING = ("cache.0",)


@dataclass
class Segment:
    """An ELF64 program header, elf(5)."""

    kind: int
    flags: int
    offset: int
    address: int
    physical: int
    file_size: int
    memory_size: int
    align: int

    FORMAT = "<IIQQQQQQ"

    def pack(self) -> bytes:
        return struct.pack(
            self.FORMAT, self.kind, self.flags, self.offset, self.address, self.physical,
            self.file_size, self.memory_size, self.align,
        )  # fmt: skip


def cut(elf: bytes, segments: list[Segment], start: int, end: int) -> bytes:
    """The bytes of a range of addresses."""
    for s in segments:
        if s.kind == PT_LOAD and s.address <= start and end <= s.address + s.file_size:
            return bytes(elf[s.offset + start - s.address : s.offset + end - s.address])
    raise SystemExit(f"seal: {start:#x} to {end:#x} is not in one segment")


def up(value: int, unit: int) -> int:
    return -(-value // unit) * unit


def symbols(elf: Path) -> dict[str, int]:
    listing = subprocess.run(["nm", elf], check=True, capture_output=True, text=True).stdout
    return {
        name: int(value, 16) for value, _, name in (line.split() for line in listing.splitlines() if line[0] != " ")
    }


def check_pointers(
    snapshot: bytes, linked: bytes, kept: list[tuple[int, int]], room: int, maps: str, names: dict[str, int]
) -> None:
    """Stop if the snapshot points to memory that a later process does not have, or has with other contents.

    Args:
        linked: the snapshot's beginning as the linker made it. What it points to is there in every process.
        kept: the address ranges whose contents are the snapshot, in its order.
        room: bytes behind the last of them that are a later process's own.
        maps: /proc/PID/maps of the process that was dumped.
    A word that looks like an address is taken for one: better to look at one too many.
    """
    foreign: list[tuple[int, int, str]] = []  # writable or kernel-made memory that is not in the snapshot
    for line in maps.splitlines():
        (
            area,
            mode,
            *_,
        ) = line.split()
        low, high = (int(x, 16) for x in area.split("-"))
        what = line.split(maxsplit=5)[5] if len(line.split()) > 5 else "anonymous"
        if what == "[heap]" or ("w" not in mode and not what.startswith("[")):
            continue  # brk is small and at low addresses, which much looks like; see copy_maps in snapshot.c
        for start, end in [*kept, (kept[-1][1], kept[-1][1] + room)]:
            if start <= low < end:
                low = min(end, high)
            if low < start < high:
                foreign.append((low, start, what))
                low = min(end, high)
        if low < high:
            foreign.append((low, high, what))
    starts = [low for low, _, _ in sorted(foreign)]
    foreign.sort()
    allowed = {names[n] for n in LIBC_OBJECTS if n in names}
    by_address = sorted((value, name) for name, value in names.items())
    found = []
    words = array.array("Q", snapshot)
    places = [start + i for start, end in kept for i in range(0, end - start, 8)]
    low_limit, high_limit = starts[0], foreign[-1][1]
    constant = array.array("Q", linked)
    for number, (place, word) in enumerate(zip(places, words, strict=True)):
        if low_limit <= word < high_limit and not (number < len(constant) and constant[number] == word):
            at = bisect.bisect_right(starts, word) - 1
            if word < foreign[at][1] and word not in allowed:
                near = by_address[max(0, bisect.bisect_right(by_address, (place, "~")) - 1)][1]
                if near in DANGLING:
                    continue
                to = by_address[max(0, bisect.bisect_right(by_address, (word, "~")) - 1)][1]
                found.append(f"  {place:#x} ({near}) holds {word:#x}: {foreign[at][2]} (after {to})")
    if found:
        raise SystemExit("seal: the snapshot points out of itself:\n" + "\n".join(found))


def hot_ranges(written: bytes, addresses: list[int]) -> list[tuple[int, int]]:
    """The pages that most of the usual commands write: address and length of at most HOT_MAX ranges.

    Args:
        written: by how many commands, for each page at `addresses`.
    A page too many costs less than a range too many, and this more than a fault saved: small gaps are bridged.
    """
    hot = [address for address, count in zip(addresses, written, strict=True) if count > max(written) * 2 / 3]
    for bridged in range(1, 100):
        found: list[tuple[int, int]] = []
        for address in hot:
            if found and address <= sum(found[-1]) + (bridged - 1) * PAGE:
                found[-1] = (found[-1][0], address + PAGE - found[-1][0])
            else:
                found.append((address, PAGE))
        if len(found) <= HOT_MAX:
            return found
    return []


def hash_seed(identity: bytes) -> int:
    """It follows from what is built, so that the same sources give the same executable.

    Everybody can know it, as they could read it in any executable that is published. With it one can look for names
    that share some bits of their hashes, which makes a dict a few steps slower; for one that gets slow with its square,
    names must share all 64 bits of SipHash, a search of 2**32 steps for the first two of them. And documents of
    strangers are bounded in size (runtime/host/files.py, runtime/images/store/files.py).
    """
    return int.from_bytes(identity[:4], "little") or 1


def main(argv: list[str]) -> int:
    bare, output = Path(argv[1]), Path(argv[2])
    elf = bytearray(bare.read_bytes())
    (table,) = struct.unpack_from("<Q", elf, 32)
    size, count = struct.unpack_from("<HH", elf, 54)
    segments = [Segment(*struct.unpack_from(Segment.FORMAT, elf, table + i * size)) for i in range(count)]
    identity = hashlib.sha256(elf).digest()
    recording = recorded(bare.resolve(), hash_seed(identity))
    snapshot = recording.snapshot
    bare.with_name("snapshot.txt").write_text(recording.modules)

    at = symbols(bare)
    loads = [s for s in segments if s.kind == PT_LOAD and s.address < at["stele_coldtext_start"]]
    data = loads[-1]
    if not data.flags & PF_W or data.offset + data.file_size > len(elf):
        raise SystemExit("seal: the last loadable segment but OpenSSL's is not the data")
    ranges = [(at[f"stele_cold{part}_start"], at[f"stele_cold{part}_end"]) for part in ("text", "const", "data")]
    branches = {EM_X86_64: "--x86", EM_AARCH64: "--arm64"}[struct.unpack_from("<H", elf, 18)[0]]
    packer = ["xz", "--format=xz", "--check=crc32", branches, "--lzma2=preset=9e", "--stdout"]
    openssl = b"".join(cut(elf, segments, *part) for part in ranges)
    cold = subprocess.run(packer, input=openssl, check=True, capture_output=True).stdout
    memory = bytearray(elf[data.offset : data.offset + data.file_size])
    memory.extend(bytes(at["stele_pybss_end"] - data.address - len(memory)))

    def place(start: str, end: str, content: bytes) -> bytes:
        """Put content into the data segment; return what was there."""
        low, high = at[start] - data.address, at[end] - data.address
        if len(content) != high - low:
            raise SystemExit(f"seal: the snapshot has {len(content)} bytes for {start}, not {high - low}")
        was = bytes(memory[low:high])
        memory[low:high] = content
        return was

    ranges = [(at[f"stele_{part}_start"], at[f"stele_{part}_end"]) for part in ("pydata", "pybss")]
    known = sum(end - start for start, end in ranges)
    arena = bytearray(snapshot[known:])
    (room,) = struct.unpack_from("<Q", arena, ID_SIZE)
    kept = [*ranges, (ARENA_BASE, ARENA_BASE + len(arena))]
    check_pointers(snapshot, cut(elf, segments, *ranges[0]), kept, room, recording.maps, at)

    data_size = at["stele_pydata_end"] - at["stele_pydata_start"]
    bss_size = at["stele_pybss_end"] - at["stele_pybss_start"]
    pristine = place("stele_pydata_start", "stele_pydata_end", snapshot[:data_size])
    place("stele_pybss_start", "stele_pybss_end", snapshot[data_size : data_size + bss_size])
    arena[:ID_SIZE] = identity
    pristine = zlib.compress(pristine, 9)
    places = (PRISTINE_BASE, PRISTINE_BASE + len(pristine), len(cold))
    hot = hot_ranges(recording.pages, [page for start, end in ranges for page in range(start, end, PAGE)])
    seal = struct.pack("<II32sQQQ", 1, len(pristine), identity, *places) + b"".join(struct.pack("<QQ", *r) for r in hot)
    struct_at = at["stele_seal"] - data.address
    memory[struct_at : struct_at + len(seal)] = seal

    out = elf[: data.offset] + memory
    data.file_size = len(memory)  # behind it, the variables of the process that begin as zero

    def append(content: bytes, address: int, flags: int, room: int = 0) -> Segment:
        out.extend(bytes(up(len(out), data.align) - len(out)))
        offset = len(out)
        out.extend(content)
        size = up(len(content), data.align) + room
        return Segment(PT_LOAD, flags, offset, address, address, len(content), size, data.align)

    loads.append(append(pristine + cold, PRISTINE_BASE, PF_R))
    loads.append(append(bytes(arena), ARENA_BASE, PF_R | PF_W, room))
    others = [s for s in segments if s.kind in (PT_TLS, PT_GNU_STACK, PT_GNU_RELRO)]
    table_new = [*loads, *others]
    if len(table_new) > count:
        raise SystemExit("seal: no room for the program headers")
    for i, segment in enumerate(table_new):
        out[table + i * size : table + (i + 1) * size] = segment.pack()
    struct.pack_into("<H", out, 56, len(table_new))
    struct.pack_into("<Q", out, 40, 0)  # no section headers
    struct.pack_into("<HH", out, 60, 0, 0)
    output.parent.mkdir(parents=True, exist_ok=True)
    fresh = output.with_name(output.name + ".new")
    fresh.write_bytes(out)
    fresh.chmod(0o755)
    fresh.rename(output)
    print(
        f"{output.name}: {len(out) / 2**20:.1f} MiB, of it snapshot {(len(arena) + data_size + bss_size) / 2**20:.1f}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
