"""The commands create, start, run, kill, delete, pause and resume."""

from __future__ import annotations

import os
import time
from signal import SIGKILL

from runtime.cli.context import Globals
from runtime.cli.several import each
from runtime.cli.streams import listen_fds
from runtime.cli.table import IMAGE_ONLY, ContainerOptions, Create, Delete, Kill, Pause, Resume, Run, Start
from runtime.container import lifecycle
from runtime.container.create import create as create_container
from runtime.container.requests import CreateRequest, LogRequest, Readiness
from runtime.container.start import start as start_container
from runtime.container.state import check_id
from runtime.errors import UsageError
from runtime.host.paths import absolute

QUICK = 1.0
"""Seconds within which a program fails that could not write what it needs to begin."""
CANNOT_RUN = 126
"""From this exit status on a program was not found, not executed, or killed by a signal (sh(1))."""
LOG_SIZE_MIN = 1 << 16
LOG_FILES_MAX = 99


def request(
    context: Globals,
    options: ContainerOptions,
    *,
    keep_master: bool = False,
    waiter: bool = False,
    log: LogRequest | None = None,
    notify: bool | None = None,
) -> CreateRequest:
    """Build the request for create and run.

    Sockets passed by systemd (sd_listen_fds(3)) are passed on to the container's process 1.

    Raises:
        UsageError: an option that needs --image is given without it.
    """
    image = None
    if options.image:
        from runtime.cli.from_image import from_image

        image = from_image(context, options, check_id(options.id))
    else:
        _without_image(options)
    listening = listen_fds()
    names = [f"LISTEN_FDNAMES={os.environ['LISTEN_FDNAMES']}"] if "LISTEN_FDNAMES" in os.environ else []
    return CreateRequest(
        bundle=options.bundle,
        pid_file=options.pid_file,
        console_socket=options.console_socket,
        pidfd_socket=options.pidfd_socket,
        no_pivot=options.no_pivot,
        no_new_keyring=options.no_new_keyring,
        preserve_fds=listening + options.preserve_fds,
        cgroup_manager=context.cgroup_manager,
        rootless=context.rootless,
        keep_master=keep_master,
        environment=(f"LISTEN_FDS={listening}", "LISTEN_PID=1", *names) if listening else (),
        notify=bool(os.environ.get("NOTIFY_SOCKET")) if notify is None else notify,
        waiter=waiter,
        log=log,
        image=image,
    )


def _without_image(options: ContainerOptions) -> None:
    """Refuse image options for a bundle, whose config.json covers all of them.

    Raises:
        UsageError: an image option or a command is given.
    """
    for option in IMAGE_ONLY:
        if getattr(options, option.key) != option.absent:
            raise UsageError(f"{option.names[0]} needs an image: name one with --image, or edit config.json")
    bundle = absolute(options.bundle, "--bundle")
    if options.bundle == "." and not os.path.exists(f"{bundle}/config.json"):
        image = options.command[0] if options.name and options.command else options.id
        raise UsageError(
            f"no bundle is here (config.json is missing in {bundle}; `stele spec` writes one), and no image is named; "
            f"to run an image: --image {image} ID"
        )
    if options.command:
        raise UsageError(
            f'"{options.command[0]}": the command of a bundle is in its config.json; edit that, or use --image'
        )


def create(context: Globals, options: Create) -> int:
    store, container_id = context.store(), check_id(options.id)
    wanted = request(context, options, waiter=options.waiter)
    if options.waiter:
        from runtime.container import waiter

        waiter.create_beside(store, container_id, wanted, context.log.warning)
        return 0
    for note in create_container(store, container_id, wanted).notes:
        context.log.warning(note)
    return 0


def _log(options: Run) -> LogRequest | None:
    """Return where the output goes, or None if the container has our streams.

    Raises:
        UsageError: an option is malformed, or does not fit the others.
    """
    if not options.log_driver:
        return None
    if not options.detach:
        raise UsageError("--log-driver is for --detach; without it the output is yours")
    if options.console_socket:
        raise UsageError("--log-driver and --console-socket exclude each other: both take the container's output")
    from runtime.oci.sizes import size

    largest = size(options.log_size, "log-size")
    if largest < LOG_SIZE_MIN:
        raise UsageError(f'invalid value "{options.log_size[:40]}" for --log-size; use at least {LOG_SIZE_MIN} bytes')
    if not 1 <= options.log_files <= LOG_FILES_MAX:
        raise UsageError(f'invalid value "{options.log_files}" for --log-files; use 1 to {LOG_FILES_MAX}')
    return LogRequest(options.log_driver, largest, options.log_files)


