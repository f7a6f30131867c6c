"""Words that are too long for somebody who counts them, or mean something to somebody who reads them again."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

from tests.attacks.arena import BROKEN, HELD, NONE, UNKNOWN, Arena, Outcome, attack
from tests.attacks.doubles import Patch

WRAP = 1 << 16
LONG = "x" * WRAP
"""What a 16-bit length does not see."""

Edit = Callable[[dict[str, Any]], None]


def _bind(source: str, target: str) -> Edit:
    return lambda c: c["mounts"].append({"destination": target, "type": "bind", "source": source, "options": ["bind"]})


SCRIPT = [
    "sh",
    "-c",
    "echo ${1:-none} ${#1} ${#WORD}; pwd; hostname; ls /dev; cat /proc/sys/kernel/msgmax /mnt/* || true",
    "sh",
]


def _too_long(arena: Arena) -> list[tuple[str, Edit, str]]:
    """A field, how it gets a word of more than 64 KiB, and what SCRIPT says if that was cut."""
    device = {"path": f"/dev/cut{LONG}", "type": "c", "major": 1, "minor": 3}
    return [
        ("mounts[].source", _bind(f"{arena.canary}{LONG}", "/mnt"), "the host's secret"),
        ("mounts[].destination", _bind(str(arena.canary), f"/mnt{LONG}"), "the host's secret"),
        ("root.path", lambda c: c["root"].update(path=f"rootfs{LONG}"), "none 0 0\n"),
        ("hostname", lambda c: c.update(hostname=f"cut{LONG}"), "\ncut\n"),
        ("process.cwd", lambda c: c["process"].update(cwd=f"/tmp{LONG}"), "\n/tmp\n"),
        ("process.args", lambda c: c["process"]["args"].append(f"cut{LONG}"), "cut 3 0\n"),
        ("process.env", lambda c: c["process"]["env"].append(f"WORD=cut{LONG}"), "none 0 3\n"),
        ("linux.sysctl", lambda c: c["linux"].update(sysctl={"kernel.msgmax": f"77{'7' * WRAP}"}), "\n77\n"),
        ("linux.devices", lambda c: c["linux"].update(devices=[device]), "\ncut\n"),
    ]


@attack(
    "A9",
    "CVE-2021-43784",
    "words of more than 64 KiB are cut, and mean another file, name or value",
    Patch(
        "runtime/plan/wire.py",
        '    return struct.pack("<I", len(data)) + data',
        '    data = data[: len(data) & 0xFFFF]\n    return struct.pack("<I", len(data)) + data',
    ),
    Patch("runtime/oci/validate.py", "if CHECKS[kind](document):\n        return\n", "if True:\n        return\n"),
)
def cut_words(arena: Arena) -> Outcome:
    whole = []
    for field, edit, sign in _too_long(arena):
        ran = arena.run(arena.bundle(SCRIPT, edit=edit))
        if sign in ran.out:
            return Outcome(BROKEN, f"{field} was cut")
        if ran.code < 0 or (ran.code and not ran.err.strip()):
            return Outcome(UNKNOWN, f"{field}: exit code {ran.code}: {ran.out[-100:]}")
        whole += [] if ran.code else [field]
    return Outcome(HELD, f"whole: {', '.join(whole)}; the others are refused")


def _string(text: str) -> str:
    """A string as the plan has it: its length, its bytes, and NULs up to a multiple of 8."""
    return len(text).to_bytes(4, "little").decode() + text + "\0" * (8 - (4 + len(text)) % 8)


@attack(
    "A9f",
    "CVE-2021-43784",
    "a word holds NULs and, behind its length of 16 bits, another field of the plan",
    Patch("runtime/oci/load.py", "    if nul:", "    if False:"),
    Patch("runtime/plan/wire.py", 'if b"\\0" in data:', "if False:"),
    Patch("runtime/plan/wire.py", 'return struct.pack("<I", len(data)) + data', 'return struct.pack("<I", len(data) & 0xFFFF) + data'),
    Patch("cshim/init/decode.c", "return at == s->length;", "return 1;"),
)  # fmt: skip
def forged_field(arena: Arena) -> Outcome:
    """The source of a mount goes on as the mount's target: it has the length of "/etc" and 64 KiB."""
    source = (_string("/etc")[4:] + _string("/forged")).ljust(WRAP + 4, "\0")
    ran = arena.run(
        arena.bundle(["sh", "-c", "cat /proc/self/mountinfo; echo payload ran"], edit=_bind(source, "/mnt"))
    )
    return ran.outcome("a mount is where only its source said" if " /forged " in ran.out else "", "payload ran")


