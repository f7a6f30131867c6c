"""The config.json that the recipes, the tests and the benchmarks start from: what Docker gives a plain container.

14 capabilities, new pid, ipc, uts, mount, network and cgroup namespaces, the usual mounts, masked and read-only
paths, the default device rules and a seccomp allow-list, all as `run --image` has them. The values are facts of
`docker run`'s documentation and of the runtime-spec's examples; the text is our own.
"""

from __future__ import annotations

from typing import Any

from runtime.images.run.defaults import CAPABILITIES, MASKED, PATH, READONLY, base_mounts, device_rules
from runtime.images.run.seccomp_default import default_profile


def seccomp_default() -> dict[str, Any]:
    """The allow-list of system calls, as config.json's linux.seccomp."""
    return default_profile(())


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
        "mounts": [*base_mounts(), *extra_mounts],
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
