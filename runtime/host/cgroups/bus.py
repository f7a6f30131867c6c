"""A connection to systemd's manager: through its private socket, or the D-Bus bus if that is unavailable.

The private socket needs no dbus-daemon, keeps our traffic off the bus, and is what systemctl uses.
Source: D-Bus specification, "Authentication Protocol"; org.freedesktop.systemd1(5).
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Iterator
from typing import Any

from runtime.errors import HostError

NAME, PATH, MANAGER = "org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"
VERSION = re.compile(r"\D*([0-9]{1,9})")  # e.g. "252.39-1~deb12u2" or "v257-2"
TIMEOUT = 30.0
"""Seconds to wait for a reply, and for a unit to start or stop."""


class Refused(HostError):
    """systemd returned an error; `name` is the D-Bus error's name."""

    def __init__(self, problem: str, name: str) -> None:
        super().__init__(problem)
        self.name = name


def addresses(*, user: bool) -> Iterator[tuple[str, bool]]:
    """Yield (socket, whether it is systemd's private one) in the order to try; a leading NUL means abstract."""
    if not user:
        yield "/run/systemd/private", True
        bus = os.environ.get("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/run/dbus/system_bus_socket")
    else:
        directory = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
        yield f"{directory}/systemd/private", True
        bus = os.environ.get("DBUS_SESSION_BUS_ADDRESS", f"unix:path={directory}/bus")
    for address in bus.split(";"):
        for pair in address.removeprefix("unix:").split(","):
            key, _, value = pair.partition("=")
            if key in ("path", "abstract"):
                yield ("\0" if key == "abstract" else "") + value, False


