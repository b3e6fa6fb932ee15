"""What a run under a policy came to, in the figures that two policies are held against each other by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from gate.sim.recorded import Recorded
from gate.sim.scenario import Scenario


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a scenario came to. ``hours``: until the last release had passed every ring, None where one has not.

    ``falsely_halted``: how many releases were."""

    exposed: int
    bricked: int
    sites_without_till: int
    hours: float | None
    falsely_halted: int


def replayed(was: Recorded, result: dict[str, Any]) -> Outcome:
    """The figures of recorded days under another policy. A halt is false where the record found nothing harmful."""
    false = _falsely_halted(was.scenario, result, [day.harmful for day in was.days])
    return replace(outcome(was.scenario, result), falsely_halted=false)


def as_recorded(was: Recorded) -> Outcome:
    """What really happened."""
    hours = [day.hours for day in was.days if day.hours is not None]
    return Outcome(
        exposed=sum(day.exposed for day in was.days),
        bricked=sum(len(day.dead) for day in was.days),
        sites_without_till=was.sites_without_till,
        hours=max(hours) if len(hours) == len(was.days) else None,
        falsely_halted=sum(day.halted and not day.harmful for day in was.days),
    )


def outcome(plan: Scenario, result: dict[str, Any]) -> Outcome:
    """The figures of a run. A halt is false where that release had no fault, and no person or vendor halted it."""
    releases = result["releases"]
    ends = [one["full_at"] and datetime.fromisoformat(one["full_at"]) for one in releases]
    spans = [end - release.at for end, release in zip(ends, plan.releases, strict=False) if end]
    full = len(spans) == len(plan.releases) and bool(spans)
    return Outcome(
        exposed=sum(one["exposed"] for one in releases),
        bricked=sum(one["bricked"] for one in releases),
        sites_without_till=result["sites_without_till"],
        hours=round(max(spans) / timedelta(hours=1), 1) if full else None,
        falsely_halted=_falsely_halted(plan, result, [release.fault is not None for release in plan.releases]),
    )


def _falsely_halted(plan: Scenario, result: dict[str, Any], harmful: Sequence[bool]) -> int:
    """How many releases the gate has halted that harmed nothing; each for itself, whatever runs beside it."""
    meant = {event["act"]["by"] for event in plan.events if "act" in event}
    meant |= {f"vendor:{event['vendor_reverts']}" for event in plan.events if "vendor_reverts" in event}
    both = zip(result["releases"], harmful, strict=False)  # what has not come yet has no result
    return sum(bool(one["halted_at"]) and one["halted_by"] not in meant and not bad for one, bad in both)


def worse(this: Outcome, other: Outcome) -> bool:
    """Exposure of a healthy release is no harm; where nothing died on either side, it is not compared."""
    died = this.bricked or other.bricked
    return (
        (bool(died) and this.exposed > other.exposed)
        or this.bricked > other.bricked
        or this.sites_without_till > other.sites_without_till
        or this.falsely_halted > other.falsely_halted
    )
