"""run, create and plan with --image: build the `create` request from an image and the command line."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import TYPE_CHECKING

from runtime.cli.archive_image import TRANSPORTS, as_it_came, image_at
from runtime.cli.context import Globals
from runtime.cli.table import ContainerOptions
from runtime.cli.update import size
from runtime.container.from_image import inode_of
from runtime.container.lifecycle import signal_number
from runtime.container.requests import FromImage
from runtime.errors import StateError, SteleError, UsageError
from runtime.images.config_fields import volume_paths
from runtime.images.platforms import host_platform, runs_on
from runtime.images.run import defaults, etc_files, run_options, runtime_config
from runtime.images.run.run_options import RunOptions
from runtime.images.run.user import FILE_MAX, Identity, identity
from runtime.images.store import erofs
from runtime.images.store.contents import stack_id
from runtime.images.store.find import Image, find
from runtime.images.store.overlay_view import OverlayView
from runtime.images.store.store import ImageStore
from runtime.oci.load import check_config
from runtime.plan.model import ErofsFd, ImageRoot
from runtime.plan.steps import UPPER_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Callable


def from_image(context: Globals, options: ContainerOptions, container_id: str) -> FromImage:
    """Return what the container is made from; unpacks the image for its first container.

    Raises:
        SteleError: the image is missing or damaged, or an option is malformed.
    """
    if context.rootless:
        raise UsageError("--image needs root: an ordinary user cannot mount an image's layers")
    device = inode = 0
    wanted = run_options_of(options, cgroups_path=_cgroups_path(context, options.cgroup_parent, container_id))
    store = ImageStore(context.images)
    try:
        image = _image(store, options)
        host = host_platform()
        if not runs_on(host, image.platform):
            context.log.warning(
                f'image "{image.name}": its platform ({image.platform}) does not match the host\'s ({host}): its programs '
                f"run only where an emulator for them is registered (binfmt_misc); `stele image pull --platform {host}` "
                "gets the right one"
            )
        layers = _layers(store, image, context.root, context.log.warning)
        chain = image.chain
        if os.path.isdir(store.stack_path(image.config.diff_ids)):
            chain += (stack_id(image.config.diff_ids),)
        with OverlayView(layers) as merged:
            user = identity(runtime_config.user(image.config, wanted), lambda path: merged.read(path, FILE_MAX))
            real = _real(image, wanted, merged)
            volumes = runtime_config.image_volumes(image.config, wanted, real)
            present = {path for path in volumes if (found := merged.look_up(path)) and found.is_directory}
            named = _named_volumes(wanted, merged, user)
            if wanted.upper.kind == UPPER_DIRECTORY:
                device, inode = _make_upper(wanted.upper.directory, merged)
        whole = _erofs(store, image, context.root) if options.rootfs == "erofs" else None
    finally:
        store.close()
    files = _files(wanted, container_id)
    config = runtime_config.runtime_config(
        image.config,
        wanted,
        runtime_config.ContainerFacts(
            container_id=container_id,
            machine=os.uname().machine,
            user=user,
            present=present,
            volumes=f"{store.path}/volumes",
            files=files,
            real=real,
            annotations={
                f"{runtime_config.ANNOTATION}name": image.name,
                f"{runtime_config.ANNOTATION}digest": image.digest,
            },
        ),
    )
    check_config(config)
    upper = wanted.upper
    make = (config["process"]["cwd"],) if config["process"]["cwd"] != "/" else ()
    root = ImageRoot(
        layers,
        whole,
        upper=upper.kind,
        size=upper.size,
        directory=upper.directory,
        device=device,
        inode=inode,
        make=make,
    )
    return FromImage(config, root, files, store.path, chain, wanted.veth, named)


def _cgroups_path(context: Globals, parent: str, container_id: str) -> str:
    """Return linux.cgroupsPath for --cgroup-parent: "" leaves the default.

    Raises:
        UsageError: systemd makes the cgroups, and the parent is not a slice.
    """
    if not parent or context.cgroup_manager != "systemd":
        return f"{parent.rstrip('/')}/{container_id}" if parent else ""
    if not parent.endswith(".slice") or "/" in parent:
        raise UsageError(
            f'--cgroup-parent "{parent}": with the systemd cgroup manager, name a slice, such as user.slice'
        )
    return f"{parent}:stele:{container_id}"


def run_options_of(options: ContainerOptions, *, cgroups_path: str = "") -> RunOptions:
    """Parse the options.

    Args:
        cgroups_path: linux.cgroupsPath, or "" for the default.

    Raises:
        UsageError: an option is malformed.
    """
    network, veth = run_options.network(options.net)
    capabilities = run_options.capabilities(options.cap_add, options.cap_drop, defaults.CAPABILITIES)
    given = (
        *(run_options.volume(text) for text in options.volume),
        *(run_options.mount(text) for text in options.mount),
        *(run_options.tmpfs(text) for text in options.tmpfs),
    )
    targets = [volume.target for volume in given]
    for target in targets:
        if targets.count(target) > 1:
            raise UsageError(f'two volumes have the destination "{target}"; remove one')
    for volume in given:
        if volume.kind == "bind" and not os.path.exists(volume.source):
            raise UsageError(f'--volume: the host has no "{volume.source}"; create it, or correct the source')
    return RunOptions(
        command=tuple(options.command),
        entrypoint=run_options.words(options.entrypoint, "--entrypoint") if options.entrypoint is not None else None,
        env=run_options.environment(options.env, [_read(path) for path in options.env_file], os.environ),
        user=options.user or None,
        workdir=options.workdir,
        hostname=options.hostname,
        volumes=given,
        memory=size(options.memory, "memory") if options.memory else None,
        cpus=run_options.cpus(options.cpus) if options.cpus else None,
        pids=options.pids_limit,
        capabilities=capabilities,
        new_privileges=options.allow_new_privileges,
        readonly=options.read_only,
        upper=run_options.upper(options.upper),
        network=network,
        veth=veth,
        dns=run_options.dns(options.dns),
        labels=run_options.labels(options.label),
        stop_signal=_signal(options.stop_signal),
        terminal=options.tty,
        cgroups_path=cgroups_path,
    )


def _signal(text: str) -> str:
    """Check --stop-signal. Raises UsageError: unknown signal."""
    try:
        if text:
            signal_number(text)
        return text
    except StateError as e:
        raise UsageError(f"--stop-signal: {e}") from None


def _image(store: ImageStore, options: ContainerOptions) -> Image:
    """Return the image that --image names; a file or folder is imported first, subject to policy.json.

    An imported image gets no name in the store: a stranger's folder may call its image docker.io/library/debian:12.
    """
    text = str(options.image)
    if not text.startswith(TRANSPORTS):
        return _pulled(store, text, options) if options.pull != "never" else find(store, text)
    return image_at(store, text, options.signature_policy)


def _pulled(store: ImageStore, text: str, options: ContainerOptions) -> Image:
    """Pull the image first if --pull says so, using the host's default configuration files."""
    from runtime.cli.images import fetched
    from runtime.images import registries_conf
    from runtime.images.policy import policy
    from runtime.images.progress import to_stderr
    from runtime.images.registry.pull import PullOptions
    from runtime.images.store.names import stored_name

    known = store.names()
    name = stored_name(known, text)
    if name.startswith("sha256:") or (options.pull == "missing" and name in known):
        return find(store, name)  # a digest alone names no registry
    rules = registries_conf.load()
    how = PullOptions(host_platform(), policy=policy.load(options.signature_policy))
    progress = to_stderr()
    try:
        done = fetched(store, rules.parse(name), rules, how, progress)
    finally:
        progress.close()
    return as_it_came(store, done.name, done)


