"""stele volume ...: the named volumes that are kept, and taking them away."""

from __future__ import annotations

import json
from typing import Any

from runtime.cli.images import store_of
from runtime.cli.inspect import print_table
from runtime.cli.main import Globals
from runtime.images import volumes


def listing(options: Globals, values: dict[str, Any]) -> int:
    found = volumes.kept(store_of(options))
    if values["quiet"]:
        for volume in found:
            print(volume.name)
    elif values["format"] == "json":
        rows = [{"name": v.name, "path": v.path, "containers": list(v.containers)} for v in found]
        print(json.dumps(rows))
    else:
        print_table(["NAME", "CONTAINERS", "PATH"], [[v.name, ",".join(v.containers) or "-", v.path] for v in found])
    return 0


def remove(options: Globals, values: dict[str, Any]) -> int:
    store = store_of(options)
    for name in (values["name"], *values["more"]):
        volumes.remove(store, name)
        print(name)
    return 0
