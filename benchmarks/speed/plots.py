"""Plots as SVG, which follow the reader's choice of light or dark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

_WIDTH, _HEIGHT = 760, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 150, 56, 52

_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f; }
.title { font-weight: 600; font-size: 15px; }
.axis, .grid { stroke: #d0d7de; stroke-width: 1; fill: none; }
.line { fill: none; stroke-width: 2.5; }
.background { fill: #ffffff; }
.c0 { stroke: #0969da; } .l0 { fill: #0969da; } .c1 { stroke: #8250df; } .l1 { fill: #8250df; }
.c2 { stroke: #1a7f37; } .l2 { fill: #1a7f37; } .c3 { stroke: #57606a; } .l3 { fill: #57606a; }
.c4 { stroke: #bf8700; } .l4 { fill: #9a6700; } .c5 { stroke: #cf222e; } .l5 { fill: #cf222e; }
.c6 { stroke: #bf3989; } .l6 { fill: #bf3989; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .axis, .grid { stroke: #30363d; }
  .background { fill: #0d1117; }
  .c0 { stroke: #58a6ff; } .l0 { fill: #58a6ff; } .c1 { stroke: #bc8cff; } .l1 { fill: #bc8cff; }
  .c2 { stroke: #3fb950; } .l2 { fill: #3fb950; } .c3 { stroke: #9da7b3; } .l3 { fill: #9da7b3; }
  .c4 { stroke: #d29922; } .l4 { fill: #d29922; } .c5 { stroke: #ff7b72; } .l5 { fill: #ff7b72; }
  .c6 { stroke: #f778ba; } .l6 { fill: #f778ba; }
}
"""


def lines(title: str, unit: str, places: Sequence[int], series: Mapping[str, Sequence[float | None]]) -> str:
    """Return a plot of one line for each name, on a logarithmic scale, over places that are named."""
    values = [value for one in series.values() for value in one if value is not None]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    inner = _HEIGHT - _TOP - _BOTTOM
    step = (_WIDTH - _LEFT - _RIGHT) / (len(places) - 1)

    def y_of(value: float) -> float:
        return _TOP + inner * (1 - (math.log10(value) - low) / (high - low))

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(title)}">',
        f"<style>{_STYLE}</style>",
        f'<rect class="background" width="{_WIDTH}" height="{_HEIGHT}" rx="8"/>',
        f'<text class="title" x="{_LEFT}" y="28">{escape(title)}</text>',
    ]
    for power in range(low, high + 1):
        y = y_of(10.0**power)
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{10**power:,}</text>')
    parts.append(f'<text x="{_LEFT - 8}" y="{_TOP - 10}" text-anchor="end">{escape(unit)}</text>')
    for index, place in enumerate(places):
        x = _LEFT + index * step
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - 26}" text-anchor="middle">{place:,}</text>')
    parts.append(
        f'<text x="{_LEFT + (_WIDTH - _LEFT - _RIGHT) / 2:.1f}" y="{_HEIGHT - 8}" '
        'text-anchor="middle">claims in flight</text>'
    )
    labels: list[tuple[float, int, str]] = []
    for color, (name, line) in enumerate(series.items()):
        points = [
            (_LEFT + index * step, y_of(value)) for index, value in enumerate(line) if value is not None
        ]
        if not points:
            continue
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        parts.append(f'<path class="line c{color}" d="M{path}"/>')
        parts += [f'<circle class="l{color}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>' for x, y in points]
        labels.append((points[-1][1], color, name))
    bottom = 0.0
    for y, color, name in sorted(labels):
        # One below the other, where lines end at the same height.
        bottom = max(y + 4, bottom + 17)
        parts.append(
            f'<text class="l{color}" x="{_WIDTH - _RIGHT + 12}" y="{bottom:.1f}">{escape(name)}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])
