"""Expected-on time: what counts as open, when windows and freezes hold. Pure: opening intervals are handed in.

- Intervals are half-open, sorted, not overlapping, in UTC; an ``always_on`` site is given one that covers everything.
- Durations of open time are real elapsed time inside intervals, so both nights of the clock change count right.
- ``None`` means "not within the intervals that were handed in", never "now".
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from gate.core.times import Anchor, Edge, Freeze, OpenDuration, Window

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, order=True)
class Interval:
    """[start_at, end_at) in UTC."""

    start_at: datetime
    end_at: datetime


Intervals = Sequence[Interval]


def is_open(intervals: Intervals, now: datetime) -> bool:
    """Is the site open at this instant?"""
    index = bisect_right(intervals, now, key=lambda one: one.start_at)
    return index > 0 and now < intervals[index - 1].end_at


def open_time(intervals: Intervals, start: datetime, end: datetime) -> timedelta:
    """How long it is open between two instants."""
    total = timedelta()
    for one in intervals:
        if one.start_at >= end:
            break
        overlap = min(one.end_at, end) - max(one.start_at, start)
        if overlap > timedelta():
            total += overlap
    return total


def add_open_time(intervals: Intervals, start: datetime, amount: timedelta) -> datetime | None:
    """The instant at which ``amount`` of open time has passed since ``start``."""
    left = amount
    for one in intervals:
        begin = max(one.start_at, start)
        if one.end_at <= begin:
            continue
        if left <= one.end_at - begin:
            return begin + left
        left -= one.end_at - begin
    return None


def add_open_days(intervals: Intervals, start: datetime, days: int, zone: ZoneInfo) -> datetime | None:
    """The same clock time on the n-th next opening day; on that day never before its opening, nor after its closing."""
    local = start.astimezone(zone)
    today = local.date()
    spans: dict[date, Interval] = {}
    for one in intervals:
        day = one.start_at.astimezone(zone).date()
        if day > today:
            known = spans.get(day)
            spans[day] = Interval(known.start_at, max(known.end_at, one.end_at)) if known else one
    if len(spans) < days:
        return None
    span = sorted(spans.values())[days - 1]
    same = datetime.combine(span.start_at.astimezone(zone).date(), local.time(), zone).astimezone(start.tzinfo)
    return min(max(same, span.start_at), span.end_at)


def add(intervals: Intervals, start: datetime, amount: OpenDuration, zone: ZoneInfo) -> datetime | None:
    """The instant at which an open (or plain) duration since ``start`` is over."""
    if not amount.open:
        return start + amount.amount + amount.days * DAY
    if amount.days:
        return add_open_days(intervals, start, amount.days, zone)
    return add_open_time(intervals, start, amount.amount)


def next_opening(intervals: Intervals, now: datetime) -> datetime | None:
    """The first opening after ``now``."""
    index = bisect_right(intervals, now, key=lambda one: one.start_at)
    return intervals[index].start_at if index < len(intervals) else None


def spans(start: Edge, end: Edge, intervals: Intervals, boot_lead: timedelta) -> list[Interval]:
    """The stretches from one edge to another around each opening interval; empty ones are left out.

    ``boot_lead``: how long before opening the first machines are expected on.
    """
    found = []
    for one in intervals:
        stretch = Interval(_edge(start, one, boot_lead), _edge(end, one, boot_lead))
        if stretch.start_at < stretch.end_at:
            found.append(stretch)
    return sorted(found)


def window_until(windows: Sequence[Window], intervals: Intervals, now: datetime) -> tuple[bool, datetime | None]:
    """(inside any window now, else when the next one begins)."""
    begins = []
    for window in windows:
        if window.start is None or window.end is None:
            return True, None
        for one in spans(window.start, window.end, intervals, timedelta()):
            if one.start_at <= now < one.end_at:
                return True, None
            if one.start_at > now:
                begins.append(one.start_at)
                break
    return False, min(begins, default=None)


def frozen_until(
    freeze: Freeze, intervals: Intervals, now: datetime, zone: ZoneInfo, boot_lead: timedelta, on_duty: bool
) -> tuple[bool, datetime | None]:
    """(frozen now, and until when; None: no end is known)."""
    local = now.astimezone(zone)
    if freeze.duty:
        return on_duty, None
    if freeze.first is not None or freeze.last is not None:
        begun = freeze.first is None or local.date() >= freeze.first
        over = freeze.last is not None and local.date() > freeze.last
        if not begun or over:
            return False, None
        if freeze.last is None:
            return True, None
        return True, datetime.combine(freeze.last + DAY, datetime.min.time(), zone).astimezone(now.tzinfo)
    if freeze.days:
        midnight = datetime.combine(local.date(), datetime.min.time(), zone)
        end = (midnight + timedelta(minutes=freeze.until_minute)).astimezone(now.tzinfo)
        return (True, end) if local.day in freeze.days and now < end else (False, None)
    if freeze.start is not None and freeze.end is not None:
        for one in spans(freeze.start, freeze.end, intervals, boot_lead):
            if one.start_at <= now < one.end_at:
                return True, one.end_at
    return False, None


def _edge(edge: Edge, one: Interval, boot_lead: timedelta) -> datetime:
    match edge.anchor:
        case Anchor.OPENING:
            base = one.start_at
        case Anchor.CLOSING:
            base = one.end_at
        case Anchor.BOOT:
            base = one.start_at - boot_lead
    return base + edge.offset
