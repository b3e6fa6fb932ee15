"""What a site's days hold under the active policy, and when a release could reach it at the earliest.

- Everything is read, nothing is stored. A dated freeze holds for an always-on site too; one by duty or edges does not.
- When something could arrive is the plan's best course (``flows.plan``), and after that the site's next slot: a
  real fleet is later, if nobody reboots by hand. A fleet beyond ``MOST`` is planned beside the page, and not while
  somebody waits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from gate.core import agenda, site_time
from gate.core.agenda import Day
from gate.core.calendar import Interval
from gate.core.model import Rollout, RolloutState, Site, SiteTime, TimeKind
from gate.core.policy import Policy, SourceRule
from gate.core.times import Freeze
from gate.flows import fleet_plan, protection, when
from gate.flows.intake import background_now
from gate.flows.plan import plan
from gate.ports import Gate, Tx

MOST = 2000
AROUND = timedelta(days=3)
BUSY = (RolloutState.RUNNING, RolloutState.HELD)


@dataclass(frozen=True, slots=True)
class Frozen:
    """A freeze of the policy by its place, and when it holds."""

    index: int
    freeze: Freeze
    spans: Sequence[Interval]


@dataclass(frozen=True, slots=True)
class Row:
    """One day of a site: ``slots`` by source."""

    day: Day
    open: Sequence[Interval]
    times: Sequence[SiteTime]
    frozen: Sequence[Frozen]
    slots: Mapping[str, Sequence[Interval]]


@dataclass(frozen=True, slots=True)
class Reach:
    """When machines of one ring of a site could take something: ``ring_at`` its ring opens, ``slot_at`` a slot begins.

    ``open``: the ring is open already. ``planned``: False where nobody has worked out yet when it opens.
    """

    source: str
    version: str
    ring: str
    open: bool
    planned: bool
    ring_at: datetime | None
    slot_at: datetime | None


def dated(policy: Policy, days: Sequence[Day]) -> list[Row]:
    """The days of no site in particular: only what holds for everybody."""
    everybody = [(index, one) for index, one in enumerate(policy.freezes) if one.start is None and not one.duty]
    found = []
    for day in days:
        spans = [(i, one, agenda.frozen(one, (), (), day.span, policy.zone, when.BOOT_LEAD)) for i, one in everybody]
        found.append(Row(day, (), (), [Frozen(i, one, held) for i, one, held in spans if held], {}))
    return found


def rows(gate: Gate, policy: Policy, site: Site, days: Sequence[Day]) -> list[Row]:
    """A site's days."""
    whole = Interval(days[0].span.start_at, days[-1].span.end_at)
    hours = when.opened(gate, site, whole.start_at - AROUND, whole.end_at + AROUND)
    held = _frozen(policy, site, hours, whole)
    holes = [span for one in held for span in one.spans]
    free = {one.name: _slots(policy, site, one, hours, holes, whole) for one in policy.sources}
    return [
        Row(
            day,
            agenda.clipped(hours, day.span),
            [one for one in site.times if one.start_at < day.span.end_at and one.end_at > day.span.start_at],
            [replace(one, spans=cut) for one in held if (cut := agenda.clipped(one.spans, day.span))],
            {name: agenda.clipped(spans, day.span) for name, spans in free.items()},
        )
        for day in days
    ]


def _frozen(policy: Policy, site: Site, hours: Sequence[Interval], whole: Interval) -> list[Frozen]:
    duty = [Interval(one.start_at, one.end_at) for one in site.times if one.kind is TimeKind.DUTY]
    found = []
    for index, freeze in enumerate(policy.freezes):
        if site.always_on and (freeze.start is not None or freeze.duty):
            continue
        spans = agenda.frozen(freeze, hours, duty, whole, policy.zone, when.BOOT_LEAD)
        found.append(Frozen(index, freeze, spans))
    return found


