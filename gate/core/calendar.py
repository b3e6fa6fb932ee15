"""Expected-on time: what counts as open, when windows and freezes hold. Pure: opening intervals are handed in.

- Intervals are half-open, sorted, not overlapping, in UTC; an ``always_on`` site is given one that covers everything.
- Durations of open time are real elapsed time inside intervals, so both nights of the clock change count right.
- An opening day runs from its first opening to its last closing: a break of up to four hours at noon is not a closing,
  so nothing that waits for "after closing" starts while people are at lunch.
- What never closes, or only for such breaks (more than three days without a longer pause), has an opening day every 24
  hours, counted from its first opening; a break about that time is its closing.
- ``1d open`` is the same clock time on the next opening day, and a site that never closes has one every day.
- ``None`` means "not within the intervals that were handed in", never "now".
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import MAXYEAR, UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from gate.core.times import Anchor, Edge, Freeze, OpenDuration, Window

DAY = timedelta(days=1)
BREAK = timedelta(hours=4)  # the longest pause within one opening day
LONGEST_DAY = timedelta(days=3)  # a weekend's duty between two working days is one
NEVER_CLOSED = "24/7"  # hours that know no holiday either


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
    """How long it is open between two instants; nothing where ``end`` is not after ``start``."""
    total = timedelta()
    for index in range(_from(intervals, start), len(intervals)):
        one = intervals[index]
        if one.start_at >= end:
            break
        total += max(min(one.end_at, end) - max(one.start_at, start), timedelta())
    return total


def add_open_time(intervals: Intervals, start: datetime, amount: timedelta) -> datetime | None:
    """The instant at which ``amount`` of open time has passed since ``start``; nothing has passed at once."""
    if amount <= timedelta():
        return start
    left = amount
    for index in range(_from(intervals, start), len(intervals)):
        one = intervals[index]
        begin = max(one.start_at, start)
        if left <= one.end_at - begin:
            return begin + left
        left -= one.end_at - begin
    return None


def add_open_days(intervals: Intervals, start: datetime, days: int, zone: ZoneInfo) -> datetime | None:
    """The same clock time on the n-th next opening day; on that day never before its opening, nor after its closing."""
    local = start.astimezone(zone)
    for count, (day, opening) in enumerate(_days_after(intervals, local.date(), zone), 1):
        if count >= days:
            same = datetime.combine(day, local.time(), zone).astimezone(UTC)
            return min(max(same, opening.start_at), opening.end_at)
    return None


def _days_after(intervals: Intervals, last: date, zone: ZoneInfo) -> Iterator[tuple[date, Interval]]:
    """Opening days later than ``last``: those on which an interval begins, and those that one covers whole."""

    def midnight(day: date) -> datetime:
        return datetime.combine(day, time(), zone).astimezone(UTC)

    held: tuple[date, Interval] | None = None
    for index in range(_from(intervals, midnight(last)), len(intervals)):
        one = intervals[index]
        day = one.start_at.astimezone(zone).date()
        if held and held[0] == day:
            held = (day, Interval(held[1].start_at, one.end_at))
        elif day > last:
            if held:
                yield held
            held = (day, one)
        day = max(day, last) + DAY
        while midnight(day + DAY) <= one.end_at:
            if held:
                yield held
            held = (day, Interval(midnight(day), one.end_at))
            day += DAY
    if held:
        yield held


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


def opening_before(intervals: Intervals, now: datetime) -> datetime | None:
    """The last opening at or before ``now``."""
    index = bisect_right(intervals, now, key=lambda one: one.start_at)
    return intervals[index - 1].start_at if index else None


def opening_days(intervals: Intervals) -> list[Interval]:
    """First opening to last closing of each opening day; pauses of up to ``BREAK`` are inside."""
    days: list[list[Interval]] = []
    for one in intervals:
        if days and one.start_at - days[-1][-1].end_at <= BREAK:
            days[-1].append(one)
        else:
            days.append([one])
    return [day for parts in days for day in _cut(parts)]


def _cut(parts: Intervals) -> Iterator[Interval]:
    begin, end = parts[0].start_at, parts[-1].end_at
    if end - begin > LONGEST_DAY:
        pauses = [Interval(one.end_at, after.start_at) for one, after in pairwise(parts)]
        at = begin + DAY
        while at + BREAK <= end:
            pause = next((one for one in pauses if one.start_at - BREAK < at <= one.end_at), Interval(at, at))
            yield Interval(begin, pause.start_at)
            begin, at = pause.end_at, at + DAY
    yield Interval(begin, end)


def opening_day(intervals: Intervals, now: datetime) -> Interval | None:
    """The opening day that ``now`` is in, else the next one; its ``end_at`` is the closing."""
    return next((one for one in opening_days(intervals) if one.end_at > now), None)


def expected_on(intervals: Intervals, start: Edge, end: Edge) -> list[Interval]:
    """When a machine should be awake that is on from one edge to another of each opening day; touching ones are one."""
    merged: list[Interval] = []
    for one in spans(start, end, intervals, timedelta()):
        if merged and one.start_at <= merged[-1].end_at:
            merged[-1] = Interval(merged[-1].start_at, max(merged[-1].end_at, one.end_at))
        else:
            merged.append(one)
    return merged


def spans(start: Edge, end: Edge, intervals: Intervals, boot_lead: timedelta) -> list[Interval]:
    """The stretches from one edge to another around each opening day; empty ones are left out.

    ``boot_lead``: how long before opening the first machines are expected on.
    """
    found = []
    for one in opening_days(intervals):
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
    freeze: Freeze,
    intervals: Intervals,
    now: datetime,
    zone: ZoneInfo,
    boot_lead: timedelta,
    duty_until: datetime | None,
) -> tuple[bool, datetime | None]:
    """(frozen now, and until when; None: no end is known). ``duty_until``: the end of the duty that holds now."""
    local = now.astimezone(zone)
    if freeze.duty:
        return duty_until is not None, duty_until
    if freeze.first is not None or freeze.last is not None:
        begun = freeze.first is None or local.date() >= freeze.first
        over = freeze.last is not None and local.date() > freeze.last
        if not begun or over:
            return False, None
        if freeze.last is None or freeze.last.year == MAXYEAR:
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


def _from(intervals: Intervals, at: datetime) -> int:
    """The index of the first interval that ends after an instant."""
    return bisect_right(intervals, at, key=lambda one: one.end_at)


def _edge(edge: Edge, one: Interval, boot_lead: timedelta) -> datetime:
    match edge.anchor:
        case Anchor.OPENING:
            base = one.start_at
        case Anchor.CLOSING:
            base = one.end_at
        case Anchor.BOOT:
            base = one.start_at - boot_lead
    return base + edge.offset
