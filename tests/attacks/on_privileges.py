"""Section C: privileges, identity, exec, cgroups, hooks, state."""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import Any

from runtime.container.state import Record, Store
from tests.attacks.arena import BROKEN, HELD, REFUSED, UNKNOWN, Arena, Outcome, attack
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
        "(uint32_t)v->effective, (uint32_t)v->permitted, (uint32_t)v->inheritable }",
        "(uint32_t)v->effective, (uint32_t)v->permitted, (uint32_t)v->permitted }",
    ),
)
def inheritable(arena: Arena) -> Outcome:
    ran = arena.run(arena.bundle(["cat", "/proc/self/status"]))
    name = arena.detached(arena.bundle(["sleep", "1000"]))
    inside = arena.runtime("exec", "--cap", "CAP_NET_RAW", name, "cat", "/proc/self/status", timeout=90)
    for what, text in (("run", ran.out), ("exec", inside.stdout)):
        sets = _capabilities(text)
        if not sets.get("CapEff"):
            return Outcome(UNKNOWN, ran.err + inside.stderr)
        if sets["CapInh"] or sets["CapAmb"]:
            return Outcome(BROKEN, f"{what}: inheritable {sets['CapInh']:x}, ambient {sets['CapAmb']:x}")
    return Outcome(HELD)


@attack(
    "C2",
    "CVE-2016-8867",
    "no capabilities object: some are left",
    Patch(
        "runtime/plan/identity.py",
        'sets = process.get("capabilities") or {}',
        'sets = process.get("capabilities") or {"bounding": list(CAPABILITIES)}',
    ),
)
def no_capabilities(arena: Arena) -> Outcome:
    ran = arena.run(arena.bundle(["cat", "/proc/self/status"], {"process": {"capabilities": None}}))
    sets = _capabilities(ran.out)
    left = {name: f"{value:x}" for name, value in sets.items() if value}
    return ran.outcome(str(left) if left else "", "CapBnd:")


CONFINEMENT = (
    "Uid:",
    "Gid:",
    "Groups:",
    "CapInh:",
    "CapPrm:",
    "CapEff:",
    "CapBnd:",
    "CapAmb:",
    "NoNewPrivs:",
    "Seccomp:",
)


@attack(
    "C3",
    "CVE-2019-10144",
    "a process of exec is less confined than the container's own",
    Patch(
        "runtime/plan/compile.py",
        '    spaces = namespaces.parse(linux.get("namespaces") or ())\n    can_set_groups = (not rootless',
        '    linux = {**linux, "seccomp": None}\n'
        '    spaces = namespaces.parse(linux.get("namespaces") or ())\n    can_set_groups = (not rootless',
    ),
)
def exec_is_freer(arena: Arena) -> Outcome:
    script = ["sh", "-c", "cat /proc/self/status /proc/self/cgroup; ls -l /proc/self/ns | sed 's/.* //'; sleep 1000"]

    def edit(config: dict[str, Any]) -> None:
        config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW"}

    bundle = arena.bundle(script, edit=edit)
    name = arena.detached(bundle)
    script[2] = script[2].replace("sleep 1000", "true")
    inside = arena.runtime("exec", name, *script, timeout=90).stdout

    def confinement(text: str) -> list[str]:
        lines = text.splitlines()
        return [x for x in lines if x.startswith((*CONFINEMENT, "0::")) or (":[" in x)]

    end = time.monotonic() + 20
    while "uts:[" not in (bundle / "stdout").read_text() and time.monotonic() < end:
        time.sleep(0.01)  # a file's growth cannot be awaited
    own = confinement((bundle / "stdout").read_text())
    if not own or "NoNewPrivs" not in inside:
        return Outcome(UNKNOWN, inside)
    different = [f"{a} became {b}" for a, b in zip(own, confinement(inside), strict=False) if a != b]
    return Outcome(BROKEN, "; ".join(different)) if different else Outcome(HELD)


@attack(
    "C4",
    "CVE-2024-40635",
    "ids out of range become 0, in config.json and exec --user; a user's name that is a number",
    Patch(
        "runtime/cli/execute.py",
        "number = decimal(text, MAX_ID)",
        "number = int(text) & 0xFFFFFFFF",
    ),
)
def wrapped_ids(arena: Arena) -> Outcome:
    bundle = arena.bundle(["sleep", "1000"])
    (bundle / "rootfs/etc/passwd").write_text("1000:x:0:0:forged:/root:/bin/sh\n4294967296:x:0:0::/:/bin/sh\n")
    name = arena.detached(bundle)
    for user in ("4294967296", "-4294967296", "8589934592:8589934592", "1000", "1000:1000", "4294967295"):
        done = arena.runtime("exec", "--user", user, name, "/bin/payload", "groups", timeout=90)
        if "uid 0\n" in done.stdout:
            return Outcome(BROKEN, f"exec --user {user} is root")
    for uid in (1 << 32, -(1 << 32), (1 << 32) - 1):
        ran = arena.run(arena.bundle(["/bin/payload", "groups"], {"process": {"user": {"uid": uid, "gid": uid}}}))
        if "uid 0\n" in ran.out:
            return Outcome(BROKEN, f"process.user.uid {uid} is root")
    plain = arena.runtime("exec", "--user", "1000", name, "/bin/payload", "groups", timeout=90)
    return Outcome(HELD) if "uid 1000\n" in plain.stdout else Outcome(UNKNOWN, plain.stdout + plain.stderr)


