"""A small HTTP service: GET /hash?text=... answers the text's SHA-256 as JSON; SIGTERM ends it in order."""

import hashlib
import http.server
import json
import signal
import sys
import threading
import urllib.parse


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        text = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query).get("text", [""])[0]
        body = json.dumps({"text": text, "sha256": hashlib.sha256(text.encode()).hexdigest()}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing for each request."""


server = http.server.ThreadingHTTPServer(("127.0.0.1", 8000), Handler)
# shutdown() waits for serve_forever to end, so it must not run in the thread that serves.
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
print("ready", flush=True)
server.serve_forever()
sys.exit(0)
