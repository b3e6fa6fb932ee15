"""Expected-on time: open durations, opening days, windows and freezes, over both nights of the clock change."""

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
LEAD = 90 * MINUTE


def at(text: str) -> datetime:
    """A local time in Berlin, as UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).astimezone(UTC)


def opened(*texts: str) -> tuple[Interval, ...]:
    """``2026-11-23 08:00/18:30`` each."""
    found = []
    for text in texts:
        start, end = text.split("/")
        found.append(Interval(at(start), at(end if " " in end else f"{start[:10]} {end}")))
    return tuple(found)


# Monday and Tuesday with a break at noon, Wednesday closed, Thursday short
WEEK = opened(
    "2026-11-23 08:00/13:00",
    "2026-11-23 15:00/18:30",
    "2026-11-24 08:00/13:00",
    "2026-11-24 15:00/18:30",
    "2026-11-26 09:00/12:00",
)
ALWAYS = (Interval(at("2026-01-01 00:00"), at("2028-01-01 00:00")),)
# 25 October 2026, 03:00 -> 02:00; 28 March 2027, 02:00 -> 03:00
AUTUMN = opened("2026-10-24 20:00/2026-10-25 06:00")
SPRING = opened("2027-03-27 20:00/2027-03-28 06:00")


@pytest.mark.parametrize(
    ("now", "is_open"),
    [
        ("2026-11-23 07:59", False),
        ("2026-11-23 08:00", True),
        ("2026-11-23 12:59", True),
        ("2026-11-23 13:00", False),
        ("2026-11-25 10:00", False),
    ],
)
def test_a_site_is_open_from_its_opening_until_just_before_its_closing(now: str, is_open: bool) -> None:
    assert calendar.is_open(WEEK, at(now)) is is_open


@pytest.mark.parametrize(
    ("start", "end", "hours"),
    [
        ("2026-11-23 07:00", "2026-11-23 08:00", 0),
        ("2026-11-23 07:00", "2026-11-23 09:00", 1),
        ("2026-11-23 12:00", "2026-11-23 16:00", 2),
        ("2026-11-23 13:00", "2026-11-23 15:00", 0),
        ("2026-11-23 00:00", "2026-11-27 00:00", 20),
        ("2026-11-24 00:00", "2026-11-23 00:00", 0),
    ],
)
def test_open_time_counts_only_while_the_site_is_open(start: str, end: str, hours: int) -> None:
    assert calendar.open_time(WEEK, at(start), at(end)) == hours * HOUR


@pytest.mark.parametrize(
    ("start", "hours", "end"),
    [
        ("2026-11-23 09:00", 4, "2026-11-23 13:00"),
        ("2026-11-23 09:00", 5, "2026-11-23 16:00"),
        ("2026-11-22 03:00", 1, "2026-11-23 09:00"),
        ("2026-11-24 18:00", 1, "2026-11-26 09:30"),
        ("2026-11-26 11:00", 1, "2026-11-26 12:00"),
        ("2026-11-26 11:00", 2, None),
        ("2026-11-25 11:00", 0, "2026-11-25 11:00"),
    ],
)
def test_open_time_ends_at_the_instant_when_it_has_passed(start: str, hours: int, end: str | None) -> None:
    assert calendar.add_open_time(WEEK, at(start), hours * HOUR) == (at(end) if end else None)


def test_the_long_night_has_eleven_hours_and_the_short_one_nine() -> None:
    assert calendar.open_time(AUTUMN, at("2026-10-24 00:00"), at("2026-10-26 00:00")) == 11 * HOUR
    assert calendar.open_time(SPRING, at("2027-03-27 00:00"), at("2027-03-29 00:00")) == 9 * HOUR
    assert calendar.add_open_time(AUTUMN, at("2026-10-24 20:00"), 8 * HOUR) == at("2026-10-25 03:00")
    assert calendar.add_open_time(SPRING, at("2027-03-27 20:00"), 8 * HOUR) == at("2027-03-28 05:00")


@pytest.mark.parametrize(
    ("start", "days", "end"),
    [
        ("2026-11-23 10:00", 1, "2026-11-24 10:00"),
        ("2026-11-23 10:00", 2, "2026-11-26 10:00"),
        ("2026-11-24 10:00", 1, "2026-11-26 10:00"),
        ("2026-11-25 10:00", 1, "2026-11-26 10:00"),
        ("2026-11-24 08:30", 1, "2026-11-26 09:00"),  # never before its opening
        ("2026-11-24 18:00", 1, "2026-11-26 12:00"),  # nor after its closing
        ("2026-11-23 14:00", 1, "2026-11-24 14:00"),  # at lunch
        ("2026-11-26 10:00", 1, None),
    ],
)
def test_one_open_day_is_the_same_clock_time_on_the_next_opening_day(start: str, days: int, end: str | None) -> None:
    assert calendar.add_open_days(WEEK, at(start), days, BERLIN) == (at(end) if end else None)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-10-24 10:00", "2026-10-25 10:00"),
        ("2027-03-27 10:00", "2027-03-28 10:00"),
        ("2027-03-27 02:30", "2027-03-28 03:30"),  # 02:30 does not exist that night
        ("2026-12-31 23:00", "2027-01-01 23:00"),
    ],
)
def test_an_open_day_of_a_site_that_never_closes_is_the_next_day_also_over_the_clock_change(
    start: str, end: str
) -> None:
    assert calendar.add_open_days(ALWAYS, at(start), 1, BERLIN) == at(end)


def test_a_day_that_begins_inside_the_night_duty_of_the_day_before_is_no_opening_day() -> None:
    duty = opened("2026-11-23 08:00/2026-11-24 02:00", "2026-11-25 08:00/18:00")
    assert calendar.add_open_days(duty, at("2026-11-23 10:00"), 1, BERLIN) == at("2026-11-25 10:00")


def test_christmas_and_new_years_eve_end_an_open_day_at_their_early_closing() -> None:
    days = opened(
        "2026-12-23 08:00/18:30", "2026-12-24 08:00/13:00", "2026-12-28 08:00/18:30", "2026-12-31 08:00/12:00"
    )
    assert calendar.add_open_days(days, at("2026-12-23 16:00"), 1, BERLIN) == at("2026-12-24 13:00")
    assert calendar.add_open_days(days, at("2026-12-24 10:00"), 1, BERLIN) == at("2026-12-28 10:00")
    assert calendar.add_open_time(days, at("2026-12-24 12:00"), 4 * HOUR) == at("2026-12-28 11:00")


@pytest.mark.parametrize(
    ("amount", "end"),
    [
        (OpenDuration(30 * MINUTE), "2026-11-23 18:45"),
        (OpenDuration(30 * MINUTE, 0, True), "2026-11-24 08:15"),
        (OpenDuration(timedelta(), 1, True), "2026-11-24 18:15"),
        (OpenDuration(timedelta(days=7)), "2026-11-30 18:15"),
    ],
)
def test_a_duration_counts_open_or_plain_as_it_is_written(amount: OpenDuration, end: str) -> None:
    assert calendar.add(WEEK, at("2026-11-23 18:15"), amount, BERLIN) == at(end)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (OpenDuration(4 * HOUR, 0, True), "4h open"),
        (OpenDuration(timedelta(), 1, True), "1d open"),
        (OpenDuration(90 * MINUTE), "90m"),
        (OpenDuration(timedelta(days=7)), "7d"),
        (OpenDuration(timedelta(seconds=5)), "5s"),
        (OpenDuration(timedelta()), "0s"),
    ],
)
def test_a_duration_is_shown_as_a_policy_writes_it(amount: OpenDuration, text: str) -> None:
    assert str(amount) == text


def test_openings_are_found_on_both_sides_of_an_instant() -> None:
    noon = at("2026-11-23 14:00")
    assert calendar.next_opening(WEEK, noon) == at("2026-11-23 15:00")
    assert calendar.opening_before(WEEK, noon) == at("2026-11-23 08:00")
    assert calendar.next_opening(WEEK, at("2026-11-26 09:00")) is None
    assert calendar.opening_before(WEEK, at("2026-11-23 07:59")) is None


def test_a_break_at_noon_does_not_end_the_opening_day() -> None:
    monday = Interval(at("2026-11-23 08:00"), at("2026-11-23 18:30"))
    assert calendar.opening_day(WEEK, at("2026-11-23 14:00")) == monday
    assert calendar.opening_day(WEEK, at("2026-11-23 05:00")) == monday
    assert calendar.opening_day(WEEK, at("2026-11-26 12:00")) is None
    long_break = opened("2026-11-23 08:00/12:00", "2026-11-23 16:01/18:00")
    assert len(calendar.opening_days(long_break)) == 2
    assert len(calendar.opening_days(opened("2026-11-23 08:00/12:00", "2026-11-23 16:00/18:00"))) == 1


@pytest.mark.parametrize(
    ("hours", "days"),
    [
        (["2026-11-21 08:30/2026-11-24 08:30"], ["2026-11-21 08:30/2026-11-24 08:30"]),  # three days
        (
            ["2026-11-21 08:30/2026-11-24 08:31"],
            [
                "2026-11-21 08:30/2026-11-22 08:30",
                "2026-11-22 08:30/2026-11-23 08:30",
                "2026-11-23 08:30/2026-11-24 08:31",
            ],
        ),
        (
            [f"2026-11-2{day} 06:00/2026-11-2{day + 1} 02:00" for day in range(1, 5)],  # it closes for four hours
            [f"2026-11-2{day} 06:00/2026-11-2{day + 1} 02:00" for day in range(1, 5)],
        ),
        (
            ["2026-11-21 00:00/02:00", *(f"2026-11-2{day} 06:00/2026-11-2{day + 1} 02:00" for day in range(1, 5))],
            [
                "2026-11-21 00:00/2026-11-22 02:00",  # the end of the day before is no day of its own
                *(f"2026-11-2{day} 06:00/2026-11-2{day + 1} 02:00" for day in range(2, 5)),
            ],
        ),
        (
            [
                f"2026-11-2{day} {part}"
                for day in range(1, 5)
                for part in ("00:00/13:00", f"14:00/2026-11-2{day + 1} 00:00")
            ],
            [f"2026-11-2{day} 00:00/2026-11-2{day + 1} 00:00" for day in range(1, 5)],
        ),
    ],
)
def test_what_never_closes_for_long_has_an_opening_day_every_day(hours: list[str], days: list[str]) -> None:
    assert calendar.opening_days(opened(*hours)) == list(opened(*days))


def edge(minutes: int, anchor: Anchor) -> Edge:
    return Edge(minutes * MINUTE, anchor)


WHILE_OPEN = Window("while-open", edge(30, Anchor.OPENING), edge(-60, Anchor.CLOSING))
AFTER_CLOSING = Window("after-closing", edge(10, Anchor.CLOSING), edge(120, Anchor.CLOSING))


@pytest.mark.parametrize(
    ("windows", "now", "inside", "until"),
    [
        ([Window("always")], "2026-11-25 03:00", True, None),
        ([WHILE_OPEN], "2026-11-23 08:29", False, "2026-11-23 08:30"),
        ([WHILE_OPEN], "2026-11-23 08:30", True, None),
        ([WHILE_OPEN], "2026-11-23 17:29", True, None),
        ([WHILE_OPEN], "2026-11-23 17:30", False, "2026-11-24 08:30"),
        ([AFTER_CLOSING], "2026-11-23 13:15", False, "2026-11-23 18:40"),  # lunch is no closing
        ([AFTER_CLOSING], "2026-11-23 18:40", True, None),
        ([AFTER_CLOSING], "2026-11-23 20:30", False, "2026-11-24 18:40"),
        ([WHILE_OPEN, AFTER_CLOSING], "2026-11-23 18:00", False, "2026-11-23 18:40"),
        ([AFTER_CLOSING], "2026-11-27 00:00", False, None),
        ([], "2026-11-23 10:00", False, None),
    ],
)
def test_a_window_is_open_or_says_when_it_will_be(
    windows: list[Window], now: str, inside: bool, until: str | None
) -> None:
    assert calendar.window_until(windows, WEEK, at(now)) == (inside, at(until) if until else None)


BEFORE_OPENING = Freeze("before-opening", start=edge(0, Anchor.BOOT), end=edge(30, Anchor.OPENING))
NEW_YEAR = Freeze("new-year", first=date(2026, 12, 23), last=date(2027, 1, 4))
PRICES = Freeze("price-data", days=(1, 15), until_minute=12 * 60)


@pytest.mark.parametrize(
    ("freeze", "now", "frozen", "until"),
    [
        (BEFORE_OPENING, "2026-11-23 06:29", False, None),
        (BEFORE_OPENING, "2026-11-23 06:30", True, "2026-11-23 08:30"),
        (BEFORE_OPENING, "2026-11-23 08:29", True, "2026-11-23 08:30"),
        (BEFORE_OPENING, "2026-11-23 08:30", False, None),
        (BEFORE_OPENING, "2026-11-23 14:00", False, None),  # not again after lunch
        (NEW_YEAR, "2026-12-22 23:59", False, None),
        (NEW_YEAR, "2026-12-23 00:00", True, "2027-01-05 00:00"),
        (NEW_YEAR, "2027-01-04 23:59", True, "2027-01-05 00:00"),
        (NEW_YEAR, "2027-01-05 00:00", False, None),
        (Freeze("open-ended", first=date(2026, 12, 23)), "2028-01-01 00:00", True, None),
        (Freeze("for-ever", last=date(9999, 12, 31)), "2028-01-01 00:00", True, None),
        (PRICES, "2026-11-30 23:59", False, None),
        (PRICES, "2026-12-01 00:00", True, "2026-12-01 12:00"),
        (PRICES, "2026-12-15 11:59", True, "2026-12-15 12:00"),
        (PRICES, "2026-12-15 12:00", False, None),
        (Freeze("whole-day", days=(25,)), "2026-10-25 23:30", True, "2026-10-26 00:00"),
        (Freeze("clock-change", days=(25,), until_minute=12 * 60), "2026-10-25 02:30", True, "2026-10-25 12:00"),
        (Freeze("clock-change", days=(28,), until_minute=12 * 60), "2027-03-28 01:30", True, "2027-03-28 12:00"),
    ],
)
def test_a_freeze_holds_exactly_as_long_as_it_says(freeze: Freeze, now: str, frozen: bool, until: str | None) -> None:
    want = (frozen, at(until) if until else None)
    assert calendar.frozen_until(freeze, WEEK, at(now), BERLIN, LEAD, None) == want


@pytest.mark.parametrize("until", [at("2026-11-24 09:00"), None])
def test_a_duty_freeze_holds_until_the_duty_of_the_site_ends(until: datetime | None) -> None:
    freeze = Freeze("night-duty", duty=True)
    said = calendar.frozen_until(freeze, WEEK, at("2026-11-23 23:00"), BERLIN, LEAD, until)
    assert said == (until is not None, until)


def test_a_till_is_expected_on_around_opening_and_off_at_night() -> None:
    on = calendar.expected_on(WEEK, edge(-90, Anchor.OPENING), edge(10, Anchor.CLOSING))
    assert on[0] == Interval(at("2026-11-23 06:30"), at("2026-11-23 18:40"))
    assert len(on) == 3
    assert not calendar.is_open(on, at("2026-11-23 23:00"))
    night = opened("2026-11-23 08:00/23:00", "2026-11-24 08:00/18:00")
    assert len(calendar.expected_on(night, edge(-300, Anchor.OPENING), edge(240, Anchor.CLOSING))) == 1


@st.composite
def any_intervals(draw: st.DrawFn) -> tuple[Interval, ...]:
    now, found = at("2026-10-20 00:00"), []
    for gap, length in draw(st.lists(st.tuples(st.integers(1, 2000), st.integers(1, 2000)), max_size=12)):
        start = now + gap * MINUTE
        now = start + length * MINUTE
        found.append(Interval(start, now))
    return tuple(found)


instants = st.integers(0, 20_000).map(lambda minutes: at("2026-10-20 00:00") + minutes * MINUTE)


@given(any_intervals(), instants, st.integers(1, 5000))
def test_adding_open_time_is_the_inverse_of_counting_it(
    intervals: tuple[Interval, ...], start: datetime, minutes: int
) -> None:
    end = calendar.add_open_time(intervals, start, minutes * MINUTE)
    if end is None:
        assert calendar.open_time(intervals, start, datetime.max.replace(tzinfo=UTC)) < minutes * MINUTE
    else:
        assert calendar.open_time(intervals, start, end) == minutes * MINUTE
        assert calendar.open_time(intervals, start, end - MINUTE) < minutes * MINUTE


@given(any_intervals(), instants, instants, instants)
def test_open_time_adds_up(intervals: tuple[Interval, ...], one: datetime, two: datetime, three: datetime) -> None:
    a, b, c = sorted((one, two, three))
    whole = calendar.open_time(intervals, a, c)
    assert whole == calendar.open_time(intervals, a, b) + calendar.open_time(intervals, b, c)
    assert timedelta() <= whole <= c - a


@given(any_intervals(), instants, st.integers(1, 5))
def test_more_open_days_never_end_earlier(intervals: tuple[Interval, ...], start: datetime, days: int) -> None:
    fewer = calendar.add_open_days(intervals, start, days, BERLIN)
    more = calendar.add_open_days(intervals, start, days + 1, BERLIN)
    assert fewer is not None or more is None
    if fewer is not None:
        assert fewer > start
        assert more is None or more >= fewer


@given(any_intervals(), instants)
def test_a_window_that_is_not_open_opens_when_it_said(intervals: tuple[Interval, ...], now: datetime) -> None:
    inside, until = calendar.window_until([WHILE_OPEN, AFTER_CLOSING], intervals, now)
    if until is not None:
        assert not inside
        assert until > now
        assert calendar.window_until([WHILE_OPEN, AFTER_CLOSING], intervals, until)[0]


# the weekend of the spring clock change, with a short Saturday
def day(text: str, start: str = "08:00", end: str = "18:00") -> Interval:
    return Interval(at(f"{text}T{start}"), at(f"{text}T{end}"))


CLOCK_CHANGE_WEEK = (day("2026-03-27"), day("2026-03-28", end="13:00"), day("2026-03-30"), day("2026-03-31"))


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
    assert calendar.add_open_time(CLOCK_CHANGE_WEEK, at(start), hours * HOUR) == at(end)
    assert calendar.open_time(CLOCK_CHANGE_WEEK, at(start), at(end)) == hours * HOUR


def test_an_answer_beyond_the_known_intervals_is_none() -> None:
    assert calendar.add_open_time(CLOCK_CHANGE_WEEK, at("2026-03-31T17:00"), 2 * HOUR) is None


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
    assert calendar.add_open_days(CLOCK_CHANGE_WEEK, at(start), days, BERLIN) == at(end)


@pytest.mark.parametrize(("night", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-06-01", 24)])
def test_a_day_of_the_clock_change_has_its_real_hours(night: str, hours: int) -> None:
    start = at(f"{night}T00:00")
    following = (date.fromisoformat(night) + timedelta(days=1)).isoformat()
    whole = (Interval(start, at(f"{following}T00:00")),)
    assert calendar.open_time(whole, start, start + 48 * HOUR) == hours * HOUR


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
    assert calendar.window_until([WHILE_OPEN], CLOCK_CHANGE_WEEK, at(now))[0] is inside


def test_a_closed_window_says_when_it_opens_and_a_bare_one_is_always_open() -> None:
    assert calendar.window_until([WHILE_OPEN], CLOCK_CHANGE_WEEK, at("2026-03-28T13:00")) == (
        False,
        at("2026-03-30T08:30"),
    )
    assert calendar.window_until([WHILE_OPEN, Window("always")], CLOCK_CHANGE_WEEK, at("2026-03-29T03:00")) == (
        True,
        None,
    )


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
    answer = calendar.frozen_until(freeze, CLOCK_CHANGE_WEEK, at(now), BERLIN, 90 * MINUTE, False)
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
    end = calendar.add_open_time(CLOCK_CHANGE_WEEK, start, amount)
    assert end is not None
    assert calendar.open_time(CLOCK_CHANGE_WEEK, start, end) == amount
