"""Stands for multiprocessing, unittest and ctypes in the executable: the names that pyroute2 binds when it is imported
and that nothing here calls. The first would need an interpreter on the host, the last a dynamic linker."""

from types import SimpleNamespace


def _missing(*args, **more):
    raise NotImplementedError("not in the executable")


Pipe = Queue = Process = _missing
mock = SimpleNamespace(Mock=object)
CDLL = object
