"""The import guard: what each hot command loads is written down, so that a careless import fails here.

tests/imports.txt has one line for each module: its name, then the commands that load it under `python -m runtime`
("all" for all of them), and "snapshot" if the executable's snapshot holds it (of the application's own modules that is
not said: it holds all but those that are loaded when wanted). A line more or less is a decision to be seen in review;
where it is meant, WRITE_IMPORTS=1 in the environment has the list written anew, and the run still fails.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness.bundles import BUSYBOX, BundleFactory
from tests.harness.images import add_image, layer
from tests.harness.runtime import REPO, Runtime

LISTED = REPO / "tests/imports.txt"
PYTHON = REPO / "build/venv/bin/python"
HOT = ("create", "start", "state", "exec", "kill", "delete", "run")
START = ast.parse((REPO / "cshim/launcher/stele_start.py").read_text()).body
COLD: tuple[str, ...] = next(
    ast.literal_eval(line.value)
    for line in START
    if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "COLD"
)
"""Loaded when wanted."""

# What main loads, beyond what a bare interpreter has; the names go to the file named first.
MAIN = """
import sys
before = set(sys.modules)
from runtime.__main__ import main
status = main(sys.argv[2:])
loaded = sorted(set(sys.modules) - before)
open(sys.argv[1], "w").write("".join(f"{name}\\n" for name in loaded))
sys.exit(status)
"""


def listed() -> dict[str, set[str]]:
    """Name of a module to the commands, or "all", and "snapshot"."""
    lines = (line.partition("#")[0].split() for line in LISTED.read_text().splitlines())
    return {words[0]: set(words[1:]) for words in lines if words}


def write(by_module: dict[str, set[str]]) -> None:
    """Write the list anew, if that is asked for."""
    if os.environ.get("WRITE_IMPORTS"):
        lines = [f"{name:34} {' '.join(sorted(by))}".rstrip() for name, by in sorted(by_module.items()) if by]
        LISTED.write_text("\n".join(lines) + "\n")


def difference(loaded: set[str], wanted: set[str], what: str) -> str:
    """What to say when they differ, "" when they do not."""
    more, less = sorted(loaded - wanted), sorted(wanted - loaded)
    told = [f"{what} loads {', '.join(more)}: import it inside the function that needs it"] if more else []
    told += [f"{what} no longer loads {', '.join(less)}"] if less else []
    return "; ".join(told) and f"{'; '.join(told)} (or correct {LISTED.relative_to(REPO)})"


@pytest.fixture
def loads(stele: Runtime, tmp_path: Path) -> Iterator[Callable[..., set[str]]]:
    """`loads(command, *words)` runs it as `python -m runtime` does and returns the modules it loaded."""

    def run(command: str, *words: str | Path) -> set[str]:
        names = tmp_path / f"loaded-by-{command}"
        stele.argv = [str(PYTHON), "-c", MAIN, str(names)]
        with (tmp_path / "output").open("w+") as output:
            done = stele(command, *words, stdout=output, stderr=output)
            assert done.returncode == 0, (tmp_path / "output").read_text()
        stele.argv = own
        return set(names.read_text().split())

    own = stele.argv
    yield run
    stele.argv = own


def test_each_hot_command_loads_what_is_listed(
    stele: Runtime, bundle: BundleFactory, loads: Callable[..., set[str]]
) -> None:
    """The whole life of a container with all that a docker-like config.json asks for."""
    sleeps, ends, name, other = bundle(["/bin/sleep", "1000"]), bundle(["/bin/true"]), stele.id(), stele.id()
    words: dict[str, tuple[str | Path, ...]] = {
        "create": ("--bundle", sleeps, name),
        "start": (name,),
        "state": (name,),
        "exec": (name, "/bin/true"),
        "kill": (name, "KILL"),
        "delete": ("--force", name),
        "run": ("--bundle", ends, other),
    }
    loaded = {command: loads(command, *words[command]) for command in HOT}
    by_module = listed()
    wanted = {command: {module for module, by in by_module.items() if by & {command, "all"}} for command in HOT}
    wrong = [difference(loaded[command], wanted[command], f"`{command}`") for command in HOT]
    by_module = {name: by & {"snapshot"} for name, by in by_module.items()}
    for name in set().union(*loaded.values()):
        by = {command for command in HOT if name in loaded[command]}
        by_module[name] = by_module.get(name, set()) | ({"all"} if len(by) == len(HOT) else by)
    write(by_module)
    assert not any(wrong), "\n".join(filter(None, wrong))


def test_a_container_of_an_image_loads_what_the_snapshot_holds(
    stele: Runtime, bundle: BundleFactory, loads: Callable[..., set[str]], tmp_path: Path
) -> None:
    """Of a stored image that a person names in short: to import one module costs as much as all else of the image."""
    store, full = tmp_path / "store", "docker.io/library/image:latest"
    add_image(store, full, [layer({"bin/": None, "bin/true": BUSYBOX.read_bytes()})], {"Cmd": ["/bin/true"]})
    image = ("--store", store, "run", "--image", "image")
    assert stele(*image, stele.id()).returncode == 0  # the first one unpacks
    plain = loads("run", "--bundle", bundle(["/bin/true"]), stele.id())
    more = loads(*image, stele.id()) - plain
    assert "runtime.images.store.find" in more
    assert more - set((REPO / "build/launcher/snapshot.txt").read_text().split()) == set()


def test_the_snapshot_holds_what_is_listed() -> None:
    """The application without its cold modules; of these and of other packages, those that the list names."""
    held = set((REPO / "build/launcher/snapshot.txt").read_text().split())
    ours = {name for name in held if name.split(".")[0] == "runtime" and not name.startswith(COLD)}
    by_module = listed()
    others = {name for name, by in by_module.items() if "snapshot" in by}
    files = [file.relative_to(REPO).with_suffix("") for file in (REPO / "runtime").rglob("*.py")]
    rooms = {".".join(file.parts).removesuffix(".__init__") for file in files}
    assert ours >= {name for name in rooms if not name.startswith(COLD)}
    told = difference(held - ours, others, "the snapshot")
    write(
        {name: by_module.get(name, set()) - {"snapshot"} for name in by_module}
        | {name: by_module.get(name, set()) | {"snapshot"} for name in held - ours}
    )
    assert not told, told
