"""A registry on loopback that serves one image from a folder, for tests that need no more of it."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@contextlib.contextmanager
def serving(layout: Path) -> Iterator[str]:
    """Serve an OCI layout's only image under any name and tag; yields HOST:PORT."""
    [top] = json.loads((layout / "index.json").read_text())["manifests"]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, data = "", b""
            parts = self.path.split("/")
            if "manifests" in parts:
                digest = parts[-1] if parts[-1].startswith("sha256:") else top["digest"]
                kind = top["mediaType"]
            else:
                digest, kind = parts[-1], "application/octet-stream"
            blob = layout / "blobs/sha256" / digest.removeprefix("sha256:")
            known = self.path == "/v2/" or blob.is_file()
            if known and self.path != "/v2/":
                data = blob.read_bytes()
            self.send_response(200 if known else 404)
            self.send_header("Content-Type", kind or "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
