"""The duty calendar: what is read, and every problem by its line."""

from __future__ import annotations

from datetime import UTC, datetime, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.adapters.duty_ics import read_duty

BERLIN = "Europe/Berlin"


def calendar(*events: str) -> bytes:
    """Each event's lines between BEGIN:VEVENT (line 3 for the first) and END:VEVENT."""
    body = "".join(f"BEGIN:VEVENT\r\n{event}\r\nEND:VEVENT\r\n" for event in events)
    return f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{body}END:VCALENDAR\r\n".encode()


def z(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("event", "start", "end"),
    [
        ("DTSTART:20261124T080000Z\r\nDTEND:20261125T080000Z", "2026-11-24 08:00", "2026-11-25 08:00"),
        ("DTSTART:20261124T090000\r\nDTEND:20261125T090000", "2026-11-24 08:00", "2026-11-25 08:00"),
        (
            "DTSTART;TZID=Europe/Berlin:20261124T090000\r\nDTEND;TZID=Europe/Berlin:20261125T090000",
            "2026-11-24 08:00",
            "2026-11-25 08:00",
        ),
        (
            'DTSTART;TZID="Europe/London":20261124T090000\r\nDTEND:20261125T090000Z',
            "2026-11-24 09:00",
            "2026-11-25 09:00",
        ),
        ("DTSTART;VALUE=DATE:20261124\r\nDTEND;VALUE=DATE:20261125", "2026-11-24 08:00", "2026-11-25 08:00"),
        ("DTSTART;VALUE=DATE:20261124", "2026-11-24 08:00", "2026-11-25 08:00"),
        ("DTSTART;VALUE=DATE:20261024", "2026-10-24 07:00", "2026-10-25 08:00"),  # 25 hours
        ("DTSTART;VALUE=DATE:20270327", "2027-03-27 08:00", "2027-03-28 07:00"),  # 23 hours
        ("DTSTART:2026112\r\n 4T080000Z\r\nDTEND:20261125T080000Z", "2026-11-24 08:00", "2026-11-25 08:00"),
        ("dtstart:20261124T080000Z\r\nDTEND:20261202T080000Z", "2026-11-24 08:00", "2026-12-02 08:00"),  # 8 days
        (
            "BEGIN:VALARM\r\nDURATION:PT1H\r\nEND:VALARM\r\nDTSTART:20261124T080000Z\r\nDTEND:20261125T080000Z",
            "2026-11-24 08:00",
            "2026-11-25 08:00",
        ),
    ],
)
def test_a_duty_is_read_in_each_way_of_writing_its_time(event: str, start: str, end: str) -> None:
    found, problems = read_duty(calendar(event), BERLIN, "f.ics")
    assert problems == []
    assert [(one.line, one.start_at, one.end_at) for one in found] == [(3, z(start), z(end))]


GOOD = "DTSTART:20261124T080000Z\r\nDTEND:20261125T080000Z"


@pytest.mark.parametrize(
    ("event", "line", "word"),
    [
        (f"{GOOD}\r\nRRULE:FREQ=WEEKLY", 6, "RRULE is not read"),
        ("DTSTART:20261124T080000Z\r\nDURATION:PT24H", 5, "DURATION is not read"),
        ("DTEND:20261125T080000Z", 3, "no DTSTART"),
        ("DTSTART:20261124T080000Z", 3, "no DTEND"),
        ("DTSTART:20261124T080000Z\r\nDTEND:20261124T080000Z", 3, "ends before it begins"),
        ("DTSTART:20261124T080000Z\r\nDTEND:20261202T080001Z", 3, "more than 8 days"),
        ("DTSTART:20261131T080000Z\r\nDTEND:20261202T080000Z", 4, "there is no '20261131T080000Z'"),
        ("DTSTART:20261124T240000Z\r\nDTEND:20261125T080000Z", 4, "there is no"),
        ("DTSTART;VALUE=DATE:20261124\r\nDTEND:20261125T080000Z", 3, "DTSTART is a day and DTEND a time"),
        ("DTSTART:20261124T080000Z\r\nDTEND;VALUE=DATE:20261125", 3, "DTSTART is a time and DTEND a day"),
        ("DTSTART:20261124\r\nDTEND;VALUE=DATE:20261125", 4, "is not a date-time"),
        ("DTSTART;TZID=Europe/Bonn:20261124T080000\r\nDTEND:20261125T080000Z", 4, "no time zone 'Europe/Bonn'"),
        ("DTSTART;TZID=Europe:20261124T080000\r\nDTEND:20261125T080000Z", 4, "no time zone 'Europe'"),
        ("DTSTART;TZID=Europe/Berlin:20261124T080000Z\r\nDTEND:20261125T080000Z", 4, "has no TZID"),
        ("DTSTART:20270328T023000\r\nDTEND:20270329T090000", 4, "no clock shows"),
        (f"{GOOD}\r\nDTSTART:20261123T080000Z", 6, "DTSTART is there twice"),
        (f"{GOOD}\r\nwhat is this", 6, "not a line of a calendar"),
        (f"{GOOD}\r\nEND:VALARM", 6, "ends nothing that began"),
    ],
)
def test_each_problem_is_named_by_its_line(event: str, line: int, word: str) -> None:
    _, problems = read_duty(calendar(event), BERLIN, "f.ics")
    assert any(one.startswith(f"f.ics:{line}: ") and word in one for one in problems), problems


def test_every_problem_of_a_file_is_told_at_once() -> None:
    _, problems = read_duty(calendar("DTSTART:x", GOOD, "DTEND:y"), BERLIN, "f.ics")
    assert [one.split(": ")[0] for one in problems] == ["f.ics:4", "f.ics:10"]


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        (b"", "there is no event"),
        (b"BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n", "there is no event"),
        (b"BEGIN:VEVENT\r\nEND:VEVENT\r\n", "begins with BEGIN:VCALENDAR"),
        (calendar(GOOD)[:-15], "VCALENDAR is never ended"),
        (b"\xff\xfe", "not UTF-8"),
        (b"x" * (8 * 1024 * 1024 + 1), "at most"),
    ],
)
def test_what_is_no_calendar_is_refused(raw: bytes, word: str) -> None:
    found, problems = read_duty(raw, BERLIN, "f.ics")
    assert any(word in one for one in problems), problems
    assert not found or problems


def test_a_cancelled_event_is_no_duty_and_the_place_is_read_unescaped() -> None:
    found, problems = read_duty(
        calendar(f"{GOOD}\r\nSTATUS:CANCELLED", f"{GOOD}\r\nLOCATION;LANGUAGE=de:Sonne\\, Bonn "), BERLIN, "f"
    )
    assert (problems, [one.where for one in found]) == ([], ["Sonne, Bonn"])


def test_the_hour_at_which_duty_changes_can_be_another() -> None:
    found, _ = read_duty(calendar("DTSTART;VALUE=DATE:20261124"), BERLIN, "f", time(8, 30))
    assert found[0].start_at == z("2026-11-24 07:30")


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: calendar(text.replace("\x00", "")))))
def test_any_bytes_are_duties_or_problems(raw: bytes) -> None:
    found, problems = read_duty(raw, BERLIN, "f")
    assert found or problems
    assert all(one.start_at < one.end_at for one in found)
