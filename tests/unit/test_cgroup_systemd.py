"""What systemd is told: properties, annotations, and the messages on the wire."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import ConfigError, HostError
from runtime.host.cgroups import bus as bus_module
from runtime.host.cgroups.bus import Bus, Refused, addresses
from runtime.host.cgroups.gvariant import parse
from runtime.host.cgroups.properties import (
    IDLE,
    UNLIMITED,
    Property,
    annotated,
    cpu_mask,
    limit_properties,
    unit_properties,
)
from runtime.host.cgroups.systemd import understood
from runtime.plan.resources import plan_resources

# --- values ---


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", ("b", True)),
        ("'a b'", ("s", "a b")),
        (r'"it\"s\n"', ("s", 'it"s\n')),
        ("5", ("i", 5)),
        ("-5", ("i", -5)),
        ("0x10", ("i", 16)),
        ("1.5", ("d", 1.5)),
        ("uint64 18446744073709551615", ("t", UNLIMITED)),
        ("byte 0xff", ("y", 255)),
        ("objectpath '/a/b'", ("o", "/a/b")),
        ("['a', 'b']", ("as", ["a", "b"])),
        ("[uint32 1, 2]", ("au", [1, 2])),
        ("@as []", ("as", [])),
        ("@at [1,2]", ("at", [1, 2])),
        ("[('/dev/sda', uint64 5)]", ("a(st)", [("/dev/sda", 5)])),
        ("@a(st) [('/dev/sda', 5)]", ("a(st)", [("/dev/sda", 5)])),
        ("<'x'>", ("v", ("s", "x"))),
        ("double 3", ("d", 3.0)),
    ],
)
def test_gvariant(text: str, value: tuple[str, Any]) -> None:
    """Text as annotations have it becomes the D-Bus type that it says."""
    assert parse(text) == value


@pytest.mark.parametrize(
    "text",
    ["", "x", "'a", "[1, 'a']", "[]", "[1", "1 2", "byte 256", "uint32 -1", "2147483648", "int32 1.5", "(1", "nothing",
     "@as [1]", "[" * 20 + "]" * 20, "'" + "a" * 5000 + "'", "@s 5", "<1", "\x00"],
)  # fmt: skip
def test_gvariant_refused(text: str) -> None:
    """What is not a value says so; it never becomes another one."""
    with pytest.raises(ValueError, match=r"."):
        parse(text)


@pytest.mark.parametrize(("keyword", "bits", "signed"), [("byte", 8, False), *((f"{word}{bits}", bits, word == "int") for word in ("int", "uint") for bits in (16, 32, 64))])  # fmt: skip
def test_gvariant_ranges(keyword: str, bits: int, signed: bool) -> None:
    least = -(1 << bits - 1) if signed else 0
    most = least + (1 << bits) - 1
    assert [parse(f"{keyword} {n}")[1] for n in (least, most)] == [least, most]
    for n in (least - 1, most + 1):
        with pytest.raises(ValueError, match="is out of range"):
            parse(f"{keyword} {n}")


def test_gvariant_depth() -> None:
    assert parse("[" * 8 + "1" + "]" * 8)[0] == "aaaaaaaai"
    with pytest.raises(ValueError, match="deep"):
        parse("[" * 9 + "1" + "]" * 9)


def test_annotations() -> None:
    """Seconds become microseconds; what is not for systemd is left alone."""
    assert annotated(
        {
            "org.systemd.property.TimeoutStopSec": "uint64 5",
            "org.systemd.property.CollectMode": "'inactive'",
            "org.systemd.property.TimeoutStartUSec": "uint64 7",
            "io.example.other": "nonsense",
        }
    ) == [("TimeoutStopUSec", ("t", 5_000_000)), ("CollectMode", ("s", "inactive")), ("TimeoutStartUSec", ("t", 7))]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("PIDs", "[uint32 1]", "is set by stele itself"),
        ("Slice", "'x.slice'", "is set by stele itself"),
        ("x", "1", "not a valid systemd property name"),
        ("Ab-c", "1", "not a valid systemd property name"),
        ("TimeoutStopSec", "'5'", "not a number of seconds"),
        ("TimeoutStopSec", "-5", "not a number of seconds"),
        ("KillMode", "control-group", "not valid GVariant text"),
    ],
)
def test_annotations_refused(name: str, value: str, words: str) -> None:
    """The sentence names the annotation."""
    with pytest.raises(ConfigError, match=words) as e:
        annotated({f"org.systemd.property.{name}": value})
    assert e.value.path == f"annotations.org.systemd.property.{name}"


def test_limits_as_properties() -> None:
    """A daemon-reload writes what systemd knows, so it is told every limit that it has a property for."""
    writes = plan_resources(
        {
            "memory": {"limit": 1 << 20, "swap": -1, "reservation": 4096},
            "cpu": {"shares": 1024, "quota": 33_333, "period": 100_000, "cpus": "0-1,9", "mems": "0"},
            "pids": {"limit": -1},
            "blockIO": {"weight": 10},
            "unified": {"memory.high": "512K", "memory.min": "max", "cgroup.max.depth": "4"},
        }
    )
    assert limit_properties(writes) == [
        ("CPUWeight", ("t", 100)),
        ("CPUQuotaPeriodUSec", ("t", 100_000)),
        ("CPUQuotaPerSecUSec", ("t", 340_000)),  # whole per cents, rounded up
        ("AllowedCPUs", ("ay", b"\x03\x02")),
        ("AllowedMemoryNodes", ("ay", b"\x01")),
        ("MemorySwapMax", ("t", UNLIMITED)),
        ("MemoryMax", ("t", 1 << 20)),
        ("MemoryLow", ("t", 4096)),
        ("TasksMax", ("t", UNLIMITED)),
        ("IOWeight", ("t", 1)),
        ("MemoryHigh", ("t", 512 << 10)),
        ("MemoryMin", ("t", UNLIMITED)),
    ]
    assert limit_properties(plan_resources({"cpu": {"quota": -1}})) == [
        ("CPUQuotaPeriodUSec", ("t", 100_000)),
        ("CPUQuotaPerSecUSec", ("t", UNLIMITED)),
    ]
    assert limit_properties(plan_resources({"cpu": {"idle": 1}})) == [IDLE]
    assert limit_properties(plan_resources({"cpu": {"idle": 0}})) == [("CPUWeight", ("t", UNLIMITED))]
    assert cpu_mask("8") == b"\0\1"


# --- messages ---


class FakeSystemd(threading.Thread):
    """The other end of a D-Bus socket: answers each method call as `answer` says, and keeps all calls.

    Not systemd: the tests of the kernel talk to the real one. This one can be made to misbehave.
    """

    def __init__(self, path: Path, answer: Callable[[str, tuple[Any, ...]], list[tuple[str, Any]]]) -> None:
        super().__init__(daemon=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(1)
        self.answer = answer
        self.calls: list[tuple[str, str, tuple[Any, ...]]] = []
        self.auth = b""

    def run(self) -> None:
        from jeepney import HeaderFields
        from jeepney.low_level import Parser

        connection, _ = self.listener.accept()
        with connection:
            while not self.auth.endswith(b"BEGIN\r\n"):
                more = connection.recv(100)
                if not more:
                    return
                self.auth += more
            connection.sendall(b"DATA\r\nOK 0123456789abcdef0123456789abcdef\r\n")
            parser = Parser()
            serial = 100
            while True:
                while (message := parser.get_next_message()) is None:
                    data = connection.recv(4096)
                    if not data:
                        return
                    parser.add_data(data)
                fields = message.header.fields
                method = fields[HeaderFields.member]
                self.calls.append((method, fields.get(HeaderFields.signature, ""), message.body))
                for kind, body in self.answer(method, message.body):
                    serial += 1
                    connection.sendall(_message(kind, body, message).serialise(serial=serial))


def _message(kind: str, body: Any, call: Any) -> Any:
    from jeepney import DBusAddress, new_error, new_method_return, new_signal

    if kind == "signal":
        emitter = DBusAddress(bus_module.PATH, interface=bus_module.MANAGER)
        return new_signal(emitter, "JobRemoved", "uoss", body)
    if kind == "error":
        return new_error(call, body[0], "s", (body[1],))
    return new_method_return(call, kind, body)


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., FakeSystemd]]:
    """`systemd(answer, private=True)` listens where the user's systemd would."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    started: list[FakeSystemd] = []

    def start(answer: Callable[[str, tuple[Any, ...]], list[tuple[str, Any]]], *, private: bool = True) -> FakeSystemd:
        path = tmp_path / "systemd" / "private" if private else tmp_path / "bus"
        path.parent.mkdir(exist_ok=True)
        fake = FakeSystemd(path, answer)
        fake.start()
        started.append(fake)
        return fake

    yield start
    for fake in started:
        fake.join(60)
        assert not fake.is_alive()
        fake.listener.close()


