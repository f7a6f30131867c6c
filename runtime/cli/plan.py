"""plan: print what `create` would do, a summary for reviewers first, or what differs between two of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from runtime.cli.context import Globals
from runtime.cli.lifecycle import request
from runtime.cli.table import ContainerOptions, Plan
from runtime.container.create import plan_create
from runtime.container.requests import CreateRequest
from runtime.errors import UsageError
from runtime.host.cgroups import paths
from runtime.host.facts import apparmor, probe, selinux
from runtime.host.paths import absolute
from runtime.host.seccomp import program
from runtime.oci.load import load_config
from runtime.plan import explain, model, wire
from runtime.plan.review import difference, summary
from runtime.printable import visible


def plan(context: Globals, options: Plan) -> int:
    if options.diff:
        return _difference(context, options)
    made, config, cgroup = _planned(context, options)
    encoded = wire.encode(made.steps)
    if options.json:
        print(explain.to_json(made, encoded, cgroup))
        return 0
    for label, text in _summary(made, config):
        print(visible(f"{label + ':':14}{text}"))
    print()
    for line in explain.render(made, encoded, cgroup, filters=options.seccomp).removesuffix("\n").split("\n"):
        print(visible(line))
    return 0


def _planned(context: Globals, options: ContainerOptions) -> tuple[model.Plan, Mapping[str, Any], str]:
    """Return the plan of a container, its config.json, and where its cgroup would be."""
    bundle = absolute(options.bundle, "--bundle")
    name = options.id or ("container" if options.image else os.path.basename(bundle) or "container")
    shared = {option.key: getattr(options, option.key) for option in ContainerOptions.options}
    asked: CreateRequest = request(context, ContainerOptions(**{**shared, "id": name, "command": options.command}))
    facts = probe(cgroup_mount="/sys/fs/cgroup")
    if asked.image:
        bundle = f"{context.store().path(name)}/bundle"
    config = asked.image.config if asked.image else load_config(bundle)
    if context.rootless_option == "auto" and facts.euid and not _has_user_namespace(config):
        # Only root can create it, so show root's plan to an ordinary user.
        asked, facts = replace(asked, rootless=False), replace(facts, euid=0)
    made = plan_create(config, name, bundle, asked, facts, lambda rules: program(rules, None))
    return made, config, _cgroup(context, config, name)


def _has_user_namespace(config: Mapping[str, Any]) -> bool:
    return any(n["type"] == "user" for n in (config.get("linux") or {}).get("namespaces") or ())


def _cgroup(context: Globals, config: Mapping[str, Any], name: str) -> str:
    """Return where `create` would put the container's cgroup."""
    given = (config.get("linux") or {}).get("cgroupsPath")
    if context.cgroup_manager == "disabled":
        return "none"
    if context.cgroup_manager == "systemd":
        return " / ".join(paths.systemd_unit(given, name, rootless=context.rootless))
    with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape", newline="\n") as f:
        return "/" + paths.cgroupfs_path(given, name, paths.parent_of_own(f.read()))


def _summary(made: model.Plan, config: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [*summary(config, made), ("this host", "; ".join(_refusals(config)) or "refuses nothing of it")]


def _refusals(config: Mapping[str, Any]) -> list[str]:
    """What this host lacks for the container, as far as can be seen without creating it."""
    process = config.get("process") or {}
    found = [
        f"mounts[{i}]: there is no {mount.get('source')}"
        for i, mount in enumerate(config.get("mounts") or ())
        if mount.get("type") == "bind" and str(mount.get("source", "")).startswith("/")
        if not os.path.exists(str(mount.get("source")))
    ]
    profile = process.get("apparmorProfile")
    if profile and profile != "unconfined" and not apparmor():
        found.append(f"AppArmor is off, so {profile} cannot be applied")
    if process.get("selinuxLabel") and not selinux():
        found.append("SELinux is off, so its label cannot be applied")
    lacking = _lacking_controllers((config.get("linux") or {}).get("resources") or {})
    if lacking:
        found.append(f"cgroup v2 has no controller for: {', '.join(lacking)}")
    return found


def _lacking_controllers(resources: Mapping[str, Any]) -> list[str]:
    try:
        with open("/sys/fs/cgroup/cgroup.controllers", encoding="ascii") as file:
            offered = file.read().split()
    except OSError:
        return []  # a hybrid host; `create` finds its cgroup2
    needed = {"memory": "memory", "cpu": "cpu", "pids": "pids", "blockIO": "io", "hugepageLimits": "hugetlb"}
    return [controller for key, controller in needed.items() if resources.get(key) and controller not in offered]


def _difference(context: Globals, options: Plan) -> int:
    """Print one line for each difference; 1 if there are any, like diff(1)."""
    two = [options.id, *options.command]
    if len(two) != 2 or not all(two):
        raise UsageError("plan --diff: name two bundles or images: stele plan --diff A B")
    before, after = (_lines(context, options, name) for name in two)
    lines = list(difference(before, after))
    for line in lines:
        print(visible(line))
    return 1 if lines else 0


def _lines(context: Globals, options: Plan, name: str) -> list[str]:
    """Return a bundle's or image's summary and plan, line by line, without what differs in any two."""
    is_bundle = os.path.exists(f"{name}/config.json")
    shared = {option.key: getattr(options, option.key) for option in ContainerOptions.options}
    source = {"bundle": name} if is_bundle else {"image": name}
    made, config, cgroup = _planned(context, ContainerOptions(**{**shared, **source, "id": "container"}))
    steps = [explain.describe(step) for step in wire.decode(wire.encode(made.steps))]
    host = [line.strip() for line in explain.host_lines(made, cgroup)]
    env = [f"environment: {entry}" for entry in (config.get("process") or {}).get("env") or ()]
    return [
        *(f"{label}: {text}" for label, text in _summary(made, config) if label != "environment"),
        *env,
        *host,
        *steps,
    ]
