"""Opening hours as intervals: OSM ``opening_hours`` text, with the public holidays of a German Land.

- A site is closed on its Land's public holidays unless its hours have a ``PH`` rule (or are ``24/7``).
- The library misses regional holidays (6 January in Bavaria), so ``PH`` is written out as dates from ``holidays``.
- A year of one (hours, Land) is expanded once and kept; sites with the same hours share it.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import UTC, date, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

import holidays
from opening_hours import OpeningHours, State

from gate.core.calendar import Interval

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
RULE = re.compile(r"(?P<days>[A-Za-z,\- ]*\bPH\b[A-Za-z,\- ]*?)\s*(?P<rest>\d.*|off|closed|open)\Z")
ALWAYS = "24/7"


class OpeningCalendar:
    """Opening intervals in UTC; times of day are local to ``zone``."""

    def __init__(self, zone: str) -> None:
        self._zone = zone

    def intervals(self, hours: str, land: str, start: datetime, end: datetime) -> Sequence[Interval]:
        """Opening intervals that meet [start, end), in order. Empty hours are never open."""
        if not hours.strip():
            return ()
        found = _years(hours, land, self._zone, start.year - 1, end.year + 1)
        first = bisect_right(found, start, key=lambda one: one.end_at)
        return found[first : bisect_left(found, end, key=lambda one: one.start_at)]


def check_hours(hours: str) -> str | None:
    """What is wrong with an opening_hours text, None when nothing is."""
    try:
        OpeningHours(hours)
    except Exception as problem:  # noqa: BLE001  (the library's parser raises its own, unexported kinds)
        return " ".join(str(problem).split())
    return None


@lru_cache(maxsize=64)
def public_holidays(land: str, year: int) -> tuple[date, ...]:
    """Public holidays of a Land; of all Germany where no Land is known."""
    known = holidays.country_holidays("DE", subdiv=land or None, years=year)
    return tuple(sorted(known))


@lru_cache(maxsize=4096)
def _years(hours: str, land: str, zone: str, first: int, last: int) -> tuple[Interval, ...]:
    merged: list[Interval] = []
    for year in range(first, last + 1):
        for one in _year(hours, land, zone, year):
            if merged and one.start_at <= merged[-1].end_at:
                merged[-1] = Interval(merged[-1].start_at, max(merged[-1].end_at, one.end_at))
            else:
                merged.append(one)
    return tuple(merged)


@lru_cache(maxsize=16384)
def _year(hours: str, land: str, zone: str, year: int) -> tuple[Interval, ...]:
    local = ZoneInfo(zone)
    start, end = datetime(year, 1, 1), datetime(year + 1, 1, 1)  # noqa: DTZ001  (the library takes local times)
    found = []
    for begin, finish, state, _ in OpeningHours(with_holidays(hours, land, year)).intervals(start, end):
        if state == State.OPEN:
            found.append(Interval(_utc(begin, local), _utc(min(finish, end), local)))
    return tuple(found)


def _utc(naive: datetime, zone: ZoneInfo) -> datetime:
    return naive.replace(tzinfo=zone).astimezone(UTC)


def with_holidays(hours: str, land: str, year: int) -> str:
    """The hours of one year with ``PH`` written out as dates."""
    if hours.strip() == ALWAYS:
        return hours
    dates = ",".join(f"{day.year} {MONTHS[day.month - 1]} {day.day:02d}" for day in public_holidays(land, year))
    kept, special = [], []
    for rule in (part.strip() for part in hours.split(";")):
        match = RULE.fullmatch(rule)
        if not match:
            kept.append(rule)
            continue
        others = ",".join(day.strip() for day in match["days"].split(",") if day.strip() not in ("PH", "SH"))
        if others:
            kept.append(f"{others} {match['rest']}")
        special.append(f"{dates} {match['rest']}")
    return "; ".join([*kept, *(special or [f"{dates} off"])])
