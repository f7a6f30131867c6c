"""Plan process: everything between "start" and execve(2), each step while we still have the rights for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runtime.errors import ConfigError
from runtime.oci.constants import (
    IO_CLASSES,
    MEMORY_FLAGS,
    MEMORY_MODES,
    PERSONALITIES,
    POLICIES,
    RLIMITS,
    SCHEDULER_FLAGS,
)
from runtime.oci.numbers import decimal
from runtime.plan import model, steps
from runtime.plan.identity import plan_credentials
from runtime.plan.seccomp import SeccompRules, plan_seccomp

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
RLIM_MAX = (1 << 64) - 1
ALL_CPUS = b"\xff" * 128
CPUS_MAX = 8191


@dataclass(frozen=True, slots=True)
class ProcessPlan:
    """first: before any namespace is joined; labels: before the container's root is entered, but after the last hook of the
    host's. Both write to the host's procfs, of which no fd may be open later. early: while the container is created;
    late: after `start`, up to execve(2), which is `execute`. All are empty for a container without a process.

    rlimits, oom_score: for the host side (see `model.Plan`).
    """

    first: tuple[steps.Step, ...]
    labels: tuple[steps.Step, ...]
    early: tuple[steps.Step, ...]
    late: tuple[steps.Step, ...]
    execute: tuple[steps.Execute, ...]
    rlimits: tuple[steps.Rlimit, ...]
    oom_score: int | None
    notes: tuple[str, ...]


def plan_process(
    process: Mapping[str, Any],
    linux: Mapping[str, Any],
    facts: model.Facts,
    *,
    compile_seccomp: Callable[[SeccompRules], bytes],
    in_user: bool,
    rootless: bool,
    can_set_groups: bool,
    keep_groups: bool = False,
    keep_fds: int,
    affinity_field: str = "initial",
) -> ProcessPlan:
    """Plan process (config.md "Process") with the parts of linux that act on it.

    Args:
        compile_seccomp: rules to a program for the kernel; given in, because it is C and cached.
        in_user: in a user namespace, where rlimits and the OOM score are for the host side to set.
        keep_fds: fds from 3 on that the program inherits.
    Raises:
        ConfigError: names the field.
    """
    if not process:
        return ProcessPlan((), (), (), (), (), (), None, ())
    args, env = process.get("args") or (), _environment(process.get("env") or ())
    if not args:
        raise ConfigError("process.args", "is empty; name the program to run")
    path = next((e[5:] for e in env if e.startswith("PATH=")), "") or DEFAULT_PATH
    env = tuple(e for e in env if e != "HOME=")  # as good as none: init adds the one of the container's /etc/passwd
    home = not any(e.startswith("HOME=") for e in env)
    cwd = process.get("cwd") or "/"
    if not cwd.startswith("/"):
        raise ConfigError("process.cwd", f"{cwd!r} is not absolute; begin it with /")
    credentials, notes = plan_credentials(
        process, facts, in_user=in_user, can_set_groups=can_set_groups, keep_groups=keep_groups
    )
    limits = _rlimits(process.get("rlimits") or ())
    score = process.get("oomScoreAdj")
    no_new_privs = bool(process.get("noNewPrivileges"))
    rules = plan_seccomp(linux.get("seccomp"))
    filters = (steps.Seccomp(rules.flags, rules.notify, compile_seccomp(rules)),) if rules else ()
    notes = (*notes, *(rules.notes if rules else ()))
    on_host = in_user and not rootless
    # While we are still dumpable: afterwards root owns the file (proc(5)).
    first = (steps.OomScore(score + 1000, rootless),) if score is not None and not on_host else ()
    early = (
        steps.WorkingDirectory(False, cwd),
        steps.FindProgram(home, credentials.uid, args[0], path),
    )
    late = (
        *limits,
        *_scheduling(process, affinity_field),
        *_memory_policy(linux.get("memoryPolicy")),
        *_personality(linux.get("personality")),
        steps.Umask((process.get("user") or {}).get("umask", 0o022)),
        steps.Streams(credentials.uid),
        # Before the filter, which may forbid getcwd(2).
        steps.WorkingDirectory(False, cwd),
        # Without no_new_privs only CAP_SYS_ADMIN may load a filter, and that is still there now (seccomp(2)).
        *(filters if not no_new_privs else ()),
        credentials,
        *((steps.NoNewPrivs(),) if no_new_privs else ()),
        steps.WorkingDirectory(True, cwd),
        *(filters if no_new_privs else ()),
    )
    execute = (steps.Execute(len(args), keep_fds, path, (*args, *env)),)
    return ProcessPlan(
        first,
        _labels(process, facts),
        early,
        late,
        execute,
        limits if on_host else (),
        score if on_host else None,
        notes,
    )


def plan_key_label(process: Mapping[str, Any], *, new_keyring: bool) -> tuple[steps.Step, ...]:
    """The label of the keyring that steps.Session makes: the process may use it. A fork passes it on."""
    label = process.get("selinuxLabel")
    return (steps.Label("keycreate", label),) if label and new_keyring else ()


def _environment(env: Sequence[str]) -> tuple[str, ...]:
    """Keep the last entry for each name, as a shell does."""
    last: dict[str, str] = {}
    for i, entry in enumerate(env):
        name, equals, _ = entry.partition("=")
        if not name or not equals:
            raise ConfigError(f"process.env[{i}]", f"{entry!r} is not NAME=VALUE")
        last.pop(name, None)
        last[name] = entry
    return tuple(last.values())


def _rlimits(rlimits: Sequence[Mapping[str, Any]]) -> tuple[steps.Rlimit, ...]:
    limits: dict[int, steps.Rlimit] = {}
    for i, limit in enumerate(rlimits):
        field = f"process.rlimits[{i}]"
        if limit["type"] not in RLIMITS:
            raise ConfigError(f"{field}.type", f"unknown limit {limit['type']!r}; names look like RLIMIT_NOFILE")
        number = RLIMITS[limit["type"]]
        if number in limits:
            raise ConfigError(f"{field}.type", f"{limit['type']} is there twice; remove one")
        soft, hard = limit["soft"], limit["hard"]
        if soft > hard:
            raise ConfigError(field, f"soft {soft} is above hard {hard}; lower soft")
        limits[number] = steps.Rlimit(number, min(soft, RLIM_MAX), min(hard, RLIM_MAX), index=i)
    return tuple(limits.values())


def cpu_mask(cpus: str, field: str) -> bytes:
    """A list such as "0-3,7" as a bit mask of whole 8-byte words, little-endian (cpuset(7) "List format")."""
    mask = 0
    for part in cpus.split(","):
        first, _, last = part.strip().partition("-")
        begin, end = decimal(first, CPUS_MAX), decimal(last or first, CPUS_MAX)
        if begin is None or end is None:
            raise ConfigError(field, f"{cpus[:200]!r} is not a list of CPUs, such as 0-3,7")
        for cpu in range(begin, end + 1):
            mask |= 1 << cpu
    return mask.to_bytes((mask.bit_length() + 63) // 64 * 8 or 8, "little")


def _scheduling(process: Mapping[str, Any], affinity_field: str) -> tuple[steps.Step, ...]:
    planned: list[steps.Step] = []
    affinity = (process.get("execCPUAffinity") or {}).get(affinity_field)
    # By default, all CPUs that the cgroup allows, instead of the caller's affinity.
    planned.append(
        steps.Affinity(cpu_mask(affinity, f"process.execCPUAffinity.{affinity_field}") if affinity else ALL_CPUS)
    )
    scheduler = process.get("scheduler")
    if scheduler:
        if scheduler["policy"] not in POLICIES:
            raise ConfigError(
                "process.scheduler.policy", f"unknown policy {scheduler['policy']!r}; use one of {', '.join(POLICIES)}"
            )
        flags = 0
        for i, name in enumerate(scheduler.get("flags") or ()):
            if name not in SCHEDULER_FLAGS:
                raise ConfigError(f"process.scheduler.flags[{i}]", f"unknown flag of the scheduler {name!r}; remove it")
            flags |= SCHEDULER_FLAGS[name]
        nice = scheduler.get("nice", 0)
        if not -20 <= nice <= 19:
            raise ConfigError("process.scheduler.nice", f"{nice} is out of range; use -20 to 19")
        planned.append(
            steps.Scheduler(
                POLICIES[scheduler["policy"]],
                nice + 20,
                scheduler.get("priority", 0),
                flags,
                scheduler.get("runtime", 0),
                scheduler.get("deadline", 0),
                scheduler.get("period", 0),
            )
        )
    io_priority = process.get("ioPriority")
    if io_priority:
        if io_priority["class"] not in IO_CLASSES:
            raise ConfigError(
                "process.ioPriority.class",
                f"unknown class {io_priority['class']!r}; use one of {', '.join(IO_CLASSES)}",
            )
        level = io_priority.get("priority", 0)
        if not 0 <= level <= 7:
            raise ConfigError("process.ioPriority.priority", f"{level} is out of range; use 0 to 7")
        planned.append(steps.IoPriority(IO_CLASSES[io_priority["class"]] << 13 | level))
    return tuple(planned)


def _memory_policy(policy: Mapping[str, Any] | None) -> tuple[steps.Step, ...]:
    if not policy:
        return ()
    if policy["mode"] not in MEMORY_MODES:
        raise ConfigError(
            "linux.memoryPolicy.mode", f"unknown mode {policy['mode']!r}; use one of {', '.join(MEMORY_MODES)}"
        )
    mode = MEMORY_MODES[policy["mode"]]
    for i, name in enumerate(policy.get("flags") or ()):
        if name not in MEMORY_FLAGS:
            raise ConfigError(
                f"linux.memoryPolicy.flags[{i}]", f"unknown flag {name!r}; use one of {', '.join(MEMORY_FLAGS)}"
            )
        mode |= MEMORY_FLAGS[name]
    nodes = policy.get("nodes") or ""
    return (steps.MemoryPolicy(mode, cpu_mask(nodes, "linux.memoryPolicy.nodes") if nodes else b""),)


def _personality(personality: Mapping[str, Any] | None) -> tuple[steps.Step, ...]:
    if not personality:
        return ()
    if personality["domain"] not in PERSONALITIES:
        raise ConfigError("linux.personality.domain", f"{personality['domain']!r} is not known; use LINUX or LINUX32")
    if personality.get("flags"):
        raise ConfigError("linux.personality.flags", "no flag is defined by the specification; remove them")
    return (steps.Personality(PERSONALITIES[personality["domain"]]),)


def _labels(process: Mapping[str, Any], facts: model.Facts) -> tuple[steps.Step, ...]:
    """What execve(2) will turn us into; a fork passes it on."""
    planned: list[steps.Step] = []
    profile, label = process.get("apparmorProfile"), process.get("selinuxLabel")
    if profile:
        if not facts.apparmor:
            raise ConfigError(
                "process.apparmorProfile", f"{profile!r} cannot be applied: AppArmor is off on this host; remove it"
            )
        planned.append(steps.Label("apparmor/exec", f"exec {profile}"))
    if label:
        if not facts.selinux:
            raise ConfigError(
                "process.selinuxLabel", f"{label!r} cannot be applied: SELinux is off on this host; remove it"
            )
        planned.append(steps.Label("exec", label))
    return tuple(planned)
