"""stele unpack: turn a stored image into a bundle of plain files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

from runtime.cli.archive_image import TRANSPORTS, image_at
from runtime.cli.context import Globals
from runtime.cli.table import Unpack
from runtime.errors import HostError
from runtime.host.interrupt import check as check_signals
from runtime.host.paths import absolute
from runtime.host.trees import remove_tree
from runtime.images.config_fields import volume_paths
from runtime.images.platforms import parse_platform
from runtime.images.run import runtime_config
from runtime.images.run.run_options import RunOptions
from runtime.images.run.user import FILE_MAX, identity
from runtime.images.store.find import Image, find
from runtime.images.store.layers import unpack_to
from runtime.images.store.overlay_view import OverlayView
from runtime.images.store.store import ImageStore
from runtime.oci.load import check_config


def unpack(context: Globals, options: Unpack) -> int:
    """Create BUNDLE: the image's files in `rootfs`, and a config.json that runs it as `run --image` would."""
    store = ImageStore(context.images)
    platform = parse_platform(options.platform) if options.platform else None
    if options.image.startswith(TRANSPORTS):
        image = image_at(store, options.image, "", platform)
    else:
        image = find(store, options.image, platform)
    bundle = absolute(options.bundle, "bundle")
    made = _make_directory(bundle)
    try:
        _fill(store, image, bundle, context.log.warning)
    except BaseException:
        _take_back(bundle, itself=made)
        raise
    finally:
        store.close()
    return 0


def _make_directory(bundle: str) -> bool:
    """Create the bundle's directory; False if it exists and is empty.

    Mode 0700 keeps the host's users from the image's set-user-ID files (CVE-2021-41103).
    """
    try:
        os.mkdir(bundle, 0o700)
    except FileExistsError:
        if not os.path.isdir(bundle) or os.listdir(bundle):
            raise HostError(f'bundle "{bundle}" exists and is not empty; name a new directory') from None
        return False
    except OSError as e:
        raise HostError(f'bundle "{bundle}": cannot make it: {os.strerror(e.errno or 0)}', e.errno or 0) from e
    return True


def _fill(store: ImageStore, image: Image, bundle: str, warn: Callable[[str], None]) -> None:
    rootfs = f"{bundle}/rootfs"
    os.mkdir(rootfs, 0o755)
    fd = os.open(rootfs, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        unpack_to(store, image.manifest, fd, warn=warn)
    finally:
        os.close(fd)
    check_signals()
    # A base image may name no program; its bundle can be edited.
    told = image.config.run.get("Entrypoint") or image.config.run.get("Cmd")
    wanted = RunOptions() if told else RunOptions(command=("/bin/sh",))
    with OverlayView([rootfs]) as merged:
        user = identity(runtime_config.user(image.config, wanted), lambda path: merged.read(path, FILE_MAX))
        real = {path: merged.canonical(path) for path in volume_paths(image.config)}
        volumes = runtime_config.image_volumes(image.config, wanted, real)
        present = {path for path in volumes if (found := merged.look_up(path)) and found.is_directory}
    annotations = {f"{runtime_config.ANNOTATION}name": image.name, f"{runtime_config.ANNOTATION}digest": image.digest}
    place = runtime_config.ContainerFacts(
        "stele", os.uname().machine, user, present, annotations=annotations, real=real
    )
    config = runtime_config.runtime_config(image.config, wanted, place)
    check_config(config)
    with open(f"{bundle}/config.json", "x") as file:
        file.write(json.dumps(config, indent=2) + "\n")


def _take_back(bundle: str, *, itself: bool) -> None:
    fd = os.open(bundle, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in os.listdir(fd):
            remove_tree(fd, name)
    finally:
        os.close(fd)
    if itself:
        os.rmdir(bundle)
