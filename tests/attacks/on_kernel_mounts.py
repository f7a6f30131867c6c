"""The file systems that a container gets of the kernel: /proc, /sys and /dev, exchanged while it is made, and those of the
host below --no-pivot. And what went wrong with mounts elsewhere in 2026."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.attacks.arena import HELD, REFUSED, UNKNOWN, Arena, Outcome, Ran, attack
from tests.attacks.doubles import Patch
from tests.attacks.on_mounts import _tmpfs
from tests.attacks.races import SHOW, _mountinfo, _race

MASKED = {"proc": ["keys", "timer_list"], "sysfs": ["firmware", "kernel"], "tmpfs": ["shm"]}
"""By the type of what is at /proc, /sys and /dev: what is masked in it."""
READ_ONLY = {"proc": ["fs", "sys"]}

BY_NAME = (
    Patch("cshim/init/paths.c", "if (place >= 0 && in->own[place]) {", "if (0) {"),
    Patch("cshim/init/mounts.c", "\tcheck_places(in);\n", ""),
)
"""What was mounted is looked up by its name again, and nobody looks whether it is still there."""

BY_PATH = (
    Patch(
        "cshim/init/mounts.c",
        "#define MNT_DETACH 2\n",
        "#define MNT_DETACH 2\nstatic const char *root_path;\n",
    ),
    Patch("cshim/init/mounts.c", "\tin->root = tree;\n", "\tin->root = tree;\n\troot_path = path;\n"),
    Patch(
        "cshim/init/mounts.c",
        "\tint target = open_in_root(in, path, OPEN_PATH, 0), tree;\n",
        "\tint base = (int)SYS(__NR_openat, AT_FDCWD, root_path, OPEN_PATH | O_CLOEXEC, 0), tree;\n\tif (base < 0) return;\n"
        "\tint target = (int)SYS(__NR_openat, base, path + 1, OPEN_PATH | O_CLOEXEC, 0);\n",
    ),
)
"""Masks are looked up from the path of the root file system on the host."""


def _asks(config: dict[str, Any]) -> None:
    places = {"proc": "/proc", "sysfs": "/sys", "tmpfs": "/dev"}
    config["linux"]["maskedPaths"] = [f"{places[kind]}/{name}" for kind, names in MASKED.items() for name in names]
    config["linux"]["readonlyPaths"] = [f"{places[kind]}/{name}" for kind, names in READ_ONLY.items() for name in names]


def _is_open(ran: Ran) -> str:
    """What should be masked or read-only on a file system of the kernel, wherever that is by now, and is not."""
    lines = _mountinfo(ran)
    # By the mounts' ids: their paths change while the list is read.
    on = {(line[1], os.path.basename(line[4])): (line[0], line[5].split(",")) for line in lines}
    for line in lines:
        if line[3] != "/":
            continue
        number, kind = line[0], line[line.index("-") + 1]
        if kind == "tmpfs" and (number, "pts") not in on:
            continue  # not what is at /dev
        for name in MASKED.get(kind, ()):
            mask = on.get((number, name))
            if not mask or (name == "shm" and (mask[0], name) not in on):  # that is a mount already
                return f"{line[4]}/{name} is not masked"
        for name in READ_ONLY.get(kind, ()):
            if "ro" not in on.get((number, name), ("", []))[1]:
                return f"{line[4]}/{name} is writable"
    return ""


def _devices(folder: Path) -> list[str]:
    """The device nodes in a folder, which may be exchanged for something else meanwhile."""
    try:
        with os.scandir(folder) as entries:
            return [e.name for e in entries if stat.S_ISCHR(e.stat(follow_symlinks=False).st_mode)]
    except OSError:
        return []


def _exchanged(arena: Arena, place: str, kind: str) -> Outcome:
    """place: the directory of the root that is exchanged; "" for the root itself. kind: with what."""
    bundle = arena.bundle(SHOW, edit=_asks)
    root = bundle / "rootfs"
    other = root / "other" if place else bundle / "other"
    if kind == "link":
        other.symlink_to("/evil")
        (root / "evil").mkdir()
    elif kind == "file":
        other.write_text("")
    else:
        other.mkdir()
    for folder in (root / place, other, root / "evil"):
        if place and folder.is_dir() and not folder.is_symlink():
            (folder / "shm").mkdir(exist_ok=True)
    if not place and kind == "directory":
        subprocess.run(["cp", "-a", f"{root}/.", other], check=True)

    def judge(ran: Ran) -> str:
        if hit := _is_open(ran):
            return hit
        for folder in (root / "dev", other, root / "evil", root / "other"):
            if nodes := _devices(folder):
                return f"a device was made in the root file system: {nodes[0]}"
        return ""

    # A file at /dev ends whatever comes next, unless that is the masks: so it is there for a while, or not. So does what is
    # no directory where the root is, which has several looks at it.
    pause = 400 if (place, kind) == ("dev", "file") else 5000 if not place and kind != "directory" else 0
    return _race(arena, bundle, root / place if place else root, other, judge, pause_us=pause)


for _place, _letter in (("proc", "p"), ("sys", "s"), ("dev", "d"), ("", "r")):
    for _kind in ("directory", "link", "file"):

        def _run(arena: Arena, place: str = _place, kind: str = _kind) -> Outcome:
            return _exchanged(arena, place, kind)

        attack(
            f"G2{_letter}{_kind[0]}",
            "",
            f"race: {f'/{_place}' if _place else 'the root'} is exchanged with a {_kind}; masks, devices miss their file system",
            *(BY_NAME if _place else BY_PATH),
            rounds=1000,
        )(_run)


@attack(
    "G2n",
    "",
    "--no-pivot: the host's procfs and sysfs below the root allow another, without masks",
    Patch("cshim/init/mounts.c", "\t\thide_kernel_mounts(in);\n", ""),
)
def below_the_root(arena: Arena) -> Outcome:
    outcome = Outcome(UNKNOWN)
    for uid in (0, 1000):
        for capable in (False, True):

            def edit(config: dict[str, Any], uid: int = uid, capable: bool = capable) -> None:
                config["process"]["user"] = {"uid": uid, "gid": uid}
                config["process"]["noNewPrivileges"] = True
                if not capable:
                    config["process"]["capabilities"] = {"bounding": []}

            ran = arena.run(arena.bundle(["/bin/payload", "reveal", "/tmp"], edit=edit), "--no-pivot")
            seen = [line for line in ran.out.splitlines() if "MOUNTED" in line]
            outcome = ran.outcome(f"uid {uid}: {', '.join(seen)}" if seen else "", "done")
            if outcome.verdict not in (HELD, REFUSED):
                return outcome
    return outcome


IDS = [{"containerID": 0, "hostID": 100_000, "size": 65_536}]


def _in_user_namespace(config: dict[str, Any]) -> None:
    config["linux"]["namespaces"].append({"type": "user"})
    config["linux"]["uidMappings"] = config["linux"]["gidMappings"] = IDS


@attack(
    "B17",
    "",
    "a bind of / that fails is passed over: the container sees what was there (crun#2262)",
    Patch(
        "cshim/init/mounts.c",
        "\tmust(in, move_tree(tree, target), path);\n\tif (propagation)",
        "\tmove_tree(tree, target);\n\tif (0)",
    ),
)
def bind_that_fails(arena: Arena) -> Outcome:
    """The kernel attaches no directory to a file, which is one way to make it fail."""
    mount = {"destination": "/volume", "type": "bind", "source": "/", "options": ["rbind", "ro"]}
    bundle = arena.bundle(["sh", "-c", "cat /volume; echo payload ran"], edit=lambda c: c["mounts"].append(mount))
    (bundle / "rootfs/volume").write_text("the image's own\n")
    ran = arena.run(bundle)
    return ran.outcome("it runs without its volume" if "payload ran" in ran.out else "", "payload ran")


@attack(
    "B18",
    "",
    "the mode of a mount's root is changed (crun 1.29)",
    Patch(
        "cshim/init/mounts.c",
        "\tattach(in, tree, at, v->propagation, target);\n",
        '\tSYS(__NR_fchmodat, tree, ".", 0755);\n\tattach(in, tree, at, v->propagation, target);\n',
    ),
)
def mode_of_a_root(arena: Arena) -> Outcome:
    volume = arena.folder / "volume"
    volume.mkdir()
    volume.chmod(0o1701)

    def edit(config: dict[str, Any]) -> None:
        config["mounts"] += [
            {"destination": "/volume", "type": "bind", "source": str(volume), "options": ["rbind"]},
            {"destination": "/given", "type": "tmpfs", "source": "tmpfs", "options": ["mode=1710"]},
            {"destination": "/same", "type": "tmpfs", "source": "tmpfs"},
        ]

    bundle = arena.bundle(["sh", "-c", "stat -c '%n %a' /volume /given /same; echo payload ran"], edit=edit)
    same = bundle / "rootfs/same"
    same.mkdir()
    same.chmod(0o2750)
    ran = arena.run(bundle)
    kept = all(line in ran.out.splitlines() for line in ("/volume 1701", "/given 1710", "/same 2750"))
    kept &= stat.S_IMODE(volume.stat().st_mode) == 0o1701
    return ran.outcome("" if kept or "payload ran" not in ran.out else f"modes: {ran.out}", "payload ran")


@attack(
    "B19",
    "",
    "/sys that is read-only can be written in a user namespace (crun 1.29)",
    Patch("cshim/init/mounts.c", "\tuint64_t attributes = v->attr_set | v->rec_set;\n", "\tuint64_t attributes = 0;\n"),
    Patch("cshim/init/mounts.c", "\tmust(in, set_attributes(tree, v->attr_set, v->attr_clear, 0, 0), source);\n", ""),
)
def sys_in_a_user_namespace(arena: Arena) -> Outcome:
    """Of the container's own network, and the host's bound; neither a remount nor a namespace of one's own helps."""
    script = (
        "mount -o remount,rw,bind /sys 2>/dev/null; unshare -Urm mount -o remount,rw,bind /sys 2>/dev/null && echo REMOUNTED;"
        " cat /proc/self/mountinfo; echo payload ran"
    )
    outcome = Outcome(UNKNOWN)
    for bound in (False, True):

        def edit(config: dict[str, Any], bound: bool = bound) -> None:
            _in_user_namespace(config)
            (place,) = (i for i, m in enumerate(config["mounts"]) if m["destination"] == "/sys")
            if bound:
                config["mounts"][place] = {
                    "destination": "/sys", "type": "bind", "source": "/sys", "options": ["rbind", "ro", "nosuid"]
                }  # fmt: skip
            assert "ro" in config["mounts"][place]["options"]

        bundle = arena.bundle(["sh", "-c", script], edit=edit)
        arena.reachable(bundle)
        ran = arena.run(bundle)
        writable = any(line[4] == "/sys" and "ro" not in line[5].split(",") for line in _mountinfo(ran))
        outcome = ran.outcome("/sys is writable" if writable or "REMOUNTED" in ran.out else "", "payload ran")
        if outcome.verdict not in (HELD, REFUSED):
            break
    return outcome