@attack(
    "C5",
    "CVE-2022-36109",
    "groups of the runtime's caller are left to the container",
    Patch(
        "cshim/init/process.c",
        "if (v->groups)\n\t\tmust(in, SYS(__NR_setgroups, n / 4, gids)",
        "if (0)\n\t\tmust(in, SYS(__NR_setgroups, n / 4, gids)",
    ),
)
def caller_groups(arena: Arena) -> Outcome:
    bundle = arena.bundle(
        ["/bin/payload", "groups"], {"process": {"user": {"uid": 1000, "gid": 1000, "additionalGids": [77]}}}
    )
    done = arena.runtime("run", "--bundle", bundle, arena.runtime.id(), extra_groups=[4242, 27], timeout=90)
    groups = next((line.split()[1:] for line in done.stdout.splitlines() if line.startswith("groups")), None)
    if groups is None:
        return Outcome(UNKNOWN, done.stderr)
    return Outcome(HELD) if set(groups) <= {"77", "1000"} else Outcome(BROKEN, f"groups {' '.join(groups)}")


@attack(
    "C7",
    "CVE-2023-25809",
    "the cgroup mount is writable though asked for read-only, without a cgroup namespace",
    Patch(
        "runtime/plan/mounts.py",
        "_bind(_CGROUP_BIND, facts.cgroup_mount, target, steps.NO_SLOT, i, extra=options)",
        "_bind(_CGROUP_BIND, facts.cgroup_mount, target, steps.NO_SLOT, i)",
    ),
)
def writable_cgroups(arena: Arena) -> Outcome:
    def edit(config: dict[str, Any]) -> None:
        config["linux"]["namespaces"] = [n for n in config["linux"]["namespaces"] if n["type"] != "cgroup"]

    folder = f"/sys/fs/cgroup/{arena.runtime.token}-escaped"
    ran = arena.run(arena.bundle(["sh", "-c", f"mkdir {folder} && echo writable; echo payload ran"], edit=edit))
    return ran.outcome("it made a cgroup" if "writable" in ran.out else "", "payload ran")


@attack(
    "C9",
    "CVE-2017-18367",
    "a seccomp rule with two arguments, or a 64-bit one, is compiled to less than it says",
    Patch("runtime/plan/seccomp_program.py", "for condition in conditions:", "for condition in conditions[:1]:"),
)
def weak_filter(arena: Arena) -> Outcome:
    def edit(config: dict[str, Any]) -> None:
        def rule(call: str, *args: tuple[int, int]) -> dict[str, Any]:
            conditions = [{"index": i, "value": v, "op": "SCMP_CMP_EQ"} for i, v in args]
            return {"names": [call], "action": "SCMP_ACT_ERRNO", "errnoRet": 18, "args": conditions}

        config["linux"]["seccomp"] = {
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [rule("socket", (0, 12345), (1, 7)), rule("lseek", (1, 5 << 32 | 1))],
        }

    ran = arena.run(arena.bundle(["/bin/payload", "seccomp"], edit=edit))
    wanted = {"both": "denied", "first": "allowed", "second": "allowed", "high": "denied", "low": "allowed"}
    wrong = [f"{w[0]} {w[1]}" for w in map(str.split, ran.out.splitlines()) if len(w) == 2 and wanted[w[0]] != w[1]]
    return ran.outcome(", ".join(wrong), "done")


@attack(
    "C10",
    "CVE-2025-23266",
    "the image's environment reaches hooks, which run as the host's root",
    Patch(
        "runtime/plan/hooks.py",
        'process.get("env") if kind == "startContainer" else None',
        'process.get("env")',
    ),
)
def environment_of_hooks(arena: Arena) -> Outcome:
    written = {
        kind: arena.folder / f"hook-{kind}" for kind in ("prestart", "createRuntime", "createContainer", "poststop")
    }

    def edit(config: dict[str, Any]) -> None:
        config["process"]["env"].append("IMAGE_SAYS=LD_PRELOAD")
        config["hooks"] = {
            kind: [
                {
                    "path": "/bin/sh",
                    "args": ["sh", "-c", f"cat > /dev/null; tr '\\0' '\\n' < /proc/self/environ > {path}"],
                }
            ]
            for kind, path in written.items()
        }

    ran = arena.run(arena.bundle(["echo", "payload ran"], edit=edit))
    hit = [kind for kind, path in written.items() if path.exists() and "IMAGE_SAYS" in path.read_text()]
    if ran.code == 0 and not all(path.exists() for path in written.values()):
        return Outcome(UNKNOWN, "a hook did not run")
    return ran.outcome(f"in {', '.join(hit)}" if hit else "", "payload ran")


