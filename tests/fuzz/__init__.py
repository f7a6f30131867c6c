"""Random input for everything that reads what others wrote. FUZZ_SECONDS says how long each target runs."""

from __future__ import annotations

import os

SECONDS = float(os.environ.get("FUZZ_SECONDS", "3"))
"""For each target. A plain run of the tests is a smoke test; `make fuzz` takes minutes."""

EXAMPLES = max(100, int(SECONDS * 100))
"""For targets that count examples."""
