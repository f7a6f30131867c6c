"""Turn init's reports into error sentences: which field, what failed, why, what to do.

Docker and Podman derive exit codes 127 and 126 from the phrases "executable file not found", "no such file or
directory", "permission denied" and "is a directory": keep them.
"""

from __future__ import annotations

import errno
import os
import re

from runtime.container.limits import refused
from runtime.errors import HookError, HostError, SteleError
from runtime.host.launch import Child, Report
from runtime.plan import model, steps

HINTS = {
    errno.ENOSPC: "the limit of mounts is reached (sysctl fs.mount-max); raise it or mount less",
    errno.EMFILE: "too many open files; raise RLIMIT_NOFILE of the caller",
    errno.ENODEV: "the kernel does not know this file system; load its module or remove the mount",
}


def reason(number: int) -> str:
    """Return errno's text and name, such as "no such file or directory (ENOENT)"."""
    text = os.strerror(number)
    return f"{text[:1].lower()}{text[1:]} ({errno.errorcode.get(number, number)})"


FULL = (
    "the process limit is reached: linux.resources.pids.limit, or that of a parent cgroup or the user; end some "
    "processes, or raise it (`stele update --pids-limit`)"
)

FROZEN = (
    "cannot start init: its cgroup or a parent cgroup is frozen, by the container itself or on the "
    "host; write 0 to its cgroup.freeze, or choose another with --cgroup"
)


def not_started(e: OSError) -> HostError:
    """Return the error for an init that could not be started; e.filename names the failed call."""
    number = e.errno or 0
    if number == errno.ECANCELED:
        return HostError(FROZEN, number)
    why = FULL if number == errno.EAGAIN else HINTS.get(number) if number == errno.EMFILE else reason(number)
    call = f"{e.filename}: " if e.filename and number not in (errno.EAGAIN, errno.EMFILE) else ""
    return HostError(f"cannot start init: {call}{why}", number)


def died(child: Child, when: str) -> HostError:
    """Return the error for an init that died without a report. when: what it did not reach."""
    return HostError(f"init {child.ending()} before {when}; the kernel's log (dmesg) may say why")


def time_offsets(e: OSError) -> HostError:
    """Return the error for linux.timeOffsets that could not be written."""
    number = e.errno or 0
    if number in (errno.EACCES, errno.EPERM):
        advice = (
            "in a user namespace that is joined by path only root of the host may set them; join a time namespace, too"
        )
    else:
        advice = "a clock cannot be set to before 0, nor nanosecs to a second or more"
    return HostError(f"linux.timeOffsets: the kernel refuses them: {reason(number)}; {advice}", number)


def explain(report: Report, plan: model.Plan) -> SteleError:
    """Return the error for a failed step.

    Args:
        report: init's failure report.
        plan: the plan that it executed.
    """
    kind = steps.KINDS.get(report.step)
    step = _step_of(report, plan)
    number, detail = report.error, report.text
    if number == errno.EBADMSG and kind is None:
        return HostError("init refused its plan; this is a bug of stele, please report it", number)
    if isinstance(step, steps.Rlimit):
        return refused(step, number)
    error = HookError if kind is steps.Hook else HostError
    return error(_sentence(kind, step, report.index, number, detail), number)


def _step_of(report: Report, plan: model.Plan) -> steps.Step | None:
    kind = steps.KINDS.get(report.step)
    for step in plan.steps:
        if type(step) is kind and step.index == report.index:
            if isinstance(step, steps.Device) and step.path != report.text:
                continue  # default devices have no index of their own
            return step
    return None


