"""create, start, run, kill, delete, pause, resume."""

from __future__ import annotations

import os
from typing import Any

from runtime.cli.main import Globals
from runtime.cli.streams import listen_fds
from runtime.cli.table import IMAGE
from runtime.container import lifecycle
from runtime.container.create import create as create_container
from runtime.container.requests import CreateRequest
from runtime.container.start import start as start_container
from runtime.container.state import check_id
from runtime.errors import UsageError


def request(options: Globals, values: dict[str, Any], *, keep_master: bool = False) -> CreateRequest:
    """The request of create and run.

    Sockets that systemd gave us are the container's (sd_listen_fds(3)); its process 1 is to take them.

    Raises:
        UsageError: options of an image without one, or of a bundle with one.
    """
    image = None
    if values["image"]:
        from runtime.cli.from_image import from_image

        image = from_image(options, values, check_id(values["id"]))
    else:
        _without_image(values)
    listening = listen_fds()
    names = [f"LISTEN_FDNAMES={os.environ['LISTEN_FDNAMES']}"] if "LISTEN_FDNAMES" in os.environ else []
    return CreateRequest(
        bundle=values["bundle"],
        pid_file=values["pid_file"],
        console_socket=values["console_socket"],
        pidfd_socket=values["pidfd_socket"],
        no_pivot=values["no_pivot"],
        no_new_keyring=values["no_new_keyring"],
        preserve_fds=listening + values["preserve_fds"],
        cgroup_manager=options.cgroup_manager,
        rootless=options.rootless,
        keep_master=keep_master,
        environment=(f"LISTEN_FDS={listening}", "LISTEN_PID=1", *names) if listening else (),
        notify=bool(os.environ.get("NOTIFY_SOCKET")),
        image=image,
    )


def _without_image(values: dict[str, Any]) -> None:
    """A bundle says itself all that the options of an image do.

    Raises:
        UsageError: one of them is given.
    """
    for option in IMAGE:
        none: object = [] if option.kind == "many" else False if option.kind == "flag" else option.default
        if values[option.key] != none:
            raise UsageError(
                f"{option.names[0]} is for containers of an image: name one with --image, or edit config.json"
            )
    if values["command"]:
        raise UsageError(f'"{values["command"][0]}": a bundle says itself what it runs; name an image with --image')


def create(options: Globals, values: dict[str, Any]) -> int:
    created = create_container(options.store(), check_id(values["id"]), request(options, values))
    for note in created.notes:
        options.log.warning(note)
    return 0


def start(options: Globals, values: dict[str, Any]) -> int:
    start_container(options.store(), check_id(values["id"]), os.environ.get("NOTIFY_SOCKET", ""))
    return 0


def run(options: Globals, values: dict[str, Any]) -> int:
    from runtime.container import foreground

    container_id = check_id(values["id"])
    return foreground.run(
        options.store(),
        container_id,
        request(options, values, keep_master=not values["detach"] and not values["console_socket"]),
        options.log.warning,
        notify_socket=os.environ.get("NOTIFY_SOCKET", ""),
        detach=values["detach"],
        keep=values["keep"],
        subreaper=not values["no_subreaper"],
    )


def kill(options: Globals, values: dict[str, Any]) -> int:
    container_id = check_id(values["id"])
    number = lifecycle.signal_number(values["signal"] or lifecycle.stop_signal(options.store(), container_id))
    lifecycle.kill(options.store(), container_id, number, everyone=values["all"])
    return 0


def delete(options: Globals, values: dict[str, Any]) -> int:
    for warning in lifecycle.delete(options.store(), check_id(values["id"]), force=values["force"]):
        options.log.warning(warning)
    return 0


def pause(options: Globals, values: dict[str, Any]) -> int:
    lifecycle.pause(options.store(), check_id(values["id"]))
    return 0


def resume(options: Globals, values: dict[str, Any]) -> int:
    lifecycle.resume(options.store(), check_id(values["id"]))
    return 0
