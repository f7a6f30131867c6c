"""Compile config.json and host facts into a Plan. Pure: no files, no system calls, no clock, no environment."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runtime.errors import ConfigError
from runtime.oci.constants import NAMESPACES, PROPAGATION
from runtime.plan import device_rules, model, namespaces, steps
from runtime.plan.devices import plan_devices
from runtime.plan.hooks import HOST_KINDS, container_hooks, host_hooks
from runtime.plan.mounts import MOUNT_ATTR_NODEV, MS_REC, MS_SLAVE, is_below, plan_mounts
from runtime.plan.process import plan_key_label, plan_process
from runtime.plan.resctrl import plan_resctrl
from runtime.plan.resources import plan_resources
from runtime.plan.seccomp import SeccompRules

KEEP_GROUPS = "run.oci.keep_original_groups"
"""An annotation: keep the caller's supplementary groups (crun.1; Podman's --group-add keep-groups)."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line adds to config.json.

    bundle: absolute path. attach: the cgroup is joined after the clone (systemd). keep_fds: --preserve-fds.
    state: the state document for hooks, with PID_MARK as its pid. environment: additional variables for the program.
    image: the parts of the root, if it is not the directory root.path itself. veth: addresses of a veth pair to create.
    """

    bundle: str
    container_id: str
    state: Mapping[str, Any]
    rootless: bool = False
    attach: bool = False
    no_pivot: bool = False
    no_new_keyring: bool = False
    keep_fds: int = 0
    environment: tuple[str, ...] = ()
    image: model.ImageRoot | None = None
    veth: tuple[model.Veth, ...] = ()


def compile_create(
    config: Mapping[str, Any],
    request: Request,
    facts: model.Facts,
    compile_seccomp: Callable[[SeccompRules], bytes],
) -> model.Plan:
    """Plan a whole container.

    Raises:
        ConfigError: names the field of config.json.
    """
    linux: Mapping[str, Any] = config.get("linux") or {}
    process: Mapping[str, Any] = config.get("process") or {}
    if process and request.environment:
        process = {**process, "env": [*(process.get("env") or ()), *request.environment]}
    spaces = namespaces.parse(linux.get("namespaces") or ())
    if request.rootless and facts.euid != 0 and not spaces.has("user"):
        raise ConfigError(
            "linux.namespaces", 'an ordinary user needs a user namespace; add {"type": "user"} with its mappings'
        )
    keep_groups = KEEP_GROUPS in (config.get("annotations") or {})
    can_set_groups = (not request.rootless or facts.euid == 0) and facts.setgroups and not keep_groups
    maps = namespaces.id_maps(linux) if "user" in spaces.new else None
    entry = namespaces.enter(
        spaces,
        capabilities=facts.capabilities,
        attach=request.attach,
        drop_groups=can_set_groups,
        time_offsets=linux.get("timeOffsets") or {},
        first_slot=steps.LISTENER_SLOT + 1,
    )
    planned = plan_process(
        process,
        linux,
        facts,
        compile_seccomp=compile_seccomp,
        in_user=spaces.has("user"),
        rootless=request.rootless,
        can_set_groups=can_set_groups,
        keep_groups=keep_groups,
        keep_fds=request.keep_fds,
    )
    fds: list[model.FdSource] = [model.ListenerFd(), *entry.fds]
    net_devices = _net_devices(linux, spaces)
    root = _root(config, linux, request, facts, spaces, fds, labels=planned.labels)
    resctrl = plan_resctrl(linux.get("intelRdt") or {}, request.container_id)
    ordered = (
        *_grouped(resctrl),
        *planned.first,
        *entry.steps,
        *plan_key_label(process, new_keyring=not request.no_new_keyring),
        steps.Session(not request.no_new_keyring),
        *((steps.LoopbackUp(),) if "network" in spaces.new else ()),
        *((steps.Sync(steps.SYNC_NET_DEVICES),) if net_devices or request.veth else ()),
        *_names(config, spaces),
        *root,
        *planned.early,
        steps.Ready(True),
        *planned.late,
        # These run programs of the image, so they are confined like its process.
        *(container_hooks(config, "startContainer", request.state) if process else ()),
        *planned.execute,
    )
    _check_host(linux, facts)
    resources = linux.get("resources") or {}
    # An ordinary user may not attach a program to a cgroup.
    rules = () if request.rootless else device_rules.explain(resources.get("devices") or ())
    return model.Plan(
        steps=ordered,
        clone_flags=entry.clone_flags,
        fds=tuple(fds),
        id_maps=maps,
        net_devices=net_devices,
        veth=request.veth,
        resctrl=resctrl,
        rlimits=planned.rlimits,
        oom_score=planned.oom_score,
        terminal=bool(process.get("terminal")),
        cgroup_owner=_cgroup_owner(config, spaces, _known_maps(linux, spaces)) if facts.euid == 0 else None,
        writes=plan_resources(resources),
        device_rules=rules,
        device_program=device_rules.assemble(rules) if rules else b"",
        hooks=host_hooks(config, *HOST_KINDS),
        notes=planned.notes,
    )


def _known_maps(linux: Mapping[str, Any], spaces: namespaces.Namespaces) -> model.IdMaps | None:
    """The mappings of the container's user namespace; for a joined one, config.json need not contain them."""
    known = "user" in spaces.new or (spaces.has("user") and linux.get("uidMappings"))
    return namespaces.id_maps(linux) if known else None


