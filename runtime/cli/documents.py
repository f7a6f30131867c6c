"""spec, features, plan, validate, completion: documents in and out."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from runtime.cli.main import Globals
from runtime.errors import SteleError
from runtime.host.paths import absolute


def plan(options: Globals, values: dict[str, Any]) -> int:
    from runtime.cli.lifecycle import request
    from runtime.container.create import plan_create
    from runtime.host.facts import probe
    from runtime.host.seccomp import program
    from runtime.oci.load import load_config
    from runtime.plan import explain, wire

    bundle = absolute(values["bundle"], "--bundle")
    name = "container" if values["image"] else os.path.basename(bundle) or "container"
    defaults = {
        "id": name,
        "pid_file": "",
        "console_socket": "",
        "pidfd_socket": "",
        "no_pivot": False,
        "no_new_keyring": False,
        "preserve_fds": 0,
    }
    asked, facts = request(options, {**defaults, **values}), probe(cgroup_mount="/sys/fs/cgroup")
    if asked.image:
        bundle = f"{options.store().path(name)}/bundle"
    config = asked.image.config if asked.image else load_config(bundle)
    if options.rootless_option == "auto" and facts.euid and not _has_user_namespace(config):
        # Only root can create it, so root's plan is what an ordinary user wants to see.
        asked, facts = replace(asked, rootless=False), replace(facts, euid=0, egid=0)
    made = plan_create(config, name, bundle, asked, facts, lambda rules: program(rules, None))
    encoded = wire.encode(made.steps)
    cgroup = _cgroup(options, config, name)
    if values["json"]:
        print(explain.to_json(made, encoded, cgroup))
    else:
        sys.stdout.write(explain.render(made, encoded, cgroup, filters=values["seccomp"]))
    return 0


def _has_user_namespace(config: Mapping[str, Any]) -> bool:
    return any(n["type"] == "user" for n in (config.get("linux") or {}).get("namespaces") or ())


def _cgroup(options: Globals, config: Mapping[str, Any], name: str) -> str:
    """Where `create` would put the container's cgroup."""
    from runtime.host.cgroups import paths

    given = (config.get("linux") or {}).get("cgroupsPath")
    if options.cgroup_manager == "disabled":
        return "none"
    if options.cgroup_manager == "systemd":
        return " / ".join(paths.systemd_unit(given, name, rootless=options.rootless))
    with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as f:
        return "/" + paths.cgroupfs_path(given, name, paths.parent_of_own(f.read()))


def spec(options: Globals, values: dict[str, Any]) -> int:
    from runtime.oci.template import spec_template

    path = f"{values['bundle']}/config.json"
    if os.path.exists(path):
        raise SteleError(f"File {path if values['bundle'] != '.' else 'config.json'} exists. Remove it first")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(json.dumps(spec_template(rootless=values["rootless"]), indent="\t") + "\n")
    except BaseException:
        os.unlink(path)  # no half of it: the next try would be refused for it
        raise
    return 0


def features(options: Globals, values: dict[str, Any]) -> int:
    from runtime.host.features import host_features

    print(json.dumps(host_features(), indent=4))
    return 0


def validate(options: Globals, values: dict[str, Any]) -> int:
    from runtime.oci import rules
    from runtime.oci.load import load_document
    from runtime.oci.validate import faults, kind_of

    document = load_document(values["file"], advice="name a JSON document")
    kind = kind_of(document)
    found = faults(kind, document)
    if kind == "config" and not found:
        found = rules.faults(document)
    for fault in found:
        print(f"{fault.path}: {fault.problem}" if fault.path else fault.problem)
    if found:
        raise SteleError(
            f'"{values["file"]}" has {len(found)} fault{"s" if len(found) > 1 else ""} as a {kind} document'
        )
    print(f'"{values["file"]}" is a valid {kind} document')
    return 0


def completion(options: Globals, values: dict[str, Any]) -> int:
    from runtime.cli.clicked import completion_source

    print(completion_source(values["shell"]))
    return 0
