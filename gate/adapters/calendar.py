"""Opening hours as intervals: OSM ``opening_hours`` text, with the public holidays of a German Land.

- A site is closed on its Land's public holidays unless its hours have a ``PH`` rule (or are ``24/7``).
- The library misses regional holidays (6 January in Bavaria), so ``PH`` is written out as dates from ``holidays``.
  Therefore ``PH`` stands in a rule of its own, alone or beside weekdays: ``PH off``, ``PH,Su 10:00-12:00``.
- A month of one (hours, Land) is expanded once and kept; sites with the same hours share it.
- An interval is whole up to ``MARGIN`` beyond the range that was asked for; a longer one (24/7) may be cut there.
- Hours that cannot be read are the operator's error, never "always closed": ``check_hours`` keeps them out.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import holidays
from opening_hours import OpeningHours, ParserError, State  # type: ignore[attr-defined]  # its stub omits the error

from gate.core.calendar import NEVER_CLOSED, Interval
from gate.core.errors import OperatorError

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
DAY = "(?:Mo|Tu|We|Th|Fr|Sa|Su)"
DAYS = rf"(?:PH|{DAY}(?:-{DAY})?)"
HOLIDAY_RULE = re.compile(
    rf"(?P<days>{DAYS}(?:\s*,\s*{DAYS})*)\s+(?P<rest>\d[\d:,+ -]*|off|closed|open)(?:\s*\"[^\"]*\")?\Z"
)
RULE_END = re.compile(r';(?=(?:[^"]*"[^"]*")*[^"]*\Z)')  # not inside a comment
COMMENT = re.compile(r'"[^"]*"')
MARGIN = timedelta(days=2)
LONGEST = 1000


class OpeningCalendar:
    """Opening intervals in UTC; times of day are local to ``zone``."""

    def __init__(self, zone: str) -> None:
        self._zone = zone

    def intervals(self, hours: str, land: str, start: datetime, end: datetime) -> Sequence[Interval]:
        """Opening intervals that meet [start, end), in order. Empty hours are never open.

        Raises OperatorError (bad_hours, unknown_land).
        """
        if not hours.strip() or end <= start:
            return ()
        found = _months(hours, land, self._zone, _month_of(start - MARGIN), _month_of(end + MARGIN))
        first = bisect_right(found, start, key=lambda one: one.end_at)
        return found[first : bisect_left(found, end, key=lambda one: one.start_at)]


def check_hours(hours: str) -> str | None:
    """What is wrong with an opening_hours text, None when nothing is."""
    if not hours.strip():
        return "no opening hours are given"
    if len(hours) > LONGEST:
        return f"longer than {LONGEST} characters"
    if re.search("[\ud800-\udfff]", hours):
        return "half of a character stands there"
    said = COMMENT.sub("", hours)
    if re.search(r"\bSH\b", said):
        return "SH (school holidays) is not known here; write the dates"
    if re.search(r"\b(sunrise|sunset|dawn|dusk)\b", said):
        return "times of the sun are not known here; write clock times"
    for rule in _rules(hours):
        if re.search(r"\bPH\b", COMMENT.sub("", rule)) and not HOLIDAY_RULE.fullmatch(rule):
            return f"PH needs a rule of its own, such as 'PH off' or 'PH,Su 10:00-12:00', not {rule!r}"
    try:
        OpeningHours(with_holidays(hours, (date(2026, 1, 1),)))
        OpeningHours(hours)
    except ParserError as problem:
        return _problem(problem)
    return None


def check_land(land: str) -> str | None:
    """What is wrong with a Land, None when nothing is; empty stands for all of Germany."""
    known = holidays.country_holidays("DE").subdivisions
    return None if not land or land in known else f"no Land {land!r}; one of {', '.join(known)}"


@lru_cache(maxsize=1024)
def public_holidays(land: str, year: int) -> tuple[date, ...]:
    """Public holidays of a Land; those of all Germany where no Land is known."""
    try:
        known = holidays.country_holidays("DE", subdiv=land or None, years=year)
    except NotImplementedError as problem:
        raise OperatorError("unknown_land", check_land(land) or land) from problem
    return tuple(sorted(day for day in known if day.year == year))


@lru_cache(maxsize=1024)
def holiday_names(land: str, year: int) -> Mapping[date, str]:
    """Public holidays of a Land by name; none where the Land is not known."""
    if check_land(land) is not None:
        return {}
    known = holidays.country_holidays("DE", subdiv=land or None, years=year, language="de")
    return {day: name for day, name in sorted(known.items()) if day.year == year}


def with_holidays(hours: str, dates: Iterable[date]) -> str:
    """The hours with ``PH`` written out as these dates; closed on them where no rule has ``PH``."""
    written = ",".join(f"{day.year} {MONTHS[day.month - 1]} {day.day:02d}" for day in dates)
    kept, special = [], []
    for rule in _rules(hours):
        match = HOLIDAY_RULE.fullmatch(rule)
        days = [day.strip() for day in match["days"].split(",")] if match else []
        if match is None or "PH" not in days:
            kept.append(rule)
            continue
        others = ",".join(day for day in days if day != "PH")
        if others:
            kept.append(f"{others} {match['rest']}")
        special.append(f"{written} {match['rest']}")
    if not written or hours.strip() == NEVER_CLOSED:
        return "; ".join(kept) or "off"
    return "; ".join([*kept, *(special or [f"{written} off"])])


def _rules(hours: str) -> list[str]:
    return [rule.strip() for rule in RULE_END.split(hours) if rule.strip()]


def _problem(problem: ParserError) -> str:
    """The parser's drawing in one line: ``column 4: expected wday``."""
    lines = str(problem).splitlines()
    column = lines[0].rpartition(":")[2].strip()
    return f"column {column}: {lines[-1].strip(' =')}"


def _month_of(at: datetime) -> int:
    return at.year * 12 + at.month - 1


@lru_cache(maxsize=8192)
def _months(hours: str, land: str, zone: str, first: int, last: int) -> tuple[Interval, ...]:
    merged: list[Interval] = []
    for month in range(first, last + 1):
        for one in _month(hours, land, zone, month):
            if merged and one.start_at <= merged[-1].end_at:
                merged[-1] = Interval(merged[-1].start_at, max(merged[-1].end_at, one.end_at))
            else:
                merged.append(one)
    return tuple(merged)


@lru_cache(maxsize=65536)
def _month(hours: str, land: str, zone: str, month: int) -> tuple[Interval, ...]:
    if problem := check_hours(hours):
        raise OperatorError("bad_hours", f"opening hours {hours!r}: {problem}")
    local = ZoneInfo(zone)
    start = datetime(month // 12, month % 12 + 1, 1)  # noqa: DTZ001  (the library takes local times)
    after = month + 1
    end = datetime(after // 12, after % 12 + 1, 1)  # noqa: DTZ001
    first, last = (start - MARGIN).date(), (end + MARGIN).date()
    dates = [
        day for year in range(first.year, last.year + 1) for day in public_holidays(land, year) if first <= day <= last
    ]
    found = []
    for begin, finish, state, _ in OpeningHours(with_holidays(hours, dates)).intervals(start, end):
        if state == State.OPEN:
            one = Interval(_utc(begin, local), _utc(min(finish, end), local))
            if one.start_at < one.end_at:  # an hour that the clock change leaves out is empty
                found.append(one)
    return tuple(found)


def _utc(naive: datetime, zone: ZoneInfo) -> datetime:
    return naive.replace(tzinfo=zone).astimezone(UTC)
