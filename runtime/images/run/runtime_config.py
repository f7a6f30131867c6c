"""From what an image says of itself, and what the command line changes of it, to a config.json. Pure.

Source: image-spec config.md and conversion.md; runtime-spec config.md.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from runtime.errors import UsageError
from runtime.images import config_fields
from runtime.images.model import ImageConfig, ImageError
from runtime.images.run import defaults
from runtime.images.run.run_options import PERIOD, RunOptions, Volume
from runtime.images.run.seccomp_default import default_profile
from runtime.images.run.user import Identity
from runtime.oci import OCI_VERSION
from runtime.plan.steps import UPPER_NONE

HOSTNAME_MAX = 64
ANNOTATION = "org.stele.image."
STOP_SIGNAL = "org.opencontainers.image.stopSignal"
RESERVED = (
    "org.stele.", "org.systemd.", "run.oci.", "org.criu.", "io.podman.", "io.containers.", "io.containerd.",
    "containerd.io/", "io.kubernetes.", "io.katacontainers.", "krun.", "nerdctl/", "org.opencontainers.runtime-spec.",
)  # fmt: skip
"""Beginnings of annotations that are orders to a runtime or engine: a label of an image may not give any (CVE-2026-53488)."""
KERNELS = ("/proc", "/sys", "/dev")


@dataclass(frozen=True, slots=True)
class ContainerFacts:
    """What the settings must know of the container and the host.

    machine: as uname(2) has it. user: who the process is. present: those of the image's volumes that the image has a
    directory for. volumes: where named volumes are. files: names of the files in the bundle's `files`, each mounted
    at FILES[name]. annotations: more of them, which beat labels. real: see `image_volumes`.
    """

    container_id: str
    machine: str
    user: Identity
    present: Collection[str] = ()
    volumes: str = ""
    files: Collection[str] = ()
    annotations: Mapping[str, str] | None = None
    real: Mapping[str, str] | None = None


FILES = {"hostname": "/etc/hostname", "hosts": "/etc/hosts", "resolv.conf": "/etc/resolv.conf"}


def runtime_config(image: ImageConfig, wanted: RunOptions, place: ContainerFacts) -> dict[str, Any]:
    """The whole config.json; root.path is "rootfs" in its bundle.

    Raises:
        ImageError: the image's config has something of a wrong type, or there is no program to run.
    """
    capabilities = list(wanted.capabilities)
    held = capabilities if place.user.uid == 0 else []
    host_network = wanted.network == "host"
    process: dict[str, Any] = {
        "terminal": wanted.terminal,
        "user": place.user.document(),
        "args": list(arguments(image, wanted)),
        "env": list(environment(image, wanted)),
        "cwd": working_directory(image, wanted),
        "capabilities": {"bounding": capabilities, "effective": held, "permitted": held},
        "noNewPrivileges": not wanted.new_privileges,
    }
    linux: dict[str, Any] = {
        "namespaces": [{"type": kind} for kind in defaults.NAMESPACES if kind != "network" or not host_network],
        "resources": resources(wanted),
        "maskedPaths": list(defaults.MASKED),
        "readonlyPaths": list(defaults.READONLY),
        "seccomp": default_profile(capabilities, place.machine),
    }
    if wanted.cgroups_path:
        linux["cgroupsPath"] = wanted.cgroups_path
    return {
        "ociVersion": OCI_VERSION,
        "process": process,
        "root": {"path": "rootfs", "readonly": wanted.readonly or wanted.upper.kind == UPPER_NONE},
        "hostname": hostname(wanted, place.container_id),
        "mounts": [*defaults.base_mounts(), *_mounts(image, wanted, place)],
        "annotations": labels(image, wanted, place.annotations or {}),
        "linux": linux,
    }


def arguments(image: ImageConfig, wanted: RunOptions) -> tuple[str, ...]:
    """The program and its arguments: a new entrypoint leaves the image's Cmd out, as it was for the old one.

    Raises:
        ImageError: there are none.
    """
    entrypoint = wanted.entrypoint
    command = wanted.command or (config_fields.words(image, "Cmd") if entrypoint is None else ())
    args = (*(config_fields.words(image, "Entrypoint") if entrypoint is None else entrypoint), *command)
    if not args:
        raise ImageError("the image names no program to run; name one behind the container's id, or with --entrypoint")
    return args


def environment(image: ImageConfig, wanted: RunOptions) -> tuple[str, ...]:
    """NAME=VALUE: the image's, then the caller's, which wins; PATH where neither has it, TERM for a terminal."""
    path, _, default = defaults.PATH.partition("=")
    found = {path: default, **({"TERM": "xterm"} if wanted.terminal else {})}
    for entry in (*config_fields.words(image, "Env"), *wanted.env):
        name, _, value = entry.partition("=")
        if name:
            found[name] = value
    return tuple(f"{name}={value}" for name, value in found.items())


def user(image: ImageConfig, wanted: RunOptions) -> str:
    """The user by name or number, "" for root."""
    return wanted.user if wanted.user is not None else config_fields.text(image, "User")


def working_directory(image: ImageConfig, wanted: RunOptions) -> str:
    """An absolute path; a relative one counts from the root.

    Raises:
        ImageError: the image's is too deep.
    """
    return config_fields.absolute(wanted.workdir) if wanted.workdir else config_fields.working_directory(image)


def hostname(wanted: RunOptions, container_id: str) -> str:
    """The host name; by default the container's ID.

    Raises:
        UsageError: the kernel takes no such name.
    """
    name = wanted.hostname or container_id[:HOSTNAME_MAX]
    if len(name.encode()) > HOSTNAME_MAX or not name.isprintable() or any(c.isspace() for c in name):
        raise UsageError(f'--hostname "{name}": use at most {HOSTNAME_MAX} printable characters without spaces')
    return name


def image_volumes(image: ImageConfig, wanted: RunOptions, real: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Where the image wants a volume, and neither the caller nor the host has put something; sorted.

    Args:
        real: paths in the image to where its links lead them, so that no link puts a volume over another mount.
    Raises:
        ImageError: as `config_fields.volume_paths`; or a volume would hide what the kernel shows (CVE-2019-16884).
    """
    real = real or {}
    # Images of systemd want one on /sys/fs/cgroup, others on /dev/shm: each container has its own there already.
    served = {mount["destination"] for mount in defaults.base_mounts()}.difference(KERNELS)
    served.update(FILES.values(), (real.get(volume.target, volume.target) for volume in wanted.volumes))
    found = []
    for path in config_fields.volume_paths(image):
        led = real.get(path, path)
        if path in served or led in served:
            continue
        if led == "/" or any(f"{each}/".startswith(f"{kernel}/") for kernel in KERNELS for each in (path, led)):
            raise config_fields.no_place(path)
        found.append(path)
    return tuple(found)


