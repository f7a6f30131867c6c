"""The commands spec, features, plan, validate and completion."""

from __future__ import annotations

import contextlib
import json
import os
import sys

from runtime.cli.context import Globals
from runtime.cli.table import Completion, Features, Spec, Validate
from runtime.errors import SteleError
from runtime.printable import visible


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
    from runtime.cli.suggest import nearest
    from runtime.oci import rules
    from runtime.oci.load import MAX_DOCUMENT, load_document, parse_document
    from runtime.oci.validate import faults, kind_of
    from runtime.oci.warnings import warnings

    if options.file == "-":
        document = parse_document(sys.stdin.buffer.read(MAX_DOCUMENT + 1), "-")
    else:
        document = load_document(options.file, advice="name a JSON document, or - for stdin")
    kind = kind_of(document)
    found = faults(kind, document)
    if kind == "config":
        with contextlib.suppress(AttributeError, KeyError, TypeError):  # of parts whose shape is wrong, as said already
            known = {fault.path for fault in found}
            found += [fault for fault in rules.faults(document) if fault.path not in known]
    doubts = warnings(kind, document, nearest)
    for fault in found:
        print(visible(f"{fault.path}: {fault.problem}" if fault.path else fault.problem))
    for doubt in doubts:
        print(visible(f"warning: {doubt.path}: {doubt.problem}"))
    if found:
        raise SteleError(f'"{options.file}" has {len(found)} fault{"s" if len(found) > 1 else ""} as a {kind} document')
    if doubts and options.strict:
        raise SteleError(f'"{options.file}" has {len(doubts)} warning{"s" if len(doubts) > 1 else ""} (--strict)')
    print(visible(f'"{options.file}" is a valid {kind} document'))
    return 0


def completion(context: Globals, options: Completion) -> int:
    from runtime.cli.help import completion_source

    print(completion_source(options.shell))
    return 0
