"""Section A: the runtime's own executable, its file descriptors, its writes to procfs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.attacks.arena import BROKEN, HELD, UNKNOWN, Arena, Outcome, attack, background
from tests.attacks.doubles import Patch
from tests.harness.output import Output

OWN_EXE = Patch(
    "runtime/host/launch.py",
    "return sealed_memfd(INIT, ffi.buffer(lib.stele_init_blob, lib.stele_init_blob_size), executable=True)",
    'return os.open(__file__.split("/runtime/")[0] + "/init", os.O_RDONLY | os.O_CLOEXEC)',
)
"""init is executed from a file of the host."""

LEAK = Patch(
    "cshim/init/main.c",
    "const void *plan = map_plan(",
    'SYS(__NR_openat, AT_FDCWD, "/", OPEN_PATH | O_DIRECTORY, 0);\n\tconst void *plan = map_plan(',
)
"""init opens the host's root, and keeps it where KEPT lets it."""

KEPT = (
    Patch("cshim/init/slots.c", 'must(in, SYS(__NR_close_range, in->slots + 1, ~0u, 0), "close_range");', ""),
    Patch("cshim/init/process.c", "close_all_but_talk(in, 3 + (int)INTS(execute, s)->keep_fds);", ""),
)
"""Nothing is closed on the way."""

NAP = "long nap[2] = { 0, 300000000 }; SYS(__NR_nanosleep, nap, NULL);"


def _lines(text: str, *words: str) -> str:
    return "; ".join(line for line in text.splitlines() if any(word in line for word in words))


@attack(
    "A1",
    "CVE-2019-5736",
    "the runtime's executable overwritten through /proc/PID/exe",
    OWN_EXE,
    Patch(
        "cshim/init/main.c",
        "\t\tSYS(__NR_exit_group, 2);\n\tin.report_fd",
        "\t\t{ " + NAP + " SYS(__NR_exit_group, 2); }\n\tin.report_fd",
    ),
)
def overwritten_executable(arena: Arena) -> Outcome:
    """A copy of the runtime is attacked: an exec of `#!/proc/self/exe` makes it execute itself in the container."""
    own = arena.folder / "program"
    own.mkdir()
    original = Path(arena.runtime.argv[0])
    if (original.parent / "cshim/init").exists():  # a double: all of it
        shutil.copytree(original.parent, own / "double")
        program = own / "double" / original.name
        program.write_text(program.read_text().replace(str(original.parent), str(program.parent)))
    else:
        program = own / original.name
        shutil.copy(original, program)
    before = _digests(own)
    arena.runtime.argv = [str(program)]
    bundle = arena.bundle(["/bin/payload", "thief"])
    script = bundle / "rootfs/bin/evil"
    script.write_text("#!/proc/self/exe\n")
    script.chmod(0o755)
    output = Output()
    name = arena.runtime.id()
    # Detached, so that its output is read while it watches.
    done = arena.runtime("run", "--detach", "--bundle", bundle, name, stdout=output.write_fd, stderr=subprocess.STDOUT)
    if done.returncode:
        return Outcome(UNKNOWN, output.rest())
    output.until("watching")
    for _ in range(12):
        arena.runtime("exec", name, "/bin/evil", timeout=90, errors="replace")
        if _digests(own) != before:
            break
    (bundle / "rootfs/stop").touch()
    said = output.rest()
    output.close()
    changed = [path for path, digest in _digests(own).items() if before.get(path) != digest]
    if changed:
        return Outcome(BROKEN, f"{Path(changed[0]).name} was overwritten")
    if "done" not in said:
        return Outcome(UNKNOWN, said[-200:])
    return Outcome(HELD, _lines(said, "exe of")[:200])


def _digests(folder: Path) -> dict[str, str]:
    return {
        str(p): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in folder.rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    }


@attack(
    "A2",
    "CVE-2024-21626",
    "cwd through a leaked directory fd of the host",
    Patch("cshim/init/process.c", "if (cwd[0] != '/')", "if (0)"),
    LEAK,
    *KEPT,
)
def leaked_cwd(arena: Arena) -> Outcome:
    ended = 0
    bundle = arena.bundle(["/bin/payload", "cwd"])
    config = json.loads((bundle / "config.json").read_text())
    for fd in range(3, 16):
        config["process"]["cwd"] = f"/proc/self/fd/{fd}"
        (bundle / "config.json").write_text(json.dumps(config))
        ran = arena.run(bundle)
        if "done" in ran.out and "cwd /" not in ran.out:
            return Outcome(BROKEN, f"fd {fd}: {_lines(ran.out, 'cwd')}")
        ended += ran.code != -1
    return Outcome(HELD, "every fd refused") if ended == 13 else Outcome(UNKNOWN, "a run did not end")


