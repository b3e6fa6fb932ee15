"""The figures of a back-test as bars: for each figure and scenario one bar a policy. A table beside it has the numbers.

Drawn by the server as SVG without a script or a style of its own, as the ladder is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

WIDTH, LEFT, RIGHT, BAR, GAP, HEAD = 640, 8, 76, 15, 10, 26
FIGURES = (
    ("exposed", "Machines exposed"),
    ("sites_without_a_till", "Sites without a till"),
    ("hours_to_full", "Hours to full protection"),
    ("falsely_halted", "False halts"),
)
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar; ``value`` is None where there is no number, and ``said`` says why."""

    kind: str
    value: float | None
    said: str


def draw(rows: Sequence[Row], language: str, t: Callable[[str], str]) -> Markup:
    """The picture; empty without rows. ``t`` says words in that language."""
    if not rows:
        return Markup("")
    parts, y = list[str](), 0.0
    for key, title in FIGURES:
        y += HEAD
        parts.append(f'<text class="name" x="{LEFT}" y="{y - 8:.0f}">{escape(t(title))}</text>')
        most = max([1.0, *(float(row[key]) for row in rows if row[key] is not None)])
        before = ""
        for row in rows:
            if row["scenario"] != before:
                before = row["scenario"]
                y += BAR + 4
                parts.append(f'<text class="scenario" x="{LEFT}" y="{y - 5:.0f}">{escape(row["scenario"])}</text>')
            parts += _bar(_read(row, key, language, t), y, most)
            y += BAR + 3
        y += GAP
    title = f"{t('Back-test')}: {t('the same numbers stand in the table')}"
    head = f'<svg class="bars" role="img" viewBox="0 0 {WIDTH} {y:.0f}" aria-labelledby="t-bars">'
    return Markup("".join([head, f'<title id="t-bars">{escape(title)}</title>', *parts, "</svg>"]))  # noqa: S704


def _read(row: Row, key: str, language: str, t: Callable[[str], str]) -> Bar:
    value, kind = row[key], row["policy"] if row["policy"] in ("this", "other") else "was"
    if value is None:
        return Bar(kind, None, t("not within the run"))
    if isinstance(value, bool):  # kept before they were counted
        return Bar(kind, float(value), t("yes") if value else t("no"))
    said = f"{value:.1f}" if key == "hours_to_full" else f"{value:g}"
    return Bar(kind, float(value), said.replace(".", ",") if language == "de" else said)


def _bar(one: Bar, y: float, most: float) -> list[str]:
    wide = max((WIDTH - LEFT - RIGHT) * (1.0 if one.value is None else one.value / most), 1.5)
    kind, x = (f"{one.kind} open", LEFT + 6.0) if one.value is None else (one.kind, LEFT + wide + 6)
    return [
        f'<rect class="{kind}" x="{LEFT}" y="{y:.0f}" width="{wide:.1f}" height="{BAR}" rx="2"/>',
        f'<text x="{x:.1f}" y="{y + BAR - 3:.0f}">{escape(one.said)}</text>',
    ]