@attack(
    "B19c",
    "",
    "a user namespace's root with CAP_SYS_ADMIN remounts /sys and writes what is the host's",
    Patch(
        "runtime/host/prepare.py",
        'f"{m.container_id} {m.host_id} {m.size}\\n"',
        'f"{m.container_id} {m.container_id} {m.size}\\n"',
    ),
)
def sys_remounted(arena: Arena) -> Outcome:
    """The kernel lets it remount: the mount is its own namespace's. The files stay those of ids that it does not have."""
    script = (
        "mount -o remount,rw,bind /sys && echo remounted; n=0;"
        " for f in /sys/kernel/* /sys/kernel/mm/*/* /sys/power/* /sys/module/*/parameters/* /sys/module/*/uevent; do"
        ' [ -f "$f" ] || continue; n=$((n+1)); (: >>"$f") 2>/dev/null && echo "OPENED $f"; done;'
        ' [ $n -gt 20 ] && echo payload ran'
    )  # fmt: skip

    def edit(config: dict[str, Any]) -> None:
        _in_user_namespace(config)
        for kind in ("bounding", "effective", "permitted"):
            config["process"]["capabilities"][kind] += ["CAP_SYS_ADMIN"]

    bundle = arena.bundle(["sh", "-c", script], edit=edit)
    arena.reachable(bundle)
    ran = arena.run(bundle)
    opened = [line for line in ran.out.splitlines() if line.startswith("OPENED")]
    outcome = ran.outcome(f"{len(opened)} files, as {opened[0]}" if opened else "", "payload ran")
    return Outcome(outcome.verdict, outcome.detail or ("remounted" if "remounted" in ran.out else "not remounted"))


