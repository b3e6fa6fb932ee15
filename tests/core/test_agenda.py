"""A site's days: freezes, windows and slots, over both nights of the clock change too."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from gate.adapters.calendar import OpeningCalendar
from gate.core import agenda, calendar
from gate.core.calendar import Interval
from gate.core.times import Anchor, Edge, Freeze, Window

ZONE = ZoneInfo("Europe/Berlin")
LEAD = timedelta(minutes=90)
SPRING, AUTUMN = date(2026, 3, 29), date(2026, 10, 25)


def local(day: date, hour: int, minute: int = 0, fold: int = 0) -> datetime:
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=ZONE, fold=fold).astimezone(UTC)


def hours(text: str, span: Interval) -> list[Interval]:
    wide = span.start_at - timedelta(days=3), span.end_at + timedelta(days=3)
    return list(OpeningCalendar("Europe/Berlin").intervals(text, "NW", *wide))


@pytest.mark.parametrize(("day", "long", "open_for"), [(SPRING, 23, 7), (AUTUMN, 25, 9), (date(2026, 6, 7), 24, 8)])
def test_a_night_of_the_clock_change_is_an_hour_shorter_or_longer(day: date, long: int, open_for: int) -> None:
    [one] = agenda.days_from(day, 1, ZONE)
    assert one.hours == timedelta(hours=long)
    through = hours("Sa 22:00-24:00; Su 00:00-08:00", one.span)
    found = agenda.clipped(through, one.span)
    assert calendar.open_time(found, one.span.start_at, one.span.end_at) == timedelta(hours=open_for)
    assert found[0].start_at == one.span.start_at


def test_a_week_over_the_clock_change_has_no_gap_and_no_overlap() -> None:
    for first in (SPRING - timedelta(days=3), AUTUMN - timedelta(days=3)):
        week = agenda.days_from(first, 7, ZONE)
        assert all(a.span.end_at == b.span.start_at for a, b in pairwise(week))
        total = sum((one.hours for one in week), timedelta())
        assert total in (timedelta(hours=167), timedelta(hours=169))


FREEZES = {
    "dated": Freeze("f", first=date(2026, 3, 28), last=SPRING),
    "monthly": Freeze("f", days=(29, 1), until_minute=12 * 60),
    "edges": Freeze("f", start=Edge(timedelta(), Anchor.BOOT), end=Edge(timedelta(minutes=30), Anchor.OPENING)),
    "duty": Freeze("f", duty=True),
}


@pytest.mark.parametrize("kind", FREEZES)
@pytest.mark.parametrize("around", [SPRING, AUTUMN])
def test_what_is_shown_as_frozen_is_what_a_claim_would_be_refused_for(kind: str, around: date) -> None:
    """At every quarter of an hour of five days, against the function that decides."""
    freeze = FREEZES[kind]
    days = agenda.days_from(around - timedelta(days=2), 5, ZONE)
    span = Interval(days[0].span.start_at, days[-1].span.end_at)
    opened = hours("Mo-Su 08:00-18:30", span)
    duty = [Interval(local(around - timedelta(days=1), 22), local(around, 8))]
    shown = agenda.frozen(freeze, opened, duty, span, ZONE, LEAD)
    at, frozen = span.start_at, 0
    while at < span.end_at:
        on_duty = next((one.end_at for one in duty if one.start_at <= at < one.end_at), None)
        decided = calendar.frozen_until(freeze, opened, at, ZONE, LEAD, on_duty)[0]
        assert calendar.is_open(shown, at) == decided, at
        frozen += decided
        at += timedelta(minutes=15)
    assert frozen or (kind, around) == ("dated", AUTUMN) or (kind, around) == ("monthly", AUTUMN)


def test_a_slot_is_a_window_without_its_freezes() -> None:
    [day] = agenda.days_from(SPRING, 1, ZONE)
    opened = hours("Mo-Su 08:00-18:00", day.span)
    window = Window("w", Edge(timedelta(minutes=30), Anchor.OPENING), Edge(timedelta(hours=-1), Anchor.CLOSING))
    granted = agenda.granted_in([window], opened, day.span)
    assert granted == [Interval(local(SPRING, 8, 30), local(SPRING, 17))]
    noon = Interval(local(SPRING, 12), local(SPRING, 13))
    assert agenda.slots(granted, [noon]) == [
        Interval(local(SPRING, 8, 30), noon.start_at),
        Interval(noon.end_at, local(SPRING, 17)),
    ]
    assert agenda.granted_in([], opened, day.span) == [day.span], "no window: always"
    assert agenda.granted_in([Window("always")], opened, day.span) == [day.span]
    at = day.span.start_at
    while at < day.span.end_at:
        assert calendar.is_open(granted, at) == calendar.window_until([window], opened, at)[0], at
        at += timedelta(minutes=15)
