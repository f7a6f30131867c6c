"""A disk that loses what was not flushed when its power is cut, served to QEMU by NBD.

Writes wait in the disk's cache until the host asks for a flush, and until then may come to the medium in any order, as
disks do. At a power cut each of them is on the medium or is not, by chance, and one may be there in part.

Source: the NBD protocol, doc/proto.md of the nbd project, "newstyle fixed" negotiation with simple replies.
"""

from __future__ import annotations

import os
import random
import socket
import struct
import threading
from pathlib import Path

SECTOR = 4096  # is written whole or not at all, as by today's disks; ext4 relies on it for its superblock
HANDSHAKE = b"NBDMAGIC" + b"IHAVEOPT" + struct.pack(">H", 3)  # fixed newstyle, no zeroes
OPTION_MAGIC, REPLY_MAGIC = 0x49484156454F5054, 0x3E889045565A9
REQUEST_MAGIC, SIMPLE_REPLY_MAGIC = 0x25609513, 0x67446698
OPTION_ABORT, OPTION_INFO, OPTION_GO = 2, 6, 7
REPLY_ACK, REPLY_INFO, REPLY_UNSUPPORTED = 1, 3, (1 << 31) + 1
EXPORT_FLAGS = 0b1101  # flags are there, flush, force unit access
READ, WRITE, DISCONNECT, FLUSH = range(4)
FORCE_UNIT_ACCESS = 1
EINVAL = 22


class VolatileDisk:
    """One power-on of a disk: serves `medium`, a raw file, to one QEMU.

    Attributes:
        drive: what QEMU's -drive takes.
        lost: after a cut, how many writes came not or not wholly to the medium.
    """

    def __init__(self, medium: Path, folder: Path, chance: random.Random) -> None:
        self.lost = 0
        self._chance = chance
        self._file = os.open(medium, os.O_RDWR | os.O_CLOEXEC)
        self._cached: list[tuple[int, bytes, bytes]] = []  # offset, what was there, what was written
        path = folder / "disk"
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self.drive = f"file=nbd+unix:///?socket={path},format=raw,cache=writeback"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Cut its power; QEMU must be dead. What was not flushed is there by chance."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for offset, before, _ in reversed(self._cached):
            os.pwrite(self._file, before, offset)
        torn = self._chance.randrange(len(self._cached)) if self._cached else -1
        for number, (offset, _, written) in enumerate(self._cached):
            whole = number != torn and self._chance.random() < 0.5
            part = self._chance.randrange(max(1, len(written) // SECTOR)) * SECTOR if number == torn else 0
            os.pwrite(self._file, written if whole else written[:part], offset)
            self.lost += not whole
        os.close(self._file)
        self._listener.close()

    def _serve(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return  # cut before anybody came
        with connection:
            try:
                self._negotiate(connection)
                while self._answer(connection):
                    pass
            except (ConnectionError, EOFError):
                pass  # QEMU was killed

    def _negotiate(self, connection: socket.socket) -> None:
        connection.sendall(HANDSHAKE)
        _receive(connection, 4)  # the client's flags
        while True:
            _, option, length = struct.unpack(">QII", _receive(connection, 16))
            _receive(connection, length)

            def reply(kind: int, data: bytes = b"", option: int = option) -> None:
                connection.sendall(struct.pack(">QIII", REPLY_MAGIC, option, kind, len(data)) + data)

            if option in (OPTION_INFO, OPTION_GO):
                reply(REPLY_INFO, struct.pack(">HQH", 0, os.fstat(self._file).st_size, EXPORT_FLAGS))
                reply(REPLY_ACK)
                if option == OPTION_GO:
                    return
            elif option == OPTION_ABORT:
                raise EOFError
            else:
                reply(REPLY_UNSUPPORTED)

    def _answer(self, connection: socket.socket) -> bool:
        """One request; False when QEMU has taken its leave."""
        magic, flags, kind, handle, offset, length = struct.unpack(">IHHQQI", _receive(connection, 28))
        assert magic == REQUEST_MAGIC, hex(magic)
        error, data = 0, b""
        if kind == READ:
            data = os.pread(self._file, length, offset)
        elif kind == WRITE:
            written = _receive(connection, length)
            self._cached.append((offset, os.pread(self._file, length, offset), written))
            os.pwrite(self._file, written, offset)
            if flags & FORCE_UNIT_ACCESS:
                self._cached.clear()  # a flush of all is more than was asked for
        elif kind == FLUSH:
            self._cached.clear()
        elif kind == DISCONNECT:
            return False
        else:
            error = EINVAL
        connection.sendall(struct.pack(">IIQ", SIMPLE_REPLY_MAGIC, error, handle) + data)
        return True


def _receive(connection: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        more = connection.recv(length - len(data))
        if not more:
            raise EOFError
        data += more
    return bytes(data)
