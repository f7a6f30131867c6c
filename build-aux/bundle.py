"""Lay out all Python modules that the executable holds, and the assembler file that links them in.

Usage: bundle.py OUTDIR [APPLICATION]
    Writes OUTDIR/modules.bin (read by cshim/launcher/stele_start.py, which describes its format), OUTDIR/embedded.S and
    OUTDIR/modules.txt, a list for people.
    APPLICATION is the folder that holds the package `runtime`: by default this project.
What goes in is what the application's modules import, followed through the standard library and the installed
packages; nothing is looked for on the host at run time.
"""

from __future__ import annotations

import ast
import importlib
import marshal
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from importlib.machinery import BuiltinImporter
from modulefinder import ModuleFinder
from pathlib import Path
from typing import Any

import components
import cpython

PROJECT = Path(__file__).resolve().parent.parent
APPLICATION = Path(sys.argv[2]).resolve() if len(sys.argv) > 2 else PROJECT
# Ours instead of others'.
INSTEAD = {
    "encodings.idna": PROJECT / "build-aux" / "embedded_idna.py",
    "importlib.metadata": PROJECT / "build-aux" / "embedded_metadata.py",
    **dict.fromkeys(("ctypes", "multiprocessing", "unittest"), PROJECT / "build-aux" / "embedded_missing.py"),
    "pyroute2": PROJECT / "build-aux" / "embedded_pyroute2.py",
    "pyroute2.netns": PROJECT / "build-aux" / "embedded_netns.py",
}
START = PROJECT / "cshim" / "launcher" / "stele_start.py"
ROOT = "/proc/self/exe"

DICTIONARY_SIZE = 256 << 10
# Frozen, because they run before stele_start can import anything.
FROZEN = ("encodings", "encodings.aliases", "encodings.utf_8", "stele_start")
# From CPython 3.12 on, these too: its own tables of frozen modules, with docstrings and much of the standard library, are
# left out. (Before, they are tied to objects that are linked in any case.)
FROZEN_START = {
    "_frozen_importlib": "importlib._bootstrap",
    "_frozen_importlib_external": "importlib._bootstrap_external",
}
if sys.version_info >= (3, 12):
    FROZEN += ("abc", "codecs", "io")
# Imported by a name that is made at run time.
DYNAMIC = (
    "encodings.ascii", "encodings.latin_1", "encodings.idna", "encodings.utf_8_sig", "encodings.hex_codec",
    "encodings.base64_codec", "encodings.unicode_escape", "encodings.raw_unicode_escape", "encodings.utf_16",
    "encodings.utf_16_le", "encodings.utf_16_be", "encodings.utf_32", "encodings.cp437", "encodings.punycode",
    "importlib.resources", "threading", "traceback",
)  # fmt: skip
# Reached by import statements that never run here: other systems, developers' tools, accelerators that are absent.
EXCLUDED = (
    "_aix_support", "_bootlocale", "_ios_support", "_py_abc", "_pydatetime", "_pydecimal", "_pyrepl", "antigravity", "argparse", "asyncio.proactor_events",
    "asyncio.windows_events", "asyncio.windows_utils", "cffi", "click._winconsole", "concurrent.futures.process",
    "ctypes._aix", "ctypes.util", "curses", "decimal", "difflib", "distutils", "doctest", "email._header_value_parser",
    "email.contentmanager", "email.generator", "email.headerregistry", "email.policy", "encodings.mbcs", "ensurepip",
    "fractions", "getopt", "idlelib", "importlib._bootstrap", "importlib._bootstrap_external", "jsonschema", "lib2to3", "msilib", "numpy", "pdb", "pip",
    "plistlib", "py_compile", "pydoc", "pydoc_data", "pygments", "pyroute2.bsd", "pyroute2.iproute.bsd",
    "pyroute2.iproute.darwin", "pyroute2.iproute.windows", "pytest", "readline", "rlcompleter", "rpds", "setuptools",
    "smtplib", "sqlite3", "statistics", "stringprep", "tarfile", "test", "this", "tkinter", "tracemalloc", "turtle",
    "typing_extensions", "unicodedata", "unittest.mock", "unittest.util", "urllib3.contrib", "urllib3.http2.connection",
    "venv", "webbrowser", "wsgiref", "xmlrpc", "zipfile", "zipimport",
)  # fmt: skip


