"""A site's time beside its hours: duty opens it, a declared closing day closes it, and some time does not count. Pure.

- Duty wins over a closing day: the chamber assigns it to the hour, and a person who closes for a fortnight forgets it.
- Sets of stretches are sorted lists of intervals that neither overlap nor touch.
- What does not count (our own gaps, a planned shutdown) is taken out of what is open; the clock stands there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from gate.core.calendar import Interval, Intervals
from gate.core.model import SiteTime, TimeKind


def joined(*parts: Iterable[Interval]) -> list[Interval]:
    """All of them; those that overlap or touch are one."""
    merged: list[Interval] = []
    for one in sorted(interval for part in parts for interval in part):
        if merged and one.start_at <= merged[-1].end_at:
            merged[-1] = Interval(merged[-1].start_at, max(merged[-1].end_at, one.end_at))
        elif one.start_at < one.end_at:
            merged.append(one)
    return merged


def without(intervals: Intervals, gone: Iterable[Interval]) -> list[Interval]:
    """What of ``intervals`` is in none of ``gone``."""
    left = list(intervals)
    for hole in joined(gone):
        left = [
            part
            for one in left
            for part in (
                Interval(one.start_at, min(one.end_at, hole.start_at)),
                Interval(max(one.start_at, hole.end_at), one.end_at),
            )
            if part.start_at < part.end_at
        ]
    return left


def opened(hours: Intervals, times: Sequence[SiteTime], start: datetime, end: datetime) -> Intervals:
    """When the site is open around [start, end): its hours without its closing days, and its duty."""
    near = [one for one in times if one.end_at > start and one.start_at < end]
    if not near:
        return hours
    duty, closed = (
        [Interval(one.start_at, one.end_at) for one in near if one.kind is kind]
        for kind in (TimeKind.DUTY, TimeKind.CLOSED)
    )
    return joined(without(hours, closed), duty)


def duty_until(times: Sequence[SiteTime], now: datetime) -> datetime | None:
    """The end of the duty that holds now; one that follows at once belongs to it."""
    duty = joined(Interval(one.start_at, one.end_at) for one in times if one.kind is TimeKind.DUTY)
    return next((one.end_at for one in duty if one.start_at <= now < one.end_at), None)
