"""When simulated machines are on, reachable, alive: no rule of the gate, only the world around it.

- A machine is on from its row's edges around each opening; an always-on site never sleeps.
- A background-silent machine does not answer for that whole local day.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from gate.core import site_time
from gate.core.calendar import Interval
from gate.core.model import Site
from gate.ports import Hours
from gate.sim.scenario import OnTime, Scenario, SimMachine, draw, duration, share

DAY = timedelta(days=1)


class World:
    """Pure answers about the simulated world; caches intervals per opening hours, Land and row."""

    def __init__(self, scenario: Scenario, hours: Hours, zone: str) -> None:
        self.scenario = scenario
        self._hours = hours
        self._zone = ZoneInfo(zone)
        self._start = scenario.start - 2 * DAY
        self._end = scenario.start + scenario.run + 8 * DAY
        self._on: dict[tuple[object, ...], list[tuple[datetime, datetime]]] = {}
        self._changes = [event for event in scenario.events if "hours" in event]
        self._outages = [
            (event["at"], event["at"] + _span(event), *_place(event))
            for event in scenario.events
            if "outage" in event or "gate_down" in event
        ]
        self._down = [(e["at"], e["at"] + _span(e)) for e in scenario.events if "gate_down" in e]
        self._cut: dict[tuple[datetime, str], bool] = {}

    def on_intervals(self, machine: SimMachine) -> Sequence[tuple[datetime, datetime]]:
        """When the machine is on, in order, not touching."""
        if machine.row is None:
            return ((self._start, self._end),)
        site = machine.site
        changes = tuple(
            (event["at"], str(event["hours"]["to"]))
            for event in self._changes
            if event["hours"].get("site") in (None, site.id)
        )
        key = (site.hours, site.land, site.times, machine.row, changes)
        if key not in self._on:
            opened = self._opened(site.hours, site)
            for at, hours in changes:
                later = [one for one in self._opened(hours, site) if one.start_at >= at]
                opened = [one for one in opened if one.start_at < at] + later
            self._on[key] = _merge([(_at(machine.row.on, i), _at(machine.row.off, i)) for i in opened])
        return self._on[key]

    def _opened(self, hours: str, site: Site) -> list[Interval]:
        opened = self._hours.intervals(hours, site.land, self._start, self._end)
        return list(site_time.opened(opened, site.times, self._start, self._end))

    def next_on(self, machine: SimMachine, now: datetime) -> datetime | None:
        """``now`` when it is on, else the start of its next on-time."""
        spans = self.on_intervals(machine)
        index = bisect_right(spans, now, key=lambda span: span[0])
        if index and spans[index - 1][1] > now:
            return now
        return spans[index][0] if index < len(spans) else None

    def next_boot(self, machine: SimMachine, now: datetime) -> datetime | None:
        """The start of the on-time after the present one."""
        spans = self.on_intervals(machine)
        index = bisect_right(spans, now, key=lambda span: span[0])
        return spans[index][0] if index < len(spans) else None

    def reaches_gate(self, machine: SimMachine, now: datetime) -> bool:
        """On, not silent today, and nothing between it and the gate is down."""
        if self.next_on(machine, now) != now or self.silent_today(machine, now):
            return False
        site = machine.site
        return not any(
            a <= now < b and land in (None, site.land) and name in (None, site.id) and self._is_cut(machine, a, part)
            for a, b, land, name, part in self._outages
        )

    def gate_is_down(self, now: datetime) -> bool:
        """Does nobody listen?"""
        return any(start <= now < end for start, end in self._down)

    def gate_came_back(self, last: datetime | None, now: datetime) -> bool:
        """Was the gate down at some time since ``last``?"""
        return last is not None and any(start <= now and last < end for start, end in self._down)

    def _is_cut(self, machine: SimMachine, began: datetime, part: float) -> bool:
        """Is it one of the machines that an outage takes?"""
        key = began, machine.id
        if key not in self._cut:
            self._cut[key] = draw(self.scenario.seed, "outage", began, machine.id) < part
        return self._cut[key]

    def silent_today(self, machine: SimMachine, now: datetime) -> bool:
        """Does a reason of its own keep it silent this local day?"""
        if not self.scenario.silent:
            return False
        day = now.astimezone(self._zone).date()
        return draw(self.scenario.seed, "silent", machine.id, day) < self.scenario.silent

    def delay(self, machine: SimMachine, purpose: str) -> timedelta:
        """How late a report is: exponential with the scenario's median."""
        drawn = draw(self.scenario.seed, "delay", machine.id, purpose)
        return self.scenario.delay * (-math.log1p(-drawn) / math.log(2))


def _span(event: Any) -> timedelta:
    return duration((event.get("outage") or event.get("gate_down"))["for"])


def _place(event: Any) -> tuple[Any, Any, float]:
    """The Land and the site that cannot reach the gate (None: every one), and the share of machines there."""
    outage = event.get("outage", {})
    return outage.get("land"), outage.get("site"), share(outage.get("share", "100%"))


def _at(edge: OnTime, opened: Any) -> datetime:
    anchor: datetime = opened.start_at if edge.anchor == "opening" else opened.end_at
    return anchor + edge.offset


def _merge(spans: list[tuple[datetime, datetime]]) -> list[tuple[datetime, datetime]]:
    merged: list[tuple[datetime, datetime]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