def _slots(
    policy: Policy,
    site: Site,
    source: SourceRule,
    hours: Sequence[Interval],
    holes: Sequence[Interval],
    whole: Interval,
    ring: str = "",
) -> list[Interval]:
    """Of the windows by the source's kind; of the ring's own where it names some."""
    own = policy.settings_for(ring, source.name).windows if ring else ()
    names = own or policy.default_windows.get(source.kind) or ()
    windows = [policy.windows[name] for name in names if name in policy.windows]
    granted = [whole] if site.always_on else agenda.granted_in(windows, hours, whole)
    return agenda.slots(granted, holes)


def moving(tx: Tx, source: SourceRule) -> Rollout | None:
    """The newest rollout of a source that is on its way."""
    return next(iter(tx.rollouts(states=BUSY, source=source.name, limit=1)), None)


def shut(tx: Tx, site: Site, rollout: Rollout | None) -> bool:
    """Is a ring of the site's machines not open yet?"""
    return bool(_rings(tx, site) - _open(tx, rollout))


def reach(
    tx: Tx,
    gate: Gate,
    policy: Policy,
    site: Site,
    source: SourceRule,
    now: datetime,
    days: int,
    opens: Mapping[str, datetime] | None,
) -> list[Reach]:
    """When the newest release that moves, or one that appears now, could reach each ring of a site's machines.

    ``opens``: as ``course`` has it; None: nobody has worked it out yet.
    """
    rollout = moving(tx, source)
    release = tx.release(rollout.release) if rollout else None
    rings, open_rings = _rings(tx, site), _open(tx, rollout)
    found = []
    for rule in policy.rings:
        if rule.name not in rings:
            continue
        is_open = rule.name in open_rings
        at = now if is_open else opens.get(rule.name) if opens is not None else None
        until = now + timedelta(days=days)
        slot = _next_slot(gate, policy, site, source, rule.name, at, until) if at is not None else None
        version = release.version if release else ""
        found.append(Reach(source.name, version, rule.name, is_open, opens is not None, at, slot))
    return found


def course(tx: Tx, gate: Gate, policy: Policy, source: SourceRule, now: datetime, days: int) -> dict[str, datetime]:
    """When each ring that is still shut opens at the earliest; of a very large fleet by a part of its sites."""
    rollout = moving(tx, source)
    release = tx.release(rollout.release) if rollout else None
    left = policy.rings[rollout.reached + 1 :] if rollout else policy.rings
    if not left:
        return {}
    names = {rule.name for rule in left}
    _, machines, sites = fleet_plan.fleet(tx)
    mine = [one for one in machines if one.ring in names]
    at = protection.next_at(tx, policy, rollout, release, now) if rollout and release else now
    share = rollout.background if rollout else background_now(tx, policy)
    shown = protection.begun(tx, gate, rollout, now) if rollout else None
    planned = plan(gate, replace(policy, rings=left), source, mine, sites, at, days, share=share, begun=shown)
    return {one.ring: one.opened_at for one in planned.rings if one.opened_at is not None}


def _rings(tx: Tx, site: Site) -> set[str]:
    return {one.ring for one in tx.machines(site=site.id, limit=200, status="active") if one.ring}


def _open(tx: Tx, rollout: Rollout | None) -> set[str]:
    return {one.ring for one in tx.rings(rollout.id) if one.opened_at is not None} if rollout else set()


def _next_slot(
    gate: Gate, policy: Policy, site: Site, source: SourceRule, ring: str, at: datetime, until: datetime
) -> datetime | None:
    if at >= until:
        return None
    whole = Interval(at, until)
    hours = when.opened(gate, site, at - AROUND, until + AROUND)
    holes = [span for one in _frozen(policy, site, hours, whole) for span in one.spans]
    free = _slots(policy, site, source, hours, site_time.joined(holes), whole, ring)
    return free[0].start_at if free else None


def first_of(shown: str, span: str, today: date) -> date:
    """The first day of what is shown: a month's first day, else the day's Monday."""
    try:
        day = date.fromisoformat(shown)
    except ValueError:
        day = today
    day = min(max(day, date(2000, 1, 1)), date(2100, 1, 1))
    return day.replace(day=1) if span == "month" else day - timedelta(days=day.weekday())
