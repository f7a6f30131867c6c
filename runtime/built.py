"""What this stele was built from. In the executable build-aux/bundle.py puts the build's own values in their place."""

from __future__ import annotations

COMMIT = ""
COMPONENTS: tuple[tuple[str, str], ...] = ()
"""Names and versions of what is linked in, without libseccomp, which reports its version itself."""
