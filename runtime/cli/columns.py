"""Print rows as columns."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.printable import visible


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns three spaces apart, like runc.

    Cells are untrusted: control characters are escaped, so that none reaches the terminal.
    """
    rows = [[visible(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) + 3 for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        print("".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