@attack(
    "B20",
    "",
    "the host's devices that are bound in a user namespace are not nosuid and noexec (crun 1.29)",
    Patch(
        "cshim/init/devices.c",
        "\tmust(in, set_attributes(tree, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, 0, 0, 0), path);\n",
        "",
    ),
)
def bound_devices(arena: Arena) -> Outcome:
    bundle = arena.bundle(SHOW, edit=_in_user_namespace)
    arena.reachable(bundle)
    ran = arena.run(bundle)
    devices = [line for line in _mountinfo(ran) if line[4] in ("/dev/null", "/dev/zero", "/dev/tty")]
    loose = [line[4] for line in devices if not {"nosuid", "noexec"} <= {*line[5].split(",")}]
    if "payload ran" in ran.out and len(devices) != 3:
        return Outcome(UNKNOWN, "the devices are no mounts")
    return ran.outcome(f"{loose[0]} may be executed" if loose else "", "payload ran")


@attack(
    "B21",
    "",
    "a link of the image to / leaves a volume, a mask or a read-only path below what the container sees",
    Patch(
        "cshim/init/mounts.c",
        "if (st.stx_ino == root.stx_ino && mount_id(in, target) == mount_id(in, in->root))",
        "if (0)",
    ),
)
def link_to_the_root(arena: Arena) -> Outcome:
    volume = arena.folder / "volume"
    volume.mkdir()
    (volume / "own").write_text("x")
    mount = {"destination": "/data", "type": "bind", "source": str(volume), "options": ["rbind"]}
    script = "[ -e /data/own ] && echo mounted; echo >/data/new && echo written; ls /data/bin; echo payload ran"
    edits: dict[str, Callable[[dict[str, Any]], None]] = {
        "volume": lambda c: c["mounts"].append(mount),
        "mask": lambda c: c["linux"]["maskedPaths"].append("/data"),
        "read-only path": lambda c: c["linux"]["readonlyPaths"].append("/data"),
    }
    outcome = Outcome(UNKNOWN)
    for what, edit in edits.items():
        bundle = arena.bundle(["sh", "-c", script], edit=edit)
        (bundle / "rootfs/data").symlink_to("/")
        ran = arena.run(bundle)
        missed = {
            "volume": "mounted" not in ran.out, "mask": "busybox" in ran.out, "read-only path": "written" in ran.out
        }  # fmt: skip
        outcome = ran.outcome(
            f"the {what} is not there" if "payload ran" in ran.out and missed[what] else "", "payload ran"
        )
        if outcome.verdict not in (HELD, REFUSED):
            break
    return outcome


@attack(
    "G5",
    "",
    "900 mounts, each in the one before: each path is walked anew for each of its names",
    Patch(
        "cshim/init/paths.c",
        "\tint parent = open_deepest(in, path, &name), below;\n",
        "\tfor (char *at = path + 1; *at; at++) {\n\t\tif (*at != '/')\n\t\t\tcontinue;\n\t\t*at = 0;\n"
        "\t\tint fd = open_in_root(in, path, OPEN_PATH, 0);\n\t\t*at = '/';\n\t\tSYS(__NR_close, fd);\n\t}\n"
        "\tint parent = open_deepest(in, path, &name), below;\n",
    ),
)
def nested_mounts(arena: Arena) -> Outcome:
    """By processor time, which a busy machine stretches less than time."""

    def edit(config: dict[str, Any]) -> None:
        path = ""
        for number in range(900):
            path += f"/{number % 10}"
            config["mounts"].append(_tmpfs(path))

    bundle = arena.bundle(["echo", "payload ran"], edit=edit)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ran = arena.run(bundle)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_stime + after.ru_utime - before.ru_stime - before.ru_utime
    return ran.outcome(f"{spent:.1f} s of processor time" if spent > 4 else "", "payload ran")
