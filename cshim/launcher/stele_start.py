"""The Python half of the launcher: imports from the executable itself, and what differs between its two starts.

The bundle (build-aux/bundle.py) is: u32 length of the index, the index (marshal: name -> (offset, size, stored size,
is a package)), then each module's code, marshalled and deflated. Resources are entries named "package/file".
"""

import marshal
import sys
import zlib
from _frozen_importlib import ModuleSpec

import _stele_modules

# Nothing can ever be found below a file: no import, no __file__ and no traceback reaches the host's file system.
ROOT = "/proc/self/exe"

_size = int.from_bytes(_stele_modules.bundle[:4], "little")
_index = marshal.loads(_stele_modules.bundle[4 : 4 + _size])
_base = 4 + _size


def stored(name):
    """The bytes of a bundled module or resource."""
    offset, size = _index[name][:2]
    return zlib.decompress(_stele_modules.bundle[_base + offset : _base + offset + size])


class Importer:
    """Finds and loads what the executable holds; the only importer besides those of built-in and frozen modules."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        entry = _index.get(name)
        if entry is None:
            return None
        place = f"{ROOT}/{name.replace('.', '/')}"
        spec = ModuleSpec(
            name, Importer, origin=f"{place}/__init__.py" if entry[2] else f"{place}.py", is_package=entry[2]
        )
        if entry[2]:
            spec.submodule_search_locations.append(place)
        spec.has_location = True
        return spec

    @staticmethod
    def create_module(spec):
        return None

    @staticmethod
    def exec_module(module):
        exec(Importer.get_code(module.__name__), module.__dict__)

    @staticmethod
    def get_code(name):
        return marshal.loads(stored(name))

    @staticmethod
    def get_source(name):
        return None

    @staticmethod
    def is_package(name):
        return _index[name][2]


def _install():
    sys.meta_path[:] = [*[f for f in sys.meta_path if f.__name__ != "PathFinder"], Importer]
    sys.path.clear()
    sys.path_hooks.clear()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.reconfigure(line_buffering=True)


_install()


def cold():
    """The application's main, in a start without snapshot."""
    from runtime.__main__ import main

    return main


def warm():
    """The application's main with all that it uses imported and run once, ready for the snapshot."""
    import gc
    import posix

    main = cold()
    posix.environ.clear()
    gc.collect()
    gc.collect()
    gc.freeze()
    return main


def renew():
    """What the heap holds of a process, for this one."""
    threading = sys.modules.get("threading")
    if threading is not None:
        main = threading._main_thread
        threading._active.clear()
        main._set_ident()
        main._set_native_id()
        threading._active[main._ident] = main


def finish(status):
    """Wait for threads, run what waits for the end, flush the streams; the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            try:
                stream.flush()
            except OSError:
                status = status or 120
    return status