def _cgroup_owner(config: Mapping[str, Any], spaces: namespaces.Namespaces, maps: model.IdMaps | None) -> int | None:
    """The host uid that will own the container's cgroup: its process's, if the process has a cgroup namespace and a
    writable cgroup mount (config-linux.md "Cgroup ownership"); None to leave the owner."""
    mounts = config.get("mounts") or ()
    writable = any(m.get("type") in ("cgroup", "cgroup2") and "ro" not in (m.get("options") or ()) for m in mounts)
    if "cgroup" not in spaces.new or not writable or (spaces.has("user") and maps is None):
        return None
    uid: int = ((config.get("process") or {}).get("user") or {}).get("uid", 0)
    if maps is None:
        return uid or None
    return next((m.host_id + uid - m.container_id for m in maps.uids if 0 <= uid - m.container_id < m.size), None)


def compile_exec(
    process: Mapping[str, Any],
    linux: Mapping[str, Any],
    facts: model.Facts,
    compile_seccomp: Callable[[SeccompRules], bytes],
    *,
    container_id: str,
    rootless: bool,
    keep_fds: int,
    new_keyring: bool = True,
    keep_groups: bool = False,
) -> model.Plan:
    """Plan another process in a running container, confined like its init (SECURITY.md, rule 7).

    One slot is a pidfd of the container's init, whose namespaces are all joined at once (setns(2)). Without a mount
    namespace of its own, the container shares the host's mounts; then the root directory of its init is a second slot.

    Args:
        keep_groups: the container has the annotation KEEP_GROUPS.
    """
    spaces = namespaces.parse(linux.get("namespaces") or ())
    can_set_groups = (not rootless or facts.euid == 0) and facts.setgroups and not keep_groups
    planned = plan_process(
        process,
        linux,
        facts,
        compile_seccomp=compile_seccomp,
        in_user=False,
        rootless=rootless,
        can_set_groups=can_set_groups,
        keep_groups=keep_groups,
        keep_fds=keep_fds,
        affinity_field="final",
    )
    kinds = {kind for kind in NAMESPACES if spaces.has(kind)}
    on_host = "user" in kinds and not rootless
    limits = tuple(step for step in planned.late if on_host and isinstance(step, steps.Rlimit))
    resctrl = plan_resctrl(linux.get("intelRdt") or {}, container_id)
    ordered: tuple[steps.Step, ...] = (
        *_grouped(resctrl),
        # A forked process inherits these settings, and after the join we are in the container.
        *planned.first,
        *plan_key_label(process, new_keyring=new_keyring),
        *planned.labels,
        *_initial_affinity(process),
        *((steps.Rootfs(1, False, "/"),) if "mount" not in kinds else ()),
        steps.JoinNamespace(0, namespaces.clone_flags(kinds)),
        *((steps.BecomeRoot(can_set_groups),) if "user" in kinds else ()),
        *((steps.EnterRoot(steps.CHROOT),) if "mount" not in kinds else ()),
        steps.Fork(),
        *((steps.Sync(steps.SYNC_MAPPED),) if limits else ()),
        steps.Session(new_keyring),
        # Nothing else waits for the stele process before the program runs, and it changes the terminal's modes.
        *((*_console(process, mount=False), steps.Sync(steps.SYNC_TERMINAL)) if process.get("terminal") else ()),
        *planned.early,
        steps.Ready(False),
        *planned.late,
        *planned.execute,
    )
    return model.Plan(
        steps=ordered,
        fds=(model.PidFd(),) if "mount" in kinds else (model.PidFd(), model.RootFd()),
        rlimits=limits,
        resctrl=resctrl,
        terminal=bool(process.get("terminal")),
        notes=planned.notes,
    )


