"""The other end of --console-socket."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path


class ConsoleSocket:
    """Takes terminals' masters and reads them; give `path` to the runtime. Closed by the end of a with block."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "console.sock"
        self.text = ""
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        at = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        self._listener.bind(f"/proc/self/fd/{at}/console.sock")
        os.close(at)
        self._listener.listen(4)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                _, fds, _, _ = socket.recv_fds(connection, 4096, 4)
            for fd in fds:
                try:
                    while data := os.read(fd, 65536):
                        self.text += data.decode(errors="replace")
                except OSError:
                    pass  # EIO: the last slave was closed
                os.close(fd)

    def __enter__(self) -> ConsoleSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
