"""The `stele volume` commands: list and remove named volumes."""

from __future__ import annotations

import json

from runtime.cli.columns import print_table
from runtime.cli.context import Globals
from runtime.cli.image_table import ListVolumes, RemoveVolumes
from runtime.cli.images import store_of
from runtime.images.store import volumes


def listing(context: Globals, options: ListVolumes) -> int:
    found = volumes.kept(store_of(context))
    if options.quiet:
        for volume in found:
            print(volume.name)
    elif options.format == "json":
        rows = [{"name": v.name, "path": v.path, "containers": list(v.containers)} for v in found]
        print(json.dumps(rows))
    else:
        print_table(["NAME", "CONTAINERS", "PATH"], [[v.name, ",".join(v.containers) or "-", v.path] for v in found])
    return 0


def remove(context: Globals, options: RemoveVolumes) -> int:
    store = store_of(context)
    for name in (options.name, *options.more):
        volumes.remove(store, name)
        print(name)
    return 0
