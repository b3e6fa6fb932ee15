"""A site's days to look at: when it is open, what is frozen, and when a machine may be granted something. Pure.

- A day is local: it runs from midnight to midnight and has 23 or 25 hours in a night of the clock change.
- A slot is a stretch of a window that no freeze covers. What decides a claim is ``calendar``; this says beforehand
  what it will decide, from the same edges.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from gate.core import calendar, site_time
from gate.core.calendar import Interval, Intervals
from gate.core.times import Freeze, Window

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Day:
    """One local day and its stretch in UTC."""

    day: date
    span: Interval

    @property
    def hours(self) -> timedelta:
        """How long it is."""
        return self.span.end_at - self.span.start_at


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """When a local day begins."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def days_from(first: date, count: int, zone: ZoneInfo) -> list[Day]:
    """So many local days."""
    days = [first + timedelta(days=number) for number in range(count)]
    return [Day(one, Interval(midnight(one, zone), midnight(one + DAY, zone))) for one in days]


def clipped(intervals: Iterable[Interval], span: Interval) -> list[Interval]:
    """What of the intervals is inside a stretch."""
    cut = (Interval(max(one.start_at, span.start_at), min(one.end_at, span.end_at)) for one in intervals)
    return [one for one in cut if one.start_at < one.end_at]


def frozen(
    freeze: Freeze, hours: Intervals, duty: Iterable[Interval], span: Interval, zone: ZoneInfo, boot_lead: timedelta
) -> list[Interval]:
    """When a freeze holds within a stretch, for a site with these hours and this duty."""
    if freeze.duty:
        return clipped(duty, span)
    if freeze.first is not None or freeze.last is not None:
        begin = midnight(freeze.first, zone) if freeze.first else span.start_at
        end = midnight(freeze.last + DAY, zone) if freeze.last else span.end_at
        return clipped([Interval(begin, end)], span)
    if freeze.days:
        first = span.start_at.astimezone(zone).date()
        local = [first + timedelta(days=number) for number in range((span.end_at - span.start_at).days + 2)]
        return clipped([_until(freeze, one, zone) for one in local if one.day in freeze.days], span)
    if freeze.start is not None and freeze.end is not None:
        return clipped(calendar.spans(freeze.start, freeze.end, hours, boot_lead), span)
    return []


def granted_in(windows: Sequence[Window], hours: Intervals, span: Interval) -> list[Interval]:
    """When windows let a machine be granted something within a stretch; without a window: always."""
    found: list[Interval] = []
    for one in windows:
        if one.start is None or one.end is None:
            return [span]
        found += calendar.spans(one.start, one.end, hours, timedelta())
    return clipped(site_time.joined(found), span) if windows else [span]


def slots(granted: Intervals, holes: Iterable[Interval]) -> list[Interval]:
    """What windows leave and no freeze takes."""
    return site_time.without(granted, holes)


def _until(freeze: Freeze, day: date, zone: ZoneInfo) -> Interval:
    local = datetime.combine(day, time(), zone)
    return Interval(local.astimezone(UTC), (local + timedelta(minutes=freeze.until_minute)).astimezone(UTC))
