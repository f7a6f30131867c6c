"""Prepare a container from an image of the store: unpack the layers, resolve user and volumes, build the config.json."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from runtime.errors import SteleError
from runtime.host.files import inode_of
from runtime.images.config_fields import volume_paths
from runtime.images.run import etc_files, runtime_config
from runtime.images.run.run_options import RunOptions
from runtime.images.run.user import FILE_MAX, Identity, identity
from runtime.images.store import erofs
from runtime.images.store.contents import stack_id
from runtime.images.store.find import Image
from runtime.images.store.overlay_view import OverlayView
from runtime.images.store.store import ImageStore
from runtime.oci.load import check_config
from runtime.plan.model import ErofsFd, ImageRoot, Veth
from runtime.plan.steps import UPPER_DIRECTORY


@dataclass(frozen=True, slots=True)
class FromImage:
    """A container made from an image; its bundle is generated in its state directory.

    config: the whole config.json, except root.path. files: name to content, written beside it as bind sources.
    store: path of the image store, which keeps the digests in `chain` as long as the container exists.
    volumes: named volumes, each with the owner, group and mode for creating it if it is missing.
    """

    config: Mapping[str, Any]
    root: ImageRoot
    files: Mapping[str, bytes]
    store: str
    chain: tuple[str, ...]
    network: tuple[Veth, ...] = ()
    volumes: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)


def prepare(
    store: ImageStore,
    image: Image,
    options: RunOptions,
    container_id: str,
    root: str,
    warn: Callable[[str], None],
) -> FromImage:
    """Return what a container is made from; unpacks the image for its first container.

    Args:
        root: --root, below which hashes of a read-only store are remembered.
    Raises:
        SteleError: the image is damaged, or does not fit the options.
    """
    device = inode = 0
    layers = _layers(store, image, root, warn)
    chain = image.chain
    if os.path.isdir(store.stack_path(image.config.diff_ids)):
        chain += (stack_id(image.config.diff_ids),)
    with OverlayView(layers) as view:
        user = identity(runtime_config.user(image.config, options), lambda path: view.read(path, FILE_MAX))
        real = _real(image, options, view)
        volumes = runtime_config.image_volumes(image.config, options, real)
        present = {path for path in volumes if (found := view.look_up(path)) and found.is_directory}
        named = _named_volumes(options, view, user)
        if options.upper.kind == UPPER_DIRECTORY:
            device, inode = _make_upper(options.upper.directory, view)
    whole = _erofs(store, image, root) if options.single_file else None
    files = _files(options, container_id)
    facts = runtime_config.ContainerFacts(
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
    )
    config = runtime_config.runtime_config(image.config, options, facts)
    check_config(config)
    upper = options.upper
    make = (config["process"]["cwd"],) if config["process"]["cwd"] != "/" else ()
    layered = ImageRoot(
        layers,
        whole,
        upper=upper.kind,
        size=upper.size,
        directory=upper.directory,
        device=device,
        inode=inode,
        make=make,
    )
    return FromImage(config, layered, files, store.path, chain, options.veth, named)


def _real(image: Image, options: RunOptions, view: OverlayView) -> dict[str, str]:
    """Resolve the image's symlinks in the paths of its volumes and the caller's."""
    paths = volume_paths(image.config)
    if paths:
        paths += (*runtime_config.FILES.values(), *(volume.target for volume in options.volumes))
    return {path: view.canonical(path) for path in paths}


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


def _named_volumes(options: RunOptions, view: OverlayView, user: Identity) -> dict[str, tuple[int, int, int]]:
    """The owner, group and mode that each named volume is to have if it is new: those of the image's directory there."""
    named = {}
    for volume in options.volumes:
        if volume.kind == "volume":
            found = view.look_up(volume.target)
            own = found.stat if found and found.is_directory else None
            named[volume.source] = (
                (own.st_uid, own.st_gid, own.st_mode & 0o7777) if own else (user.uid, user.gid, 0o755)
            )
    return named


def _make_upper(path: str, view: OverlayView) -> tuple[int, int]:
    """Make overlayfs's `upper` and `work` directories; return the device and inode of `path`, in the plan's format.

    The merged root gets the owner and mode of `upper`.

    The directory's owner may change it meanwhile, so no name is resolved twice.
    """
    root = view.look_up("/")
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


def _files(options: RunOptions, container_id: str) -> dict[str, bytes]:
    name = runtime_config.hostname(options, container_id)
    files = {"hostname": etc_files.hostname(name), "hosts": etc_files.hosts(name, [v.address for v in options.veth])}
    if options.network != "none" or options.dns:
        try:
            with open("/etc/resolv.conf", "rb") as file:
                host = file.read(FILE_MAX)
        except OSError:
            host = b""
        files["resolv.conf"] = etc_files.resolv_conf(options.dns, host, own_network=options.network != "host")
    return files
