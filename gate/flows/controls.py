"""Machines that were not updated: how many of them are silent in the hours of the trials, and when that is looked at.

- A look is one grouped statement and a walk over the kinds of sites; never a walk over machines, never at a request.
- It is taken once an hour; at once when a machine of an open span has failed, and then every ten minutes while more do;
  every ten minutes while nothing is concluded. Of several looks at a span the one with the most silent controls counts.
- A span is closed when the deadline of all that began in it is over: folded into its sum where it has enough controls,
  left to the background where not. What nobody looked at in time, or lies in a gap of our own, has no controls.
- A control of the hour [H, H+1h) is expected on when its site is open in it; it is silent when it was not heard since
  ``min(H+1h, now - 3 check-ins)`` although its site was open for three check-ins since. Who has said that it goes down
  is dark until its next opening day.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from gate.core import calendar, evalues, spans
from gate.core.calendar import Interval
from gate.core.model import RolloutState, Site
from gate.core.policy import Policy
from gate.core.spans import HOUR, SpanRow, Sum
from gate.flows import when
from gate.ports import Controls, Gate, Tx

JUDGED = (RolloutState.RUNNING, RolloutState.DONE, RolloutState.SUPERSEDED)
EVERY = HOUR
AGAIN = timedelta(minutes=10)
MISSED = 3  # check-ins
BACK = timedelta(hours=16)  # who was heard before that has been silent for an opening day
STEP = timedelta(minutes=5)
LATE = 2 * HOUR  # after its deadline a span is looked at no more


def due(tx: Tx, rollout_id: str, now: datetime) -> bool:
    """Is it time for a look?"""
    sight = tx.sight(rollout_id)
    wait = EVERY if sight.unclear_since is None else AGAIN
    return sight.looked_at is None or now - sight.looked_at >= wait or tx.look_due(rollout_id, now - AGAIN)


def count(tx: Tx, gate: Gate, rollout_id: str, now: datetime) -> Tally | None:
    """Counts the machines without the release; None where the rollout is not judged. Reads only: nobody waits for it
    to write."""
    rollout = tx.rollout(rollout_id)
    if rollout is None or rollout.state not in JUDGED:
        return None
    policy = gate.policy(rollout.policy_version)
    groups = tx.controls(rollout_id, now - BACK, STEP)
    counted = Tally(gate, policy, groups, when.gaps(tx, policy, now - BACK - HOUR), now)
    for hour in {now - 2 * HOUR, *(row.hour for row in tx.spans(rollout_id) if not row.closed)}:
        counted.of(hour)
    return counted


def look(tx: Tx, gate: Gate, rollout_id: str, counted: Tally, now: datetime) -> None:
    """Looks at the controls of the spans that want it, closes what is over, and keeps how well the rollout is seen."""
    rollout = tx.rollout(rollout_id)
    if rollout is None or rollout.state not in JUDGED:
        return
    policy = gate.policy(rollout.policy_version)
    machines, silent = _sum(counted.of(now - 2 * HOUR).values())
    tx.save_sight(rollout_id, replace(tx.sight(rollout_id), looked_at=now, controls=machines, silent=silent))
    fold: list[SpanRow] = []
    more: dict[spans.Place, Sum] = {}
    for own, rows in spans.by_hour(tx.spans(rollout_id)):
        over = now - own.hour - HOUR - _patience(tx, gate, policy, rollout.source, own.make, now)
        controls = own
        if not own.closed and over < LATE and _wants(own, over, now):
            controls = _worst(own, counted.of(own.hour).get(own.make, (0, 0)), now)
            tx.looked(rollout_id, controls)
        if not own.closed and over < timedelta():
            continue
        if not evalues.enough_controls(policy.first_batch, controls.controls):
            tx.drop_span(rollout_id, own.hour, own.make)
            continue
        for row in rows:
            fold.append(row)
            more[row.place] = more.get(row.place, Sum()).plus(spans.news(row, controls))
    if fold:
        tx.fold(rollout_id, fold, more)


def _wants(own: SpanRow, over: timedelta, now: datetime) -> bool:
    if own.looked_at is None:
        return own.failed > 0 or over >= timedelta()
    return own.failed > own.failed_then and now - own.looked_at >= AGAIN


def _worst(own: SpanRow, seen: tuple[int, int], now: datetime) -> SpanRow:
    """The span with the look that speaks most for the release: the one with the most silent controls."""
    machines, silent = seen
    after = replace(own, looked_at=now, failed_then=own.failed)
    better = machines >= evalues.CONTROLS_PER_MAKE and silent * own.controls > own.controls_failed * machines
    if own.controls < evalues.CONTROLS_PER_MAKE or better:
        return replace(after, controls=machines, controls_failed=silent)
    return after


def _patience(tx: Tx, gate: Gate, policy: Policy, source: str, make: str, now: datetime) -> timedelta:
    """The longest time that a trial of this make may take, of all rings."""
    settings = [policy.settings_for(ring.name, source) for ring in policy.rings]
    limits = [(when.deadline_of(gate, tx, one, make, now), one.stay_up) for one in settings]
    return max(limit.amount + limit.days * calendar.DAY + stay_up for limit, stay_up in limits) + AGAIN


def _sum(counted: Iterable[tuple[int, int]]) -> tuple[int, int]:
    both = list(counted)
    return sum(machines for machines, _ in both), sum(silent for _, silent in both)


class Tally:
    """Controls by make for one hour after another, from one statement's groups."""

    def __init__(
        self, gate: Gate, policy: Policy, groups: Sequence[Controls], gaps: Sequence[Interval], now: datetime
    ) -> None:
        self._gate, self._groups, self._gaps, self._now = gate, groups, gaps, now
        self._missed = MISSED * policy.checkin
        self._known: dict[datetime, dict[str, tuple[int, int]]] = {}

    def of(self, hour: datetime) -> dict[str, tuple[int, int]]:
        """make -> (controls, silent ones) of those that were to be on in the hour that begins then."""
        if hour not in self._known:
            self._known[hour] = self._count(hour)
        return self._known[hour]

    def _count(self, hour: datetime) -> dict[str, tuple[int, int]]:
        if any(one.start_at < self._now and one.end_at > hour for one in self._gaps):
            return {}
        since = min(hour + HOUR, self._now - self._missed)
        kinds: dict[object, datetime | None] = {}
        machines, silent = Counter[str](), Counter[str]()
        for one in self._groups:
            kind = (one.hours, one.land, one.always_on, one.times)
            if kind not in kinds:
                kinds[kind] = self._day_began(one, hour, since)
            day = kinds[kind]
            if day is None:
                continue
            heard = one.heard_at is not None and one.heard_at >= since
            gone = one.down and not one.always_on and one.heard_at is not None and one.heard_at >= day
            if heard or not gone:
                machines[one.make] += one.machines
                silent[one.make] += 0 if heard else one.machines
        return {make: (count, silent[make]) for make, count in machines.items()}

    def _day_began(self, one: Controls, hour: datetime, since: datetime) -> datetime | None:
        """When the opening day of this kind of site began; None where its machines are not expected on."""
        site = Site("", "", one.land, one.hours, one.always_on, times=one.times)
        opened = when.opened(self._gate, site, hour - BACK, self._now)
        in_hour = calendar.open_time(opened, hour, hour + HOUR)
        if not in_hour or calendar.open_time(opened, since, self._now) < self._missed:
            return None
        day = calendar.opening_day(opened, hour)
        return None if day is None else day.start_at