def _readiness(options: Run) -> Readiness:
    """Return when the container counts as ready.

    Raises:
        UsageError: --ready is malformed.
    """
    host = os.environ.get("NOTIFY_SOCKET", "")
    if options.ready in ("", "notify"):
        return Readiness(host)
    if options.ready == "started":
        return Readiness(host, "started")
    kind, _, text = options.ready.partition(":")
    if kind == "exec":
        import shlex

        try:
            command = tuple(shlex.split(text))
        except ValueError as e:
            raise UsageError(f"--ready {options.ready[:80]!r}: {e}") from None
        if command:
            return Readiness(host, "exec", command)
    raise UsageError(f"invalid value {options.ready[:80]!r} for --ready; use started, notify, or exec:COMMAND")


def _leaves_waiter(options: Run) -> bool:
    """Whether `run` leaves a waiter: with --waiter, or with --detach, unless systemd started us and so reaps the container.

    Raises:
        UsageError: the options exclude each other.
    """
    if options.waiter and (options.no_waiter or not options.detach):
        other = "together with --no-waiter" if options.no_waiter else "without --detach"
        raise UsageError(f"--waiter {other} has no meaning; drop one")
    if options.log_driver in ("file", "journald"):
        if options.no_waiter:
            raise UsageError(f"--log-driver {options.log_driver} needs the waiter; drop --no-waiter")
        return True
    by_systemd = os.environ.get("SYSTEMD_EXEC_PID") == str(os.getpid())  # systemd.exec(5)
    return options.waiter or (options.detach and not options.no_waiter and not by_systemd)


def start(context: Globals, options: Start) -> int:
    start_container(context.store(), check_id(options.id), os.environ.get("NOTIFY_SOCKET", ""))
    return 0


def run(context: Globals, options: Run) -> int:
    from runtime.container import foreground

    container_id = check_id(options.id)
    if options.rm and (options.detach or options.keep):
        other = "--detach" if options.detach else "--keep"
        raise UsageError(f"--rm cannot be used with {other}; delete the container with `stele delete {container_id}`")
    ready = _readiness(options)
    asked = request(
        context,
        options,
        keep_master=not options.detach and not options.console_socket,
        waiter=_leaves_waiter(options),
        log=_log(options),
        notify=bool(ready.host) and ready.kind == "notify",
    )
    begin = time.monotonic()
    status = foreground.run(
        context.store(),
        container_id,
        asked,
        context.log.warning,
        ready=ready,
        detach=options.detach,
        keep=options.keep,
        subreaper=not options.no_subreaper,
    )
    quick = time.monotonic() - begin < QUICK and 0 < status < CANNOT_RUN
    if quick and options.image and options.upper == "none" and not options.detach and not context.log.path:
        context.log.warning(
            f"it failed at once ({status}); if it wanted to write: the root is read-only, --upper tmpfs makes it "
            "writable, --tmpfs or --volume a single directory"
        )
    return status


def kill(context: Globals, options: Kill) -> int:
    if options.send:
        ids = [options.id, *([options.signal] if options.signal else []), *options.more]
    elif options.more:
        raise UsageError(
            f'kill: "kill" requires 1 to 2 argument(s), got {2 + len(options.more)}; for several containers: '
            "stele kill --signal SIGNAL ID..."
        )
    else:
        ids = [options.id]
    store, signal = context.store(), options.send or options.signal

    def send(container_id: str) -> None:
        number = lifecycle.signal_number(signal or lifecycle.stop_signal(store, container_id))
        lifecycle.kill(store, container_id, number, everyone=options.all)
        if number and number != SIGKILL and not context.log.path and lifecycle.is_paused(store, container_id):
            context.log.warning(f'container "{container_id}" is paused; it gets the signal when it is resumed')

    each(ids, send)
    return 0


def delete(context: Globals, options: Delete) -> int:
    def remove(container_id: str) -> None:
        for warning in lifecycle.delete(context.store(), container_id, force=options.force):
            context.log.warning(warning)

    each([options.id, *options.more], remove)
    return 0


def pause(context: Globals, options: Pause) -> int:
    lifecycle.pause(context.store(), check_id(options.id))
    return 0


def resume(context: Globals, options: Resume) -> int:
    lifecycle.resume(context.store(), check_id(options.id))
    return 0
