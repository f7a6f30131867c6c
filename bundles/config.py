"""The config.json that the recipes, the tests and the benchmarks start from: what Docker gives a plain container.

14 capabilities, new pid, ipc, uts, mount, network and cgroup namespaces, the usual mounts, masked and read-only
paths, the default device rules and a seccomp allow-list (seccomp-default.json). The values are facts of
`docker run`'s documentation and of the runtime-spec's examples; the text is our own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CAPABILITIES = (
    "CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
)  # fmt: skip
MASKED = (
    "/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
    "/sys/devices/virtual/powercap",
)  # fmt: skip
READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def seccomp_default() -> dict[str, Any]:
    """The allow-list of system calls, as config.json's linux.seccomp."""
    profile: dict[str, Any] = json.loads(Path(__file__).with_name("seccomp-default.json").read_text())
    return profile


def mounts() -> list[dict[str, Any]]:
    """The mounts of a plain container, in order."""
    return [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
        {
            "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
        },
        {
            "destination": "/dev/pts", "type": "devpts", "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        },
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
        {
            "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
            "options": ["ro", "nosuid", "noexec", "nodev"],
        },
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
        {
            "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
            "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
        },
    ]  # fmt: skip


def tmpfs(path: str, *, size: str = "16m", mode: str = "0755", uid: int = 0, gid: int = 0) -> dict[str, Any]:
    """A writable place on a read-only root."""
    return {
        "destination": path, "type": "tmpfs", "source": "tmpfs",
        "options": ["nosuid", "nodev", "noexec", f"size={size}", f"mode={mode}", f"uid={uid}", f"gid={gid}"],
    }  # fmt: skip


def docker_like(
    args: list[str],
    *,
    env: tuple[str, ...] = (),
    cwd: str = "/",
    uid: int = 0,
    gid: int = 0,
    terminal: bool = False,
    readonly: bool = True,
    extra_mounts: tuple[dict[str, Any], ...] = (),
    seccomp: bool = True,
) -> dict[str, Any]:
    """A config.json for `args` in the bundle's directory `rootfs`.

    No cgroupsPath is given, so the runtime makes one from the container's id. Device rules deny all and leave the
    usual nodes to the runtime, as Docker does. A user other than root gets no capabilities in effect.
    """
    caps = list(CAPABILITIES)
    held = caps if uid == 0 else []
    config: dict[str, Any] = {
        "ociVersion": "1.0.2",  # what all runtimes know; crun 1.8 refuses 1.2
        "process": {
            "terminal": terminal,
            "user": {"uid": uid, "gid": gid},
            "args": args,
            "env": [PATH, *(["TERM=xterm"] if terminal else []), *env],
            "cwd": cwd,
            "capabilities": {"bounding": caps, "effective": held, "permitted": held},
            "noNewPrivileges": True,
            "oomScoreAdj": 0,
        },
        "root": {"path": "rootfs", "readonly": readonly},
        "hostname": "stele",
        "mounts": [*mounts(), *extra_mounts],
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount", "network", "cgroup")],
            "resources": {"devices": device_rules()},
            "maskedPaths": list(MASKED),
            "readonlyPaths": list(READONLY),
        },
    }
    if seccomp:
        config["linux"]["seccomp"] = seccomp_default()
    return config


def device_rules() -> list[dict[str, Any]]:
    """Deny all devices, then allow mknod of any and use of the usual ones."""
    usual = [("c", 1, 5), ("c", 1, 3), ("c", 1, 9), ("c", 1, 8), ("c", 5, 0), ("c", 5, 1)]
    return [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "access": "m"},
        {"allow": True, "type": "b", "access": "m"},
        *({"allow": True, "type": t, "major": a, "minor": b, "access": "rwm"} for t, a, b in usual),
        {"allow": True, "type": "c", "major": 5, "minor": 2, "access": "rwm"},
        {"allow": True, "type": "c", "major": 136, "access": "rwm"},
    ]