def application() -> list[str]:
    """The names of all modules of the package `runtime`."""
    found = []
    for file in sorted((APPLICATION / "runtime").rglob("*.py")):
        parts = list(file.relative_to(APPLICATION).with_suffix("").parts)
        found.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return found


def resources() -> dict[str, bytes]:
    """The data files of the package `runtime`, by their path."""
    files = sorted(p for p in (APPLICATION / "runtime").rglob("*") if p.is_file())
    wanted = [p for p in files if p.suffix != ".py" and "__pycache__" not in p.parts]
    return {str(p.relative_to(APPLICATION)): p.read_bytes() for p in wanted}


class Finder(ModuleFinder):
    """Reads ours instead of others' modules, so that what only theirs imports stays out."""

    def load_module(self, fqname: str, fp: Any, pathname: str, file_info: Any) -> Any:
        if fqname not in INSTEAD or fp is None:
            return super().load_module(fqname, fp, pathname, file_info)
        with INSTEAD[fqname].open("rb") as ours:
            return super().load_module(fqname, ours, pathname, file_info)


def closure(roots: list[str]) -> dict[str, tuple[Path, bool]]:
    """Follow imports from the roots: name -> (source file, is a package)."""
    finder = Finder(path=[str(APPLICATION), *sys.path], excludes=list(EXCLUDED))
    for root in roots:
        parent, _, child = root.rpartition(".")
        finder.import_hook(root)
        if parent and root not in finder.modules:
            finder.import_hook(parent, fromlist=[child])
    found: dict[str, tuple[Path, bool]] = {}
    for name, module in finder.modules.items():
        file = getattr(module, "__file__", None)
        if not file or BuiltinImporter.find_spec(name):
            continue
        path = Path(file)
        if path.suffix == ".py":
            found[name] = (path, path.name == "__init__.py")
    return found


class Stripped(ast.NodeTransformer):
    """Takes out what nothing asks for at run time and every process would carry."""

    def __init__(self, *, ours: bool) -> None:
        self.ours = ours

    def visit(self, node: ast.AST) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            match node.body[:1]:
                case [ast.Expr(value=ast.Constant(value=str()) as text)]:
                    text.value = ""  # and not None: some modules add to their docstrings
        if self.ours and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        if self.ours and isinstance(node, ast.arg):
            node.annotation = None
        return node


def built(modules: Iterable[str], out: Path) -> Path:
    """Write the module that stands in for runtime/built.py, with what this build is made of."""
    versions = [(c.name, c.version) for c in [*components.linked(), *components.embedded(modules)]]
    file = out / "built.py"
    # libseccomp tells its version itself.
    file.write_text(
        f"COMMIT = {components.commit()!r}\nCOMPONENTS = {tuple(v for v in versions if v[0] != 'libseccomp')!r}\n"
    )
    return file


def code_of(name: str, file: Path, is_package: bool) -> bytes:
    """A module's code, marshalled, without docstrings and, in the application, without annotations of functions."""
    place = f"{ROOT}/{name.replace('.', '/')}" + ("/__init__.py" if is_package else ".py")
    return code_at(place, file, ours=name.split(".")[0] == "runtime")


def code_at(place: str, file: Path, *, ours: bool) -> bytes:
    tree = Stripped(ours=ours).visit(ast.parse(file.read_bytes(), place))
    return marshal.dumps(compile(tree, place, "exec", dont_inherit=True, optimize=0))


def starting() -> dict[str, tuple[bytes, bool]]:
    """The two modules that importing itself is made of."""
    found = {}
    for name, module in FROZEN_START.items():
        source = Path(importlib.__file__).with_name(module.rpartition(".")[2] + ".py")
        found[name] = (code_at(f"<frozen {module}>", source, ours=False), False)
    return found


def pack(contents: list[bytes]) -> tuple[bytes, list[bytes]]:
    """Each content packed by itself, with a dictionary made of all of them, which comes first, packed too."""
    zstd = ["zstd", "--quiet", "--ultra", "-22", "--no-check"]
    with tempfile.TemporaryDirectory(prefix="stele-build-") as folder:
        files = [Path(folder) / f"{number:05}" for number in range(len(contents))]
        for file, content in zip(files, contents, strict=True):
            file.write_bytes(content)
        dictionary = Path(folder) / "dictionary"
        train = ["zstd", "--quiet", "--train-fastcover=k=1024,d=8,f=20,accel=1", f"--maxdict={DICTIONARY_SIZE}"]
        subprocess.run([*train, "-o", dictionary, *files], check=True)
        subprocess.run([*zstd, "-D", dictionary, *files], check=True)
        subprocess.run([*zstd, dictionary], check=True)
        return Path(f"{dictionary}.zst").read_bytes(), [Path(f"{file}.zst").read_bytes() for file in files]


