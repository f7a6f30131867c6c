"""run, create and plan with --image: parse the options, get the image, and have the container prepared."""

from __future__ import annotations

from runtime.cli.archive_image import TRANSPORTS, as_it_came, image_at
from runtime.cli.context import Globals
from runtime.cli.table import ContainerOptions
from runtime.container.lifecycle import signal_number
from runtime.errors import StateError, UsageError
from runtime.images.platforms import host_platform, runs_on
from runtime.images.run import run_options
from runtime.images.run.prepare import FromImage, prepare
from runtime.images.store.find import Image, find
from runtime.images.store.store import ImageStore


def from_image(context: Globals, options: ContainerOptions, container_id: str) -> FromImage:
    """Return what the container is made from; unpacks the image for its first container.

    Raises:
        SteleError: the image is missing or damaged, or an option is malformed.
    """
    if context.rootless:
        raise UsageError("--image needs root: an ordinary user cannot mount an image's layers")
    _check_signal(options.stop_signal)
    parsed = run_options.parse(options, cgroups_path=_cgroups_path(context, options.cgroup_parent, container_id))
    store = ImageStore(context.images)
    try:
        image = image_of(store, options)
        host = host_platform()
        if not runs_on(host, image.platform):
            context.log.warning(
                f'image "{image.name}": its platform ({image.platform}) does not match the host\'s ({host}): its programs '
                f"run only where an emulator for them is registered (binfmt_misc); `stele image pull --platform {host}` "
                "gets the right one"
            )
        return prepare(store, image, parsed, container_id, context.root, context.log.warning)
    finally:
        store.close()


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


def _check_signal(text: str) -> None:
    """Check --stop-signal. Raises UsageError: unknown signal."""
    try:
        if text:
            signal_number(text)
    except StateError as e:
        raise UsageError(f"--stop-signal: {e}") from None


def image_of(store: ImageStore, options: ContainerOptions) -> Image:
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
