"""The plan of a policy for this very fleet: as many whole sites, by their hash, as hold ``MOST`` machines."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from gate.core import boot_times, makes
from gate.core.model import Machine, MachineStatus, Site
from gate.core.policy import Policy
from gate.flows.intake import background_now
from gate.flows.plan import Plan, plan
from gate.ports import Gate, Tx

MOST, PAGE = 10_000, 1000
DAYS = 14


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """``plans``: one a source; ``planned`` of ``machines`` took part."""

    at: datetime
    machines: int
    planned: int
    plans: tuple[Plan, ...]


def fleet_plan(tx: Tx, gate: Gate, policy: Policy, now: datetime) -> FleetPlan:
    """The best course of a release of each source that appears now."""
    machines, some, sites = fleet(tx)
    shown = {make: boot_times.learned(tx.boot_times(make)) for make in sorted(tx.boot_counts())}
    learned = {make: limit for make, limit in shown.items() if limit is not None}
    share = background_now(tx, policy)
    wanted = policy.sources if some else ()
    found = tuple(plan(gate, policy, one, some, sites, now, DAYS, learned, share) for one in wanted)
    return FleetPlan(now, machines, len(some), found)


def fleet(tx: Tx) -> tuple[int, list[Machine], dict[str, Site]]:
    """(how many machines are active, those that a plan is made of, their sites)."""
    machines, after = list[Machine](), ""
    while page := tx.machines(after=after, limit=PAGE):
        machines += [one for one in page if one.status is MachineStatus.ACTIVE]
        after = page[-1].id
    some = _drawn(machines)
    names = sorted({one.site for one in some})
    sites = dict[str, Site]()
    for start in range(0, len(names), PAGE):
        sites |= {one.id: one for one in tx.sites_of(names[start : start + PAGE]).values()}
    return len(machines), some, sites


def _drawn(machines: list[Machine]) -> list[Machine]:
    if len(machines) <= MOST:
        return machines
    sizes, drawn, count = Counter(one.site for one in machines), set[str](), 0
    for site in sorted(sizes, key=lambda one: makes.rank("plan", one)):
        drawn.add(site)
        count += sizes[site]
        if count >= MOST:
            break
    return [one for one in machines if one.site in drawn]
