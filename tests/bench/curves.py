"""What should stay flat while a store grows, drawn: a small picture for each, one SVG."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Any, Final

from tests.bench.verdict import ROWS, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

FLAT: Final = ("get", "put_new", "find_one", "cold_get", "cold_find", "visibility")
COLOURS: Final = {
    "filestore": "#0b6e4f",
    "sqlite": "#c1440e",
    "lmdb": "#4361a8",
    "diskcache": "#9a7b00",
    "files": "#8a5a83",
    "raw": "#7a7a7a",
}

_WIDTH, _HEIGHT = 360, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 30, 34
_COLUMNS = 2

Points = dict[str, list[tuple[int, float]]]


def draw(results: dict[str, Any]) -> str:
    """The picture; ``results[count][peer][row]`` has a figure a round."""
    panels = [(row, points) for row in FLAT if (points := _points(results, row))]
    rows = math.ceil(len(panels) / _COLUMNS)
    width, height = _COLUMNS * _WIDTH, rows * _HEIGHT + 30
    space = 'xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" font-size="11"'
    lines = [
        f'<svg {space} viewBox="0 0 {width} {height}">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for number, (row, points) in enumerate(panels):
        x, y = number % _COLUMNS * _WIDTH, number // _COLUMNS * _HEIGHT
        lines += [f'<g transform="translate({x} {y})">', *_panel(row, points), "</g>"]
    lines += [*_legend(panels, height - 14), "</svg>"]
    return "\n".join(lines) + "\n"


def _points(results: dict[str, Any], row: str) -> Points:
    points: Points = {}
    for count in sorted(results, key=int):
        for peer, rows in results[count].items():
            if peer in COLOURS and rows.get(row):
                points.setdefault(peer, []).append((int(count), statistics.median(rows[row])))
    return points


def _panel(row: str, points: Points) -> Iterator[str]:
    """One picture: both axes logarithmic, so that what is flat is level."""
    counts = sorted({count for line in points.values() for count, _ in line})
    values = [value for line in points.values() for _, value in line]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    high = max(high, low + 1)
    first, last = math.log10(counts[0]), math.log10(counts[-1])

    def x(count: int) -> float:
        share = (math.log10(count) - first) / (last - first) if last > first else 0.5
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        share = (math.log10(value) - low) / (high - low)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    yield f'<text x="{_LEFT}" y="18" font-weight="bold">{ROWS[row]}</text>'
    for power in range(low, high + 1):
        at = y(10.0**power)
        end = _WIDTH - _RIGHT
        yield f'<line x1="{_LEFT}" y1="{at:.1f}" x2="{end}" y2="{at:.1f}" stroke="#dddddd"/>'
        label = shown(row, 10.0**power)
        yield f'<text x="{_LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{label}</text>'
    for count in counts:
        at, bottom = x(count), _HEIGHT - _BOTTOM + 16
        yield f'<text x="{at:.1f}" y="{bottom}" text-anchor="middle">{count:,}</text>'
    for peer, line in points.items():
        colour, width = COLOURS[peer], 2.5 if peer == "filestore" else 1.5
        path = " ".join(f"{x(count):.1f},{y(value):.1f}" for count, value in line)
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>'
        for count, value in line:
            yield f'<circle cx="{x(count):.1f}" cy="{y(value):.1f}" r="2.5" fill="{colour}"/>'


def _legend(panels: list[tuple[str, Points]], y: int) -> Iterator[str]:
    peers = [peer for peer in COLOURS if any(peer in points for _, points in panels)]
    for number, peer in enumerate(peers):
        x = 58 + number * 100
        yield f'<circle cx="{x}" cy="{y - 4}" r="4" fill="{COLOURS[peer]}"/>'
        yield f'<text x="{x + 9}" y="{y}">{peer}</text>'
