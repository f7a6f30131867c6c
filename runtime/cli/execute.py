"""exec: build the process object from the command line, run it, and wait for it unless detached."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from runtime.cli.context import Globals
from runtime.cli.table import Exec
from runtime.container.exec import execute as execute_in
from runtime.container.foreground import Forwarding, exit_code, follow
from runtime.container.requests import ExecRequest, Started
from runtime.container.state import Store, check_id
from runtime.errors import UsageError
from runtime.oci.load import check_process, load_document
from runtime.oci.numbers import ascii_upper, decimal
from runtime.plan.identity import MAX_ID

CONFINEMENT = ("capabilities", "apparmorProfile", "selinuxLabel")
"""Fields that a --process document inherits from the container's process if it omits them, as in runc."""


def execute(context: Globals, options: Exec) -> int:
    store = context.store()
    container_id = check_id(options.id)
    cgroups = options.cgroup
    request = ExecRequest(
        process=lambda own: process_of(own, options, lambda path: _file_of(store, container_id, path)),
        pid_file=options.pid_file,
        console_socket=options.console_socket,
        pidfd_socket=options.pidfd_socket,
        preserve_fds=options.preserve_fds,
        cgroup=cgroups[-1].rpartition(":")[2] if cgroups else "",
        ignore_paused=options.ignore_paused,
    )
    if options.detach:
        started = execute_in(store, container_id, request)
        os.close(started.pidfd)
        _tell(started, context)
        return 0
    with store.locked(container_id):
        pass  # wait for the lock while signals still end us: from here on they are forwarded to the program
    with Forwarding() as forwarding:
        started = execute_in(store, container_id, request)
        forwarding.to(started.pid, started.pidfd)
        _tell(started, context)
        return exit_code(follow(started, forwarding))


def _tell(started: Started, context: Globals) -> None:
    for note in started.notes:
        context.log.warning(note)


def identity(text: str, what: str) -> int:
    """Parse a uid or gid, strictly as a number in range (CVE-2024-40635).

    Raises:
        UsageError: it is malformed or out of range.
    """
    number = decimal(text, MAX_ID)
    if number is None:
        raise UsageError(f'{what} "{text[:40]}" is not a valid id; use a number from 0 to {MAX_ID}')
    return number


def _file_of(store: Store, container_id: str, path: str) -> bytes:
    from runtime.container import inside
    from runtime.images.run.user import FILE_MAX

    return inside.read(store.read(container_id), path, FILE_MAX)


def process_of(own: Mapping[str, Any], options: Exec, read: Callable[[str], bytes]) -> dict[str, Any]:
    """Return the process object.

    With --process, that document, with CONFINEMENT inherited from the container's process; otherwise the container's
    process, changed by the options.

    Args:
        read: returns the content of a file of the container, in which the user is looked up if given by name.
    """
    if options.process:
        process = load_document(options.process, advice="--process names a file with the process object", pipe=True)
        check_process(process)
        process = {**{key: own[key] for key in CONFINEMENT if key in own}, **process}
    else:
        if not options.command:
            raise UsageError("exec: process args cannot be empty; name the program to run")
        process = dict(own)
        process["args"] = options.command
        process["terminal"] = False
        process.pop("consoleSize", None)
    if options.tty:
        process["terminal"] = True
    _apply(process, options, read)
    return process


def _user(text: str, user: dict[str, Any], read: Callable[[str], bytes]) -> dict[str, Any]:
    """Return process.user for --user: numbers as they are, names as the container's passwd and group files say."""
    uid, colon, gid = text.partition(":")
    if _is_number(uid) and (not colon or _is_number(gid)):
        user = {**user, "uid": identity(uid, "--user")}
        user["gid"] = identity(gid, "--user") if colon else user.get("gid", 0)
        return user
    from runtime.images.run.user import identity as look_up

    found = look_up(text, read, "container")
    return {**user, "uid": found.uid, "gid": found.gid, "additionalGids": list(found.groups)}


def _is_number(text: str) -> bool:
    """Whether it begins as a number, which is then never taken for a name (CVE-2016-3697)."""
    return text[:1].isdigit() or text[:1] in ("+", "-", "")


def _apply(process: dict[str, Any], options: Exec, read: Callable[[str], bytes]) -> None:
    if options.process:
        return
    if options.cwd:
        process["cwd"] = options.cwd
    process["env"] = [*(process.get("env") or []), *options.env]
    user = dict(process.get("user") or {})
    if options.user:
        user = _user(options.user, user, read)
        if user["uid"] != 0:
            # HOME belongs to the container's own user.
            process["env"] = [e for e in process["env"] if not e.startswith("HOME=") or e in options.env]
    if options.additional_gids:
        user["additionalGids"] = [
            *(user.get("additionalGids") or ()),
            *(identity(g, "--additional-gids") for g in options.additional_gids),
        ]
    process["user"] = user
    if options.no_new_privs:
        process["noNewPrivileges"] = True
    if options.apparmor:
        process["apparmorProfile"] = options.apparmor
    if options.process_label:
        process["selinuxLabel"] = options.process_label
    if options.cap:
        sets = {k: list(v) for k, v in (process.get("capabilities") or {}).items()}
        names = [c if c.startswith("CAP_") else f"CAP_{c}" for c in (ascii_upper(c) for c in options.cap)]
        for name in ("bounding", "effective", "permitted"):
            sets[name] = list(dict.fromkeys([*sets.get(name, []), *names]))
        # Only an inheritable capability can be ambient (capabilities(7)).
        ambient = [name for name in names if name in sets.get("inheritable", [])]
        sets["ambient"] = list(dict.fromkeys([*sets.get("ambient", []), *ambient]))
        process["capabilities"] = sets
