"""`create`: turn a bundle into a container that waits for `start`, as one transaction.

The order makes it safe. The record is durable before the first kernel object exists, so `delete --force` can clean up
wherever the creator died. Any failure here undoes everything.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from runtime.container import failure, from_image
from runtime.container.console import keep_line_ends, send_fd
from runtime.container.filters import compiler
from runtime.container.hooks import run_hooks, run_poststop
from runtime.container.limits import raise_limits
from runtime.container.pidfile import write_pid_file
from runtime.container.requests import CreateRequest
from runtime.container.state import (
    START_SOCKET,
    Record,
    Store,
    boot_id,
    now,
    own_identity,
    process_stat,
    state_document,
)
from runtime.errors import HostError, SteleError
from runtime.host import cgroups, launch, prepare
from runtime.host.facts import probe
from runtime.host.paths import absolute
from runtime.oci.load import load_config
from runtime.plan import compile as planning
from runtime.plan import model, steps, wire
from runtime.plan.seccomp import SeccompRules


@dataclass(frozen=True, slots=True)
class Created:
    """A container that waits for `start`.

    master: its terminal's master, owned by the caller, if the request keeps it; else -1. notes: requests not granted.
    """

    record: Record
    master: int = -1
    notes: tuple[str, ...] = ()


def create(store: Store, container_id: str, request: CreateRequest) -> Created:
    """Create a container.

    Returns:
        its record, as stored, and the terminal's master if the request keeps it.
    Raises:
        SteleError: creation failed; nothing of the container is left.
    """
    image = request.image
    bundle = f"{store.path(container_id)}/bundle" if image else absolute(request.bundle, "--bundle")
    config = image.config if image else load_config(bundle)
    with from_image.own_upper(image, store) as told, contextlib.ExitStack() as undo:
        creation = Creation(store, container_id, bundle, config, request, told, undo)
        undo.push(creation.poststop)
        creation.directory = store.make(container_id)
        undo.callback(os.close, creation.directory)
        undo.callback(store.remove, container_id)
        if request.notify:
            from runtime.container import notify

            creation.config = notify.with_notify(config, store.path(container_id))
        record = creation.run()
        undo.pop_all()
        os.close(creation.directory)
        return Created(record, creation.master, creation.plan.notes)


def plan_create(
    config: Mapping[str, Any],
    container_id: str,
    bundle: str,
    request: CreateRequest,
    facts: model.Facts,
    compile_seccomp: Callable[[SeccompRules], bytes],
) -> model.Plan:
    """Return the plan that `create` executes and `stele plan` prints."""
    record = Record(container_id, bundle, _rootfs(config, bundle), now(), facts.euid, config, {})
    return planning.compile_create(
        config,
        planning.Request(
            bundle=bundle,
            container_id=container_id,
            state=state_document(record, "creating", 0),
            rootless=request.rootless,
            attach=request.cgroup_manager == "systemd",
            no_pivot=request.no_pivot,
            no_new_keyring=request.no_new_keyring,
            keep_fds=request.preserve_fds,
            environment=request.environment,
            image=request.image.root if request.image else None,
            veth=request.image.network if request.image else (),
        ),
        facts,
        compile_seccomp,
    )


def _rootfs(config: Mapping[str, Any], bundle: str) -> str:
    return os.path.normpath(os.path.join(bundle, config["root"]["path"]))


class Creation:
    """One run of `create`; each step pushes its reversal onto `undo`."""

    __slots__ = (
        "bundle",
        "child",
        "config",
        "container_id",
        "directory",
        "image",
        "launched",
        "manager",
        "master",
        "plan",
        "record",
        "request",
        "store",
        "undo",
    )

    def __init__(
        self,
        store: Store,
        container_id: str,
        bundle: str,
        config: Mapping[str, Any],
        request: CreateRequest,
        image: Mapping[str, str],
        undo: contextlib.ExitStack,
    ) -> None:
        self.store, self.container_id = store, container_id
        self.bundle, self.config, self.request, self.undo = bundle, config, request, undo
        self.image = image
        self.child: launch.Child
        self.master = self.directory = -1
        self.launched = False

    def run(self) -> Record:
        linux: Mapping[str, Any] = self.config.get("linux") or {}
        request = self.request
        self.manager = cgroups.open_manager(
            request.cgroup_manager,
            linux.get("cgroupsPath"),
            self.container_id,
            rootless=request.rootless,
            annotations=self.config.get("annotations"),
            owner=self.store.owner(self.container_id),
        )
        facts = probe(cgroup_mount=cgroups.mount_point())
        self.plan = plan_create(self.config, self.container_id, self.bundle, request, facts, compiler(self.store.root))
        encoded = wire.encode(self.plan.steps)
        self.record = Record(
            id=self.container_id,
            bundle=self.bundle,
            rootfs=_rootfs(self.config, self.bundle),
            created=now(),
            owner=os.geteuid(),
            config=self.config,
            cgroup=self.manager.record(),
            boot_id=boot_id(),
            rootless=request.rootless,
            image=self.image,
            no_new_keyring=request.no_new_keyring,
            resctrl=self._choose_resctrl(),
            waiter=own_identity() if request.waiter else {},
            log=request.log.driver if request.log else "",
        )
        self.store.write(self.directory, self.record)  # first: it says what else there may be to clean up
        if request.notify:
            from runtime.container import notify

            notify.make_folder(self.directory)
        if request.image:
            from_image.prepare(request.image, self.container_id, self.store.root, self.directory, self.undo)
        self.undo.callback(self._destroy_cgroup)
        self.manager.prepare(self.plan.writes)
        if self.plan.device_program:
            self.manager.apply_devices(self.plan.device_program)
        if self.plan.resctrl:
            from runtime.host import resctrl

            self.undo.callback(resctrl.remove, self.record.resctrl)
            resctrl.prepare(self.record.resctrl, self.plan.resctrl)
        self._launch(encoded)
        self._talk()
        self._record_pid()
        if request.pid_file:
            write_pid_file(request.pid_file, self.child.pid)
            self.undo.callback(os.unlink, request.pid_file)
        self.child.close()
        return self.record

    def _choose_resctrl(self) -> Mapping[str, Any]:
        if not self.plan.resctrl:
            return {}
        from runtime.host import resctrl

        return resctrl.choose(self.plan.resctrl)

    def poststop(self, _: object, error: BaseException | None, __: object) -> None:
        """Run the poststop hooks after a failed creation, if init was started (runtime.md "Lifecycle")."""
        if not self.launched:
            return
        failed = run_poststop(self.config, state_document(self.record, "stopped", 0))
        if failed and isinstance(error, SteleError):
            error.args = ("; and then ".join((str(error), *failed)),)

    def _destroy_cgroup(self) -> None:
        self.manager.kill()
        self.manager.destroy()

    def _launch(self, encoded: bytes) -> None:
        request = self.request
        with contextlib.ExitStack() as fds:
            listener = _listener(self.directory)
            fds.callback(listener.close)
            slots = prepare.open_slots(self.plan.fds, listener=listener.fileno())
            fds.callback(prepare.close_all, slots)
            cwd = os.open(self.bundle, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            fds.callback(os.close, cwd)
            stdio = request.stdio
            if self.plan.terminal:
                null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
                fds.callback(os.close, null)
                stdio = (null, null, stdio[2])
            try:
                self.child = launch.spawn(
                    encoded,
                    clone_flags=self.plan.clone_flags,
                    slots=slots,
                    stdio=stdio,
                    keep=range(3, 3 + request.preserve_fds),
                    cgroup_fd=self.manager.fd(),
                    cwd_fd=cwd,
                )
            except OSError as e:
                raise failure.not_started(e) from e
        self.launched = True
        self.undo.callback(self.child.close)
        self.undo.callback(self.child.kill)

    def _talk(self) -> None:
        """Handle init's reports, doing the host's part when asked, until init is ready."""
        while True:
            report = self.child.receive()
            if report is None:
                raise self._died()
            if report.error:
                raise failure.explain(report, self.plan)
            kind = steps.KINDS[report.step]
            if kind is steps.Ready:
                self.child.reap_forked()
                if self.plan.cgroup_owner is not None:
                    self.manager.delegate(self.plan.cgroup_owner)
                return
            if kind is steps.Fork:
                self.child.became(int.from_bytes(report.detail[:4], "little"))
            elif kind is steps.Console and self.request.keep_master:
                self.master = report.fd
                self.undo.callback(os.close, self.master)
                keep_line_ends(self.master)
            elif kind is steps.Console:
                send_fd(self.request.console_socket, report.fd, b"/dev/pts/ptmx", field="--console-socket")
            elif kind is steps.TimeOffsets:
                _write_time_offsets(self.child.pid, self.plan)
                self.child.answer()
            elif kind is steps.Sync:
                self._host_part(report.detail[0])
                self.child.answer()
            elif report.fd >= 0:  # `start` handles seccomp listeners
                os.close(report.fd)

    def _host_part(self, what: int) -> None:
        child, plan = self.child, self.plan
        if what == steps.SYNC_RESCTRL:
            from runtime.host import resctrl

            resctrl.join(self.record.resctrl, child.pid)
        elif what == steps.SYNC_ATTACHED:
            self.manager.attach(child.pid)
        elif what == steps.SYNC_MAPPED:
            if plan.id_maps:
                _write_id_maps(child.pid, plan.id_maps)
            raise_limits(child.pid, plan.rlimits)
            if plan.oom_score is not None:
                _set_oom_score(child.pid, plan.oom_score)
        elif what == steps.SYNC_NET_DEVICES:
            if plan.net_devices:
                from runtime.host.network import move_devices

                move_devices(plan.net_devices, child.pid)
            if plan.veth:
                from runtime.host import veth

                veth.make_pair(plan.veth, self.image["veth"], child.pid)
                self.undo.callback(veth.remove_pair, self.image["veth"])
        elif what == steps.SYNC_HOOKS:
            self._record_pid(phase="creating")
            document = state_document(self.record, "creating", child.pid)
            run_hooks([hook for hook in plan.hooks if hook.kind in ("prestart", "createRuntime")], document)

    def _record_pid(self, phase: str = "created") -> None:
        stat = process_stat(self.child.pid)
        if stat is None:
            raise self._died()
        self.record = replace(
            self.record, phase=phase, pid=self.child.pid, start_time=stat[1], cgroup=self.manager.record()
        )
        self.store.write(self.directory, self.record)
        if phase == "created" and self.request.pidfd_socket:
            send_fd(
                self.request.pidfd_socket, os.dup(self.child.pidfd), self.container_id.encode(), field="--pidfd-socket"
            )

    def _died(self) -> HostError:
        if self.manager.oom_kills():
            return HostError(
                "the OOM killer ended the container while it was being created: linux.resources.memory.limit is too low; raise it"
            )
        return failure.died(self.child, "the container was ready")


def _write_id_maps(pid: int, maps: model.IdMaps) -> None:
    try:
        prepare.write_id_maps(pid, maps)
    except OSError as e:
        raise HostError(
            f"linux.uidMappings: the kernel refuses the id mappings: {failure.reason(e.errno or 0)}; "
            "map only ids that the caller may use",
            e.errno or 0,
        ) from e


def _write_time_offsets(pid: int, plan: model.Plan) -> None:
    (offsets,) = (step.offsets for step in plan.steps if isinstance(step, steps.TimeOffsets))
    try:
        prepare.write(f"/proc/{pid}/timens_offsets", offsets.encode())
    except OSError as e:
        raise failure.time_offsets(e) from e


def _set_oom_score(pid: int, score: int) -> None:
    with open(f"/proc/{pid}/oom_score_adj", "wb", buffering=0) as f:
        f.write(str(score).encode())


def _listener(directory: int) -> socket.socket:
    """Return the listening `start` socket; bound through the directory's fd, as its path may exceed sun_path."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(f"/proc/self/fd/{directory}/{START_SOCKET}")
    listener.listen(1)
    return listener