@attack(
    "A2e",
    "CVE-2024-21626",
    "the same by exec --cwd",
    Patch("cshim/init/process.c", "if (cwd[0] != '/')", "if (0)"),
    LEAK,
    *KEPT,
)
def leaked_cwd_of_exec(arena: Arena) -> Outcome:
    name = arena.detached(arena.bundle(["sleep", "1000"]))
    for fd in range(3, 16):
        done = arena.runtime("exec", "--cwd", f"/proc/self/fd/{fd}", name, "/bin/payload", "cwd", timeout=90)
        if "done" in done.stdout and "cwd /" not in done.stdout:
            return Outcome(BROKEN, f"fd {fd}: {_lines(done.stdout, 'cwd')}")
    plain = arena.runtime("exec", name, "/bin/payload", "cwd", timeout=90)
    return Outcome(HELD) if "cwd /\n" in plain.stdout else Outcome(UNKNOWN, plain.stderr)


def _leaked_fds(said: str) -> list[str]:
    """Fds above stdio that the payload did not open itself."""
    return [line for line in said.splitlines() if line.startswith("fd ") and int(line.split()[1]) > 2]


@attack(
    "A3f",
    "CVE-2016-9962",
    "file descriptors of the host left open in a process of exec or run",
    LEAK,
    *KEPT,
)
def leaked_fds(arena: Arena) -> Outcome:
    """The caller itself leaks some, as careless daemons do."""
    held = [os.open(arena.canary, os.O_RDONLY | os.O_DIRECTORY) for _ in range(4)]
    try:
        for fd in held:
            os.set_inheritable(fd, True)
        bundle = arena.bundle(["/bin/payload", "cwd"])
        name = arena.runtime.id()
        ran = arena.runtime("run", "--bundle", bundle, name, close_fds=False, timeout=90)
        name = arena.detached(arena.bundle(["sleep", "1000"]))
        inside = arena.runtime("exec", name, "/bin/payload", "cwd", close_fds=False, timeout=90)
    finally:
        for fd in held:
            os.close(fd)
    if "done" not in ran.stdout or "done" not in inside.stdout:
        return Outcome(UNKNOWN, ran.stderr + inside.stderr)
    leaked = [*_leaked_fds(ran.stdout), *_leaked_fds(inside.stdout)]
    return Outcome(BROKEN, "; ".join(leaked)) if leaked else Outcome(HELD)


@attack(
    "A3",
    "CVE-2016-9962",
    "the process that exec sends in is robbed by the container's root",
    Patch("cshim/init/namespaces.c", "SYS(__NR_prctl, PR_SET_DUMPABLE, 0);", ""),
    Patch(
        "cshim/init/namespaces.c",
        "\t\tSYS(__NR_close, gate[0]);\n\t\treturn;",
        "\t\tSYS(__NR_prctl, PR_SET_DUMPABLE, 1);\n\t\t" + NAP + "\n\t\treturn;",
    ),
)
def robbed_exec(arena: Arena) -> Outcome:
    """In a user namespace, with all capabilities in it: only that the newcomer is not dumpable protects it."""
    everything = [*json.loads(json.dumps(ALL_CAPABILITIES))]

    def edit(config: dict[str, Any]) -> None:
        config["process"]["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), everything)
        config["linux"]["namespaces"].append({"type": "user"})
        config["linux"]["uidMappings"] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        config["linux"]["gidMappings"] = [{"containerID": 0, "hostID": 100000, "size": 65536}]

    bundle = arena.bundle(["/bin/payload", "thief"], edit=edit)
    arena.reachable(bundle)
    output = Output()
    name = arena.runtime.id()
    done = arena.runtime("run", "--detach", "--bundle", bundle, name, stdout=output.write_fd, stderr=subprocess.STDOUT)
    if done.returncode:
        return Outcome(UNKNOWN, output.rest())
    output.until("watching")
    for _ in range(10):
        arena.runtime("exec", name, "/bin/true", timeout=90)
    (bundle / "rootfs/stop").touch()
    said = output.rest()
    output.close()
    robbed = _lines(said, "exe of", "open to us", "WROTE")
    if robbed:
        return Outcome(BROKEN, robbed[:200])
    return Outcome(HELD) if "done" in said else Outcome(UNKNOWN, said[-200:])


ALL_CAPABILITIES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN",
    "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
)  # fmt: skip