def _real(image: Image, wanted: RunOptions, merged: OverlayView) -> dict[str, str]:
    """Resolve the image's symlinks in the paths of its volumes and the caller's."""
    paths = volume_paths(image.config)
    if paths:
        paths += (*runtime_config.FILES.values(), *(volume.target for volume in wanted.volumes))
    return {path: merged.canonical(path) for path in paths}


def _layers(store: ImageStore, image: Image, root: str, warn: Callable[[str], None]) -> tuple[str, ...]:
    """Return the image's unpacked layers, topmost first.

    A repeated layer is kept only at its topmost position: the lower copy would be invisible, and overlayfs refuses
    the same directory twice.
    """
    found = store.stack(image.config)
    if found is None or not all(map(os.path.isdir, store.proven(image.manifest, image.config))):
        from runtime.images.progress import unpacking
        from runtime.images.store.layers import unpack_image

        with unpacking() as watch:
            found = unpack_image(store, image.manifest, cache=f"{root}/.cache", watch=watch, warn=warn)
    return tuple(dict.fromkeys(reversed(found)))


def _erofs(store: ImageStore, image: Image, root: str) -> ErofsFd:
    """Return the image as a single verified file, created for the first container that uses it."""
    found = erofs.existing(store, image.config)
    if found is None:
        from runtime.images.store import mkfs

        found = mkfs.seal(store, image.manifest, image.config)
    erofs.check(found, f"{root}/.cache")
    return ErofsFd(found.path, found.verity)


