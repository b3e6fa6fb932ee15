"""Opening hours texts and public holidays as intervals."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from gate.adapters.calendar import OpeningCalendar, check_hours, check_land, public_holidays
from gate.core.errors import OperatorError

BERLIN = ZoneInfo("Europe/Berlin")
WEEKDAYS = "Mo-Fr 08:00-18:30; Sa 08:30-13:00"


def day(hours: str, land: str, date: str) -> list[str]:
    """The opening intervals that begin on one local day, as local times."""
    start = datetime.fromisoformat(date).replace(tzinfo=BERLIN)
    found = OpeningCalendar("Europe/Berlin").intervals(hours, land, start.astimezone(UTC), start + timedelta(days=1))
    spans = [(one.start_at.astimezone(BERLIN), one.end_at.astimezone(BERLIN)) for one in found]
    return [f"{a:%H:%M}-{b:%H:%M}" for a, b in spans if f"{a:%Y-%m-%d}" == date]


@pytest.mark.parametrize(
    ("land", "date", "hours"),
    [
        ("NW", "2026-11-23", ["08:00-18:30"]),
        ("NW", "2026-11-28", ["08:30-13:00"]),
        ("NW", "2026-11-29", []),
        ("BY", "2027-01-06", []),  # Epiphany
        ("NW", "2027-01-06", ["08:00-18:30"]),
        ("SN", "2026-11-18", []),  # Buss- und Bettag
        ("NW", "2026-11-18", ["08:00-18:30"]),
        ("", "2026-11-18", ["08:00-18:30"]),
        ("NW", "2027-01-01", []),
        ("", "2026-12-25", []),
        ("NW", "2027-03-26", []),  # Good Friday
        ("NW", "2026-12-24", ["08:00-18:30"]),
        ("NW", "2026-10-26", ["08:00-18:30"]),  # after the autumn clock change
        ("NW", "2027-03-29", []),  # Easter Monday, after the spring clock change
        ("NW", "2027-03-30", ["08:00-18:30"]),
    ],
)
def test_a_site_is_closed_on_the_public_holidays_of_its_land(land: str, date: str, hours: list[str]) -> None:
    assert day(WEEKDAYS, land, date) == hours


@pytest.mark.parametrize(
    ("text", "date", "hours"),
    [
        ("Mo-Fr 08:00-18:30; PH 10:00-12:00", "2027-01-06", ["10:00-12:00"]),
        ("Mo-Fr 08:00-18:30; PH 10:00-12:00", "2027-01-07", ["08:00-18:30"]),
        ("Mo-Fr 08:00-18:30; PH,Su 10:00-12:00", "2027-01-06", ["10:00-12:00"]),
        ("Mo-Fr 08:00-18:30; PH,Su 10:00-12:00", "2027-01-10", ["10:00-12:00"]),
        ("Mo-Fr 08:00-18:30; PH off", "2027-01-06", []),
        ("Mo-Fr 08:00-18:30; PH 10:00-12:00", "2027-03-09", ["08:00-18:30"]),  # a month without a holiday
        ("PH 10:00-12:00", "2027-02-09", []),
        ("Mo-Fr 08:00-13:00,15:00-18:30", "2027-01-07", ["08:00-13:00", "15:00-18:30"]),
        ("Mo-Sa 08:00-20:00; Dec 24,Dec 31 08:00-13:00", "2026-12-24", ["08:00-13:00"]),
        ("Mo-Sa 08:00-20:00; Dec 24,Dec 31 08:00-13:00", "2026-12-31", ["08:00-13:00"]),
        ('Mo-Fr 08:00-12:00 "ring; twice"; PH closed', "2027-01-07", ["08:00-12:00"]),
        ('Mo-Fr 08:00-12:00; PH 09:00-10:00 "ring"', "2027-01-06", ["09:00-10:00"]),
        ("", "2027-01-07", []),
    ],
)
def test_the_hours_of_a_text_count_as_written(text: str, date: str, hours: list[str]) -> None:
    assert day(text, "BY", date) == hours


def test_around_the_clock_is_one_interval_over_months_years_holidays_and_clock_changes() -> None:
    start, end = datetime(2026, 10, 1, tzinfo=UTC), datetime(2027, 4, 10, tzinfo=UTC)
    (only,) = OpeningCalendar("Europe/Berlin").intervals("24/7", "BY", start, end)
    assert only.start_at <= start
    assert only.end_at >= end


@pytest.mark.parametrize(("date", "hours"), [("2026-10-24", 11), ("2027-03-27", 9), ("2026-11-07", 10)])
def test_a_night_over_the_clock_change_has_its_real_length(date: str, hours: int) -> None:
    start = datetime.fromisoformat(f"{date} 12:00").replace(tzinfo=BERLIN)
    found = OpeningCalendar("Europe/Berlin").intervals("Sa 20:00-06:00", "", start, start + timedelta(hours=20))
    assert [one.end_at - one.start_at for one in found] == [timedelta(hours=hours)]


def test_an_hour_that_the_clock_change_leaves_out_is_no_opening() -> None:
    start = datetime(2027, 3, 27, 22, tzinfo=UTC)
    assert not OpeningCalendar("Europe/Berlin").intervals("Su 02:00-03:00", "", start, start + timedelta(hours=9))


def test_an_opening_over_new_year_is_one_interval() -> None:
    start = datetime(2026, 12, 31, 12, tzinfo=UTC)
    found = OpeningCalendar("Europe/Berlin").intervals(
        "Th 20:00-02:00; PH 10:00-11:00", "NW", start, start + timedelta(hours=12)
    )
    assert [one.start_at for one in found] == [datetime(2026, 12, 31, 19, tzinfo=UTC)]


@pytest.mark.parametrize(
    ("start", "end", "count"),
    [
        ("07:30", "17:30", 1),
        ("06:00", "07:00", 0),
        ("06:00", "07:01", 1),
        ("17:30", "20:00", 0),
        ("17:29", "20:00", 1),
        ("10:00", "10:00", 0),
    ],
)
def test_only_what_meets_the_range_is_given(start: str, end: str, count: int) -> None:
    a, b = (datetime.fromisoformat(f"2026-11-23 {clock}+00:00") for clock in (start, end))
    assert len(OpeningCalendar("Europe/Berlin").intervals(WEEKDAYS, "NW", a, b)) == count


@pytest.mark.parametrize(
    "text",
    [
        WEEKDAYS,
        "24/7",
        "Mo-Fr 08:00-18:30; PH off",
        "PH,Su 10:00-12:00",
        'Mo 08:00-12:00 "PH by phone"',
        "Dec 24 08:00-13:00",
    ],
)
def test_good_hours_have_no_problem(text: str) -> None:
    assert check_hours(text) is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no opening hours are given"),
        ("Mo-Xx 8", "column 4: expected wday"),
        ("foo", "column 1: "),
        ("Mo-Fr 08:00-12:00, PH 10:00-12:00", "PH needs a rule of its own"),
        ("Mo-Fr 08:00-18:00; PH Mo-Fr 10:00-12:00", "PH needs a rule of its own"),
        ("Mo-Fr 08:00-18:00; SH off", "SH (school holidays)"),
        ("sunrise-sunset", "times of the sun"),
    ],
)
def test_bad_hours_say_what_is_wrong(text: str, problem: str) -> None:
    found = check_hours(text)
    assert found is not None
    assert found.startswith(problem)


def test_hours_and_lands_that_cannot_be_read_are_the_operators_error_not_a_closed_site() -> None:
    now = datetime(2026, 11, 23, tzinfo=UTC)
    hours = OpeningCalendar("Europe/Berlin")
    with pytest.raises(OperatorError) as bad_hours:
        hours.intervals("Mo-Xx 8", "NW", now, now + timedelta(days=1))
    assert bad_hours.value.kind == "bad_hours"
    with pytest.raises(OperatorError) as bad_land:
        hours.intervals(WEEKDAYS, "XX", now, now + timedelta(days=1))
    assert bad_land.value.kind == "unknown_land"
    assert (check_land("BY"), check_land("")) == (None, None)
    assert "one of" in (check_land("XX") or "")


def test_every_land_has_at_least_the_nine_holidays_of_all_germany() -> None:
    assert len(public_holidays("", 2026)) == 9
    assert set(public_holidays("", 2026)) < set(public_holidays("SN", 2026))
