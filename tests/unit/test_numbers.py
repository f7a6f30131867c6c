"""Numbers that strangers write as text: the digits of ASCII, within bounds, and nothing else."""

from __future__ import annotations

import pytest

from runtime.cli import execute
from runtime.container import lifecycle
from runtime.errors import ConfigError, SteleError
from runtime.host.cgroups.properties import annotated
from runtime.oci import sizes
from runtime.oci.numbers import decimal
from runtime.plan.process import cpu_mask


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("7", 7),
        ("100", 100),
        ("007", 7),
        ("101", None),
        ("", None),
        ("-1", None),
        ("+1", None),
        (" 1", None),
        ("1_0", None),
        ("٣", None),
        ("²", None),
        ("9" * 5000, None),
    ],
)
def test_decimal(text: str, number: int | None) -> None:
    assert decimal(text, 100) == number


@pytest.mark.parametrize("text", ["9" * 5000, "9" * 400, "٣"])
def test_what_int_would_stumble_on(text: str) -> None:
    """Found by make fuzz: each ended in an internal error, or was taken."""
    for parse in (
        lambda: execute.identity(text, "--user"),
        lambda: lifecycle.signal_number(text),
        lambda: lifecycle.signal_number(f"RTMIN+{text}"),
        lambda: cpu_mask(text, "process.execCPUAffinity.initial"),
        lambda: sizes.size(text, "memory"),
        lambda: sizes.size(f"{text}.5", "memory"),
    ):
        with pytest.raises(SteleError):
            parse()


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("-1", -1),
        ("512m", 512 << 20),
        ("1.5g", 3 << 29),
        ("9007199254740993", 9007199254740993),
        ("0.5k", 512),
        ("9223372036854775807", (1 << 63) - 1),
    ],
)
def test_sizes_are_exact(text: str, size: int) -> None:
    assert sizes.size(text, "memory") == size


def test_seconds_without_end() -> None:
    """Of an annotation for systemd."""
    with pytest.raises(ConfigError, match="not a number of seconds"):
        annotated({"org.systemd.property.TimeoutStopSec": "1e999"})
