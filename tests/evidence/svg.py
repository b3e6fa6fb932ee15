"""Two kinds of chart as SVG text: bars on a logarithmic scale, and points in a plane with the allowed corner."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 760
INK, SOFT, GRID = "#1b1f24", "#57606a", "#d8dee4"
Ends = tuple[tuple[float, float], tuple[float, float]]
OURS, OTHER, BAND = "#0b6e4f", "#b3541e", "#e3f4ec"


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar; ``ours`` gives it our colour."""

    label: str
    value: float
    ours: bool


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a plane."""

    label: str
    x: float
    y: float
    ours: bool


def bars(title: str, axis: str, rows: Sequence[Bar]) -> str:
    """Horizontal bars from 1 upwards, each with its number."""
    left, top, step = 290, 64, 30
    height = top + step * len(rows) + 40
    decades = math.ceil(math.log10(max(max(row.value for row in rows), 10)))
    unit = (WIDTH - left - 90) / decades
    parts = []
    for power in range(decades + 1):
        x = left + unit * power
        parts.append(_line(x, top - 8, x, height - 34))
        parts.append(_text(x, height - 16, f"{10**power:,}", SOFT, "middle"))
    for at, row in enumerate(rows):
        y, long = top + step * at, unit * math.log10(max(row.value, 1))
        colour = OURS if row.ours else OTHER
        parts.append(_text(left - 10, y + 15, row.label, INK, "end"))
        parts.append(f'<rect x="{left}" y="{y}" width="{max(long, 1):.1f}" height="20" rx="2" fill="{colour}"/>')
        parts.append(_text(left + max(long, 1) + 8, y + 15, number(row.value), INK))
    described = "; ".join(f"{row.label}: {number(row.value)}" for row in rows)
    return _page(title, axis, described, height, parts)


def plane(title: str, axes: tuple[str, str], points: Sequence[Point], corner: tuple[float, float], ends: Ends) -> str:
    """Points, ours joined by a line; the corner that both limits allow is shaded. ``axes``: across and up."""
    left, top, bottom, right = 70, 70, 380, WIDTH - 40
    height = bottom + 56
    (low, high), (floor, ceiling) = ends

    def place(x: float, y: float) -> tuple[float, float]:
        across, up = (x - low) / (high - low), (y - floor) / (ceiling - floor)
        return left + (right - left) * across, bottom - (bottom - top) * up

    (edge, roof), parts = place(*corner), []
    parts.append(
        f'<rect x="{left}" y="{roof:.1f}" width="{edge - left:.1f}" height="{bottom - roof:.1f}" fill="{BAND}"/>'
    )
    for at in range(5):
        across, up = low + (high - low) * at / 4, floor + (ceiling - floor) * at / 4
        x, y = place(across, up)
        parts += [_line(x, top, x, bottom), _line(left, y, right, y)]
        parts.append(_text(x, bottom + 18, number(across), SOFT, "middle"))
        parts.append(_text(left - 8, y + 4, number(up), SOFT, "end"))
    mine = [point for point in points if point.ours]
    line = " ".join("{:.1f},{:.1f}".format(*place(point.x, point.y)) for point in mine)
    parts.append(f'<polyline points="{line}" fill="none" stroke="{OURS}" stroke-width="1.5"/>')
    for point in points:
        x, y = place(point.x, point.y)
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{OURS if point.ours else OTHER}"/>')
        if point.ours:  # by turns below and above, since neighbours stand close
            parts.append(_text(x, y + (22 if mine.index(point) % 2 == 0 else -12), point.label, INK, "middle"))
        else:
            parts.append(_text(x - 10, y + 4, point.label, INK, "end"))
    parts.append(_text(right, height - 12, axes[0], SOFT, "end"))
    described = "; ".join(f"{point.label}: {number(point.x)}, {number(point.y)}" for point in points)
    return _page(title, axes[1], described, height, parts)


def number(value: float) -> str:
    """As people write it: 1,323 but 6.8."""
    return f"{value:,.0f}" if value >= 100 or value == round(value) else f"{value:,.1f}"


def _text(x: float, y: float, text: str, colour: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{GRID}"/>'


def _page(title: str, axis: str, described: str, height: float, parts: list[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img"'
        ' font-family="system-ui, sans-serif" font-size="13">'
    )
    frame = [
        f"<title>{escape(title)}</title>",
        f"<desc>{escape(described)}</desc>",
        f'<rect width="{WIDTH}" height="{height:.0f}" fill="#ffffff"/>',
        f'<text x="16" y="26" fill="{INK}" font-size="16" font-weight="600">{escape(title)}</text>',
        _text(16, 46, axis, SOFT),
    ]
    return "\n".join([head, *frame, *parts, "</svg>\n"])
