"""stele trace FILE...: draw traces below each other on a common time scale, as one SVG."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from runtime.cli.context import Globals
from runtime.cli.table import DrawTrace
from runtime.errors import ConfigError
from runtime.oci.load import load_document
from runtime.printable import visible

WIDTH, MARGIN, ROW, CHARACTER = 1000, 12, 15, 6.7
"""In pixels; CHARACTER is about a character's width at the labels' font size."""
LONGEST = 52
"""Maximum characters of a label; the tooltip has the full name."""
COLOURS = {"stele": "#3572a5", "init": "#c1592a"}
LANES = {"stele": "stele, in Python", "init": "init, in the container"}
STYLE = (
    "text{font:11px ui-monospace,Menlo,Consolas,monospace;fill:#222}"
    ".head{font-weight:bold;font-size:13px}.quiet{fill:#777}.left{text-anchor:end}"
    ".inside{fill:#fff}line{stroke:#e4e4e4}"
)
FEW = 3
"""More consecutive steps of the same kind than this are merged into one row."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A row of the picture; times in microseconds since the start of the process."""

    lane: str
    name: str
    begin: float
    length: float


@dataclass(frozen=True, slots=True)
class Trace:
    """A trace file's drawable contents."""

    title: str
    total: float
    bars: tuple[Bar, ...]


def read(document: dict[str, Any], name: str) -> Trace:
    """Extract the bars from a trace-event document.

    Raises:
        ConfigError: the document is not one of stele's traces.
    """
    try:
        told = [e for e in document["traceEvents"] if e["ph"] == "X"]
        bars = [Bar(e["cat"], e["name"], float(e["ts"]), float(e["dur"])) for e in told if e["cat"] in LANES]
        total = max(float(document["otherData"]["total_us"]), 1.0)
        command = document["otherData"]["command"]
        title = " ".join(_shown(list(map(str, command))))
    except (KeyError, TypeError, ValueError):
        raise ConfigError("", f'"{name}" is not a trace; write one with `stele --trace`') from None
    return Trace(title, total, tuple(gathered(bars)))


def _shown(words: list[str]) -> Iterator[str]:
    """Yield a command line without its global options, which only clutter a picture."""
    kept = iter(words)
    yield next(kept, "")
    for word in kept:
        if not word.startswith("--"):
            yield word
            yield from kept
        elif "=" not in word and word not in ("--debug", "--systemd-cgroup"):
            next(kept, "")


def gathered(bars: Sequence[Bar]) -> Iterator[Bar]:
    """Merge many consecutive steps of the same kind into one bar."""
    at = 0
    while at < len(bars):
        first = bars[at]
        kind = first.name.split(" ", 1)[0]
        end = at
        while end < len(bars) and bars[end].lane == first.lane == "init" and bars[end].name.split(" ", 1)[0] == kind:
            end += 1
        if end - at > FEW:
            last = bars[end - 1]
            yield Bar(first.lane, f"{kind} x {end - at}", first.begin, last.begin + last.length - first.begin)
            at = end
        else:
            yield first
            at += 1


def svg(traces: Sequence[Trace]) -> str:
    """Return the picture as SVG."""
    longest = max(trace.total for trace in traces)
    scale = (WIDTH - 2 * MARGIN) / longest
    body: list[str] = []
    y = MARGIN
    for trace in traces:
        drawn, y = _one(trace, scale, _tick(longest), y)
        body += drawn
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}">'
    return "\n".join(
        (head, f"<style>{STYLE}</style>", '<rect width="100%" height="100%" fill="#fff"/>', *body, "</svg>\n")
    )


def _one(trace: Trace, scale: float, tick: float, y: int) -> tuple[list[str], int]:
    drawn = [_text(MARGIN, y + 14, f"{trace.title}: {time(trace.total)}", "head")]
    y += 34
    top = y
    for lane, title in LANES.items():
        bars = [bar for bar in trace.bars if bar.lane == lane]
        if bars:
            drawn.append(_text(MARGIN, y + 11, title, "quiet"))
            y += ROW
        for bar in bars:
            drawn += _bar(bar, scale, y)
            y += ROW
    grid = [_grid(n * tick, scale, top, y) for n in range(1, int(trace.total / tick) + 1)]
    return [*grid, *drawn], y + MARGIN


def _bar(bar: Bar, scale: float, y: int) -> list[str]:
    x, width = MARGIN + bar.begin * scale, max(bar.length * scale, 1.0)
    name = bar.name if len(bar.name) <= LONGEST else f"{bar.name[: LONGEST - 1]}\N{HORIZONTAL ELLIPSIS}"
    label = f"{name}  {time(bar.length)}"
    room = len(label) * CHARACTER
    if x + width + 6 + room <= WIDTH - MARGIN:
        text = _text(x + width + 6, y + 11, label)
    elif x - 6 - room >= MARGIN:
        text = _text(x - 6, y + 11, label, "left")
    else:
        text = _text(x + 6, y + 11, label, "inside")
    return [
        f'<rect x="{x:.1f}" y="{y + 2}" width="{width:.1f}" height="{ROW - 4}" fill="{COLOURS[bar.lane]}">'
        f"<title>{escape(bar.name)}: {time(bar.length)}</title></rect>",
        text,
    ]


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    of_kind = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y}"{of_kind} xml:space="preserve">{escape(text)}</text>'


def _grid(at: float, scale: float, top: int, bottom: int) -> str:
    x = MARGIN + at * scale
    return f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>' + _text(x + 2, top - 2, time(at), "quiet")


def _tick(total: float) -> float:
    """Return a round interval that divides the total into at most ten parts."""
    return float(next(s * 10**p for p in range(12) for s in (1, 2, 5) if total / (s * 10**p) <= 10))


def escape(text: str) -> str:
    """Escape text for XML, which allows no control characters."""
    return visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def time(microseconds: float) -> str:
    """Format a duration in a suitable unit."""
    return f"{microseconds:.0f} µs" if microseconds < 1000 else f"{microseconds / 1000:.2f} ms"


def trace(context: Globals, options: DrawTrace) -> int:
    """Print the SVG."""
    advice = "`stele --trace FILE COMMAND...` writes one"
    sys.stdout.write(svg([read(load_document(name, advice=advice), name) for name in (options.file, *options.files)]))
    return 0
