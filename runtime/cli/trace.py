"""stele --trace FILE COMMAND...: record how long each part of a command takes, as Chrome trace events.

Any trace viewer shows them (chrome://tracing, ui.perfetto.dev), and `stele trace FILE` draws them. The functions in
SPANS are wrapped for the traced command only, so an untraced one pays nothing. A Trace step, first in the plan, makes
init report the timing of each later step.

Format: "Trace Event Format", complete events ("ph": "X"), ts and dur in microseconds from the start of the process.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from runtime.cli.log import Log
from runtime.host.launch import Child, Report
from runtime.plan import explain, steps, wire
from runtime.plan.seccomp import ACTIONS, SeccompRules
from runtime.plan.steps import Step
from runtime.printable import without_secrets

SPANS = (
    ("runtime.container.foreground:create", "create"),
    ("runtime.container.foreground:start", "start"),
    ("runtime.container.foreground:follow", "wait for the program's end"),
    ("runtime.container.foreground:delete", "delete"),
    ("runtime.container.create:load_config", "read and check config.json"),
    ("runtime.container.create:probe", "ask the host"),
    ("runtime.container.create:plan_create", "plan"),
    ("runtime.container.exec:probe", "ask the host"),
    ("runtime.container.exec:compile_exec", "plan"),
    ("runtime.container.filters:program", "find the seccomp program"),
    ("runtime.plan.wire:encode", "encode the plan"),
    ("runtime.container.state:Store.make", "make the container's directory"),
    ("runtime.container.state:Store.lock", "lock"),
    ("runtime.container.state:Store.read", "read the record"),
    ("runtime.container.state:Store.write", "write the record"),
    ("runtime.container.state:Store.remove", "remove the record"),
    ("runtime.host.cgroups.cgroupfs:CgroupfsManager.prepare", "make the cgroup"),
    ("runtime.host.cgroups.cgroupfs:CgroupfsManager.apply_devices", "attach the device rules"),
    ("runtime.host.cgroups.cgroupfs:CgroupfsManager.kill", "kill what is left"),
    ("runtime.host.cgroups.cgroupfs:CgroupfsManager.destroy", "remove the cgroup"),
    ("runtime.host.cgroups.systemd:SystemdManager.attach", "ask systemd for a scope"),
    ("runtime.host.prepare:open_slots", "open what init is handed"),
    ("runtime.host.launch:spawn", "clone into new namespaces, execute init"),
    ("runtime.container.create:run_hooks", "hooks"),
    ("runtime.container.start:run_hooks", "poststart hooks"),
    ("runtime.container.hooks:run_hooks", "poststop hooks"),
)
"""Traced functions: "module:function" or "module:Class.method" at the place of lookup, and the name to show."""

HARMLESS = {ACTIONS[name] for name in ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_ERRNO")}
TOLD_BY = {"sendmsg", "clock_gettime"}
"""The system calls with which init reports timings."""


@dataclass(frozen=True, slots=True)
class Span:
    """A timed interval in ns of CLOCK_REALTIME. lane: "stele" or "init"."""

    lane: str
    name: str
    begin: int
    end: int


@dataclass(slots=True)
class Tracer:
    """Collects spans while one command runs.

    Attributes:
        steps: the steps last encoded, used to name init's reports. open: the last step, which ends with execve(2).
    """

    spans: list[Span] = field(default_factory=list)
    steps: tuple[Step, ...] = ()
    open: Span | None = None
    silent: bool = False
    _before: list[tuple[Any, str, Any]] = field(default_factory=list)

    def install(self) -> None:
        """Wrap the traced functions."""
        for where, name in SPANS:
            owner, attribute = find(where)
            self._replace(owner, attribute, self._timed(getattr(owner, attribute), name))
        self._replace(wire, "encode", self._asking(wire.encode))
        self._replace(Child, "receive", self._listening(Child.receive))
        process, attribute = find("runtime.plan.process:plan_seccomp")
        self._replace(process, attribute, self._watching(getattr(process, attribute)))

    def remove(self) -> None:
        """Restore the wrapped functions."""
        while self._before:
            owner, attribute, value = self._before.pop()
            setattr(owner, attribute, value)

    def _replace(self, owner: Any, attribute: str, value: Any) -> None:
        self._before.append((owner, attribute, getattr(owner, attribute)))
        setattr(owner, attribute, value)

    def _timed(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            begin = time.time_ns()
            try:
                return function(*args, **kwargs)
            finally:
                self.spans.append(Span("stele", name, begin, time.time_ns()))

        return timed

    def _watching(self, plan_seccomp: Callable[..., SeccompRules | None]) -> Callable[..., SeccompRules | None]:
        def watching(*args: Any) -> SeccompRules | None:
            rules = plan_seccomp(*args)
            self.silent = rules is not None and not may_tell(rules)
            return rules

        return watching

    def _asking(self, encode: Callable[[Sequence[Step]], bytes]) -> Callable[[Sequence[Step]], bytes]:
        def asking(planned: Sequence[Step]) -> bytes:
            asked: list[Step] = [steps.Trace(True)]
            for step in planned:
                if isinstance(step, steps.Seccomp) and self.silent:
                    asked.append(steps.Trace(False))
                asked.append(step)
            self.steps = tuple(asked)
            return encode(self.steps)

        return asking

    def _listening(self, receive: Callable[[Child], Report | None]) -> Callable[[Child], Report | None]:
        def listening(child: Child) -> Report | None:
            while True:
                report = receive(child)
                if report is None and self.open:
                    self.spans.append(Span("init", self.open.name, self.open.begin, time.time_ns()))
                    self.open = None
                if report is None or steps.KINDS.get(report.step) is not steps.Trace:
                    return report
                self._tell(report)

        return listening

    def _tell(self, report: Report) -> None:
        begin, end, number = wire.TIMING.unpack_from(report.detail)
        kind = steps.KINDS[number]
        step = self.steps[report.index] if report.index < len(self.steps) else None
        name = explain.describe(step) if type(step) is kind and step else explain.spaced(kind.__name__)
        span = Span("init", name.partition(";")[0], begin, end)
        if end:
            self.spans.append(span)
        else:
            self.open = span


def may_tell(rules: SeccompRules) -> bool:
    """Whether init may keep reporting timings under a filter: its calls are allowed, or at worst fail harmlessly."""
    actions = {rules.default, *(rule.action for rule in rules.rules if TOLD_BY & set(rule.names))}
    return all(action & 0xFFFF_0000 in HARMLESS or action in HARMLESS for action in actions)


def find(where: str) -> tuple[Any, str]:
    """Resolve an entry of SPANS to the object that holds the function, and its attribute name."""
    module, _, path = where.partition(":")
    *owners, attribute = path.split(".")
    owner = import_module(module)
    for name in owners:
        owner = getattr(owner, name)
    getattr(owner, attribute)
    return owner, attribute


def traced(path: str, argv: Sequence[str], begin: int, log: Log, run: Callable[[], int]) -> int:
    """Run a command traced, and write the trace file; if that cannot be opened, do not run the command.

    Args:
        path: the trace file. argv: the command line. begin: when parsing of the command line began, ns.
    """
    parsed = time.time_ns()
    # Estimate the process's start by its CPU time: until now it has only computed.
    start = begin - max(time.process_time_ns() - (parsed - begin), 0)
    known = set(sys.modules)
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    except OSError as e:
        log.error(f'--trace "{path}": cannot write it: {os.strerror(e.errno or 0)}; correct --trace')
        return 1
    tracer = Tracer()
    for where, _ in SPANS:
        find(where)
    imported = sorted(set(sys.modules) - known)
    loaded = time.time_ns() if imported else parsed
    tracer.install()
    shift = time.time_ns() - loaded  # exclude the time that tracing itself took
    tracer.spans = [
        Span("stele", "start of the process", start + shift, begin + shift),
        Span("stele", "parse the command line", begin + shift, parsed + shift),
    ]
    if imported:
        tracer.spans.append(Span("stele", "import what the command needs", parsed + shift, loaded + shift))
    start += shift
    try:
        return run()
    finally:
        end = time.time_ns()
        tracer.remove()
        document = events(tracer.spans, start, end)
        document["otherData"] = {
            "command": ["stele" if sys.executable == "/proc/self/exe" else "python -m runtime", *without_secrets(argv)],
            "imported": sorted(set(sys.modules) - known),
            "total_us": (end - start) / 1e3,
        }
        with os.fdopen(file, "r+") as f:
            f.seek(0)  # the process that becomes a waiter shares our offset
            _merge(document, f.read())
            f.seek(0)
            f.truncate()
            json.dump(document, f, indent=1)


def _merge(document: dict[str, Any], before: str) -> None:
    """Add what the process that became the container's waiter wrote; both began as one, with the same clock."""
    if before:
        known = [json.dumps(event) for event in document["traceEvents"]]
        document["traceEvents"] += [e for e in json.loads(before)["traceEvents"] if json.dumps(e) not in known]


def events(spans: Sequence[Span], start: int, end: int) -> dict[str, Any]:
    """Return the spans as a trace-event document. start, end: of the whole command."""
    lanes = {"stele": 1, "init": 2}
    told: list[dict[str, Any]] = [
        {"name": "process_name", "ph": "M", "pid": number, "tid": number, "args": {"name": lane}}
        for lane, number in lanes.items()
    ]
    for span in sorted(spans, key=lambda s: (s.begin, -s.end)):
        told.append(
            {
                "name": span.name,
                "cat": span.lane,
                "ph": "X",
                "ts": (span.begin - start) / 1e3,
                "dur": (min(span.end, end) - span.begin) / 1e3,
                "pid": lanes[span.lane],
                "tid": lanes[span.lane],
            }
        )
    return {"traceEvents": told, "displayTimeUnit": "ms"}
