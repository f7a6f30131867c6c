"""The specification's names and the kernel's numbers for them, shared by planning, validation and `features`."""

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
"""config.md "Linux mount options": the recursive variants."""

PROPAGATION: dict[str, tuple[int, bool]] = {
    f"{prefix}{name}": (flag, bool(prefix))
    for name, flag in (("unbindable", 1 << 17), ("private", 1 << 18), ("slave", 1 << 19), ("shared", 1 << 20))
    for prefix in ("", "r")
}
"""mount(2): option -> (MS_* flag, recursive)."""

OTHER_MOUNT_OPTIONS: tuple[str, ...] = (
    "acl", "async", "bind", "copy-symlink", "defaults", "dest-nofollow", "dirsync", "idmap", "iversion", "lazytime",
    "loud", "mand", "noacl", "noiversion", "nolazytime", "nomand", "rasync", "rbind", "rdirsync", "remount", "ridmap",
    "rmand", "rnomand", "rsync", "silent", "src-nofollow", "sync", "tmpcopyup",
)  # fmt: skip
"""Options that are neither attribute nor propagation: mount(8), config.md "Linux mount options", and crun.1's
copy-symlink, dest-nofollow, src-nofollow and rsync to rnomand."""

HOOKS: tuple[str, ...] = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
"""config.md "POSIX-platform Hooks", in lifecycle order."""

POLICIES: dict[str, int] = {
    "SCHED_OTHER": 0, "SCHED_FIFO": 1, "SCHED_RR": 2, "SCHED_BATCH": 3, "SCHED_ISO": 4, "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}  # fmt: skip
"""sched_setattr(2): policy -> number."""

SCHEDULER_FLAGS: dict[str, int] = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01, "SCHED_FLAG_RECLAIM": 0x02, "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08, "SCHED_FLAG_KEEP_PARAMS": 0x10, "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}  # fmt: skip
"""sched_setattr(2): flag -> bit."""

IO_CLASSES: dict[str, int] = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
"""ioprio_set(2): class -> number."""

MEMORY_MODES: dict[str, int] = {
    "MPOL_DEFAULT": 0, "MPOL_PREFERRED": 1, "MPOL_BIND": 2, "MPOL_INTERLEAVE": 3, "MPOL_LOCAL": 4,
    "MPOL_PREFERRED_MANY": 5, "MPOL_WEIGHTED_INTERLEAVE": 6,
}  # fmt: skip
"""set_mempolicy(2): mode -> number."""

MEMORY_FLAGS: dict[str, int] = {
    "MPOL_F_NUMA_BALANCING": 1 << 13, "MPOL_F_RELATIVE_NODES": 1 << 14, "MPOL_F_STATIC_NODES": 1 << 15,
}  # fmt: skip
"""set_mempolicy(2): mode flag -> bit."""

PERSONALITIES: dict[str, int] = {"LINUX": 0x0000, "LINUX32": 0x0008}
"""personality(2): domain -> number."""
