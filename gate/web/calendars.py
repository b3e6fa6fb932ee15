"""The calendar: a week or a month of one site, or of everybody; and a form for a freeze, which is an edit like any.

- Times are local and say their zone's name on a day of the clock change, where an hour is missing or comes twice.
"""

from __future__ import annotations

import calendar as months
from collections.abc import Mapping
from datetime import date, datetime, timedelta

from flask import g, render_template, request

from gate.core import agenda as days
from gate.core.agenda import Day
from gate.core.calendar import Interval
from gate.core.errors import Busy, Malformed, NotFound
from gate.core.model import SLUG, Site
from gate.core.policy import Policy, SourceRule
from gate.flows import agenda
from gate.ports import Tx
from gate.web import policy_edit_pages as edits
from gate.web.beside import Made

AHEAD = 7
LANDS = ("BB", "BE", "BW", "BY", "HB", "HE", "HH", "MV", "NI", "NW", "RP", "SH", "SL", "SN", "ST", "TH")


def calendars() -> str:
    """A week or a month."""
    policy, asked = _policy(), {name: request.args.get(name, "")[:60] for name in ("site", "day", "span", "source")}
    span = "month" if asked["span"] == "month" else "week"
    today = g.now.astimezone(policy.zone).date()
    first = agenda.first_of(asked["day"], span, today)
    count = months.monthrange(first.year, first.month)[1] if span == "month" else 7
    shown = days.days_from(first, count, policy.zone)
    source = policy.source(asked["source"])
    with g.parts.store.read() as tx:
        site = tx.site(asked["site"]) if asked["site"] else None
        rows = agenda.rows(g.parts.gate, policy, site, shown) if site else agenda.dated(policy, shown)
        active = tx.active_policy()
        commit = active.commit if active else ""
        made, reached = None, list[agenda.Reach]()
        if site and source:
            made = _course(tx, policy, commit, site, source)
            reached = agenda.reach(tx, g.parts.gate, policy, site, source, g.now, AHEAD, made.found)
    return render_template(
        "calendar.html",
        asked=asked,
        span=span,
        first=first,
        before=_moved(first, span, -1),
        after=_moved(first, span, 1),
        today=today,
        site=site,
        missing=bool(asked["site"]) and site is None,
        rows=rows,
        holidays=_holidays(site.land if site else "", shown, every=site is None),
        freezes=list(enumerate(policy.freezes)),
        sources=[one.name for one in policy.sources],
        source=source,
        commit=commit,
        made=made,
        reached=reached,
        clock=lambda span, day: _clock(span, day, policy),
        length=_length,
        editable=g.parts.guest is None,
        now=g.now,
    )


def _course(tx: Tx, policy: Policy, commit: str, site: Site, source: SourceRule) -> Made[Mapping[str, datetime]]:
    """When the rings open that are shut: planned in the request, of a large fleet beside it."""
    gate, now, rollout = g.parts.gate, g.now, agenda.moving(tx, source)
    if not agenda.shut(tx, site, rollout):
        return Made(at=now, found={})
    if tx.overview()["machines_active"] <= agenda.MOST:
        return Made(at=now, found=agenda.course(tx, gate, policy, source, now, AHEAD))
    key = f"{commit}/{source.name}/{rollout.id}/{rollout.version}" if rollout else f"{commit}/{source.name}"
    try:
        return g.parts.courses.get(  # type: ignore[no-any-return]
            key, now, lambda other: agenda.course(other, gate, policy, source, now, AHEAD)
        )
    except Busy as problem:  # the days are there all the same
        return Made(problem=problem.detail)


def add_freeze() -> str:
    """A freeze more, as a new text of the policy: it is previewed, decided and signed like every other edit."""
    item = {name: _line(name) for name in ("name", "from", "to", "owner", "why")}
    if not SLUG.match(item["name"]):
        raise Malformed("bad_field", "a freeze's name is a-z, 0-9 and -")
    if _day(item["from"]) > _day(item["to"]):
        raise Malformed("bad_field", "a freeze ends after it begins")
    base = g.parts.gate.texts.head()
    text = g.parts.editor.with_item(edits.begun_with(edits.text_at(base)), "freeze", item)
    return render_template("freeze.html", item=item, base=base, text=text)


def _line(name: str) -> str:
    value = request.form.get(name, "").strip()
    if not value or len(value) > 300 or any(ord(char) < 32 for char in value):
        raise Malformed("bad_field", f"{name} is missing, too long, or has control characters")
    return value


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Malformed("bad_field", "a day is written 2026-12-23") from None


def _policy() -> Policy:
    found = g.parts.policy()
    if found is None:
        raise NotFound("no policy is active")
    assert isinstance(found, Policy)
    return found


def _moved(first: date, span: str, by: int) -> date:
    if span == "week":
        return first + timedelta(days=7 * by)
    return (first + timedelta(days=45 if by > 0 else -15)).replace(day=1)


def _holidays(land: str, shown: list[Day], *, every: bool) -> Mapping[date, str]:
    """The names of holidays; of every Land, with the Länder that have them, where no site is chosen."""
    years = {one.day.year for one in shown}
    if not every:
        return {day: name for year in years for day, name in g.parts.holidays(land, year).items()}
    found: dict[date, dict[str, list[str]]] = {}
    for year in years:
        for one in LANDS:
            for day, name in g.parts.holidays(one, year).items():
                found.setdefault(day, {}).setdefault(name, []).append(one)
    return {
        day: "; ".join(
            f"{name} ({', '.join(lands)})" if len(lands) < len(LANDS) else name for name, lands in by.items()
        )
        for day, by in found.items()
    }


def _clock(span: Interval, day: Day, policy: Policy) -> str:
    """``08:00–18:30``; with the zone's name on a day of the clock change; midnight at the end is 24:00."""
    changes = day.hours != days.DAY

    def said(at: datetime) -> str:
        local = at.astimezone(policy.zone)
        return f"{local:%H:%M} {local.tzname()}" if changes else f"{local:%H:%M}"

    return f"{said(span.start_at)}–{'24:00' if span.end_at == day.span.end_at else said(span.end_at)}"


def _length(spans: list[Interval]) -> str:
    """How long it is open in all, in real hours."""
    total = sum(((one.end_at - one.start_at) for one in spans), timedelta())
    said = f"{total / timedelta(hours=1):.1f}".removesuffix(".0")
    return said.replace(".", ",") if g.language == "de" else said


VIEWS = (
    ("/calendar", calendars, "view", ["GET"]),
    ("/calendar/freeze", add_freeze, "policy", ["POST"]),
)
