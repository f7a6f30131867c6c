"""How long tests wait: STELE_TEST_PATIENCE times what is enough on a person's machine, for one that is emulated or busy."""

from __future__ import annotations

import os

FACTOR = float(os.environ.get("STELE_TEST_PATIENCE", "1"))


def seconds(usual: float) -> float:
    """As long as `usual` seconds take on a person's machine."""
    return usual * FACTOR