def _grouped(resctrl: model.Resctrl | None) -> tuple[steps.Step, ...]:
    """Join the resctrl group before anything else, because children inherit it."""
    return (steps.Sync(steps.SYNC_RESCTRL),) if resctrl else ()


def _initial_affinity(process: Mapping[str, Any]) -> tuple[steps.Step, ...]:
    from runtime.plan.process import cpu_mask

    cpus = (process.get("execCPUAffinity") or {}).get("initial")
    return (steps.Affinity(cpu_mask(cpus, "process.execCPUAffinity.initial")),) if cpus else ()


def _names(config: Mapping[str, Any], spaces: namespaces.Namespaces) -> tuple[steps.Step, ...]:
    planned: list[steps.Step] = []
    for field, kind in (("hostname", steps.Hostname), ("domainname", steps.Domainname)):
        name = config.get(field)
        if name:
            if not spaces.has("uts"):
                raise ConfigError(field, 'needs a uts namespace; add {"type": "uts"} to linux.namespaces or remove it')
            planned.append(kind(name))
    return tuple(planned)


def _console(process: Mapping[str, Any], *, mount: bool) -> tuple[steps.Step, ...]:
    size = process.get("consoleSize") or {}
    uid = (process.get("user") or {}).get("uid", 0)
    return (steps.Console(mount, size.get("width", 0), size.get("height", 0), uid),)


def _root(
    config: Mapping[str, Any],
    linux: Mapping[str, Any],
    request: Request,
    facts: model.Facts,
    spaces: namespaces.Namespaces,
    fds: list[model.FdSource],
    *,
    labels: tuple[steps.Step, ...],
) -> tuple[steps.Step, ...]:
    """The root file system: mounts, devices, masks, then `labels` and entering the root. May add to `fds`."""
    root = config["root"]
    path = posixpath.normpath(posixpath.join(request.bundle, root["path"]))
    process = config.get("process") or {}
    hooks = config.get("hooks") or {}
    sync_hooks = (steps.Sync(steps.SYNC_HOOKS),) if hooks.get("prestart") or hooks.get("createRuntime") else ()
    sysctls = tuple(
        steps.Sysctl(key if "/" in key else key.replace(".", "/"), value)
        for key, value in (linux.get("sysctl") or {}).items()
    )
    if not spaces.has("mount"):
        _without_mounts(config, linux)
        return (
            steps.Rootfs(steps.NO_SLOT, False, path),
            *sync_hooks,
            *sysctls,
            *_create_hooks(config, request),
            *labels,
            steps.EnterRoot(steps.CHROOT),
        )
    slot = steps.NO_SLOT
    if spaces.has("user") and facts.euid == 0:
        slot = len(fds)
        fds.append(model.TreeFd(path, True, None, False, "root.path"))
    mounts = plan_mounts(
        config.get("mounts") or (),
        bundle=request.bundle,
        namespaces=spaces,
        facts=facts,
        mount_label=linux.get("mountLabel") or "",
        first_slot=len(fds),
        id_maps=_known_maps(linux, spaces),
    )
    fds.extend(mounts.fds)
    make = _working_directory(process, mounts.targets)
    base: steps.Step = steps.Rootfs(slot, True, path)
    if request.image:
        taken = set(mounts.targets)
        make = tuple(d for d in request.image.make if d not in taken)
        base = _image_root(request.image, path, facts, fds)
    own_dev = not any(isinstance(s, steps.BindMount) and posixpath.normpath(s.target) == "/dev" for s in mounts.steps)
    devices = (
        plan_devices(
            linux.get("devices") or (),
            bind=spaces.has("user") or facts.in_user_namespace,
            taken=[mount["destination"] for mount in config.get("mounts") or ()],
        )
        if own_dev
        else ()
    )
    mounted = {posixpath.normpath(t) for t in mounts.targets}
    dev_mounted = "/dev" in mounted
    in_root = () if dev_mounted else tuple(s.path for s in devices if isinstance(s, steps.Device))
    below = tuple(d for d in make if not is_below(d, mounted))
    targets = (*mounts.targets, *in_root, *below)
    # Missing mount points are created in the upper layer; without one, in a private layer.
    private = not request.image or request.image.upper == steps.UPPER_NONE
    label = linux.get("mountLabel")
    mask = ("mode=0755", *((f"context={label}",) if label else ()))
    return (
        steps.Propagation(MS_SLAVE | MS_REC),
        base,
        *((steps.PrivateLayer(bool(root.get("readonly")), targets),) if targets and private else ()),
        *mounts.steps,
        *(steps.Directory(path) for path in make),
        *devices,
        *(_console(process, mount=True) if process.get("terminal") else ()),
        *sync_hooks,
        *sysctls,
        *_create_hooks(config, request),
        *mounts.late,
        *(steps.ReadonlyPath(p, index=i) for i, p in _once(linux.get("readonlyPaths") or ())),
        *(steps.MaskPath(p, mask, index=i) for i, p in _once(linux.get("maskedPaths") or ())),
        *labels,
        steps.EnterRoot(steps.MOVE if request.no_pivot else steps.PIVOT),
        steps.RootAttributes(bool(root.get("readonly")), _root_propagation(linux)),
    )


