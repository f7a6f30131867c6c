"""Names of the specification and the kernel's numbers for them: one table for planning, validation and `features`."""

from __future__ import annotations

CAPABILITIES: dict[str, int] = {
    f"CAP_{name}": number
    for number, name in enumerate(
        [
            "CHOWN",
            "DAC_OVERRIDE",
            "DAC_READ_SEARCH",
            "FOWNER",
            "FSETID",
            "KILL",
            "SETGID",
            "SETUID",
            "SETPCAP",
            "LINUX_IMMUTABLE",
            "NET_BIND_SERVICE",
            "NET_BROADCAST",
            "NET_ADMIN",
            "NET_RAW",
            "IPC_LOCK",
            "IPC_OWNER",
            "SYS_MODULE",
            "SYS_RAWIO",
            "SYS_CHROOT",
            "SYS_PTRACE",
            "SYS_PACCT",
            "SYS_ADMIN",
            "SYS_BOOT",
            "SYS_NICE",
            "SYS_RESOURCE",
            "SYS_TIME",
            "SYS_TTY_CONFIG",
            "MKNOD",
            "LEASE",
            "AUDIT_WRITE",
            "AUDIT_CONTROL",
            "SETFCAP",
            "MAC_OVERRIDE",
            "MAC_ADMIN",
            "SYSLOG",
            "WAKE_ALARM",
            "BLOCK_SUSPEND",
            "AUDIT_READ",
            "PERFMON",
            "BPF",
            "CHECKPOINT_RESTORE",
        ]
    )
}
"""capabilities(7): name -> number."""

RLIMITS: dict[str, int] = {
    f"RLIMIT_{name}": number
    for number, name in enumerate(
        [
            "CPU",
            "FSIZE",
            "DATA",
            "STACK",
            "CORE",
            "RSS",
            "NPROC",
            "NOFILE",
            "MEMLOCK",
            "AS",
            "LOCKS",
            "SIGPENDING",
            "MSGQUEUE",
            "NICE",
            "RTPRIO",
            "RTTIME",
        ]
    )
}
"""getrlimit(2): name -> number."""

NAMESPACES: dict[str, int] = {
    "cgroup": 0x0200_0000,
    "ipc": 0x0800_0000,
    "mount": 0x0002_0000,
    "network": 0x4000_0000,
    "pid": 0x2000_0000,
    "time": 0x0000_0080,
    "user": 0x1000_0000,
    "uts": 0x0400_0000,
}
"""namespaces(7): kind -> CLONE_NEW* bit."""

MOUNT_ATTRS: dict[str, tuple[int, int]] = {
    "ro": (0x1, 0),
    "rw": (0, 0x1),
    "nosuid": (0x2, 0),
    "suid": (0, 0x2),
    "nodev": (0x4, 0),
    "dev": (0, 0x4),
    "noexec": (0x8, 0),
    "exec": (0, 0x8),
    "relatime": (0, 0x70),
    "norelatime": (0, 0x70),
    "noatime": (0x10, 0x70),
    "atime": (0, 0x70),
    "strictatime": (0x20, 0x70),
    "nostrictatime": (0, 0x70),
    "nodiratime": (0x80, 0),
    "diratime": (0, 0x80),
    "nosymfollow": (0x20_0000, 0),
    "symfollow": (0, 0x20_0000),
}
"""mount_setattr(2): option -> (MOUNT_ATTR_* bits to set, bits to clear)."""

MOUNT_ATTRS_RECURSIVE: dict[str, tuple[int, int]] = {f"r{name}": masks for name, masks in MOUNT_ATTRS.items()}
"""config.md "Linux mount options": the same for a whole tree."""

PROPAGATION: dict[str, tuple[int, bool]] = {
    f"{prefix}{name}": (flag, bool(prefix))
    for name, flag in (("unbindable", 1 << 17), ("private", 1 << 18), ("slave", 1 << 19), ("shared", 1 << 20))
    for prefix in ("", "r")
}
"""mount(2): option -> (MS_* flag, whole tree)."""
