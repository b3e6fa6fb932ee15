"""This morning: what should be up and what was heard of, as a curve with its table; and the alarm.

Drawn by the server as SVG without a script or a style of its own, as the ladder is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from flask import g, render_template
from markupsafe import Markup, escape

from gate.core.lists import Look
from gate.core.mornings import DUE, Morning, Point, measured
from gate.flows import mornings
from gate.ports import Tx
from gate.web.texts import translate

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BASE = 640, 220, 56, 12, 12, 28
ROWS_EVERY = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Shown:
    """A morning as people see it; ``missing`` of ``due`` at the sites that are due, ``late``: not heard of
    either, at the others."""

    morning: Morning
    expected: int
    seen: int
    due: int
    missing: int
    late: int
    picture: Markup
    rows: Sequence[Point]


def shown(tx: Tx, t: Callable[[str], str]) -> Shown | None:
    """Today's morning, or the newest one whose alarm stands; None before there is any."""
    found, policy = tx.morning(), g.parts.policy()
    if found is None or policy is None or not (found.stands or found.day == mornings.today(policy, g.now)):
        return None
    points = tx.points(found.day)
    last = points[-1] if points else Point(found.looked_at, 0, 0)
    due = measured(found.parties, DUE, g.now)
    picture = draw(points, policy.zone, t)
    late = max(last.expected - last.seen - due.missing, 0)
    return Shown(found, last.expected, last.seen, due.expected, due.missing, late, picture, thinned(points))


def look() -> Look | None:
    """The look that a list by this morning asks by: the one whose numbers are shown."""
    policy = g.parts.policy()
    with g.parts.store.read() as tx:
        found = tx.morning()
    if found is None or policy is None:
        return None
    local = found.looked_at.astimezone(policy.zone)
    return Look(found.day, local.hour * 60 + local.minute, found.looked_at, g.now - DUE.offset)


def morning() -> str:
    """Who is missing this morning, and a person's word that ends an alarm."""
    with g.parts.store.read() as tx:
        found = shown(tx, lambda text: translate(text, g.language))
        events = tx.events(subject=mornings.SUBJECT, limit=20)
    said = mornings.sentence(found.morning) if found else ""
    return render_template("morning.html", shown=found, events=events, said=said)


def thinned(points: Sequence[Point]) -> list[Point]:
    """One point for each ten minutes, and the last."""
    kept: list[Point] = []
    for one in points:
        if not kept or one.at - kept[-1].at >= ROWS_EVERY:
            kept.append(one)
    if points and kept[-1] is not points[-1]:
        kept.append(points[-1])
    return kept


def draw(points: Sequence[Point], zone: ZoneInfo, t: Callable[[str], str]) -> Markup:
    """The curve of a day; empty before there are two points."""
    if len(points) < 2:
        return Markup("")
    most = max(1, *(max(one.expected, one.seen) for one in points))
    first, span = points[0].at, points[-1].at - points[0].at

    def x(at: datetime) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * ((at - first) / span)

    def y(count: int) -> float:
        return TOP + (HEIGHT - TOP - BASE) * (1 - count / most)

    seen = " ".join(f"{x(one.at):.1f},{y(one.seen):.1f}" for one in points)
    expected = " ".join(f"{x(one.at):.1f},{y(one.expected):.1f}" for one in points)
    floor = f"{y(0):.1f}"
    last = points[-1]
    said = f"{t('Heard of')}: {last.seen}, {t('Should be up')}: {last.expected}, {last.at.astimezone(zone):%H:%M}"
    parts = [
        f'<svg class="curve" role="img" viewBox="0 0 {WIDTH} {HEIGHT}" aria-labelledby="t-curve">',
        f'<title id="t-curve">{escape(t("This morning"))}: {escape(said)}</title>',
        f'<polygon class="seen" points="{x(first):.1f},{floor} {seen} {x(last.at):.1f},{floor}"/>',
        f'<polyline class="expected" points="{expected}"/>',
        f'<line class="axis" x1="{LEFT}" y1="{floor}" x2="{WIDTH - RIGHT}" y2="{floor}"/>',
        f'<text x="{LEFT - 6}" y="{y(most) + 10:.1f}" text-anchor="end">{most}</text>',
        f'<text x="{LEFT - 6}" y="{floor}" text-anchor="end">0</text>',
    ]
    parts += [
        f'<text x="{x(at):.1f}" y="{HEIGHT - 8}" text-anchor="middle">{at.astimezone(zone):%H:%M}</text>'
        for at in _hours(first, last.at)
    ]
    return Markup("".join([*parts, "</svg>"]))  # noqa: S704  (every text in it is escaped)


def _hours(first: datetime, last: datetime) -> list[datetime]:
    """Full hours for the axis, six at most; both ends where there is none."""
    hour = first.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    found = []
    while hour <= last:
        found.append(hour)
        hour += timedelta(hours=1)
    return found[:: len(found) // 6 + 1] or [first, last]
