"""Raise a process's hard resource limits from the host's side, where it may not do so itself."""

from __future__ import annotations

import errno
import os
import resource

from runtime.errors import HostError
from runtime.oci.constants import RLIMITS
from runtime.plan import steps

INFINITY = (1 << 64) - 1


def raise_limits(pid: int, limits: tuple[steps.Rlimit, ...]) -> None:
    """Raise hard limits for a process that lost the right to do so when it entered a user namespace.

    It sets the limits themselves when it no longer needs more: it is still setting the container up.

    Raises:
        HostError: names the limit.
    """
    for limit in limits:
        hard = limit.hard - (1 << 64) if limit.hard >> 63 else limit.hard  # the resource module uses signed values
        try:
            soft, most = resource.prlimit(pid, limit.resource)
            if limit.hard > most & INFINITY:
                resource.prlimit(pid, limit.resource, (soft, hard))
        except (OSError, ValueError) as e:  # Python reports EPERM as ValueError; soft <= hard is checked earlier
            raise refused(limit, getattr(e, "errno", None) or errno.EPERM) from None


def refused(limit: steps.Rlimit, number: int) -> HostError:
    """Return the error for a limit that the kernel refused. number: errno."""
    name = next(name for name, known in RLIMITS.items() if known == limit.resource)
    soft, hard = ("infinity" if v == INFINITY else v for v in (limit.soft, limit.hard))
    what = f"process.rlimits[{limit.index}]: cannot set {name} to {soft}:{hard}"
    most = resource.getrlimit(limit.resource)[1]
    if number == errno.EPERM and most != resource.RLIM_INFINITY and limit.hard > most:
        return HostError(
            f"{what}: stele's own hard limit is {most}, and exceeding it needs CAP_SYS_RESOURCE on the host, which "
            f"root in a user namespace lacks; lower it to {most}, or raise the limit of stele's caller",
            number,
        )
    why = os.strerror(number).lower()
    return HostError(f"{what}: {why}; lower it, or give stele CAP_SYS_RESOURCE", number)
