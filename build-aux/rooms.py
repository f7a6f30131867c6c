"""Check that imports in runtime/ and calls between C files lead downwards only.

    python build-aux/rooms.py [REPOSITORY]

prints each import of a room above and each circle of files, and exits with 1 if there is any. Imports inside functions and
those for the type checker count too. docs/architecture.md describes the rooms.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

Graph = dict[str, set[str]]

ROOMS = (
    "runtime", "errors", "printable", "built", "oci", "plan", "host",
    "images", "images/policy", "images/store", "images/registry", "images/archive", "images/run",
    "container", "services", "cli", "__main__",
)  # fmt: skip
"""Each may import those before it, except as FORBIDDEN says."""
FORBIDDEN: Mapping[str, tuple[str, ...]] = {
    "container": ("images/policy", "images/store", "images/registry", "images/archive"),
}
PROGRAMS = ("cshim", "cshim/init", "cshim/launcher", "cshim/waiter")
"""Folders whose C files are linked together."""


def modules(repository: Path) -> dict[str, Path]:
    """Return the file of each module below runtime/."""
    files = (repository / "runtime").rglob("*.py")
    return {".".join(f.relative_to(repository).with_suffix("").parts).removesuffix(".__init__"): f for f in files}


def imports(repository: Path) -> Graph:
    """Return the modules of runtime/, each with those that it imports."""
    known = modules(repository)
    return {name: set(_imported(ast.parse(file.read_bytes()), known)) - {name} for name, file in known.items()}


def _imported(tree: ast.AST, known: Mapping[str, Path]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module in known:
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                yield module if module in known else node.module


def room(module: str, known: Mapping[str, Path]) -> str:
    """Return the room of a module: for images its package, otherwise the first name below runtime."""
    parts = module.split(".")
    package = parts if known[module].name == "__init__.py" else parts[:-1]
    if len(package) == 1:
        return parts[-1]
    return "/".join(package[1:3]) if package[1] == "images" else package[1]


def upward(repository: Path) -> list[str]:
    """Return a sentence for each import of a room above."""
    known, wrong = modules(repository), []
    for module, targets in sorted(imports(repository).items()):
        own = room(module, known)
        if own not in ROOMS:
            wrong.append(f"{module}: the room {own} is unknown; add it to ROOMS in build-aux/rooms.py")
            continue
        for target in sorted(targets):
            other = room(target, known)
            if other not in ROOMS[: ROOMS.index(own) + 1] or other in FORBIDDEN.get(own, ()):
                wrong.append(f"{module} imports {target}: {own} may not import {other}")
    return wrong


def calls(folder: Path, init: Path) -> Graph:
    """Return the C files of a program, each with those whose functions or variables it uses."""
    python = subprocess.run(["/usr/bin/python3.11-config", "--includes"], capture_output=True, text=True, check=True)
    hosted = ["-D_GNU_SOURCE", f'-DSTELE_INIT="{init}"', *python.stdout.split()]
    defined, used = Graph(), Graph()
    with tempfile.TemporaryDirectory() as objects:
        for source in folder.glob("*.c"):
            flags = ["-ffreestanding"] if folder.name in ("init", "waiter") else hosted
            # Without optimisation nothing is inlined or dropped.
            command: list[str | Path] = [
                "gcc",
                "-std=gnu11",
                "-O0",
                "-w",
                *flags,
                "-c",
                "-o",
                f"{objects}/object",
                source,
            ]
            subprocess.run(command, check=True)
            listed = subprocess.run(["nm", "-gP", f"{objects}/object"], capture_output=True, text=True, check=True)
            symbols = [line.split()[:2] for line in listed.stdout.splitlines()]
            used[source.name] = {name for name, kind in symbols if kind == "U"}
            defined[source.name] = {name for name, kind in symbols if kind != "U"}
    return {file: {o for o in defined if o != file and names & defined[o]} for file, names in used.items()}


def circle(graph: Graph) -> str:
    """Return a circle as "a -> b -> a", or "" if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as e:
        return " -> ".join(reversed(e.args[1]))
    return ""


def main(repository: Path) -> int:
    graphs = {"runtime": imports(repository)}
    graphs |= {folder: calls(repository / folder, repository / "build/lib/init") for folder in PROGRAMS}
    wrong = upward(repository)
    wrong += [f"{name}: a circle: {found}" for name, graph in graphs.items() if (found := circle(graph))]
    print("\n".join(wrong) or "rooms: " + ", ".join(f"{len(graph)} files in {name}" for name, graph in graphs.items()))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1]))
