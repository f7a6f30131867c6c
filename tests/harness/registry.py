"""Debian's docker-registry on loopback, and a server between it and the client that misbehaves as told."""

from __future__ import annotations

import json
import re
import ssl
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from tests.harness.patience import seconds

BINARY = "/usr/bin/docker-registry"
LISTENING = re.compile(r"listening on 127\.0\.0\.1:([0-9]+)")


def certificate(folder: Path, *hosts: str) -> tuple[Path, Path]:
    """A certificate that is its own authority, and its key, made by openssl."""
    crt, key = folder / "server.crt", folder / "server.key"
    names = ",".join(f"{'IP' if host[0].isdigit() else 'DNS'}:{host}" for host in hosts)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", f"/CN={hosts[0]}", "-addext", f"subjectAltName={names}", "-keyout", key, "-out", crt],
        check=True, capture_output=True,
    )  # fmt: skip
    return crt, key


class DockerRegistry:
    """A real registry. users: name to password, by htpasswd; tls: certificate and key."""

    def __init__(
        self, folder: Path, *, users: dict[str, str] | None = None, tls: tuple[Path, Path] | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.users = users or {}
        http: dict[str, Any] = {"addr": "127.0.0.1:0"}  # a free port, which its log then tells
        if tls:
            http["tls"] = {"certificate": str(tls[0]), "key": str(tls[1])}
        config: dict[str, Any] = {
            "version": 0.1,
            "log": {"level": "info", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
            "http": http,
        }
        if users:
            table = folder / "htpasswd"
            lines = [
                subprocess.run(
                    ["htpasswd", "-nbB", "-C", "4", *pair], check=True, capture_output=True, text=True
                ).stdout.strip()
                for pair in users.items()
            ]
            table.write_text("\n".join(lines) + "\n")
            config["auth"] = {"htpasswd": {"realm": "test", "path": str(table)}}
        (folder / "config.yml").write_text(json.dumps(config))  # JSON is YAML
        self.log = (folder / "log").open("wb")
        self.process = subprocess.Popen(
            [BINARY, "serve", str(folder / "config.yml")], stdout=self.log, stderr=subprocess.STDOUT
        )
        deadline = time.monotonic() + seconds(60)
        while not (told := LISTENING.search((folder / "log").read_text())):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"docker-registry did not start: {(folder / 'log').read_text()}")
            time.sleep(0.02)
        self.port = int(told[1])
        self.address = f"127.0.0.1:{self.port}"

    def push(self, source: str, name: str, *options: str) -> None:
        """Copy an image there by skopeo. source: as skopeo names it."""
        creds = [f"--dest-creds={user}:{password}" for user, password in list(self.users.items())[:1]]
        skopeo("copy", "--dest-tls-verify=false", *creds, *options, source, f"docker://{self.address}/{name}")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)
        self.log.close()


def skopeo(*words: str) -> str:
    done = subprocess.run(
        ["skopeo", "--insecure-policy", *words], check=False, capture_output=True, text=True, timeout=seconds(120)
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@dataclass
class Seen:
    """A request that came by."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)


Trick = Callable[["Handler"], bool]
"""Called for each request; True: it has answered, or broken off."""


class Handler(BaseHTTPRequestHandler):
    """Passes requests on to the registry unless the trick takes them."""

    protocol_version = "HTTP/1.1"
    between: ClassVar[Between]

    def do_GET(self) -> None:
        self.between.seen.append(Seen(self.command, self.path, dict(self.headers.items())))
        if self.between.trick(self):
            return
        self.forward()

    do_POST = do_GET

    def forward(self, cut: int | None = None, *, plain: bool = False) -> None:
        """The registry's own answer. cut: break the connection off after so many bytes of the body.

        plain: do not pass Range on.
        """
        headers = {k: v for k, v in self.headers.items() if k.lower() != "host" and not (plain and k == "Range")}
        request = urllib.request.Request(f"http://{self.between.behind}{self.path}", headers=headers)
        try:
            answer = urllib.request.urlopen(request, timeout=seconds(30))
        except urllib.error.HTTPError as e:
            answer = e
        with answer:
            body = answer.read()
            self.answer(answer.status, dict(answer.headers.items()), body, cut=cut)

    def answer(self, status: int, headers: dict[str, str], body: bytes = b"", *, cut: int | None = None) -> None:
        self.send_response(status)
        for name, text in headers.items():
            if name.lower() not in ("content-length", "connection", "transfer-encoding", "date", "server"):
                self.send_header(name, text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if cut is None else body[:cut])
        if cut is not None and cut < len(body):
            self.wfile.flush()
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Quiet(ThreadingHTTPServer):
    """Says nothing of clients that go away, which some tests have them do."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


class Between:
    """A server on loopback in front of a registry. seen: all requests; trick: what to do with each."""

    def __init__(self, behind: str, trick: Trick = lambda handler: False, *, tls: tuple[Path, Path] | None = None):
        self.behind, self.trick = behind, trick
        self.seen: list[Seen] = []
        handler = type("Bound", (Handler,), {"between": self})
        self.server = Quiet(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = int(self.server.server_address[1])
        self.address = f"127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)
