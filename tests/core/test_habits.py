"""When a machine is usually on: each limit of what is learned, and what it makes of a site's hours."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.core import calendar, habits
from gate.core.habits import Habit
from tests.core.test_calendar import at, opened
from tests.flows.test_site_times import BERLIN

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
DAY = timedelta(days=1)
MONDAY = date(2026, 11, 23)


def steps(clock: str) -> int:
    hours, minutes = clock.split(":")
    return (int(hours) * 60 + int(minutes)) // habits.STEP


def kept(*days: tuple[str, str]) -> Habit:
    """A habit of working days."""
    return Habit(1, 1, (tuple((steps(first), steps(last)) for first, last in days), (), ()))


def lived(days: list[tuple[datetime, datetime]], habit: Habit | None = None) -> Habit:
    """What is learned of days with these first and last words, each a check-in every five minutes between."""
    found, before = habit or Habit(), None
    for first, last in days:
        now = first
        while now <= last:
            if habits.starts(before, now):
                found = habits.learned(found, before, now, BERLIN)
            before, now = now, now + 5 * MINUTE
    return found


def working_days(count: int, first: str, last: str) -> list[tuple[datetime, datetime]]:
    found, day = [], MONDAY
    while len(found) < count:
        if habits.group_of(day) == 0:
            found.append((at(f"{day} {first}"), at(f"{day} {last}")))
        day += DAY
    return found


@pytest.mark.parametrize(
    ("silent", "starts"), [(5 * MINUTE, False), (4 * HOUR, False), (4 * HOUR + MINUTE, True), (60 * HOUR, True)]
)
def test_a_day_starts_after_more_than_four_hours_of_silence(silent: timedelta, starts: bool) -> None:
    now = at("2026-11-23 09:30")
    assert habits.starts(now - silent, now) is starts
    assert habits.starts(None, now)


@pytest.mark.parametrize(("days", "known"), [(10, None), (11, (580, 1080))])
def test_a_group_is_known_once_ten_of_its_days_are_over(days: int, known: tuple[int, int] | None) -> None:
    found = lived(working_days(days, "09:33", "18:07"))
    assert habits.usual(found, 0) == known
    assert habits.usual(found, 1) is None


@pytest.mark.parametrize(
    ("odd", "usual"),
    [
        (0, (420, 1080)),
        (2, (420, 1080)),
        (3, (610, 780)),
    ],
)
def test_two_days_in_ten_may_be_odd_at_either_end(odd: int, usual: tuple[int, int]) -> None:
    found = kept(*[("10:00", "13:00")] * odd, *[("06:50", "18:00")] * (10 - odd))
    assert habits.usual(found, 0) == usual


def test_the_last_ten_days_count() -> None:
    found = lived(working_days(31, "09:33", "18:07"))
    assert [len(days) for days in found.groups] == [10, 0, 0]


def test_saturdays_are_their_own_group() -> None:
    saturdays = [
        (at(f"{MONDAY + (5 + 7 * n) * DAY} 09:00"), at(f"{MONDAY + (5 + 7 * n) * DAY} 13:00")) for n in range(11)
    ]
    found = lived(saturdays)
    assert [habits.usual(found, group) for group in range(3)] == [None, (550, 780), None]


def test_a_second_start_on_one_day_is_none_and_a_machine_that_is_never_off_has_no_habit() -> None:
    twice = lived([(at("2026-11-23 07:00"), at("2026-11-23 12:00")), (at("2026-11-23 17:00"), at("2026-11-23 20:00"))])
    assert twice.first == steps("07:00")
    assert str(lived([(at("2026-11-23 07:00"), at("2026-12-23 07:00"))])) == str(Habit(MONDAY.toordinal(), 42))


@pytest.mark.parametrize(
    ("last", "kept"),
    [("2026-11-23 23:59", (42, 143)), ("2026-11-24 01:00", (42, 144)), ("2026-11-25 01:00", None)],
)
def test_a_day_that_ran_over_midnight_was_on_until_midnight(last: str, kept: tuple[int, int] | None) -> None:
    found = habits.learned(Habit(MONDAY.toordinal(), 42), at(last), at("2026-11-26 07:00"), BERLIN)
    assert found.groups[0] == ((kept,) if kept else ())


def test_the_clock_on_the_wall_is_what_is_kept_over_the_clock_change() -> None:
    summer = opened("2026-10-23 08:00/18:00", "2026-10-26 08:00/18:00")  # summer time ends between the two
    found = kept(*[("09:20", "18:00")] * 10)
    assert [one.start_at for one in habits.expected_on(summer, found, BERLIN)] == [
        at("2026-10-23 09:30"),
        at("2026-10-26 09:30"),
    ]


@pytest.mark.parametrize(
    ("habit", "want"),
    [
        (Habit(), ["2026-11-23 08:00/13:00", "2026-11-23 15:00/18:00"]),
        (kept(*[("09:20", "18:00")] * 9), ["2026-11-23 08:00/13:00", "2026-11-23 15:00/18:00"]),
        (kept(*[("09:20", "18:00")] * 10), ["2026-11-23 09:30/13:00", "2026-11-23 15:00/18:00"]),
        (kept(*[("06:20", "18:00")] * 10), ["2026-11-23 06:30/13:00", "2026-11-23 15:00/18:00"]),
        (kept(*[("07:50", "17:00")] * 10), ["2026-11-23 08:00/13:00", "2026-11-23 15:00/17:00"]),
        (kept(*[("07:50", "23:00")] * 10), ["2026-11-23 08:00/13:00", "2026-11-23 15:00/18:00"]),
        (kept(*[("03:50", "18:00")] * 10), ["2026-11-23 04:00/13:00", "2026-11-23 15:00/18:00"]),
        (kept(*[("03:40", "18:00")] * 10), ["2026-11-23 08:00/13:00", "2026-11-23 15:00/18:00"]),  # does not fit
        (kept(*[("17:40", "19:00")] * 10), ["2026-11-23 17:50/18:00"]),
        (kept(*[("18:00", "19:00")] * 10), ["2026-11-23 08:00/13:00", "2026-11-23 15:00/18:00"]),
        (kept(*[("04:20", "07:50")] * 10), ["2026-11-23 08:00/13:00", "2026-11-23 15:00/18:00"]),
        (kept(*[("09:20", "09:20")] * 10), ["2026-11-23 08:00/13:00", "2026-11-23 15:00/18:00"]),
    ],
)
def test_a_machine_is_expected_on_in_its_sites_hours_as_it_keeps_them(habit: Habit, want: list[str]) -> None:
    hours = opened("2026-11-23 08:00/13:00", "2026-11-23 15:00/18:00")
    assert list(habits.expected_on(hours, habit, BERLIN)) == list(opened(*want))


@pytest.mark.parametrize(
    ("hours", "want"),
    [
        (["2026-11-23 08:00/2026-11-24 18:30"], ["2026-11-23 08:00/2026-11-24 18:30"]),  # duty from Monday to Tuesday
        (["2026-11-23 08:00/2026-11-24 00:10"], ["2026-11-23 08:00/2026-11-24 00:10"]),
        (["2026-11-23 08:00/2026-11-24 00:00"], ["2026-11-23 08:00/18:40"]),
        (
            ["2026-11-23 00:00/2026-11-27 00:00"],  # never closes
            [f"2026-11-{day} 08:00/18:40" for day in (23, 24, 25, 26)],
        ),
    ],
)
def test_where_a_day_goes_on_after_midnight_the_hours_rule(hours: list[str], want: list[str]) -> None:
    found = habits.expected_on(opened(*hours), kept(*[("07:50", "18:40")] * 10), BERLIN)
    assert list(found) == list(opened(*want))


DAYS = st.lists(st.tuples(st.integers(0, 143), st.integers(0, 144)), max_size=10).map(tuple)


@given(st.builds(Habit, st.integers(1, 800_000), st.integers(0, 143), st.tuples(DAYS, DAYS, DAYS)))
def test_a_habit_is_read_as_it_was_stored_and_never_adds_time_but_before_opening(habit: Habit) -> None:
    assert habits.read(str(habit)) == habit
    assert len(str(habit)) <= 140
    hours = opened("2026-11-23 08:00/18:30", "2026-11-28 09:00/13:00")
    found = habits.expected_on(hours, habit, BERLIN)
    for one, day in zip(hours, ("2026-11-23", "2026-11-28"), strict=True):
        until, after = at(f"{day} 00:00"), at(f"{day} 23:59")
        assert calendar.open_time(found, one.start_at, one.end_at) <= one.end_at - one.start_at
        assert calendar.open_time(found, one.end_at, after) == timedelta()
        assert calendar.open_time(found, until, one.start_at) <= calendar.BREAK


@given(st.lists(st.tuples(st.integers(0, 23), st.integers(0, 59), st.integers(0, 900)), min_size=1, max_size=30))
def test_whatever_a_machine_does_at_most_ten_days_a_group_are_kept(days: list[tuple[int, int, int]]) -> None:
    found, before = Habit(), None
    for number, (hour, minute, length) in enumerate(days):
        now = at(f"{MONDAY + number * DAY} {hour:02d}:{minute:02d}")
        if before is None or habits.starts(before, now):
            found = habits.learned(found, before, now, BERLIN)
        before = max(now, before or now) + length * MINUTE
    assert all(len(group) <= habits.NEEDED for group in found.groups)
    assert habits.read(str(found)) == found
