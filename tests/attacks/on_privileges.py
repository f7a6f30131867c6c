"""Section C: privileges, identity, exec, cgroups, hooks, state."""

from __future__ import annotations

from tests.attacks.arena import BROKEN, HELD, UNKNOWN, Arena, Outcome, attack
from tests.attacks.doubles import Patch


def _capabilities(text: str) -> dict[str, int]:
    """The five sets of /proc/PID/status."""
    return {
        line.split(":")[0]: int(line.split()[1], 16)
        for line in text.splitlines()
        if line.startswith("Cap") and len(line.split()) == 2
    }


@attack(
    "C1",
    "CVE-2022-29162",
    "inheritable and ambient capabilities that nobody asked for, in run and exec",
    Patch(
        "cshim/init/process.c",
        "(uint32_t)v[4], (uint32_t)v[3], (uint32_t)v[5] }",
        "(uint32_t)v[4], (uint32_t)v[3], (uint32_t)v[3] }",
    ),
)
def inheritable(arena: Arena) -> Outcome:
    ran = arena.run(arena.bundle(["cat", "/proc/self/status"]))
    name = arena.detached(arena.bundle(["sleep", "1000"]))
    inside = arena.runtime("exec", "--cap", "CAP_NET_RAW", name, "cat", "/proc/self/status", timeout=20)
    for what, text in (("run", ran.out), ("exec", inside.stdout)):
        sets = _capabilities(text)
        if not sets.get("CapEff"):
            return Outcome(UNKNOWN, ran.err + inside.stderr)
        if sets["CapInh"] or sets["CapAmb"]:
            return Outcome(BROKEN, f"{what}: inheritable {sets['CapInh']:x}, ambient {sets['CapAmb']:x}")
    return Outcome(HELD)