@attack(
    "B14o",
    "CVE-2024-11218",
    "an option of a mount holds a comma, and another option behind it",
    Patch("runtime/plan/mounts.py", "o.data.append(option)", 'o.data.extend(option.split(","))'),
)
def options_in_options(arena: Arena) -> Outcome:
    def edit(config: dict[str, Any]) -> None:
        options = ["size=64k,uid=77", "mode=0755"]
        config["mounts"].append({"destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": options})

    ran = arena.run(arena.bundle(["sh", "-c", "stat -c 'owner %u' /mnt; echo payload ran"], edit=edit))
    return ran.outcome("the size named an owner" if "owner 77" in ran.out else "", "payload ran")


NAMES = ("../x", "a/b", "eth%d", "a b", "a:b", "..", "\xe9" * 8, "x" * 16, "\n")
MAKE_DEVICE = """
ip link add victim0 type veth peer name victim1 || exit 9
"$@" >/dev/null; echo code $?
ip -o link show victim0 >/dev/null 2>&1 && echo still there
"""


@attack(
    "C17",
    "CVE-2017-5985",
    "network devices named to be others: by paths, patterns, white space, too long; the host loses its own",
    Patch("runtime/oci/rules.py", "not device_name(name)", "False"),
)
def names_of_devices(arena: Arena) -> Outcome:
    """In a network namespace of its own, which stands for the host's."""
    for name in NAMES:
        bundle = arena.bundle(["true"], {"linux": {"netDevices": {"victim0": {"name": name}}}})
        command = arena.runtime.command("run", "--bundle", bundle, arena.runtime.id())
        done = subprocess.run(
            ["unshare", "--net", "sh", "-c", MAKE_DEVICE, "sh", *command],
            capture_output=True, text=True, timeout=90, check=False,
        )  # fmt: skip
        if "code " not in done.stdout:
            return Outcome(UNKNOWN, done.stderr[-200:])
        if "code 0" in done.stdout and "still there" in done.stdout:
            return Outcome(NONE, "it has no netDevices")
        if "still there" not in done.stdout:
            return Outcome(BROKEN, f"the host's device is gone, for the name {name!a}: {done.stderr.strip()[-100:]}")
    return Outcome(HELD, "every name refused")


ORDERS = "\x1b]0;owned\x07\x1b[2K\x9b31m\u202e\u2028"


@attack(
    "G9",
    "-",
    "what a stranger wrote reaches the caller's terminal as it is: titles, paths, fields, errors",
    Patch("runtime/printable.py", "    if text.isprintable():", "    if text:"),
)
def orders_to_a_terminal(arena: Arena) -> Outcome:
    """A process's title, the name of a bundle, an argument that a plan prints and a program that is not there."""
    bundle = arena.bundle(["sh", "-c", "sleep 1000; true", ORDERS.replace("\x07", "")])
    evil = bundle.rename(bundle.with_name(f"b{ORDERS}"))
    missing = arena.bundle([f"/no{ORDERS}"])
    name = arena.detached(evil)
    said = {
        "ps": arena.runtime("ps", name, errors="replace"),
        "list": arena.runtime("list", errors="replace"),
        "plan": arena.runtime("plan", "--bundle", evil, errors="replace"),
        "run": arena.runtime("run", "--bundle", missing, arena.runtime.id(), errors="replace"),
    }
    if name not in said["list"].stdout or not said["run"].returncode:
        return Outcome(UNKNOWN, f"{said['list'].stderr[-200:]} {said['run'].stdout[-200:]}")
    for command, done in said.items():
        bare = [hex(ord(c)) for c in done.stdout + done.stderr if not c.isprintable() and c != "\n"]
        if bare:
            return Outcome(BROKEN, f"{command} printed {', '.join(sorted(set(bare)))}")
    return Outcome(HELD)