@attack(
    "C12",
    "CVE-2014-9358",
    "an id with .. in it: a foreign folder is removed",
    Patch(
        "runtime/container/state.py",
        'if not ID.fullmatch(container_id) or container_id in (".", "..", CACHE):',
        "if False:",
    ),
)
def id_is_a_path(arena: Arena) -> Outcome:
    victim = arena.folder / "victim"
    victim.mkdir()
    directory = os.open(victim, os.O_RDONLY | os.O_DIRECTORY)
    Store(str(arena.folder)).write(directory, Record("victim", "", "", "", 0, {}, {"manager": "disabled"}))
    os.close(directory)
    refused = 0
    ids = ("../victim", "./../victim", "x/../../victim", str(victim), "..", ".", "", "a\nb", "a b", "é")
    for name in ids:
        refused += arena.runtime("delete", "--force", name, timeout=90).returncode != 0
        arena.runtime("kill", name, "KILL", timeout=90)
        if not victim.exists():
            return Outcome(BROKEN, f"delete --force {name!r} removed it")
    bundle = arena.bundle(["true"])
    for name in ids[:4]:
        if arena.runtime("create", "--bundle", bundle, name, timeout=90).returncode == 0:
            return Outcome(BROKEN, f"create {name!r} made it")
    return Outcome(REFUSED, f"{refused} of {len(ids)} refused")


@attack(
    "C13",
    "CVE-2021-41091",
    "state that other users can read",
    Patch("runtime/container/state.py", "os.mkdir(path, 0o700)", "os.mkdir(path, 0o755)"),
    Patch(
        "runtime/container/state.py",
        "mode=0o1700, exist_ok=True)",
        "mode=0o1755, exist_ok=True)",
    ),
    Patch(
        "runtime/host/files.py",
        f"{' ' * 12}return os.open(name, flags, 0o600",
        f"{' ' * 12}return os.open(name, flags, 0o644",
    ),
)
def readable_state(arena: Arena) -> Outcome:
    bundle = arena.bundle(["sleep", "1000"])
    fresh = arena.folder / "made by the runtime"
    token, arena.runtime.root = arena.runtime.token, fresh
    before = os.umask(0)
    try:
        name = arena.runtime.create(bundle)
    finally:
        os.umask(before)
    try:
        paths = [fresh, *fresh.rglob("*")]
        closed = [p for p in paths if p.is_dir() and not p.stat().st_mode & 0o007]
        open_to_all = [p for p in paths if p.lstat().st_mode & 0o004 and not any(c in (p, *p.parents) for c in closed)]
    finally:
        arena.runtime("delete", "--force", name, timeout=90)
    assert token in name
    return (
        Outcome(BROKEN, ", ".join(str(p.relative_to(arena.folder)) for p in open_to_all))
        if open_to_all
        else Outcome(HELD)
    )


@attack(
    "C14",
    "CVE-2020-15257",
    "an abstract socket of the runtime, open to containers in the host's network",
    Patch(
        "runtime/container/create.py",
        'listener.bind(f"/proc/self/fd/{directory}/{START_SOCKET}")',
        'listener.bind(f"\\0stele/{directory}/{START_SOCKET}")',
    ),
)
def abstract_socket(arena: Arena) -> Outcome:
    """In a network namespace of its own, so that nobody else's sockets are seen."""
    bundle = arena.bundle(["sleep", "1000"])
    name = arena.runtime.id()
    create = [*arena.runtime.command("create", "--bundle", bundle, name)]
    script = '"$@" >/dev/null 2>&1; echo code $?; cat /proc/net/unix'
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", script, "sh", *create], capture_output=True, text=True, timeout=90, check=False
    )
    if "code 0\n" not in done.stdout:
        return Outcome(UNKNOWN, done.stdout[:200])
    abstract = [line.split()[-1] for line in done.stdout.splitlines() if line.split()[-1].startswith("@")]
    return Outcome(BROKEN, ", ".join(abstract)) if abstract else Outcome(HELD)


@attack(
    "C18",
    "-",
    "no_new_privs and the bounding set: a setuid program of the image, run by its user, becomes root",
    Patch("cshim/init/process.c", 'must(in, SYS(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1), "")', "(void)in"),
)
def setuid_program(arena: Arena) -> Outcome:
    def edit(config: dict[str, Any]) -> None:
        config["process"]["user"] = {"uid": 1000, "gid": 1000}
        config["process"]["capabilities"] = json.loads('{"bounding": ["CAP_SETUID", "CAP_CHOWN"]}')

    bundle = arena.bundle(["/bin/payload", "groups"], edit=edit)
    (bundle / "rootfs/bin/payload").chmod(0o4755)
    ran = arena.run(bundle)
    return ran.outcome("it is root" if "uid 0\n" in ran.out else "", "uid 1000")