def _sentence(kind: type[steps.Step] | None, step: steps.Step | None, index: int, number: int, detail: str) -> str:
    if kind in (steps.Execute, steps.FindProgram):
        return _program(number, detail)
    why = HINTS.get(number) if kind in (steps.BindMount, steps.NewMount) else None
    why = why or reason(number)
    match step:
        case steps.BindMount():
            return _bind(step, number, detail, why)
        case steps.NewMount():
            what = f'mounts[{index}] "{step.target}": cannot mount {step.fstype}'
            if detail in (step.target, step.fstype):
                return f"{what}: {why}; correct mounts[{index}]"
            label = f"linux.mountLabel or mounts[{index}]" if detail.startswith("context=") else f"mounts[{index}]"
            return f"{what}: {detail}: {why}; correct {label}"
        case steps.Device() if step.bind and number == errno.ENOENT:
            return (
                f'device "{step.path}": the host has no such node, and a user namespace can only use the host\'s: no such file or '
                f"directory; make it there (mknod {step.path} c {step.major} {step.minor}), or correct linux.devices"
            )
        case steps.Device() if step.bind and number == errno.ENODEV:
            return (
                f'device "{step.path}": the host\'s node of this name is not the device {step.major}:{step.minor}; '
                "correct linux.devices, or the host"
            )
        case steps.Sysctl() if step.key == "net/ipv4/ping_group_range" and number == errno.EINVAL:
            return (
                f'linux.sysctl "{step.key}": cannot set it to "{step.value}": {why}; it is two group ids, the lower first, and in a '
                "user namespace both must be mapped in linux.gidMappings"
            )
        case steps.Hook():
            return _hook(step, index, number, detail)
        case steps.WorkingDirectory() if number == errno.EXDEV:
            return f'process.cwd "{step.path}": it is outside the container\'s root file system; choose another'
        case steps.OomScore():
            return f"process.oomScoreAdj: cannot set it to {step.score - 1000}: {why}; choose a value not below stele's own, or give stele CAP_SYS_RESOURCE"
        case steps.RootAttributes() | steps.Propagation():
            return f"linux.rootfsPropagation: {detail + ': ' if detail else ''}{why}"
        case steps.Label():
            field = "apparmorProfile" if "apparmor" in step.file else "selinuxLabel"
            label = step.label.removeprefix("exec ")  # AppArmor: apply at the next exec
            return f'process.{field} "{label}": cannot apply it: {why}; load it on the host or correct it'
        case steps.Fork() if number == errno.EAGAIN:
            return f"cannot start another process: {FULL}"
        case steps.LayeredRoot() if number == errno.ESTALE and detail == step.directory:
            return f'--upper "{detail}": it was replaced by another directory meanwhile; do not rename it while a container is created'
        case steps.EnterRoot() if number == errno.ESTALE:
            return (
                f"{detail}: another mount or directory has replaced the one from mounts; hooks may mount only below {detail}, "
                "and nobody else may write to the root file system while a container is created"
            )
        case steps.EnterRoot() if step.how == steps.MOVE and number == errno.EBUSY:
            return (
                f'--no-pivot: cannot hide the host\'s procfs or sysfs on "{detail}" from the container: another mount '
                "covers its path; unmount one of the two, or omit --no-pivot"
            )
    if step and step.fails:
        return step.fails.format_map({**steps.fields_of(step), "detail": detail, "why": why})
    name = kind.__name__ if kind else "start"
    return f"{name}: {detail + ': ' if detail else ''}{why}"


def _bind(step: steps.BindMount, number: int, detail: str, why: str) -> str:
    what = f'mounts[{step.index}].destination "{step.target}": cannot bind "{step.source}" there'
    if number == errno.EPERM and detail == step.source and (step.attr_clear or step.rec_clear):
        return (
            f"{what}: {why}: a user namespace cannot take ro, nosuid, nodev, noexec or an access time option away from a "
            f"mount of the host; remove what does so from mounts[{step.index}].options"
        )
    if detail == step.source:
        return f"{what}: {why}; create it, or correct mounts[{step.index}].source"
    if number == errno.ENOTDIR:
        return f"{what}: {why}; a directory can only be bound on a directory, a file on a file: not a directory"
    return f"{what}: {why}; correct mounts[{step.index}].destination"


def _hook(step: steps.Hook, index: int, number: int, detail: str) -> str:
    what, said = f"hook {step.path} (index {index})", detail.strip()
    if number == errno.ETIME:
        ended = f"{what} did not end within its timeout of {step.timeout} s and was killed"
        return f"{ended}: {said}" if said else ended
    if number != errno.ECHILD:
        return f"{what}: cannot start it: {reason(number)}"
    unable = re.search(r"it could not be executed, errno (\d{1,3})$", said)
    if unable:
        return f"{what}: cannot execute it: {reason(int(unable[1]))}; install it or correct its path"
    return f"{what} failed: {said}"


def _program(number: int, detail: str) -> str:
    path, _, diagnosis = detail.partition("\n")
    code, name = diagnosis[:1], diagnosis[1:]
    what = f'exec: "{path}"'
    if code == "i":
        return f'{what}: its interpreter "{name}" is missing in the container: no such file or directory; install it or correct the #! line'
    if code == "c":
        return f'{what}: its #! line ends in a carriage return, so "{name}\\r" is looked up: no such file or directory; save the script with Unix line ends'
    if code == "l":
        return f'{what}: its dynamic loader "{name}" is missing in the container: no such file or directory; use a program built for this image'
    if code == "a":
        return f"{what}: it is built for another machine: exec format error; use an image of this architecture"
    if number == errno.ENOEXEC:
        return f"{what}: exec format error: the kernel cannot execute this format; a script needs a #! line"
    if number == errno.ENOENT:
        missing = "no such file or directory" if "/" in path else "executable file not found in $PATH"
        return f"{what}: {missing}; correct process.args or install the program in the image"
    if number == errno.EISDIR:
        # Podman and older Docker map "permission denied" to exit code 126, newer Docker also "is a directory".
        return f"{what}: permission denied: it is a directory; name a program in process.args"
    if number == errno.EACCES and code == "n":
        return (
            f"{what}: permission denied: the file system that it is on is mounted noexec; remove noexec from the options of that "
            "mount, or bind it with exec"
        )
    if number == errno.EACCES:
        return f"{what}: permission denied; it must be executable (chmod +x) for the user of the container"
    if number == errno.ENOMEM:
        return (
            f"{what}: out of memory: the memory limit is too low for this program; raise linux.resources.memory.limit"
        )
    return f"{what}: {reason(number)}"