class Bus:
    """One connection; use it in a with statement.

    Args:
        user: connect to the user's systemd instead of the system's.
    Raises:
        HostError: systemd cannot be reached.
    """

    def __init__(self, *, user: bool) -> None:
        from jeepney.low_level import Parser

        self.parser = Parser()
        self.serial = 0
        self.signals: list[Any] = []
        self.socket, self.private = self._connect(user)
        try:
            self._authenticate()
            if not self.private:
                self._bus_call("Hello")
        except (OSError, EOFError) as e:
            self.socket.close()
            raise HostError(f"--systemd-cgroup: cannot talk to systemd: {e}; use --cgroup-manager cgroupfs") from e

    @staticmethod
    def _connect(user: bool) -> tuple[socket.socket, bool]:
        reasons = []
        for path, private in addresses(user=user):
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.settimeout(TIMEOUT)
            try:
                sock.connect(path)
            except OSError as e:
                reasons.append(f"{path}: {e.strerror}")
                sock.close()
            else:
                return sock, private
        which = "the user's" if user else "the system's"
        raise HostError(
            f"--systemd-cgroup: cannot reach {which} systemd ({'; '.join(reasons)}); use --cgroup-manager cgroupfs"
        )

    def _authenticate(self) -> None:
        """Authenticate by socket credentials alone: in a user namespace we do not know the uid that systemd sees.

        Send all lines at once, as systemd's own clients do. If BEGIN were sent after the reply, a busy systemd could
        read it together with our first call and not process that call until more data arrives.
        """
        self.socket.sendall(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")
        said = b""
        while b"OK " not in said or not said.endswith(b"\r\n"):
            more = self.socket.recv(512)
            said += more
            if not more or b"REJECTED" in said or b"ERROR" in said:
                raise EOFError(f"authentication failed: {said.decode('ascii', 'replace').strip() or 'no answer'}")

    def __enter__(self) -> Bus:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    # --- messages ---

    def _receive(self, end: float) -> Any:
        while (message := self.parser.get_next_message()) is None:
            self.socket.settimeout(max(0.001, end - time.monotonic()))
            data = self.socket.recv(65536)
            if not data:
                raise EOFError("the connection was closed")
            self.parser.add_data(data)
        return message

    def _exchange(self, message: Any, what: str) -> tuple[Any, ...]:
        from jeepney import HeaderFields, MessageType

        self.serial += 1
        end = time.monotonic() + TIMEOUT
        try:
            self.socket.sendall(message.serialise(serial=self.serial))
            while True:
                reply = self._receive(end)
                if reply.header.message_type is MessageType.signal:
                    self.signals.append(reply)
                elif reply.header.fields.get(HeaderFields.reply_serial) == self.serial:
                    break
        except (OSError, EOFError) as e:
            raise HostError(f"no reply from systemd to {what}: {e}; see systemd's journal") from e
        if reply.header.message_type is MessageType.error:
            name = reply.header.fields.get(HeaderFields.error_name, "")
            said = reply.body[0] if reply.body and isinstance(reply.body[0], str) else "no reason given"
            raise Refused(f"systemd refused {what}: {said} ({name})", name)
        body: tuple[Any, ...] = reply.body
        return body

    def _bus_call(self, method: str, signature: str = "", body: tuple[Any, ...] = ()) -> None:
        from jeepney import DBusAddress, new_method_call

        name = "org.freedesktop.DBus"
        address = DBusAddress("/org/freedesktop/DBus", bus_name=name, interface=name)
        self._exchange(new_method_call(address, method, signature or None, body), f"{method} of the bus")

    # --- systemd ---

    def call(self, method: str, signature: str, body: tuple[Any, ...]) -> tuple[Any, ...]:
        """Call a method of the manager.

        Raises:
            Refused: systemd returned an error. HostError: no reply.
        """
        from jeepney import DBusAddress, new_method_call

        address = DBusAddress(PATH, bus_name=NAME, interface=MANAGER)
        return self._exchange(new_method_call(address, method, signature or None, body), method)

    def job(self, method: str, signature: str, body: tuple[Any, ...], unit: str) -> None:
        """Call a method that starts a job for a unit, and wait for the job.

        Raises:
            Refused: systemd rejected the call. HostError: the job failed or timed out.
        """
        if not self.private:
            rule = f"type='signal',path='{PATH}',interface='{MANAGER}',member='JobRemoved',arg2='{unit}'"
            self._bus_call("AddMatch", "s", (rule,))
        (job,) = self.call(method, signature, body)
        result = self._job_result(job, method, unit)
        if result not in ("done", "skipped"):
            raise HostError(f"systemd job failed: {method} of {unit}: {result}; see `systemctl status {unit}`")

    def _job_result(self, job: str, method: str, unit: str) -> str:
        from jeepney import HeaderFields, MessageType

        end = time.monotonic() + TIMEOUT
        while True:
            for message in self.signals:
                if message.header.fields.get(HeaderFields.member) == "JobRemoved" and message.body[1] == job:
                    result: str = message.body[3]
                    return result
            self.signals.clear()
            try:
                message = self._receive(end)
            except (OSError, EOFError) as e:
                raise HostError(f"systemd did not finish {method} of {unit} within {TIMEOUT:.0f} s: {e}") from e
            if message.header.message_type is MessageType.signal:
                self.signals.append(message)

    def version(self) -> int:
        """systemd's major version; 0 if it cannot be parsed."""
        from jeepney import DBusAddress, Properties

        address = DBusAddress(PATH, bus_name=NAME, interface=MANAGER)
        (value,) = self._exchange(Properties(address).get("Version"), "its version")
        number = VERSION.match(value[1])
        return int(number[1]) if number else 0

    def unit_property(self, unit: str, interface: str, name: str) -> Any:
        """A property of a unit. Raises Refused if there is no such unit."""
        from jeepney import DBusAddress, Properties

        (path,) = self.call("GetUnit", "s", (unit,))
        address = DBusAddress(path, bus_name=NAME, interface=f"{NAME}.{interface}")
        (value,) = self._exchange(Properties(address).get(name), f"the property {name} of {unit}")
        return value[1]
