"""Check that the rooms of runtime/ and the files of each C program depend on each other in one direction only.

`python build-aux/rooms.py` prints one line when all is well. Otherwise it prints each import of a room that lies above, and each
circle among files, and exits with 1. Imports inside functions count like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
BELOW: Mapping[str, tuple[str, ...]] = {
    "errors": (),
    "oci": (),
    "plan": ("oci",),
    "host": ("plan", "oci"),
    "images": ("host", "plan", "oci"),
    "container": ("images/run", "images/root", "host", "plan", "oci"),
    "services": ("container", "images", "host", "plan", "oci"),
    "cli": ("services", "container", "images", "host", "plan", "oci"),
}
