"""Traces: what is timed is there, when init may tell, and the picture."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from runtime.cli import draw, trace
from runtime.cli.main import main
from runtime.errors import ConfigError
from runtime.plan.seccomp import plan_seccomp

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("where", [where for where, _ in trace.SPANS])
def test_everything_that_is_timed_exists(where: str) -> None:
    """A renamed function would only be missing from pictures."""
    owner, attribute = trace.find(where)
    assert callable(getattr(owner, attribute))


def test_what_was_wrapped_is_put_back() -> None:
    before = [getattr(*trace.find(where)) for where, _ in trace.SPANS]
    tracer = trace.Tracer()
    tracer.install()
    assert all(getattr(*trace.find(where)) is not was for (where, _), was in zip(trace.SPANS, before, strict=True))
    tracer.remove()
    assert [getattr(*trace.find(where)) for where, _ in trace.SPANS] == before


@pytest.mark.parametrize(
    ("seccomp", "told"),
    [
        pytest.param({"defaultAction": "SCMP_ACT_ALLOW"}, True, id="allow"),
        pytest.param({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38}, True, id="errno"),
        pytest.param({"defaultAction": "SCMP_ACT_KILL_PROCESS"}, False, id="kill"),
        pytest.param({"defaultAction": "SCMP_ACT_TRAP"}, False, id="trap"),
        pytest.param(
            {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["sendmsg"], "action": "SCMP_ACT_KILL"}]},
            False,
            id="kill-sendmsg",
        ),
        pytest.param(
            {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_KILL"}]},
            True,
            id="kill-another",
        ),
    ],
)
def test_init_tells_no_times_where_that_could_end_it(seccomp: dict[str, Any], told: bool) -> None:
    rules = plan_seccomp(seccomp)
    assert rules is not None
    assert trace.may_tell(rules) is told


def document(*spans: trace.Span, command: tuple[str, ...] = ("stele", "run", "x")) -> dict[str, Any]:
    return {**trace.events(spans, 0, 10_000_000), "otherData": {"command": command, "total_us": 10_000}}


def texts(picture: str) -> list[str]:
    return ["".join(element.itertext()) for element in ET.fromstring(picture).iter(f"{SVG}text")]  # ours


def test_a_picture_has_a_row_for_each_span() -> None:
    spans = (
        trace.Span("stele", "plan <&>", 0, 5_000_000),
        trace.Span("init", "mask /a", 5_000_000, 5_100_000),
        trace.Span("init", "execute", 5_100_000, 5_150_000),
    )
    seen = texts(draw.svg([draw.read(document(*spans), "file")]))
    assert seen[-5:] == [
        "stele, in Python",
        "plan <&>  5.00 ms",
        "init, in the container",
        "mask /a  100 µs",
        "execute  50 µs",
    ]


def test_many_steps_of_one_kind_are_one_row() -> None:
    spans = [trace.Span("init", f"mask /{n}", n * 1000, n * 1000 + 1000) for n in range(5)]
    assert texts(draw.svg([draw.read(document(*spans), "file")]))[-1] == "mask x 5  5 µs"


def test_two_traces_are_drawn_on_one_scale() -> None:
    short, long = (
        draw.Trace("short", 100, (draw.Bar("stele", "a", 0, 100),)),
        draw.Trace("long", 1000, (draw.Bar("stele", "b", 0, 1000),)),
    )
    bars = [
        float(rect.get("width", "0"))
        for rect in ET.fromstring(draw.svg([short, long])).iter(f"{SVG}rect")  # ours
        if rect.get("x")
    ]
    assert bars[1] == pytest.approx(10 * bars[0], rel=0.01)


def test_a_title_leaves_out_global_options() -> None:
    command = ("stele", "--root", "/x", "--debug", "--log=/y", "run", "--bundle", "b", "id")
    assert draw.read(document(command=command), "file").title == "stele run --bundle b id"


@pytest.mark.parametrize("wrong", [{}, {"traceEvents": []}, {"traceEvents": [{"ph": "X"}], "otherData": {}}])
def test_what_is_no_trace_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="is not a trace"):
        draw.read(wrong, "file")


def test_a_command_is_traced_and_its_status_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "trace.json"
    assert main(["--root", str(tmp_path), "--trace", str(file), "state", "none"]) == 1
    told = json.loads(file.read_text())
    names = [event["name"] for event in told["traceEvents"] if event["ph"] == "X"]
    assert names == ["start of the process", "parse the command line", "read the record"]
    assert told["otherData"]["command"][-2:] == ["state", "none"]
    assert main(["trace", str(file)]) == 0
    assert "read the record" in capsys.readouterr().out


def test_a_file_that_cannot_be_written_stops_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", str(tmp_path), "--trace", str(tmp_path / "no/file"), "list"]) == 1
    seen = capsys.readouterr()
    assert seen.out == ""
    assert "cannot write it: No such file or directory; correct --trace" in seen.err
