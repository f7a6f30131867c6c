"""libseccomp's own compiler, bound by ctypes, to compare programs with."""

from __future__ import annotations

import ctypes
import errno
import os

from runtime.host import seccomp as host
from runtime.plan.seccomp import ARCHITECTURES, SeccompRules

_LIBRARY = ctypes.CDLL("libseccomp.so.2")
_LIBRARY.seccomp_init.restype = ctypes.c_void_p


class _Comparison(ctypes.Structure):
    """struct scmp_arg_cmp."""

    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


def compile_program(rules: SeccompRules, *, tree: bool) -> bytes:
    """What libseccomp makes of the rules, without ENOSYS for newer calls. Raises OSError where it refuses."""
    context = ctypes.c_void_p(_LIBRARY.seccomp_init(ctypes.c_uint32(rules.default)))
    if not context:
        raise OSError(errno.EINVAL, "seccomp_init")
    try:
        if tree:
            _checked(_LIBRARY.seccomp_attr_set(context, 8, 2), "optimize")
        for name in rules.architectures:
            _checked(_LIBRARY.seccomp_arch_add(context, ctypes.c_uint32(ARCHITECTURES[name])), name, errno.EEXIST)
        for rule in rules.rules:
            for name in rule.names:
                number = host.number_of(0, name)
                if number == -1 or rule.action == rules.default:
                    continue
                conditions = (_Comparison * 6)(*((c.index, c.op, c.value, c.value_two) for c in rule.conditions))
                result = _LIBRARY.seccomp_rule_add_array(
                    context, ctypes.c_uint32(rule.action), number, len(rule.conditions), conditions
                )
                _checked(result, name, errno.EEXIST)
        fd = os.memfd_create("libseccomp")
        try:
            _checked(_LIBRARY.seccomp_export_bpf(context, fd), "export")
            return os.pread(fd, os.fstat(fd).st_size, 0)
        finally:
            os.close(fd)
    finally:
        _LIBRARY.seccomp_release(context)


def _checked(result: int, what: str, but: int = 0) -> None:
    if result < 0 and result != -but:
        raise OSError(-result, what)
