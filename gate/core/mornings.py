"""The silent morning: are more machines missing before opening than on other mornings? Pure.

- A machine is *missing* when it should be up by now and has not been heard of since its site's first scheduled boot.
- A site is *due* from a quarter of an hour before its opening on. What is missing there then is the morning's measure.
- *Usual* is the median share of missing over the last twenty mornings, so that a few bad ones do not move it; before
  there are five: 5 %.
- Far above usual is all of: at least three machines, at two sites or more (one, where the fleet has one); three times
  the usual share, at least two points above it, though no more than half-way from the usual to everybody; and rarer
  than once in a thousand mornings, were the usual share (at least 1 %) mere chance.
- An alarm is over when no more than half of its limit is missing, of at least half as many as were due when it rose.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from statistics import median

from gate.core.stats import binomial_tail
from gate.core.times import Anchor, Edge

LOOK_EVERY = timedelta(minutes=1)
AFTER = timedelta(hours=2)  # a morning is looked at until so long after the last opening
DUE = Edge(timedelta(minutes=-15), Anchor.OPENING)
FLOOR = 3
SITES = 2
POINTS = 0.02
TIMES = 3
RARE = 0.001
LEAST_USUAL = 0.01
UNKNOWN = 0.05
NEEDED = 5
LEARNT_FROM = 20


@dataclass(frozen=True, slots=True)
class SiteDay:
    """When a site's next morning begins: its first scheduled boot, its opening; planned anew at ``until``.

    ``day`` is the local date of the opening, empty where a site has none.
    """

    site: str
    day: str
    boots_at: datetime | None
    opens_at: datetime | None
    until: datetime


@dataclass(frozen=True, slots=True)
class Party:
    """The machines of all sites with the same first boot and opening: how many in all, should be up, and were heard.

    ``rings``: only the machines of these; empty: of all."""

    boots_at: datetime
    opens_at: datetime
    machines: int
    expected: int
    seen: int
    sites: int
    sites_missing: int
    heard_at: datetime  # the newest word of any of them
    rings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Measure:
    """Of the sites that are due: machines that should be up, and those of them that are missing, at how many sites.

    ``machines`` and ``all_sites`` are of the whole morning, due or not."""

    machines: int
    expected: int
    missing: int
    sites_missing: int
    all_sites: int


@dataclass(frozen=True, slots=True)
class Alarm:
    """More were missing than usual: since when, the numbers of that moment, and who or what ended it."""

    at: datetime
    expected: int
    missing: int
    limit: int
    over_at: datetime | None = None
    over_by: str = ""


@dataclass(frozen=True, slots=True)
class Morning:
    """One day's morning as it was looked at last. ``expected`` and ``missing`` add up each site's measure when it
    became due; ``judged_at``: the last look that could tell, since somebody had listened long enough; ``of_rings``: the
    same moment's parties of the rings that a brake names."""

    day: str
    looked_at: datetime
    judged_at: datetime | None
    usual: float
    expected: int
    missing: int
    parties: tuple[Party, ...]
    alarm: Alarm | None = None
    of_rings: tuple[Party, ...] = ()

    @property
    def stands(self) -> bool:
        """Does its alarm stand?"""
        return self.alarm is not None and self.alarm.over_at is None


@dataclass(frozen=True, slots=True)
class Point:
    """A point of the morning's curve."""

    at: datetime
    expected: int
    seen: int


def measured(parties: Sequence[Party], edge: Edge, now: datetime) -> Measure:
    """What is missing at the sites whose ``edge`` (of opening or boot) has come."""
    due = [one for one in parties if moment(one, edge) <= now]
    expected = sum(one.expected for one in due)
    return Measure(
        sum(one.machines for one in parties),
        expected,
        expected - sum(one.seen for one in due),
        sum(one.sites_missing for one in due),
        sum(one.sites for one in parties),
    )


def moment(party: Party, edge: Edge) -> datetime:
    """When this edge of the day comes for these sites."""
    return (party.boots_at if edge.anchor is Anchor.BOOT else party.opens_at) + edge.offset


def usual(mornings: Sequence[Morning]) -> float:
    """The share that is missing on other mornings; newest first."""
    shares = [one.missing / one.expected for one in mornings if one.expected][:LEARNT_FROM]
    return median(shares) if len(shares) >= NEEDED else UNKNOWN


def limit(expected: int, share: float) -> int:
    """The fewest missing of ``expected`` that are far above a usual ``share``."""
    above = share + max(POINTS, min((TIMES - 1) * share, (1 - share) / 2))
    fewest = max(FLOOR, math.ceil(min(above, 1.0) * expected - 1e-9))
    while binomial_tail(fewest, expected, max(share, LEAST_USUAL)) >= RARE:
        fewest += 1
    return fewest


def is_silent(found: Measure, share: float) -> bool:
    """Is this morning far above the usual?"""
    return found.missing >= limit(found.expected, share) and spread(found)


def spread(found: Measure) -> bool:
    """Are those that are missing at several sites? One pharmacy without power is not a silent morning."""
    return found.sites_missing >= min(SITES, found.all_sites)


def is_over(alarm: Alarm, found: Measure, share: float) -> bool:
    """Have they come after all?"""
    return 2 * found.expected >= alarm.expected and 2 * found.missing <= limit(found.expected, share)


def judged(before: Morning, found: Measure, now: datetime) -> Morning:
    """The morning with its alarm risen or over; what a person has ended this day does not rise again."""
    alarm = before.alarm
    if before.stands:
        assert alarm is not None
        if is_over(alarm, found, before.usual):
            return replace(before, alarm=replace(alarm, over_at=now, over_by="gate"))
    elif is_silent(found, before.usual) and (alarm is None or alarm.over_by == "gate"):
        risen = Alarm(now, found.expected, found.missing, limit(found.expected, before.usual))
        return replace(before, alarm=risen)
    return before


def newly_due(parties: Sequence[Party], since: datetime | None, now: datetime) -> tuple[int, int]:
    """(expected, missing) of the sites that have become due after ``since``."""
    fresh = [one for one in parties if moment(one, DUE) <= now and (since is None or moment(one, DUE) > since)]
    expected = sum(one.expected for one in fresh)
    return expected, expected - sum(one.seen for one in fresh)


def brake_limit(number: float, machines: int, *, share: bool) -> int:
    """What a brake on missing machines asks for; a share is of all that this morning should bring, from three on."""
    return max(FLOOR, math.ceil(number * machines - 1e-9)) if share else int(number)
