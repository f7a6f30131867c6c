"""What calls the other tools."""

from __future__ import annotations

from collections.abc import Callable

Tool = Callable[..., str]
"""Called with a tool and its words; what it prints."""
