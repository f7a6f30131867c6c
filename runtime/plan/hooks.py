"""Plan hooks: init runs some as steps of the plan, the stele process runs the others on the host.

Source: config.md "POSIX-platform Hooks", runtime.md "Lifecycle".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from runtime.plan import model, steps

HostKind = Literal["prestart", "createRuntime", "poststart", "poststop"]
HOST_KINDS: tuple[HostKind, ...] = ("prestart", "createRuntime", "poststart", "poststop")
PID_MARK = 9_007_199_254_740_991
"""Placeholder for the pid in the state document until init knows it; no pid is that large."""


def host_hooks(config: Mapping[str, Any], *kinds: HostKind) -> tuple[model.HostHook, ...]:
    """The hooks of the given kinds, in order."""
    hooks = config.get("hooks") or {}
    return tuple(
        model.HostHook(
            kind,
            hook["path"],
            tuple(hook.get("args") or (hook["path"],)),
            tuple(hook.get("env") or ()),
            hook.get("timeout") or 0,
            i,
        )
        for kind in kinds
        for i, hook in enumerate(hooks.get(kind) or ())
    )


def container_hooks(
    config: Mapping[str, Any], kind: Literal["createContainer", "startContainer"], state: Mapping[str, Any]
) -> tuple[steps.Hook, ...]:
    """The hooks that init runs; their state document has the matching status.

    A startContainer hook without `env` gets the process's environment: it is a program of the container, too. All others run
    with the host's rights and never see what an image chose (CVE-2025-23266).
    """
    status = "creating" if kind == "createContainer" else "created"
    head, tail = json.dumps({**state, "status": status, "pid": PID_MARK}).split(str(PID_MARK), 1)
    process = config.get("process") or {}
    default = process.get("env") if kind == "startContainer" else None
    hooks = []
    for i, hook in enumerate((config.get("hooks") or {}).get(kind) or ()):
        args = tuple(hook.get("args") or (hook["path"],))
        words = (*args, *(hook.get("env", default) or ()))
        hooks.append(steps.Hook(hook.get("timeout") or 0, len(args), hook["path"], head, tail, words, index=i))
    return tuple(hooks)