def resources(wanted: RunOptions) -> dict[str, Any]:
    """linux.resources."""
    found: dict[str, Any] = {"devices": defaults.device_rules()}
    if wanted.memory is not None:
        found["memory"] = {"limit": wanted.memory}
    if wanted.cpus is not None:
        found["cpu"] = {"quota": wanted.cpus, "period": PERIOD}
    if wanted.pids is not None:
        found["pids"] = {"limit": wanted.pids}
    return found


def labels(image: ImageConfig, wanted: RunOptions, more: Mapping[str, str]) -> dict[str, str]:
    """The command line's, then the host's (`more`), then the image's: its labels that order nothing, and its fields."""
    told = image.run.get("Labels") or {}
    if not isinstance(told, Mapping) or not all(isinstance(text, str) for text in told.values()):
        raise config_fields.wrong("Labels", told)
    own = {"os": image.os, "architecture": image.architecture, "variant": image.variant, "created": image.created}
    own["stopSignal"] = config_fields.text(image, "StopSignal")
    found = {f"org.opencontainers.image.{key}": text for key, text in own.items() if text}
    # A label beats the field of the same meaning (image-spec conversion.md, "Annotation Fields").
    found |= {key: text for key, text in told.items() if key and not key.startswith(RESERVED)}
    found |= dict(wanted.labels)
    if wanted.stop_signal:
        found[STOP_SIGNAL] = wanted.stop_signal
    return {**found, **more}


def _files(place: ContainerFacts) -> Iterator[dict[str, Any]]:
    for name, target in FILES.items():
        if name in place.files:
            options = ["bind", "ro", "nosuid", "nodev", "noexec"]
            yield {"destination": target, "type": "bind", "source": f"files/{name}", "options": options}


def _mounts(image: ImageConfig, wanted: RunOptions, place: ContainerFacts) -> Iterator[dict[str, Any]]:
    """A mount hides what is mounted below it before, so of two, the one below comes later.

    An image's volume above our files comes before them, as they are the host's; the caller's come after them.
    """
    real = place.real or {}

    def led(mount: Mapping[str, Any]) -> str:
        return real.get(mount["destination"], mount["destination"])

    own = [_image_volume(path, place) for path in image_volumes(image, wanted, real)]
    files = list(_files(place))
    above = [mount for mount in own if any(led(file).startswith(f"{led(mount)}/") for file in files)]
    rest = [mount for mount in own if mount not in above]
    return iter([*above, *files, *sorted([*rest, *(_mount(volume, place) for volume in wanted.volumes)], key=led)])


def _image_volume(path: str, place: ContainerFacts) -> dict[str, Any]:
    """A tmpfs: with what the image has there; with nothing, and the process's own, where it has nothing."""
    options = ["nosuid", "nodev"]
    options += (
        ["tmpcopyup"] if path in place.present else ["mode=0755", f"uid={place.user.uid}", f"gid={place.user.gid}"]
    )
    return {"destination": path, "type": "tmpfs", "source": "tmpfs", "options": options}


def _mount(volume: Volume, place: ContainerFacts) -> dict[str, Any]:
    if volume.kind == "tmpfs":
        keys = {option.partition("=")[0] for option in volume.options}
        mode = [] if "mode" in keys else ["mode=1777"]
        options = ["nosuid", "nodev", "noexec", *mode, *volume.options]
        return {"destination": volume.target, "type": "tmpfs", "source": "tmpfs", "options": options}
    source = volume.source if volume.kind == "bind" else f"{place.volumes}/{volume.source}"
    # A volume that is read-only is so as a whole, with what is mounted below it.
    options = ["rbind", "rprivate", "nosuid", "nodev", *volume.options, *(["rro"] if "ro" in volume.options else [])]
    return {"destination": volume.target, "type": "bind", "source": source, "options": options}
