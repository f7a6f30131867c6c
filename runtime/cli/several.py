"""Commands that take several container IDs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from runtime.container.state import check_id
from runtime.errors import SteleError


class Enough(SteleError):
    """Ends the whole command: what is left of its containers is not acted on."""


def each(ids: Sequence[str], act: Callable[[str], None]) -> None:
    """Act on each container.

    Raises:
        SteleError: what failed, for all of them, after the last.
    """
    if len(ids) == 1:
        act(check_id(ids[0]))
        return
    failed = []
    for container_id in ids:
        try:
            act(check_id(container_id))
        except Enough:
            raise
        except SteleError as e:
            failed.append(str(e))
    if failed:
        raise SteleError("; ".join(failed))
