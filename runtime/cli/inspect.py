"""The commands state, inspect, list, ps, wait, info and version."""

from __future__ import annotations

import json
import os
import sys

from runtime import VERSION
from runtime.cli.columns import print_table
from runtime.cli.context import Globals
from runtime.cli.several import Enough, each
from runtime.cli.table import Info, InspectAny, List, Ps, State, Version, Wait
from runtime.container import lifecycle
from runtime.container.state import check_id
from runtime.errors import HostError, NotFound, StateError
from runtime.host.processes import ask, stat_of
from runtime.oci import OCI_VERSION
from runtime.printable import COMPACT, visible

PS = "/usr/bin/ps"
"""The host's ps, whose -ef output runc filters. Without it we print a table of our own."""


def state(context: Globals, options: State) -> int:
    store = context.store()
    record = store.read(check_id(options.id))
    if options.human:
        from runtime.cli import people

        people.describe(store, record)
        return 0
    sys.stdout.write(json.dumps(lifecycle.state(store, record), indent=2))
    return 0


def inspect(context: Globals, options: InspectAny) -> int:
    """Print a container's state, or else an image's configuration, whichever has the name."""
    try:
        return state(context, State(id=options.name))
    except (NotFound, StateError) as e:
        from runtime.cli import image_table, images
        from runtime.images.model import ImageError

        try:
            return images.inspect(context, image_table.Inspect(image=options.name))
        except ImageError as image:
            if isinstance(e, StateError) and "invalid container ID" not in str(e):
                raise e from None
            problem = (
                f'no container and no image is called "{options.name}"; `stele list` and `stele image list` show them'
            )
            known = [*context.store().ids(), *image.choices]
            raise NotFound(problem, given=image.given, choices=known) from None


def info(context: Globals, options: Info) -> int:
    """Print what a bug report or a newcomer asks for first; `features` has the details."""
    from runtime.images.store.store import ImageStore

    rows = lifecycle.listing(context.store())
    running = sum(row["status"] in ("running", "paused") for row in rows)
    images = len(ImageStore(context.images).names()) if os.path.isdir(context.images) else 0
    told = {
        "version": VERSION,
        "specification": OCI_VERSION,
        "containers": len(rows),
        "running": running,
        "images": images,
        "root": context.root,
        "store": context.images,
        "cgroups": context.cgroup_manager,
        "kernel": os.uname().release,
        "machine": os.uname().machine,
    }
    if options.format == "json":
        print(json.dumps(told, indent=2))
    else:
        for key, value in told.items():
            print(visible(f"{key + ':':15}{value}"))
    return 0


def version(context: Globals, options: Version) -> int:
    return print_version()


def print_version() -> int:
    """Print the versions. Callers parse the line that contains "version", so only stele's own may."""
    from runtime.built import COMMIT, COMPONENTS
    from runtime.host.seccomp import libseccomp_version

    commit = [("commit", COMMIT)] if COMMIT else []
    lines = [*commit, ("spec", OCI_VERSION), ("libseccomp", libseccomp_version()), *COMPONENTS]
    print("\n".join([f"stele version {VERSION}", *(f"{name}: {value}" for name, value in lines)]))
    return 0


def listing(context: Globals, options: List) -> int:
    if context.root_given and not os.path.isdir(context.root):
        why = "it is not a directory" if os.path.exists(context.root) else "no such file or directory"
        raise HostError(f"--root {context.root}: {why}; name the directory that `create` was given")
    if not options.format and not options.quiet and sys.stdout is not None and sys.stdout.isatty():
        from runtime.cli import people

        people.list_containers(context.store())
        return 0
    rows = lifecycle.listing(context.store())
    if options.quiet:
        for row in rows:
            print(row["id"])
    elif options.format == "json":
        print(json.dumps(rows or None, separators=COMPACT))
    else:
        keys = ("id", "pid", "status", "bundle", "created", "owner")
        print_table([k.upper() for k in keys], [[str(row[k]) for k in keys] for row in rows])
    return 0


def ps(context: Globals, options: Ps) -> int:
    store = context.store()
    record = store.read(check_id(options.id))
    pids = lifecycle.processes(record)
    if options.format == "json":
        print(json.dumps(pids, separators=COMPACT))
        return 0
    if not pids and lifecycle.status(store, record) == "stopped":
        raise StateError(f'container "{record.id}" is stopped: it has no processes')
    if options.ps_options or os.path.exists(PS):
        return _host_ps(options.ps_options or ["-ef"], pids)
    print_table(["UID", "PID", "PPID", "STIME", "CMD"], [row for pid in pids if (row := _process(pid))])
    return 0


def _process(pid: int) -> list[str] | None:
    """Return a process's row, from /proc (proc(5)); None if it has ended."""
    import time

    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            command = f.read(65536).rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "replace")
        uid = os.stat(f"/proc/{pid}").st_uid
    except (FileNotFoundError, ProcessLookupError):
        return None
    found = stat_of(pid)
    if found is None:
        return None
    since_boot = time.clock_gettime(time.CLOCK_BOOTTIME) - int(found["start"]) / os.sysconf("SC_CLK_TCK")
    started = time.strftime("%H:%M", time.localtime(time.time() - since_boot))
    name = found["name"].decode("utf-8", "replace")
    return [str(uid), str(pid), found["parent"].decode(), started, command or f"[{name}]"]


def _host_ps(words: list[str], pids: list[int]) -> int:
    """Run the host's ps with the caller's options; print only the lines of our processes."""
    try:
        status, out, err = ask([PS, *words])
    except FileNotFoundError:
        raise HostError(f"{PS} is missing on this host; use `stele ps ID` without ps options") from None
    if status:
        raise HostError(f"ps {' '.join(words)} failed: {err.decode('utf-8', 'replace').strip()}")
    # Processes control their own arguments, so only a line feed ends a line (not str.splitlines).
    head, *lines = out.decode("utf-8", "surrogateescape").removesuffix("\n").split("\n")
    if "PID" not in head.split():
        raise HostError("ps printed no PID column to select lines by; add pid to the ps options")
    column = head.split().index("PID")
    wanted = {str(pid) for pid in pids}
    print(visible(head))
    for line in lines:
        if line.split()[column] in wanted:
            print(visible(line))
    return 0


def wait(context: Globals, options: Wait) -> int:
    if options.timeout is not None:
        _limit(options.timeout)
    each([options.id, *options.more], lambda container_id: _wait(context, container_id))
    return 0


def _limit(seconds: int) -> None:
    """Make this process fail after so many seconds; 0 lets `wait` tell only what has already ended."""
    import signal

    def late(number: int, frame: object) -> None:
        raise Enough(f"wait: still running after {seconds} s (--timeout)")

    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.05))


def _wait(context: Globals, container_id: str) -> None:
    from runtime.container.waiting import wait_for_end

    info = wait_for_end(context.store(), container_id)
    if info is None:
        raise StateError(
            f'container "{container_id}" has ended, but its exit status is unknown: its parent read it first'
        )
    print(
        json.dumps(
            {
                "id": container_id,
                "exitStatus": info.status,
                "signal": info.signal,
                "oomKilled": info.oom,
                "time": info.time,
            }
        )
    )
