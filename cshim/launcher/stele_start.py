"""The Python half of the launcher: imports from the executable itself, and what differs between its two starts.

The bundle (build-aux/bundle.py) is: u32 length of the index, the index (marshal: name -> (offset, size, size unpacked,
is a package)), then each module's code, marshalled and packed (packed.c). Resources are entries named "package/file".
"""

import _thread
import atexit
import marshal
import posix
import sys
from _frozen_importlib import ModuleSpec

import _stele_modules

# Nothing can ever be found below a file: no import, no __file__ and no traceback reaches the host's file system.
ROOT = "/proc/self/exe"

# Not imported by the application when it loads, but wanted by commands that should be quick.
WARM = ("jeepney", "jeepney.io.blocking")
# Loaded when it is wanted: what draws in a large package, for commands of which nobody expects speed.
COLD = (
    "runtime.cli.complete",
    "runtime.cli.copy",
    "runtime.cli.documents",
    "runtime.cli.draw",
    "runtime.cli.examples",
    "runtime.cli.help",
    "runtime.cli.images",
    "runtime.cli.login",
    "runtime.cli.logs",
    "runtime.cli.people",
    "runtime.cli.plan",
    "runtime.cli.services",
    "runtime.cli.stats",
    "runtime.cli.trace",
    "runtime.cli.unpack",
    "runtime.cli.volumes",
    "runtime.container.copy",
    "runtime.container.inside",
    "runtime.container.logs",
    "runtime.container.readiness",
    "runtime.container.stopping",
    "runtime.container.summary",
    "runtime.host.features",
    "runtime.images",
    "runtime.images.registry.login",
    "runtime.oci.template",
    "runtime.oci.warnings",
    "runtime.plan.disassembly",
    "runtime.plan.explain",
    "runtime.plan.review",
    "runtime.services",
)
# Modules with a state that is of one process: seeds, keys, what was found in the environment.
NEVER = ("_hashlib", "_ssl", "multiprocessing", "random", "ssl", "tempfile", "uuid")
OPENSSL = ("_hashlib", "_ssl")
BUFFER = 8192  # bytes in that of a stream, at most

_size = int.from_bytes(_stele_modules.bundle[:4], "little")
_index = marshal.loads(_stele_modules.bundle[4 : 4 + _size])
_base = 4 + _size


def stored(name):
    """The bytes of a bundled module or resource."""
    offset, size, room = _index[name][:3]
    return _stele_modules.unpack(_base + offset, size, room)


class Importer:
    """Finds and loads what the executable holds; the only importer besides those of built-in and frozen modules."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        entry = _index.get(name)
        if entry is None:
            return None
        place = f"{ROOT}/{name.replace('.', '/')}"
        origin = f"{place}/__init__.py" if entry[3] else f"{place}.py"
        spec = ModuleSpec(name, Importer, origin=origin, is_package=entry[3])
        if entry[3]:
            spec.submodule_search_locations.append(place)
        spec.has_location = True
        return spec

    @staticmethod
    def create_module(spec):
        return None

    @staticmethod
    def exec_module(module):
        exec(Importer.get_code(module.__name__), module.__dict__)  # noqa: S102  # what an importer does

    @staticmethod
    def get_code(name):
        return marshal.loads(stored(name))

    @staticmethod
    def get_source(name):
        return None

    @staticmethod
    def is_package(name):
        return _index[name][3]

    @staticmethod
    def get_data(path):
        """A data file of the application, as pkgutil.get_data asks for it."""
        try:
            return stored(path.removeprefix(ROOT + "/"))
        except KeyError:
            raise FileNotFoundError(2, "not in the executable", path) from None


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
    """The application's main with every module of the application loaded: what the snapshot holds."""
    import gc
    from importlib import import_module

    inspect = sys.modules["inspect"] = Late("inspect")
    # All that dataclasses want of it: the one for docstrings that nobody reads, the other from CPython 3.13 on.
    inspect.signature = lambda cls: ""
    inspect.get_annotations = lambda cls: dict(vars(cls).get("__annotations__", {}))
    for name in OPENSSL:
        sys.modules[name] = None  # hashlib then takes CPython's own, which are in the snapshot
    for name in sorted(_index):
        if name.startswith("runtime.") and "/" not in name and not name.startswith(COLD):
            import_module(name)
    for name in WARM:
        if name in _index:
            import_module(name)
    for name in OPENSSL:
        del sys.modules[name]
    forget()
    posix.environ.clear()
    gc.collect()
    gc.freeze()
    return cold()


def exercise(command):
    """Run a usual command in the builder's process. What it leaves behind, as its process ends anyway, is tidied up."""
    import gc
    import signal

    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    gc.disable()  # a collection's time depends on all that was allocated before
    try:
        cold()(command)
    except SystemExit:
        pass
    finally:
        gc.collect()
        gc.enable()
        signal.set_wakeup_fd(-1)
        for number, handler in handlers.items():
            if signal.getsignal(number) != handler:
                signal.signal(number, handler)


class Late:
    """Stands for a module until something of it is wanted."""

    def __init__(self, name):
        self._name = name

    def __getattr__(self, attribute):
        from importlib import import_module

        if attribute.startswith("__"):
            raise AttributeError(attribute)  # the import system looks for its own
        return getattr(import_module(self._name), attribute)


def forget():
    """Drop what stood in while the application was loaded: who uses inspect later gets the real one."""
    inspect = sys.modules.pop("inspect")
    del inspect.signature, inspect.get_annotations


def settle():
    """The last thing before the snapshot: garbage and free lists go, and no collection will look at what is left."""
    import gc

    wrong = [name for name in NEVER if name in sys.modules]
    if wrong:
        raise RuntimeError(f"the snapshot may not hold {', '.join(wrong)}: every process would start with the same")
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        for _ in range(BUFFER):  # all at once would go past the buffer, which still has what the commands said
            stream.buffer.write(b"\0")
        stream.flush()
    threading = sys.modules.get("threading")
    if threading is not None:
        threading._active.clear()  # renew() puts this process's main thread there
        threading._main_thread._ident = threading._main_thread._native_id = 0
        threading._main_thread._handle = None
    note = posix.open("modules", posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC, 0o644)  # build-aux/seal.py keeps it
    posix.write(note, "".join(f"{name}\n" for name in sorted(sys.modules)).encode())
    posix.close(note)
    gc.collect()
    gc.collect()
    gc.freeze()


def functions():
    """All that are frozen."""
    import gc

    gc.unfreeze()
    found = [each for each in gc.get_objects() if type(each) is type(functions)]
    gc.freeze()
    return found


def renew():
    """What the heap holds of a process, for this one."""
    threading = sys.modules.get("threading")
    if threading is not None:
        main = threading._main_thread
        threading._active.clear()
        main._set_ident()
        main._set_native_id()
        if hasattr(_thread, "_make_thread_handle"):  # CPython 3.13
            main._handle = _thread._make_thread_handle(main._ident)
        threading._active[main._ident] = main


def finish(status):
    """Wait for threads, run exit handlers, flush the streams; return the exit status."""
    if _thread._count():
        sys.modules["threading"]._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            try:
                stream.flush()
            except OSError:
                status = status or 120  # as CPython's own end does
    return status