JOB = "/org/freedesktop/systemd1/job/7"


def job_answer(result: str) -> Callable[[str, tuple[Any, ...]], list[tuple[str, Any]]]:
    """Another unit's job ends first; ours ends before its own reply is out, as it can on a busy bus."""

    def answer(method: str, body: tuple[Any, ...]) -> list[tuple[str, Any]]:
        if method == "StartTransientUnit":
            return [
                ("signal", (6, f"{JOB}6", "other.scope", "failed")),
                ("signal", (7, JOB, body[0], result)),
                ("o", (JOB,)),
            ]
        return [("s", (":1.5",))] if method == "Hello" else [("", ())]

    return answer


def test_start_of_a_scope(systemd: Callable[..., FakeSystemd]) -> None:
    """The message has all properties in their types, and the end of the own job is waited for, of no other."""
    fake = systemd(job_answer("done"))
    writes = plan_resources({"pids": {"limit": 9}, "cpu": {"cpus": "0-8"}})
    properties = unit_properties("c.scope", "a.slice", 42, "words", writes, [("KillMode", ("s", "mixed"))])
    with Bus(user=True) as bus:
        bus.job("StartTransientUnit", "ssa(sv)a(sa(sv))", ("c.scope", "fail", properties, []), "c.scope")
    ((method, signature, body),) = fake.calls
    assert (method, signature, body[:2], body[3]) == ("StartTransientUnit", "ssa(sv)a(sa(sv))", ("c.scope", "fail"), [])
    assert body[2] == [
        ("Description", ("s", "words")),
        ("Slice", ("s", "a.slice")),
        ("Delegate", ("b", True)),
        ("PIDs", ("au", [42])),
        ("DefaultDependencies", ("b", False)),
        ("CollectMode", ("s", "inactive-or-failed")),
        ("CPUAccounting", ("b", True)),
        ("IOAccounting", ("b", True)),
        ("MemoryAccounting", ("b", True)),
        ("TasksAccounting", ("b", True)),
        ("AllowedCPUs", ("ay", b"\xff\x01")),
        ("TasksMax", ("t", 9)),
        ("KillMode", ("s", "mixed")),
    ]
    # No uid: in a user namespace ours is not systemd's. BEGIN, too, before the answer: a call that the real one reads
    # together with it, because it was busy, waits there until another comes.
    assert fake.auth == b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n"


