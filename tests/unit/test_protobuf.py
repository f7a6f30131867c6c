"""The tests' own encoder of protobuf (tests/callers/kubernetes/protobuf.py), against the encoding's documented bytes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.callers.kubernetes.protobuf import Schema

SCHEMA = Schema("""
enum Colour { RED = 0; BLUE = 1; }
message Inner { int32 a = 1; }  // a comment
message Outer {
  int64 number = 1;
  string text = 2;
  Inner inner = 3;
  repeated int32 numbers = 4;
  Colour colour = 5;
  map<string, string> words = 6;
  bool flag = 16;
}
message Newer { int64 number = 1; string more = 9; }
""")
EMPTY = {"number": 0, "text": "", "inner": None, "numbers": [], "colour": "RED", "words": {}, "flag": False}


@pytest.mark.parametrize(
    ("values", "encoded"),
    [
        pytest.param({}, "", id="empty"),
        pytest.param({"number": 150}, "08 96 01", id="varint"),
        pytest.param({"number": -2}, "08 fe ff ff ff ff ff ff ff ff 01", id="negative"),
        pytest.param({"text": "testing"}, "12 07 74 65 73 74 69 6e 67", id="string"),
        pytest.param({"inner": {"a": 150}}, "1a 03 08 96 01", id="message"),
        pytest.param({"numbers": [1, 2]}, "20 01 20 02", id="repeated"),
        pytest.param({"colour": "BLUE"}, "28 01", id="enum"),
        pytest.param({"words": {"k": "v"}}, "32 06 0a 01 6b 12 01 76", id="map"),
        pytest.param({"flag": True}, "80 01 01", id="number of two bytes"),
    ],
)
def test_both_ways(values: dict[str, Any], encoded: str) -> None:
    """A message's bytes, and what they say."""
    assert SCHEMA.encode("Outer", values) == bytes.fromhex(encoded)
    assert SCHEMA.decode("Outer", bytes.fromhex(encoded)) == EMPTY | values


def test_what_is_not_known() -> None:
    """Fields of a newer sender are skipped; one that the definitions lack cannot be sent."""
    newer = SCHEMA.encode("Newer", {"more": "text", "number": 7})
    assert SCHEMA.decode("Outer", newer)["number"] == 7
    with pytest.raises(KeyError, match="more"):
        SCHEMA.encode("Outer", {"more": "text"})
