"""`python -m runtime`, the installed command `stele`, and what the executable's launcher calls."""

from __future__ import annotations

import sys

from runtime.cli.main import main


def entry() -> None:
    """The console script."""
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    entry()