def _named_volumes(wanted: RunOptions, merged: OverlayView, user: Identity) -> dict[str, tuple[int, int, int]]:
    """The owner, group and mode that each named volume is to have if it is new: those of the image's directory there."""
    named = {}
    for volume in wanted.volumes:
        if volume.kind == "volume":
            found = merged.look_up(volume.target)
            own = found.stat if found and found.is_directory else None
            named[volume.source] = (
                (own.st_uid, own.st_gid, own.st_mode & 0o7777) if own else (user.uid, user.gid, 0o755)
            )
    return named


def _make_upper(path: str, merged: OverlayView) -> tuple[int, int]:
    """Make overlayfs's `upper` and `work` directories; return the device and inode of `path`, in the plan's format.

    The merged root gets the owner and mode of `upper`.

    The directory's owner may change it meanwhile, so no name is resolved twice.
    """
    root = merged.look_up("/")
    try:
        place = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for name in ("upper", "work"):
                new = _made(place, name)
                own = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place)
                try:
                    if new and name == "upper" and root:
                        os.fchown(own, root.stat.st_uid, root.stat.st_gid)
                        os.fchmod(own, root.stat.st_mode & 0o7777)
                finally:
                    os.close(own)
            return inode_of(place)
        finally:
            os.close(place)
    except OSError as e:
        if e.errno in (errno.ELOOP, errno.ENOTDIR) and e.filename in ("upper", "work"):
            raise SteleError(
                f'--upper "{path}": {e.filename} in it is a link or file, not a directory; remove it, or name another'
            ) from e
        raise SteleError(
            f'--upper "{path}": cannot write there: {os.strerror(e.errno or 0)}; name a directory that exists'
        ) from e


def _made(place: int, name: str) -> bool:
    """Make a directory; False if the name exists already."""
    try:
        os.mkdir(name, 0o755, dir_fd=place)
    except FileExistsError:
        return False
    return True


def _files(wanted: RunOptions, container_id: str) -> dict[str, bytes]:
    name = runtime_config.hostname(wanted, container_id)
    files = {"hostname": etc_files.hostname(name), "hosts": etc_files.hosts(name, [v.address for v in wanted.veth])}
    if wanted.network != "none" or wanted.dns:
        try:
            with open("/etc/resolv.conf", "rb") as file:
                host = file.read(FILE_MAX)
        except OSError:
            host = b""
        files["resolv.conf"] = etc_files.resolv_conf(wanted.dns, host, own_network=wanted.network != "host")
    return files


def _read(path: str) -> bytes:
    try:
        with contextlib.nullcontext(sys.stdin.buffer) if path == "-" else open(path, "rb") as file:
            content: bytes = file.read(FILE_MAX + 1)
    except OSError as e:
        raise UsageError(f'--env-file "{path}": {os.strerror(e.errno or 0)}') from e
    if len(content) > FILE_MAX:
        raise UsageError(f'--env-file "{path}": it is larger than {FILE_MAX >> 20} MiB; split it')
    return content