def assembler(frozen: dict[str, tuple[bytes, bool]], starting: dict[str, tuple[bytes, bool]], out: Path) -> str:
    """The bundle and the tables of frozen modules (struct _frozen of Include/cpython/import.h) as sections.

    Args:
        starting: what the interpreter is started with. If there is any, the tables are all it has.
    """
    text = [".section .rodata", ".balign 4096"]
    for name in ("modules", "dictionary"):
        text += [f".global stele_{name}_start, stele_{name}_end", f"stele_{name}_start:"]
        text += [f'.incbin "{out / name}.bin"', f"stele_{name}_end:", ".byte 0"]
    table = ['.section .data.rel.ro, "aw"', ".balign 8", ".global stele_frozen"]
    end = [".quad 0"] if sys.version_info < (3, 12) else []  # get_code
    number = 0
    for label, modules in (("stele_frozen", frozen), ("starting", starting)):
        table.append(f"{label}:")
        for name, (code, is_package) in modules.items():
            file = out / f"frozen{number}.bin"
            file.write_bytes(code)
            text += [f'name{number}: .asciz "{name}"', ".balign 16", f'code{number}: .incbin "{file}"']
            table += [f".quad name{number}, code{number}", f".int {len(code)}, {int(is_package)}", *end]
            number += 1
        table += [".quad 0, 0", ".int 0, 0", *end]
    if starting:
        nothing = f"starting + {len(starting) * 24}"
        tables = {"Bootstrap": "starting", "Stdlib": nothing, "Test": nothing, "Aliases": nothing}
        table.append(".data")
        for name, label in tables.items():
            table += [f".global _PyImport_Frozen{name}", f"_PyImport_Frozen{name}: .quad {label}"]
        table += [".global PyImport_FrozenModules", "PyImport_FrozenModules: .quad stele_frozen"]
    return "\n".join([*text, *table, '.section .note.GNU-stack, "", @progbits']) + "\n"


def main(argv: list[str]) -> int:
    if "no_debug_ranges" not in sys._xoptions:  # columns for tracebacks that never show a line of source
        command, environment = cpython.interpreter()
        os.execve(command[0], [*command, "-X", "no_debug_ranges", *argv], environment)
    out = Path(argv[1]).resolve()
    out.mkdir(parents=True, exist_ok=True)
    roots = [*application(), *DYNAMIC, "encodings", "encodings.aliases", "encodings.utf_8"]
    modules = closure(roots)
    modules["stele_start"] = (START, False)
    modules["runtime.built"] = (built(modules, out), False)
    modules |= {name: (file, modules[name][1]) for name, file in INSTEAD.items() if name in modules}
    codes = {name: (code_of(name, *modules[name]), modules[name][1]) for name in sorted(modules)}

    index: dict[str, tuple[int, int, int, bool]] = {}
    body = bytearray()
    entries = {name: code for name, code in codes.items() if name not in FROZEN}
    entries |= {name: (data, False) for name, data in resources().items()}
    dictionary, packed = pack([data for data, _ in entries.values()])
    for (name, (data, is_package)), small in zip(entries.items(), packed, strict=True):
        index[name] = (len(body), len(small), len(data), is_package)
        body += small
    head = marshal.dumps(index)
    (out / "dictionary.bin").write_bytes(dictionary)
    (out / "modules.bin").write_bytes(len(head).to_bytes(4, "little") + head + body)
    frozen = {name: codes[name] for name in FROZEN}
    (out / "embedded.S").write_text(assembler(frozen, starting() if sys.version_info >= (3, 12) else {}, out))
    (out / "modules.txt").write_text("".join(f"{index[n][1]:8} {n}\n" for n in sorted(index)))
    size = len(body) + len(dictionary)
    print(f"{len(index)} modules and resources, {size >> 10} KiB packed")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
