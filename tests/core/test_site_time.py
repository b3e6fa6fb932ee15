"""Duty opens, closing days close, and what does not count is taken out: each limit, and the sums that must hold."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.core import calendar, site_time
from gate.core.calendar import Interval
from gate.core.model import SiteTime, TimeKind
from tests.core.test_calendar import MINUTE, at, opened

MONDAY = opened("2026-11-23 08:00/18:30")
DUTY = SiteTime(at("2026-11-23 09:00"), at("2026-11-24 09:00"), TimeKind.DUTY)
CLOSED = SiteTime(at("2026-11-23 00:00"), at("2026-11-24 00:00"), TimeKind.CLOSED)


def open_on(hours: tuple[Interval, ...], *times: SiteTime) -> list[Interval]:
    return list(site_time.opened(hours, times, at("2026-11-20 00:00"), at("2026-11-28 00:00")))


@pytest.mark.parametrize(
    ("times", "want"),
    [
        ((), ["2026-11-23 08:00/2026-11-23 18:30"]),
        ((DUTY,), ["2026-11-23 08:00/2026-11-24 09:00"]),
        ((CLOSED,), []),
        ((CLOSED, DUTY), ["2026-11-23 09:00/2026-11-24 09:00"]),
    ],
)
def test_duty_opens_and_a_closing_day_closes_and_duty_wins(times: tuple[SiteTime, ...], want: list[str]) -> None:
    assert open_on(MONDAY, *times) == list(opened(*want))


def test_a_closing_day_ends_at_midnight_not_before() -> None:
    late = opened("2026-11-23 20:00/2026-11-24 02:00")
    assert open_on(late, CLOSED) == list(opened("2026-11-24 00:00/2026-11-24 02:00"))


def test_a_duty_over_the_end_of_summer_time_is_an_hour_longer() -> None:
    night = SiteTime(at("2026-10-24 09:00"), at("2026-10-25 09:00"), TimeKind.DUTY)
    on = site_time.opened((), [night], at("2026-10-24 00:00"), at("2026-10-26 00:00"))
    assert calendar.open_time(on, at("2026-10-24 00:00"), at("2026-10-26 00:00")) == timedelta(hours=25)


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-11-23 08:59", None),
        ("2026-11-23 09:00", "2026-11-24 09:00"),
        ("2026-11-24 08:59", "2026-11-24 09:00"),
        ("2026-11-24 09:00", None),
    ],
)
def test_duty_holds_from_its_beginning_to_just_before_its_end(now: str, until: str | None) -> None:
    assert site_time.duty_until([CLOSED, DUTY], at(now)) == (at(until) if until else None)


def test_a_duty_that_follows_at_once_belongs_to_the_one_before() -> None:
    second = SiteTime(DUTY.end_at, DUTY.end_at + timedelta(days=1), TimeKind.DUTY)
    assert site_time.duty_until([DUTY, second], at("2026-11-23 10:00")) == second.end_at


spans = st.lists(st.tuples(st.integers(0, 300), st.integers(1, 60)), max_size=8).map(
    lambda found: [
        Interval(MONDAY[0].start_at + start * MINUTE, MONDAY[0].start_at + (start + long) * MINUTE)
        for start, long in found
    ]
)


@given(spans, spans, st.integers(0, 400))
def test_an_instant_is_in_what_is_left_when_it_is_in_the_one_and_not_in_the_other(
    first: list[Interval], gone: list[Interval], minute: int
) -> None:
    now = MONDAY[0].start_at + minute * MINUTE
    left = site_time.without(site_time.joined(first), gone)

    def within(found: list[Interval], instant: datetime) -> bool:
        return any(one.start_at <= instant < one.end_at for one in found)

    assert calendar.is_open(left, now) == (within(first, now) and not within(gone, now))
    both = site_time.joined(left, gone)
    assert all(one.end_at < other.start_at for one, other in pairwise(both))
