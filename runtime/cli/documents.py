"""The commands spec, features, plan, validate and completion."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from runtime.cli.context import Globals
from runtime.cli.table import Completion, ContainerOptions, Features, ImageOptions, Plan, Spec, Validate
from runtime.errors import SteleError
from runtime.host.paths import absolute
from runtime.printable import visible


def plan(context: Globals, options: Plan) -> int:
    from runtime.cli.lifecycle import request
    from runtime.container.create import plan_create
    from runtime.host.facts import probe
    from runtime.host.seccomp import program
    from runtime.oci.load import load_config
    from runtime.plan import explain, wire

    bundle = absolute(options.bundle, "--bundle")
    name = "container" if options.image else os.path.basename(bundle) or "container"
    shared = {option.key: getattr(options, option.key) for option in ImageOptions.options}
    container = ContainerOptions(id=name, command=options.command, **shared)
    asked, facts = request(context, container), probe(cgroup_mount="/sys/fs/cgroup")
    if asked.image:
        bundle = f"{context.store().path(name)}/bundle"
    config = asked.image.config if asked.image else load_config(bundle)
    if context.rootless_option == "auto" and facts.euid and not _has_user_namespace(config):
        # Only root can create it, so show root's plan to an ordinary user.
        asked, facts = replace(asked, rootless=False), replace(facts, euid=0)
    made = plan_create(config, name, bundle, asked, facts, lambda rules: program(rules, None))
    encoded = wire.encode(made.steps)
    cgroup = _cgroup(context, config, name)
    if options.json:
        print(explain.to_json(made, encoded, cgroup))
    else:
        for line in explain.render(made, encoded, cgroup, filters=options.seccomp).removesuffix("\n").split("\n"):
            print(visible(line))
    return 0


def _has_user_namespace(config: Mapping[str, Any]) -> bool:
    return any(n["type"] == "user" for n in (config.get("linux") or {}).get("namespaces") or ())


def _cgroup(context: Globals, config: Mapping[str, Any], name: str) -> str:
    """Return where `create` would put the container's cgroup."""
    from runtime.host.cgroups import paths

    given = (config.get("linux") or {}).get("cgroupsPath")
    if context.cgroup_manager == "disabled":
        return "none"
    if context.cgroup_manager == "systemd":
        return " / ".join(paths.systemd_unit(given, name, rootless=context.rootless))
    with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape", newline="\n") as f:
        return "/" + paths.cgroupfs_path(given, name, paths.parent_of_own(f.read()))


def spec(context: Globals, options: Spec) -> int:
    from runtime.oci.template import spec_template

    path = f"{options.bundle}/config.json"
    if os.path.exists(path):
        raise SteleError(f"File {path if options.bundle != '.' else 'config.json'} exists. Remove it first")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(json.dumps(spec_template(rootless=options.rootless), indent="\t") + "\n")
    except BaseException:
        os.unlink(path)  # a partial file would make the next try fail
        raise
    return 0


def features(context: Globals, options: Features) -> int:
    from runtime.host.features import host_features

    told = host_features()
    if options.format == "table" or (not options.format and sys.stdout is not None and sys.stdout.isatty()):
        from runtime.cli import people

        people.features(told)
    else:
        print(json.dumps(told, indent=4))
    return 0


def validate(context: Globals, options: Validate) -> int:
    from runtime.oci import rules
    from runtime.oci.load import load_document
    from runtime.oci.validate import faults, kind_of

    document = load_document(options.file, advice="name a JSON document")
    kind = kind_of(document)
    found = faults(kind, document)
    if kind == "config" and not found:
        found = rules.faults(document)
    for fault in found:
        print(visible(f"{fault.path}: {fault.problem}" if fault.path else fault.problem))
    if found:
        raise SteleError(f'"{options.file}" has {len(found)} fault{"s" if len(found) > 1 else ""} as a {kind} document')
    print(visible(f'"{options.file}" is a valid {kind} document'))
    return 0


def completion(context: Globals, options: Completion) -> int:
    from runtime.cli.help import completion_source

    print(completion_source(options.shell))
    return 0
