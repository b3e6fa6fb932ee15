"""Expected-on time, windows and freezes; both nights of the clock change."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.core import calendar
from gate.core.calendar import Interval
from gate.core.times import Anchor, Edge, Freeze, OpenDuration, Window

BERLIN = ZoneInfo("Europe/Berlin")
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).astimezone(UTC)


def day(text: str, start: str = "08:00", end: str = "18:00") -> Interval:
    return Interval(at(f"{text}T{start}"), at(f"{text}T{end}"))


WEEK = (day("2026-03-27"), day("2026-03-28", end="13:00"), day("2026-03-30"), day("2026-03-31"))


@pytest.mark.parametrize(
    ("start", "hours", "end"),
    [
        ("2026-03-27T10:00", 4, "2026-03-27T14:00"),  # inside one day
        ("2026-03-27T14:00", 4, "2026-03-27T18:00"),  # exactly to closing
        ("2026-03-27T15:00", 4, "2026-03-28T09:00"),  # over the night
        ("2026-03-27T20:00", 4, "2026-03-28T12:00"),  # asked at night
        ("2026-03-28T12:00", 4, "2026-03-30T11:00"),  # over the weekend of the clock change
    ],
)
def test_open_time_runs_only_while_open(start: str, hours: int, end: str) -> None:
    assert calendar.add_open_time(WEEK, at(start), hours * HOUR) == at(end)
    assert calendar.open_time(WEEK, at(start), at(end)) == hours * HOUR


def test_an_answer_beyond_the_known_intervals_is_none() -> None:
    assert calendar.add_open_time(WEEK, at("2026-03-31T17:00"), 2 * HOUR) is None


@pytest.mark.parametrize(
    ("start", "days", "end"),
    [
        ("2026-03-27T10:00", 1, "2026-03-28T10:00"),
        ("2026-03-27T16:00", 1, "2026-03-28T13:00"),  # the shorter day ends before that clock time
        ("2026-03-28T10:00", 1, "2026-03-30T10:00"),  # Sunday is no opening day; the clock has changed
        ("2026-03-27T10:00", 3, "2026-03-31T10:00"),
    ],
)
def test_one_day_open_is_the_same_clock_time_on_the_next_opening_day(start: str, days: int, end: str) -> None:
    assert calendar.add_open_days(WEEK, at(start), days, BERLIN) == at(end)


@pytest.mark.parametrize(("night", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-06-01", 24)])
def test_a_day_of_the_clock_change_has_its_real_hours(night: str, hours: int) -> None:
    start = at(f"{night}T00:00")
    following = (date.fromisoformat(night) + timedelta(days=1)).isoformat()
    whole = (Interval(start, at(f"{following}T00:00")),)
    assert calendar.open_time(whole, start, start + 48 * HOUR) == hours * HOUR


WHILE_OPEN = Window("while-open", Edge(30 * MINUTE, Anchor.OPENING), Edge(-60 * MINUTE, Anchor.CLOSING))


@pytest.mark.parametrize(
    ("now", "inside"),
    [
        ("2026-03-27T08:29:59", False),
        ("2026-03-27T08:30", True),
        ("2026-03-27T16:59:59", True),
        ("2026-03-27T17:00", False),
        ("2026-03-29T10:00", False),
    ],
)
def test_a_window_has_its_edges(now: str, inside: bool) -> None:
    assert calendar.window_until([WHILE_OPEN], WEEK, at(now))[0] is inside


def test_a_closed_window_says_when_it_opens_and_a_bare_one_is_always_open() -> None:
    assert calendar.window_until([WHILE_OPEN], WEEK, at("2026-03-28T13:00")) == (False, at("2026-03-30T08:30"))
    assert calendar.window_until([WHILE_OPEN, Window("always")], WEEK, at("2026-03-29T03:00")) == (True, None)


BEFORE_OPENING = Freeze("before-opening", start=Edge(timedelta(), Anchor.BOOT), end=Edge(30 * MINUTE, Anchor.OPENING))
NEW_YEAR = Freeze("new-year", first=date(2026, 12, 23), last=date(2027, 1, 4))
PRICES = Freeze("price-data", days=(1, 15), until_minute=720)


@pytest.mark.parametrize(
    ("freeze", "now", "frozen", "until"),
    [
        (BEFORE_OPENING, "2026-03-27T06:29:59", False, None),
        (BEFORE_OPENING, "2026-03-27T06:30", True, "2026-03-27T08:30"),
        (BEFORE_OPENING, "2026-03-27T08:30", False, None),
        (NEW_YEAR, "2026-12-22T23:59:59", False, None),
        (NEW_YEAR, "2026-12-23T00:00", True, "2027-01-05T00:00"),
        (NEW_YEAR, "2027-01-04T23:59:59", True, "2027-01-05T00:00"),
        (NEW_YEAR, "2027-01-05T00:00", False, None),
        (PRICES, "2026-03-15T11:59:59", True, "2026-03-15T12:00"),
        (PRICES, "2026-03-15T12:00", False, None),
        (PRICES, "2026-03-16T10:00", False, None),
    ],
)
def test_a_freeze_has_its_edges(freeze: Freeze, now: str, frozen: bool, until: str | None) -> None:
    answer = calendar.frozen_until(freeze, WEEK, at(now), BERLIN, 90 * MINUTE, False)
    assert answer == (frozen, at(until) if until else None)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (OpenDuration(4 * HOUR, 0, True), "4h open"),
        (OpenDuration(timedelta(), 1, True), "1d open"),
        (OpenDuration(30 * MINUTE), "30m"),
    ],
)
def test_a_duration_reads_as_it_was_written(value: OpenDuration, text: str) -> None:
    assert str(value) == text


starts = st.datetimes(datetime(2026, 3, 27), datetime(2026, 3, 30)).map(lambda d: d.replace(tzinfo=UTC))  # noqa: DTZ001


@given(starts, st.timedeltas(timedelta(0), 8 * HOUR))
def test_adding_open_time_and_measuring_it_are_inverse(start: datetime, amount: timedelta) -> None:
    end = calendar.add_open_time(WEEK, start, amount)
    assert end is not None
    assert calendar.open_time(WEEK, start, end) == amount