def test_a_bus_only_sends_what_concerns_the_unit(systemd: Callable[..., FakeSystemd]) -> None:
    """On a real bus we say hello, and ask for the signals of our unit alone: others' would flood it."""
    fake = systemd(job_answer("done"), private=False)
    with Bus(user=True) as bus:
        bus.job("StartTransientUnit", "ssa(sv)a(sa(sv))", ("c.scope", "fail", [], []), "c.scope")
    assert [call[0] for call in fake.calls] == ["Hello", "AddMatch", "StartTransientUnit"]
    assert "arg2='c.scope'" in fake.calls[1][2][0]


def test_a_slice_is_no_scope_in_itself() -> None:
    """A slice wants its parent; only a scope has a Slice."""
    names = [name for name, _ in unit_properties("a-b.slice", "a.slice", 1, "", [], [])]
    assert "Slice" not in names
    assert "Wants" in names


@pytest.mark.parametrize(("version", "told"), [("251.4-2", []), ("v252", [IDLE]), ("257.8-1~deb13u2", [IDLE])])
def test_what_an_older_systemd_refuses(systemd: Callable[..., FakeSystemd], version: str, told: list[Property]) -> None:
    """Before 252 it has no word for idle, and is not told; it is only asked for its version where that matters."""
    fake = systemd(lambda method, body: [("v", (("s", version),))])
    other: Property = ("TasksMax", ("t", 9))
    with Bus(user=True) as bus:
        assert understood(bus, [other]) == [other]
        assert fake.calls == []
        assert understood(bus, [IDLE, other]) == [*told, other]


def test_a_failed_job_is_told(systemd: Callable[..., FakeSystemd]) -> None:
    """A job that ends otherwise than done is an error that names the unit and the result."""
    systemd(job_answer("timeout"))
    with Bus(user=True) as bus, pytest.raises(HostError, match=r"StartTransientUnit of c\.scope: timeout"):
        bus.job("StartTransientUnit", "ssa(sv)a(sa(sv))", ("c.scope", "fail", [], []), "c.scope")


def test_a_refusal_keeps_systemds_words(systemd: Callable[..., FakeSystemd]) -> None:
    """The name of the error is kept for the caller, the words for the user."""
    name = "org.freedesktop.systemd1.UnitExists"
    systemd(lambda method, body: [("error", (name, "Unit c.scope was already loaded"))])
    with Bus(user=True) as bus, pytest.raises(Refused, match="was already loaded") as e:
        bus.call("GetUnit", "s", ("c.scope",))
    assert e.value.name == name


def test_a_job_that_never_ends(systemd: Callable[..., FakeSystemd], monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd's silence has an end."""

    def answer(method: str, body: tuple[Any, ...]) -> list[tuple[str, Any]]:
        monkeypatch.setattr(bus_module, "TIMEOUT", 0.2)  # of what follows the answer
        return [("o", (JOB,))]

    systemd(answer)
    with Bus(user=True) as bus, pytest.raises(HostError, match=r"did not finish StopUnit of c\.scope"):
        bus.job("StopUnit", "ss", ("c.scope", "replace"), "c.scope")


def test_no_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that was tried is named, and what to do."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    with pytest.raises(HostError, match="cannot reach the user's systemd") as e:
        Bus(user=True)
    assert f"{tmp_path}/bus: No such file or directory" in str(e.value)
    assert "--cgroup-manager cgroupfs" in str(e.value)


def test_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd's own socket first; then the bus, where the environment says or where it usually is."""
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "tcp:host=x;unix:abstract=/tmp/x,guid=1;unix:path=/y")
    assert list(addresses(user=False)) == [("/run/systemd/private", True), ("\0/tmp/x", False), ("/y", False)]
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    assert list(addresses(user=True)) == [("/run/user/7/systemd/private", True), ("/run/user/7/bus", False)]
