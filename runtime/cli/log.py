"""The log: errors and warnings on stderr and in the --log file, in the format that runc's callers parse."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Sequence

from runtime.container.state import now
from runtime.errors import HostError
from runtime.host.files import write_all
from runtime.printable import visible, without_secrets

SPACES = {ord("\n"): " ", ord("\t"): " "}
MESSAGE_MAX = 4096
"""In characters; the middle of a longer message, which may quote a hostile document, is cut out."""


class Log:
    """Writes one line per entry. Errors go to the file and, with the same text, to stderr.

    Args:
        path: the file, created if missing and appended to; "" for stderr alone.
        form: "text" or "json"; json is one object per line with level, msg and time (RFC 3339).
    """

    __slots__ = ("debug", "fd", "form", "path")

    def __init__(self, path: str, form: str, *, debug: bool) -> None:
        self.path, self.form, self.debug, self.fd = path, form, debug, -1

    def open(self) -> None:
        """Open the file before anything else, so that a wrong --log cannot hide a later error.

        Raises:
            HostError: it cannot be written.
        """
        if not self.path:
            return
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_SYNC | os.O_CLOEXEC | os.O_NOCTTY
        try:
            self.fd = os.open(self.path, flags, 0o600)
        except OSError as e:
            raise HostError(
                f'--log "{self.path}": cannot write it: {os.strerror(e.errno or 0)}; correct --log', e.errno or 0
            ) from e

    def error(self, message: str, hint: str = "") -> None:
        """Report why the command failed; called exactly once per failed command.

        Args:
            hint: a second line for a person, such as "did you mean ...?"; not printed for a caller, who gives --log.
        """
        self._write("error", message, also_stderr=True)
        if hint and not self.path and self.form == "text" and sys.stderr is not None:
            with contextlib.suppress(OSError, ValueError):
                print(visible(hint), file=sys.stderr, flush=True)

    def warning(self, message: str) -> None:
        """Report a problem that does not fail the command. With --log only there: Podman takes stderr for errors."""
        self._write("warning", message, also_stderr=self.fd < 0)

    def trace(self, message: str) -> None:
        """With --debug: log an action."""
        if self.debug:
            self._write("debug", message, also_stderr=self.fd < 0)

    def command(self, argv: Sequence[str]) -> None:
        """With --debug: log the command line, without secrets."""
        if self.debug:
            self.trace(f"stele {' '.join(without_secrets(argv))}")

    def traceback(self) -> None:
        """With --debug: print the current exception's traceback on stderr."""
        if self.debug and sys.stderr is not None:
            import traceback

            for line in traceback.format_exc().splitlines():
                print(visible(line), file=sys.stderr)

    def _write(self, level: str, message: str, *, also_stderr: bool) -> None:
        if len(message) > MESSAGE_MAX and level != "debug":
            message = f"{message[: MESSAGE_MAX // 2]} ... {message[-MESSAGE_MAX // 2 :]}"
        # Paths and programs' output are untrusted: escape what could move a terminal's cursor or end a line.
        message = visible(message.translate(SPACES))
        line = self._line(level, message)
        if self.fd >= 0:
            try:
                write_all(self.fd, line.encode("utf-8", "backslashreplace") + b"\n")
            except OSError as e:
                also_stderr = True  # such as a full disk: report it at least here
                message += f' (and --log "{self.path}" cannot be written: {os.strerror(e.errno or 0)})'
        if also_stderr and sys.stderr is not None:
            plain = message if level == "error" else f"{level}: {message}"
            try:
                print(line if self.form == "json" and self.fd < 0 else plain, file=sys.stderr, flush=True)
            except (OSError, ValueError):
                pass  # stderr is closed, and there is nowhere else to report it

    def _line(self, level: str, message: str) -> str:
        if self.form == "json":
            return json.dumps({"level": level, "msg": message, "time": now()}, ensure_ascii=False)
        return f"time={json.dumps(now())} level={level} msg={json.dumps(message, ensure_ascii=False)}"
