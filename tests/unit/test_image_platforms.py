"""Which image of an index is taken."""

from __future__ import annotations

import pytest

from runtime.errors import UsageError
from runtime.images.platforms import Platform, choose, parse_platform

AMD, AMD3, ARM, ARM8 = (
    Platform("linux", "amd64"),
    Platform("linux", "amd64", "v3"),
    Platform("linux", "arm64"),
    Platform("linux", "arm64", "v8"),
)
V5, V6, V7 = (Platform("linux", "arm", v) for v in ("v5", "v6", "v7"))
WINDOWS, UNKNOWN = Platform("windows", "amd64"), Platform("unknown", "unknown")


@pytest.mark.parametrize(
    ("wanted", "offered", "place"),
    [
        (AMD, [ARM, AMD], 1),
        (AMD, [UNKNOWN, None, WINDOWS, AMD], 3),
        (AMD, [AMD3, AMD], 1),
        (AMD, [AMD3], None),
        (AMD3, [AMD, AMD3], 1),
        (AMD3, [AMD], 0),
        (ARM8, [AMD, ARM], 1),
        (ARM8, [ARM, ARM8], 1),
        (ARM, [V7, ARM8], 1),
        (V7, [V5, V6, V7], 2),
        (V7, [V5, V6], 1),
        (V6, [V7, V5], 1),
        (V6, [V7], None),
        (Platform("linux", "arm"), [V6, V7], 1),
        (AMD, [], None),
        (AMD, [AMD, AMD], 0),
        (Platform("linux", "riscv64"), [AMD], None),
    ],
)
def test_choose(wanted: Platform, offered: list[Platform | None], place: int | None) -> None:
    assert choose(wanted, offered) == place


@pytest.mark.parametrize(
    ("text", "platform"),
    [
        ("linux/amd64", AMD),
        ("amd64", AMD),
        ("x86_64", AMD),
        ("linux/aarch64", ARM),
        ("linux/arm/v7", V7),
        ("armv6l", V6),
        ("windows/amd64", WINDOWS),
    ],
)
def test_parse(text: str, platform: Platform) -> None:
    assert parse_platform(text) == platform


@pytest.mark.parametrize("text", ["", "/", "linux/", "linux/amd64/v1/x", "LINUX/AMD64", "a b", "linux/" + "x" * 40])
def test_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not OS/ARCHITECTURE"):
        parse_platform(text)
