"""When a machine is usually on: its own first and last word of its last ten days, a weekday group at a time. Pure.

- A day *starts* with a machine's first word after more than four hours of silence; a second start on the same local day
  is none. The day's last word is known when the next day starts; one that ran over midnight was on until midnight.
- Groups are Monday to Friday, Saturday, Sunday. A group is known once ten of its days are; before, the site's
  hours rule.
- Two days in ten may be odd at either end: usually on from the third latest first word to the third earliest last one.
- Kept as a short text in steps of ten minutes (local clock), at most about 140 characters a machine.
- Where a habit does not fit the hours of a day (it would begin more than four hours before opening, or not meet the
  day at all), and where a day goes on after midnight (night duty), the hours rule on that day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from gate.core.calendar import BREAK, Interval, Intervals, opening_days
from gate.core.site_time import joined, without

STEP = 10  # minutes
MIDNIGHT = 24 * 60 // STEP
NEEDED = 10
ODD = 2
GROUPS = 3
Days = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Habit:
    """Day and first step of the day that runs; (first, last) step of the last ten days of each group."""

    day: int = 0
    first: int = 0
    groups: tuple[Days, ...] = ((),) * GROUPS

    def __str__(self) -> str:
        """As it is stored."""
        parts = ["".join(f"{first:02x}{last:02x}" for first, last in days) for days in self.groups]
        return f"{self.day:x}.{self.first:x}.{'.'.join(parts)}"


def read(text: str) -> Habit:
    """A habit from its text; none yet where it is empty."""
    if not text:
        return Habit()
    day, first, *groups = text.split(".")
    return Habit(int(day, 16), int(first, 16), tuple(_days(part) for part in groups))


def _days(part: str) -> Days:
    return tuple((int(part[i : i + 2], 16), int(part[i + 2 : i + 4], 16)) for i in range(0, len(part), 4))


def group_of(day: date) -> int:
    """0: Monday to Friday, 1: Saturday, 2: Sunday."""
    return max(day.weekday() - 4, 0)


def starts(before: datetime | None, now: datetime) -> bool:
    """Is this word the first one after a night?"""
    return before is None or now - before > BREAK


def learned(habit: Habit, before: datetime | None, now: datetime, zone: ZoneInfo) -> Habit:
    """The habit after a start: the day that ran is complete, and a new one runs. ``before``: the last word."""
    local = now.astimezone(zone)
    today = local.date().toordinal()
    if habit.day == today:
        return habit
    groups = list(habit.groups)
    if habit.day and before is not None:
        last = before.astimezone(zone)
        over = last.date().toordinal() - habit.day
        if over in (0, 1):
            group = group_of(date.fromordinal(habit.day))
            groups[group] = (*groups[group], (habit.first, _step(last) if over == 0 else MIDNIGHT))[-NEEDED:]
    return Habit(today, _step(local), tuple(groups))


def _step(local: datetime) -> int:
    return (local.hour * 60 + local.minute) // STEP


def usual(habit: Habit, group: int) -> tuple[int, int] | None:
    """Minutes of the local day between which the machine is usually on; None while too little is known."""
    days = habit.groups[group]
    if len(days) < NEEDED:
        return None
    first = sorted(first for first, _ in days)[NEEDED - 1 - ODD] + 1
    last = sorted(last for _, last in days)[ODD]
    return (first * STEP, last * STEP) if first < last else None


def up_from(habit: Habit) -> tuple[int | None, ...]:
    """For each group the minute of the local day from which the machine should be up; None: the site's hours say."""
    found = [usual(habit, group) for group in range(GROUPS)]
    return tuple(one[0] if one else None for one in found)


def own_day(habit: Habit, day: Interval, zone: ZoneInfo) -> Interval | None:
    """When the machine is usually on around this opening day; None where its hours rule."""
    local = day.start_at.astimezone(zone).date()
    found = usual(habit, group_of(local))
    if found is None or day.end_at > _clock(local, MIDNIGHT * STEP, zone):
        return None
    begin, end = (_clock(local, minutes, zone) for minutes in found)
    fits = day.start_at - BREAK <= begin < day.end_at and day.start_at < end
    return Interval(begin, end) if fits else None


def _clock(day: date, minutes: int, zone: ZoneInfo) -> datetime:
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    return (midnight + timedelta(minutes=minutes)).astimezone(UTC)  # minutes of the clock on the wall


def expected_on(intervals: Intervals, habit: Habit, zone: ZoneInfo) -> Sequence[Interval]:
    """The site's hours as this machine keeps them: from its own first word on, until its own last one."""
    if not any(len(days) >= NEEDED for days in habit.groups):
        return intervals
    early, gone = [], []
    for day in opening_days(intervals):
        own = own_day(habit, day, zone)
        if own is None:
            continue
        early.append(Interval(own.start_at, max(own.start_at, day.start_at)))
        gone += [Interval(day.start_at, own.start_at), Interval(own.end_at, max(own.end_at, day.end_at))]
    return joined(without(intervals, gone), early)