def _once(paths: Sequence[str]) -> Iterable[tuple[int, str]]:
    """Each path with its index; of duplicates only the first.

    ".." is kept: what it leads to depends on symbolic links.
    """
    first: dict[str, tuple[int, str]] = {}
    for i, path in enumerate(paths):
        first.setdefault("/".join(part for part in path.split("/") if part not in ("", ".")), (i, path))
    return first.values()


def _create_hooks(config: Mapping[str, Any], request: Request) -> tuple[steps.Step, ...]:
    """The createContainer hooks, with the usual umask; init's own is 0."""
    hooks = container_hooks(config, "createContainer", request.state)
    return (steps.Umask(0o022), *hooks, steps.Umask(0)) if hooks else ()


def _without_mounts(config: Mapping[str, Any], linux: Mapping[str, Any]) -> None:
    """Refuse fields that need a mount namespace: without one they would change the host, or have no effect.

    Raises:
        ConfigError: names the field.
    """
    asked = {
        "root.readonly": config["root"].get("readonly"),
        "mounts": config.get("mounts"),
        "process.terminal": (config.get("process") or {}).get("terminal"),
        "linux.devices": linux.get("devices"),
        "linux.maskedPaths": linux.get("maskedPaths"),
        "linux.readonlyPaths": linux.get("readonlyPaths"),
        "linux.rootfsPropagation": linux.get("rootfsPropagation"),
    }
    for field, value in asked.items():
        if value:
            raise ConfigError(field, 'needs a mount namespace; add {"type": "mount"} to linux.namespaces, or remove it')


def _working_directory(process: Mapping[str, Any], mounted: Sequence[str]) -> tuple[str, ...]:
    """The working directory, to be created if it is missing, as runc does."""
    cwd = posixpath.normpath(process.get("cwd") or "/")
    return () if cwd in ("/", "//") or cwd in mounted else (cwd,)


LOWERDIR_APPEND = (6, 5)  # Linux: overlayfs takes its layers one by one


def _image_root(image: model.ImageRoot, place: str, facts: model.Facts, fds: list[model.FdSource]) -> steps.LayeredRoot:
    """An image's root, with nodev: the container's devices are in /dev, which is a separate mount."""
    slot = steps.NO_SLOT
    if image.erofs:
        slot = len(fds)
        fds.append(image.erofs)
    return steps.LayeredRoot(
        slot=slot,
        append=facts.kernel >= LOWERDIR_APPEND,
        upper=image.upper,
        attributes=MOUNT_ATTR_NODEV,
        device=image.device,
        inode=image.inode,
        place=place,
        size=image.size,
        directory=image.directory,
        layers=() if image.erofs else image.layers,
    )


def _root_propagation(linux: Mapping[str, Any]) -> int:
    name = linux.get("rootfsPropagation")
    if not name:
        return 0
    if name not in PROPAGATION:
        raise ConfigError("linux.rootfsPropagation", f"{name!r} is not known; use one of {', '.join(PROPAGATION)}")
    flag, recursive = PROPAGATION[name]
    return flag | (MS_REC if recursive else 0)


def _net_devices(linux: Mapping[str, Any], spaces: namespaces.Namespaces) -> tuple[model.NetDevice, ...]:
    devices = linux.get("netDevices") or {}
    if devices and not spaces.has("network"):
        raise ConfigError("linux.netDevices", 'needs a network namespace; add {"type": "network"} to linux.namespaces')
    return tuple(model.NetDevice(host, (device or {}).get("name") or host) for host, device in devices.items())


def _check_host(linux: Mapping[str, Any], facts: model.Facts) -> None:
    """Refuse fields that this host does not support."""
    label = linux.get("mountLabel")
    if label and not facts.selinux:
        raise ConfigError("linux.mountLabel", f"{label!r} cannot be applied: SELinux is off on this host; remove it")