@attack(
    "A5",
    "CVE-2019-16884",
    "a volume over /proc takes the runtime's writes (oom_score_adj, sysctl)",
    Patch("cshim/init/paths.c", "fd = proc && is_proc(proc) ?", "fd = proc ?"),
    Patch("cshim/init/paths.c", "if (fd >= 0 && !is_proc((int)fd)) {", "if (0) {"),
)
def fake_proc(arena: Arena) -> Outcome:
    fake = arena.folder / "fake"
    (fake / "self/attr").mkdir(parents=True)
    (fake / "sys/kernel").mkdir(parents=True)
    files = {"self/oom_score_adj": "0\n", "sys/kernel/msgmax": "1\n", "self/attr/exec": "none\n"}
    for name, text in files.items():
        (fake / name).write_text(text)

    def edit(config: dict[str, Any]) -> None:
        config["mounts"][0] = {"destination": "/proc", "type": "bind", "source": str(fake), "options": ["rbind", "rw"]}
        config["process"]["oomScoreAdj"] = 500
        config["linux"]["sysctl"] = {"kernel.msgmax": "9999"}
        config["linux"].pop("maskedPaths")
        config["linux"].pop("readonlyPaths")

    ran = arena.run(arena.bundle(["echo", "payload ran"], edit=edit))
    written = [name for name, text in files.items() if (fake / name).read_text() != text]
    return ran.outcome(f"written to the fake: {', '.join(written)}" if written else "", "payload ran")


HOLD = "mount -t tmpfs fake /proc && mkdir -p /proc/sys/kernel /proc/self && for name in $0; do echo none >/proc/$name; done && echo ready && read -r _"
FAKES = ("sys/kernel/msgmax", "self/timens_offsets")


@attack(
    "A5j",
    "CVE-2019-16884",
    "the mount namespace that a container joins has a fake /proc, which takes the runtime's writes",
    Patch("cshim/init/paths.c", "if (fd >= 0 && !is_proc((int)fd)) {", "if (0) {"),
)
def fake_proc_of_a_joined_namespace(arena: Arena) -> Outcome:
    """Labels and the OOM score are written by the function that writes sysctls where there is no /proc of the container's."""
    words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", HOLD, " ".join(FAKES)]
    with (
        subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder,
        background(holder),
    ):
        assert holder.stdout and holder.stdout.readline() == "ready\n"

        def edit(config: dict[str, Any]) -> None:
            linux = config["linux"]
            for namespace in linux["namespaces"]:
                if namespace["type"] == "mount":
                    namespace["path"] = f"/proc/{holder.pid}/ns/mnt"
            linux["namespaces"].append({"type": "time"})
            linux["timeOffsets"] = {"monotonic": {"secs": 7}}
            linux["sysctl"] = {"kernel.msgmax": "9999"}
            config["mounts"] = linux["maskedPaths"] = linux["readonlyPaths"] = []

        # Opened before: the container's root takes the place of the holder's.
        with contextlib.ExitStack() as files:
            fakes = [files.enter_context(open(f"/proc/{holder.pid}/root/proc/{name}")) for name in FAKES]
            ran = arena.run(arena.bundle(["echo", "payload ran"], edit=edit))
            written = [name for name, fake in zip(FAKES, fakes, strict=True) if fake.read() != "none\n"]
    return ran.outcome(f"written to the fake: {', '.join(written)}" if written else "", "payload ran")


@attack(
    "A6",
    "CVE-2019-19921",
    "/proc of the image is a link: the procfs lands elsewhere, masks hit a decoy",
    Patch("cshim/init/mounts.c", "if (!strict)", "if (1)"),
)
def proc_is_a_link(arena: Arena) -> Outcome:
    bundle = arena.bundle(
        ["sh", "-c", "ls /evil; echo payload ran"], {"linux": {"maskedPaths": [], "readonlyPaths": []}}
    )
    root = bundle / "rootfs"
    (root / "proc").rmdir()
    (root / "evil").mkdir()
    (root / "proc").symlink_to("/evil")
    ran = arena.run(bundle)
    return ran.outcome("the procfs is where the image wanted it" if "version" in ran.out else "", "payload ran")


@attack(
    "A8",
    "CVE-2026-115521",
    "a forged /proc/self/fd takes the read-only remount of the root",
    Patch(
        "cshim/init/mounts.c",
        'must(in, set_attributes(root, MOUNT_ATTR_RDONLY, 0, 0, 0), "/");',
        '{ int t = (int)SYS(__NR_openat, AT_FDCWD, "/proc/self/fd/7", OPEN_PATH | O_CLOEXEC, 0);'
        ' must(in, set_attributes(t, MOUNT_ATTR_RDONLY, 0, 0, 0), "/"); }',
    ),
)
def forged_self_fd(arena: Arena) -> Outcome:
    """/proc is a volume with self/fd/N as links to another mount; the root must be read-only all the same."""
    fake = arena.folder / "fake"
    (fake / "self/fd").mkdir(parents=True)
    for n in range(64):
        (fake / f"self/fd/{n}").symlink_to("/dev/shm")

    def edit(config: dict[str, Any]) -> None:
        config["mounts"][0] = {"destination": "/proc", "type": "bind", "source": str(fake), "options": ["rbind"]}
        config["linux"]["maskedPaths"] = config["linux"]["readonlyPaths"] = []

    ran = arena.run(
        arena.bundle(["sh", "-c", "touch /tmp/x && echo writable; echo payload ran"], edit=edit, readonly=True)
    )
    return ran.outcome("the root can be written" if "writable" in ran.out else "", "payload ran")
